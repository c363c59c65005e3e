"""`gigq wait`: for scripts that go on when jobs have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gigq.cli.identify import find_job, find_workflow
from gigq.cli.options import command, complete_id, pass_where, seconds
from gigq.queue.records import JobFilter

if TYPE_CHECKING:
    from gigq.cli.where import Where


@command("wait", shows="7f3a 81bc --timeout 10m && echo done")
@click.argument("jobs", metavar="[ID]...", nargs=-1, shell_complete=complete_id)
@click.option("--workflow", metavar="W", help="Wait for all jobs of this workflow: name or id.")
@click.option("--timeout", metavar="TIME", type=seconds, help="Give up after so many seconds.")
@pass_where
def wait(where: Where, jobs: tuple[str, ...], workflow: str | None, timeout: float | None) -> None:
    """Wait until jobs have ended.

    Exit code 0: all completed; 3: one failed, timed out or was cancelled; 124: the time was up.
    """
    from gigq.cli.awaiting import wait_for  # noqa: PLC0415 (after the command line is read)

    if not jobs and workflow is None:
        message = "name jobs by their ids, or a workflow with --workflow"
        raise click.UsageError(message)
    with where.look() as store:
        named = [find_job(store, job).uuid for job in jobs]
        row = None if workflow is None else find_workflow(store, workflow)

        def wanted() -> list[str]:
            if row is None:
                return named
            members = store.jobs(JobFilter(workflow=row.workflow, limit=None))
            return list(dict.fromkeys([*named, *(each.uuid for each in members)]))

        code = wait_for(store, wanted, timeout)
    raise click.exceptions.Exit(code)
