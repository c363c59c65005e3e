"""`gigq workflow`: workflows as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gigq.cli.command_group import SuggestingGroup
from gigq.cli.identify import find_workflow
from gigq.cli.options import MOST_LISTED, command, example, form_option, pass_where, where_options
from gigq.cli.show.style import note
from gigq.queue.records import JobFilter
from gigq.queue.states import STATUS, JobStatus

if TYPE_CHECKING:
    from gigq.cli.where import Where


@where_options
@click.group("workflow", cls=SuggestingGroup, epilog=example("gigq workflow show etl"))
def workflow() -> None:
    """Show workflows."""


@command("show", of="gigq workflow", shows="etl")
@click.argument("wanted", metavar="W")
@form_option("table", "json")
@pass_where
def show(where: Where, wanted: str, form: str) -> None:
    """Show a workflow's jobs, each behind those that it depends on.

    W is a name, which means the newest workflow of that name, or the beginning of an id.
    """
    from gigq.cli.show.workflow_tree import in_order, print_workflow  # noqa: PLC0415

    with where.look() as store:
        row = find_workflow(store, wanted)
        rows = store.jobs(JobFilter(workflow=row.workflow, limit=None))
        nodes = in_order(rows, store.edges(row.workflow))
        counts = store.workflow_counts(row.workflow)
    if form == "table":
        print_workflow(row, nodes)
        return
    from gigq.cli.show.documents import (  # noqa: PLC0415
        job_document,
        print_document,
        workflow_document,
    )

    print_document(
        workflow=workflow_document(row, _by_status(counts)),
        jobs=[
            {**job_document(each.row), "parents": each.parents, "depth": each.depth}
            for each in nodes
        ],
    )


@command("list", of="gigq workflow", shows="--limit 5")
@click.option(
    "--limit",
    type=click.IntRange(min=0, max=MOST_LISTED),
    default=20,
    show_default=True,
    help="At most so many; 0: all.",
)
@form_option("table", "json")
@pass_where
def list_workflows(where: Where, limit: int, form: str) -> None:
    """List workflows, newest first."""
    with where.look() as store:
        rows = store.workflows("")  # which begins each id
        shown = rows[:limit] if limit else rows
        counts = [_by_status(store.workflow_counts(row.workflow)) for row in shown]
    if form == "json":
        from gigq.cli.show.documents import print_document, workflow_document  # noqa: PLC0415

        documents = map(workflow_document, shown, counts)
        print_document(workflows=list(documents))
    elif rows:
        from gigq.cli.show.workflow_tree import print_workflows  # noqa: PLC0415

        print_workflows(shown, counts)
    else:
        note("no workflows found")
    if len(rows) > len(shown):
        note(f"there are {len(rows):,}; --limit 0 lists all")


def _by_status(states: dict[str, int]) -> dict[str, int]:
    counts = {status.value: 0 for status in JobStatus}
    for state, jobs in states.items():
        counts[STATUS[state].value] += jobs
    return counts


workflow.add_command(show)
workflow.add_command(list_workflows)
