"""`gigq worker`: workers without the service, under the same supervisor, also beside gigqd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gigq.cli.exits import Exit, Failure
from gigq.cli.options import command, pass_where, worker_name
from gigq.cli.show.style import note, out

if TYPE_CHECKING:
    from pathlib import Path

    from gigq.cli.where import Where
    from gigq.cli.worker_log import WorkerLog
    from gigq.queue.settings import Settings


@command("worker", shows="--concurrency 4")
@click.option(
    "--worker-id",
    metavar="NAME",
    type=worker_name,
    envvar="GIGQ_WORKER_ID",
    help="What it is called.",
)
@click.option(
    "--polling-interval",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    envvar="GIGQ_POLLING_INTERVAL",
    help="Accepted and not needed: a submit wakes the worker.",
)
@click.option("--once", is_flag=True, help="Run one job, if one is ready, and end.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1, max=1000),
    default=1,
    show_default=True,
    help="How many jobs to run at a time, each in a process of its own.",
)
@pass_where
def worker(
    where: Where,
    worker_id: str | None,
    polling_interval: float | None,
    concurrency: int,
    *,
    once: bool,
) -> None:
    """Run jobs until stopped.

    ^C lets running jobs finish; a second ^C stops them. It deletes no old jobs, and gigqd status
    knows nothing of it. For good, use the service: gigqd start.
    """
    del polling_interval
    from gigq.cli.worker_log import WorkerLog  # noqa: PLC0415 (loads the whole supervisor)

    settings, configuration = _settings(where)
    log = WorkerLog(settings.log.level)
    try:
        _serve(settings, configuration, log, count=concurrency, name=worker_id, once=once)
    finally:
        log.close()
    if once:
        out("Processed one job." if log.jobs else "No jobs available to process.")
    if log.failed_to_start:
        raise click.exceptions.Exit(Exit.FAILED)


def _settings(where: Where) -> tuple[Settings, Path | None]:
    """Read the configuration, and create the database where it is missing."""
    import msgspec  # noqa: PLC0415

    from gigq.queue.companions import real  # noqa: PLC0415
    from gigq.queue.ownership import refuse_to_be_root  # noqa: PLC0415
    from gigq.queue.settings import read_settings  # noqa: PLC0415
    from gigq.queue.sqlite_store import SqliteStore, exists  # noqa: PLC0415

    configuration = where.configuration()
    settings = read_settings(configuration)
    path = real(where.path())
    fresh = not exists(path)
    refuse_to_be_root(path, f"gigq --db {path} worker")
    SqliteStore(path).close()
    if fresh:
        note(f"warning: created the database {path}")
    return msgspec.structs.replace(settings, database=str(path)), configuration


def _serve(
    settings: Settings,
    configuration: Path | None,
    log: WorkerLog,
    *,
    count: int,
    name: str | None,
    once: bool,
) -> None:
    from pathlib import Path  # noqa: PLC0415

    from gigq.queue.companions import Companions  # noqa: PLC0415
    from gigq.supervisor.supervisor import Supervisor  # noqa: PLC0415

    companions = Companions(Path(settings.database))
    supervisor = Supervisor(
        settings, configuration, companions, log, count=count, worker_name=name, once=once
    )
    supervisor.run()
    if supervisor.is_replaced:
        message = f"{settings.database} was replaced while its jobs ran; start the worker anew"
        raise Failure(message)
    if supervisor.is_damaged:
        message = f"{settings.database} is damaged; gigq doctor tells what can be done"
        raise Failure(message)
