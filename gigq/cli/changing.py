"""Changes of jobs that are there: cancel, requeue, clear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gigq.cli.exits import Exit, Failure
from gigq.cli.identify import find_job
from gigq.cli.options import command, ids_argument, pass_where
from gigq.cli.show.style import out
from gigq.queue.errors import WorkflowError
from gigq.queue.states import STATUS, UNSUCCESSFUL, JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gigq.cli.where import Where
    from gigq.queue.job_queue import JobQueue
    from gigq.queue.records import JobRow


def _queue(where: Where) -> JobQueue:
    from gigq.queue.job_queue import JobQueue  # noqa: PLC0415 (after the mistakes are found)

    return JobQueue(where.path(), initialize=False)


def _found(where: Where, prefix: str) -> JobRow:
    with where.look() as store:
        return find_job(store, prefix)


def _change_each(
    where: Where, jobs: Sequence[str], change: Callable[[JobQueue, JobRow], None]
) -> None:
    """Change each of these jobs; what cannot be done is said, and does not keep the others.

    All are looked up before the first is changed, for others may be changed along with it.
    """
    failures = 0
    rows: dict[str, JobRow] = {}
    with _queue(where) as queue:
        for job in jobs:
            try:
                row = _found(where, job)
                rows.setdefault(row.uuid, row)
            except Failure as error:
                error.show()
                failures += 1
        for row in rows.values():
            try:
                change(queue, row)
            except Failure as error:
                error.show()
                failures += 1
    if failures:
        raise click.exceptions.Exit(Exit.FAILED)


@command("cancel", shows="7f3a --running")
@ids_argument
@click.option("--running", is_flag=True, help="End them even if they run, as at their deadline.")
@pass_where
def cancel(where: Where, jobs: tuple[str, ...], *, running: bool) -> None:
    """Cancel jobs.

    Jobs that need them are cancelled with them, unless they say otherwise.
    """

    def one(queue: JobQueue, row: JobRow) -> None:
        done = queue.cancel(row.uuid, running=running)
        now = queue.statuses([row.uuid]).get(row.uuid, JobStatus.CANCELLED)
        if done and now is JobStatus.RUNNING:
            wait = where.typed(f"gigq wait {row.uuid}")
            out(f"Job {row.uuid} is being ended; wait for that with: {wait}")
        elif done or (now is JobStatus.CANCELLED and STATUS[row.state] is not now):
            out(f"Job {row.uuid} cancelled.")
        else:
            message = f"could not cancel job {row.uuid}: it is {now.value}"
            if now is JobStatus.RUNNING:
                end = where.typed(f"gigq cancel {row.uuid} --running")
                message += f"; end it with: {end}"
            raise Failure(message)

    _change_each(where, jobs, one)


@command("requeue", shows="7f3a")
@ids_argument
@pass_where
def requeue(where: Where, jobs: tuple[str, ...]) -> None:
    """Run unsuccessful jobs again.

    They get all their attempts back, and what was cancelled because of them comes back too. One
    that was submitted for a later time runs at once. All that went wrong: gigq list --status failed
    --status timeout --limit 0 -o ids | xargs --no-run-if-empty gigq requeue
    """

    def one(queue: JobQueue, row: JobRow) -> None:
        try:
            done = queue.requeue_job(row.uuid)
        except WorkflowError as error:
            message = f"could not requeue job {row.uuid}: {error}"
            raise Failure(message) from None
        state = row.state if done else _found(where, row.uuid).state
        if not done and (state == row.state or row.state not in UNSUCCESSFUL):
            status = STATUS[state].value
            message = (
                f"could not requeue job {row.uuid}: it is {status}; only one that failed, timed "
                "out or was cancelled can be requeued; submit another with: gigq submit"
            )
            raise Failure(message)
        out(f"Job {row.uuid} requeued.")

    _change_each(where, jobs, one)


@command("clear", shows="--before 30")
@click.option(
    "--before",
    metavar="DAYS",
    type=click.FloatRange(min=0),
    help="Only jobs that ended more than so many days ago.",
)
@pass_where
def clear(where: Where, before: float | None) -> None:
    """Delete completed and cancelled jobs.

    Those that an unfinished job depends on stay, and so do failed and timed-out ones, which go by
    the service's retention only.
    """
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    with where.look():
        pass  # a clear creates nothing either
    try:
        until = None if before is None else datetime.now(UTC) - timedelta(days=before)
    except (OverflowError, ValueError):  # which NaN is
        message = f"--before {before:g} days is before the beginning of time"
        raise click.UsageError(message) from None
    with _queue(where) as queue:
        count = queue.clear_completed(until)
    out(f"Cleared {count} completed jobs.")
