"""Looks at jobs: status, list, stats, why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gigq.cli.identify import find_job, find_workflow
from gigq.cli.options import (
    MOST_LISTED,
    command,
    form_option,
    id_argument,
    moment_or_ago,
    pass_where,
)
from gigq.cli.show.style import note, out, paint
from gigq.queue.records import JobFilter
from gigq.queue.states import HELD, PENDING, STATES_OF, STATUS, JobStatus

if TYPE_CHECKING:
    from datetime import datetime

    from gigq.cli.where import Where
    from gigq.queue.explanation import Explanation
    from gigq.queue.records import JobRow, Progress
    from gigq.queue.sqlite_store import SqliteStore

STATUSES = [status.value for status in JobStatus]


@command("status", shows="7f3a --show-executions")
@id_argument
@click.option("--show-params", is_flag=True, help="Show the parameters too.")
@click.option("--show-result", is_flag=True, help="Show what the function returned, too.")
@click.option("--show-executions", is_flag=True, help="Show each attempt, with its traceback.")
@form_option("text", "json")
@pass_where
def status(
    where: Where,
    job: str,
    form: str,
    *,
    show_params: bool,
    show_result: bool,
    show_executions: bool,
) -> None:
    """Show a job.

    JSON holds everything, whatever is to be shown.
    """
    with where.look() as store:
        row = find_job(store, job)
        parents = store.parents(row.job)
        progress = _progress(store, row)
        executions = store.executions(row.job) if show_executions or form == "json" else []
        if form == "json":
            from gigq.cli.show.documents import job_details, print_document  # noqa: PLC0415

            print_document(job=job_details(row, parents, executions, progress))
            return
        explanation = _explain(store, row) if row.state in PENDING else None
    from gigq.cli.show import job_text  # noqa: PLC0415 (one form or the other)

    job_text.print_job(row, parents, progress, explanation)
    if show_params:
        job_text.print_params(row)
    if show_result:
        job_text.print_result(row)
    if show_executions:
        job_text.print_executions(executions)


def _progress(store: SqliteStore, row: JobRow) -> Progress | None:
    held = row.state in HELD and row.execution_id is not None
    return store.progress(row.execution_id or 0) if held else None


def _explain(store: SqliteStore, row: JobRow) -> Explanation:
    from gigq.queue.explain import explain  # noqa: PLC0415 (for jobs that wait)

    return explain(store, store.companions, row)


@command("list", shows="--status failed --since 2h")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES),
    help="Only jobs of this status; may be repeated.",
)
@click.option("--name", metavar="PATTERN", help="Only jobs of this name; * ? [abc] match as usual.")
@click.option("--queue", metavar="NAME", help="Only jobs of this queue.")
@click.option("--workflow", metavar="W", help="Only jobs of this workflow: name or id.")
@click.option(
    "--since",
    metavar="TIME",
    type=moment_or_ago,
    help="Only jobs submitted since: 2h, 3d or ISO time.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0, max=MOST_LISTED),
    default=100,
    show_default=True,
    help="At most so many; 0: all.",
)
@form_option("table", "wide", "ids", "json", "jsonl", "csv")
@pass_where
def list_jobs(
    where: Where,
    statuses: tuple[str, ...],
    name: str | None,
    queue: str | None,
    workflow: str | None,
    since: datetime | None,
    limit: int,
    form: str,
) -> None:
    """List jobs, newest first."""
    from gigq.queue.clock import from_text  # noqa: PLC0415 (few lists have a time)

    with where.look() as store:
        wanted = JobFilter(
            states=tuple(s for each in statuses for s in STATES_OF[JobStatus(each)]) or None,
            name=name,
            queue=queue,
            workflow=None if workflow is None else find_workflow(store, workflow).workflow,
            since=None if since is None else from_text(since),
            limit=limit + 1 if limit else None,
        )
        rows = store.jobs(wanted)
    more = bool(limit) and len(rows) > limit
    _print_jobs(rows[:limit] if more else rows, form)
    if more:
        note(f"there are more than these {limit:,}; --limit 0 lists all")


def _print_jobs(rows: list[JobRow], form: str) -> None:
    if form in ("table", "wide"):
        from gigq.cli.show.job_list import print_jobs  # noqa: PLC0415 (one form or the other)

        if rows:
            print_jobs(rows, wide=form == "wide")
        else:
            note("no jobs found")
        return
    if form == "ids":
        for row in rows:
            out(row.uuid)
        return
    from gigq.cli.show import documents  # noqa: PLC0415

    if form == "csv":
        documents.print_csv(rows)
    elif form == "json":
        documents.print_document(jobs=[documents.job_document(row) for row in rows])
    else:
        for row in rows:
            documents.print_line(documents.job_document(row))


@command("stats", shows="-o json")
@form_option("table", "json")
@pass_where
def stats(where: Where, form: str) -> None:
    """Count the jobs of each status."""
    with where.look() as store:
        states = {state: jobs for state, jobs in store.counts().items() if jobs}
    counts = dict.fromkeys(STATUSES, 0)
    for state, jobs in states.items():
        counts[STATUS[state].value] += jobs
    total = sum(counts.values())
    if form == "json":
        from gigq.cli.show.documents import print_document  # noqa: PLC0415

        print_document(statuses=counts, states=states, total=total)
        return
    from gigq.cli.show.style import LOOKS  # noqa: PLC0415
    from gigq.cli.show.table import Cell, Column, print_table  # noqa: PLC0415

    rows: list[list[str | Cell]] = [
        [Cell(word, LOOKS[JobStatus(word)].colour), str(n)] for word, n in counts.items()
    ]
    columns = (Column("Status"), Column("Count", right=True))
    print_table(columns, [*rows, ["total", str(total)]])


@command("why", shows="7f3a")
@id_argument
@form_option("text", "json")
@pass_where
def why(where: Where, job: str, form: str) -> None:
    """Say why a job is where it is, and what to do about it."""
    with where.look() as store:
        row = find_job(store, job)
        explanation = _explain(store, row)
    command = explanation.next_command
    command = None if command is None else where.typed(command)
    if form == "json":
        from gigq.cli.show.documents import print_document  # noqa: PLC0415

        print_document(
            id=row.uuid,
            name=row.name,
            status=STATUS[row.state].value,
            state=row.state,
            cause=explanation.cause,
            sentence=explanation.sentence,
            next_command=command,
        )
        return
    from gigq.cli.show.words import printable  # noqa: PLC0415

    out(printable(explanation.sentence))
    if command is not None:
        out(f"→ {paint(printable(command), bold=True)}")
