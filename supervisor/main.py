"""`gigqd`: the commands of the service."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gigq.queue.companions import Companions
from gigq.queue.errors import GigqError, SettingsError
from gigq.queue.identity import start_ticks
from gigq.queue.service_lock import ServiceLock, service_holder
from gigq.queue.settings import find_configuration, find_database, read_settings
from gigq.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_FAILED = 1
EXIT_STOPPED = 3  # of `status`, as in LSB's init script actions
EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h: a restart would not help

_database = click.argument("database", required=False, type=click.Path(path_type=Path))
_config = click.option(
    "--config",
    "configuration",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Configuration; else ./gigqd.toml, ~/.config/gigq/gigqd.toml, /etc/gigq/gigqd.toml.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gigqd")
def main() -> None:
    """Run the jobs of a database in supervised worker processes.

    DATABASE is, when it is not given: $GIGQ_DB, else what the configuration says, else ./gigq.db.
    """


@main.command(epilog="Example: gigqd start jobs.db --workers 4")
@_database
@_config
@click.option("--workers", metavar="N|auto", help="How many worker processes; auto: one per core.")
def start(database: Path | None, configuration: Path | None, workers: str | None) -> None:
    """Serve DATABASE in the foreground until stopped.

    SIGTERM or ^C lets running jobs finish; a second ^C or SIGQUIT stops them; SIGHUP reads the
    configuration again.
    """
    with _told():
        configuration = find_configuration(configuration)
        settings = read_settings(configuration)
        path = find_database(database, configuration).resolve()
        count = None if workers is None else _count(workers)
        _serve(settings, configuration, path, count)


def _serve(settings: Any, configuration: Path | None, path: Path, count: int | None) -> None:  # noqa: ANN401
    import msgspec  # noqa: PLC0415 (the other commands do without all this)

    from gigq.queue.sqlite_store import SqliteStore  # noqa: PLC0415
    from gigq.supervisor.log import Log  # noqa: PLC0415
    from gigq.supervisor.supervisor import Supervisor  # noqa: PLC0415

    companions = Companions(path)
    SqliteStore(path).close()
    try:
        lock = ServiceLock(companions)
    except BlockingIOError:
        pid = (service_holder(companions) or {}).get("pid", "unknown")
        message = f"gigqd (pid {pid}) serves {path} already; stop it with: gigqd stop {path}"
        raise GigqError(message) from None
    lock.describe(
        {
            "pid": os.getpid(),
            "start_ticks": start_ticks(os.getpid()),
            "started_at": time.time(),
            "version": __version__,
        }
    )
    log = Log(settings.log.level, settings.log.format)
    settings = msgspec.structs.replace(settings, database=str(path))
    try:
        Supervisor(settings, configuration, companions, log, count=count).run()
    finally:
        lock.close()
        log.close()


@main.command(epilog="Example: gigqd stop jobs.db --now")
@_database
@_config
@click.option("--now", is_flag=True, help="Stop running jobs instead of letting them finish.")
def stop(database: Path | None, configuration: Path | None, *, now: bool) -> None:
    """Stop the service of DATABASE and wait until it is gone.

    Running jobs finish within the drain timeout; what has not begun stays pending.
    """
    with _told():
        path = find_database(database, find_configuration(configuration)).resolve()
        companions = Companions(path)
        holder = service_holder(companions)
        if holder is None:
            click.echo(f"no gigqd serves {path}", err=True)
            return
        _end(holder, path, signal.SIGQUIT if now else signal.SIGTERM)
        click.echo(f"stopped: gigqd of {path}", err=True)


def _end(holder: dict[str, Any], path: Path, number: signal.Signals) -> None:
    """Signal the process that holds the lock, and no other that got its number since; wait."""
    pid = holder.get("pid")
    try:
        if pid is None or start_ticks(pid) != holder["start_ticks"]:
            message = f"something holds the lock of {path}, but says not who: fuser {path}.d/*"
            raise GigqError(message)
        descriptor = os.pidfd_open(pid)
        signal.pidfd_send_signal(descriptor, number)
        select.select([descriptor], [], [])  # readable when it has ended
        os.close(descriptor)
    except ProcessLookupError:
        pass  # it went by itself
    except PermissionError:
        message = f"gigqd (pid {pid}) belongs to another user; try with sudo"
        raise GigqError(message) from None


@main.command(epilog="Example: gigqd status jobs.db && echo it runs")
@_database
@_config
def status(database: Path | None, configuration: Path | None) -> None:
    """Tell whether a service serves DATABASE: exit 0 when it runs, 3 when not."""
    from gigq.queue.job_queue import JobQueue  # noqa: PLC0415

    with _told():
        path = find_database(database, find_configuration(configuration)).resolve()
        holder = service_holder(Companions(path))
        with JobQueue(path) as queue:
            counts = queue.stats()
        jobs = f"{counts['pending']} pending, {counts['running']} running"
        if holder is None:
            click.echo(f"stopped: no gigqd serves {path}; {jobs}; start it: gigqd start {path}")
            sys.exit(EXIT_STOPPED)
        age = _age(time.time() - holder.get("started_at", time.time()))
        click.echo(f"running: pid {holder.get('pid', '?')}, up {age}, {path}; {jobs}")


def _age(seconds: float) -> str:
    units = (("d", 86_400), ("h", 3_600), ("min", 60))
    for unit, size in units:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def _count(text: str) -> int:
    if text == "auto":
        return len(os.sched_getaffinity(0))
    if not text.isdecimal() or int(text) > 1000:  # noqa: PLR2004 (as in the settings)
        message = f"--workers takes a number from 0 to 1000 or auto, not {text!r}"
        raise click.UsageError(message)
    return int(text)


@contextmanager
def _told() -> Iterator[None]:
    """Say a mistake in one sentence instead of a traceback."""
    try:
        yield
    except SettingsError as error:
        click.echo(f"gigqd: {error}", err=True)
        sys.exit(EXIT_CONFIGURATION)
    except GigqError as error:
        click.echo(f"gigqd: {error}", err=True)
        sys.exit(EXIT_FAILED)
