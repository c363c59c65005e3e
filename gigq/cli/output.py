"""What jobs print: logs, follow."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from gigq.cli.exits import Exit, Failure
from gigq.cli.identify import find_job
from gigq.cli.options import command, id_argument, pass_where
from gigq.cli.show.style import note
from gigq.queue.states import STATUS

if TYPE_CHECKING:
    from gigq.cli.following import Follower
    from gigq.cli.where import Where
    from gigq.queue.records import ExecutionRow, JobRow
    from gigq.queue.sqlite_store import SqliteStore


@command("logs", shows="7f3a --attempt 1")
@id_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option("--attempt", type=click.IntRange(min=1), help="That attempt; else the last.")
@pass_where
def logs(where: Where, job: str, attempt: int | None, *, follow: bool) -> None:
    """Print what a job printed.

    Of a long output the middle is not kept. Errors and tracebacks go to standard error.
    """
    with where.look() as store:
        row = find_job(store, job)
        if follow and attempt is None:
            _follower(store, row).follow_job()
            return
        execution = _attempt(store, row, attempt)
        if follow:
            _follower(store, row).follow_attempt(execution)
        else:
            _print(store, row, execution)


@command("follow", shows="7f3a")
@id_argument
@pass_where
def follow(where: Where, job: str) -> None:
    """Print what a job prints until it ends.

    Exit code 0: it completed; 3: it failed, timed out or was cancelled.
    """
    with where.look() as store:
        row = find_job(store, job)
        code = follow_to_end(store, row)
    raise click.exceptions.Exit(code)


def follow_to_end(store: SqliteStore, row: JobRow, *, from_first: bool = False) -> Exit:
    """Print what a job prints until it ends, from which attempt on; the exit code for the end."""
    from gigq.cli.awaiting import tell_ends  # noqa: PLC0415

    try:
        _follower(store, row).follow_job(from_first=from_first)
    except KeyboardInterrupt:
        note(f"not following any longer; job {row.uuid} goes on")
        raise
    return tell_ends(store, {row.uuid: store.states([row.uuid]).get(row.uuid, "")})


def _follower(store: SqliteStore, row: JobRow) -> Follower:
    from gigq.cli.awaiting import say_why  # noqa: PLC0415 (for those who follow)
    from gigq.cli.following import Follower  # noqa: PLC0415

    return Follower(store, row, _write, say_why)


def _write(piece: bytes) -> None:
    """Pass on bytes as the job wrote them, at once."""
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _attempt(store: SqliteStore, row: JobRow, attempt: int | None) -> ExecutionRow:
    """Give the last attempt, or the last that has this number: a requeue counts from 1 again."""
    executions = store.executions(row.job)
    if not executions:
        status = STATUS[row.state].value
        message = f"job {row.uuid} has not run ({status}); see: gigq why {row.uuid}"
        raise Failure(message)
    numbers = sorted({each.attempt for each in executions})
    wanted = executions[-1].attempt if attempt is None else attempt
    if wanted not in numbers:
        known = ", ".join(map(str, numbers))
        message = f"job {row.uuid} has no attempt {wanted}; there are: {known}"
        raise Failure(message)
    return [each for each in executions if each.attempt == wanted][-1]


def _print(store: SqliteStore, row: JobRow, execution: ExecutionRow) -> None:
    from gigq.cli.following import tell_end  # noqa: PLC0415
    from gigq.queue.output import read_output  # noqa: PLC0415

    log, start, end = execution.output_log, execution.output_start, execution.output_end
    if log is None or start is None:
        note(_silence(execution))
    else:
        path = store.companions.output / log
        try:
            # Without an end it runs, or nobody saw its end: then the file ends with it.
            end = path.stat().st_size if end is None else end
            for piece in read_output(path, start, end):
                _write(piece)
        except FileNotFoundError:
            message = f"the output of job {row.uuid} is gone: {path} was deleted"
            raise Failure(message) from None
    tell_end(execution)


def _silence(execution: ExecutionRow) -> str:
    if execution.verdict is None:
        return (
            f"where the output of worker {execution.worker_name} goes is not known: "
            "it belongs to a program of its own"
        )
    return (
        f"attempt {execution.attempt} printed nothing that was kept; what runs in a Worker of a "
        "program prints there"
    )
