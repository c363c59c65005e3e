"""`gigqd`: the commands of the service."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gigq.queue.companions import Companions, real
from gigq.queue.console import give_up_output, prepare_streams, sentence
from gigq.queue.errors import (
    ForeignDatabaseError,
    GigqError,
    SchemaVersionError,
    SettingsError,
    StoreDamagedError,
)
from gigq.queue.identity import start_ticks
from gigq.queue.ownership import may_act_for, owner, user_name
from gigq.queue.service_lock import service_holder
from gigq.queue.settings import find_configuration, find_database, read_settings
from gigq.supervisor.configuration import check_paths
from gigq.supervisor.control import ask
from gigq.supervisor.install.commands import install, uninstall, upgrade
from gigq.supervisor.status_text import describe_service
from gigq.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator


EXIT_FAILED = 1
EXIT_STOPPED = 3  # of `status`, as in LSB's init script actions
EXIT_UNKNOWN = 4
EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h: a restart would not help
EXIT_INTERRUPTED = 130
_STATUS_WITHIN = 5.0  # seconds

_database = click.argument(
    "database", required=False, type=click.Path(readable=False, path_type=Path)
)
_config = click.option(
    "--config",
    "configuration",
    metavar="FILE",
    type=click.Path(readable=False, path_type=Path),
    help="Configuration; else ./gigqd.toml, ~/.config/gigq/gigqd.toml, /etc/gigq/gigqd.toml.",
)


class _Commands(click.Group):
    """The commands, none of which answers with a traceback what its user can do something about."""

    def main(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 (click's)
        """Run a command line."""
        prepare_streams()
        try:
            return super().main(*args, **options)
        except Exception as error:
            said = sentence(error)
            if said is None:
                raise
            click.echo(f"gigqd: {said}", err=True)
            if isinstance(error, OSError) and error.filename is None:
                give_up_output()
            sys.exit(EXIT_FAILED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
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
    configuration again. Exit 78: a restart would not help, for the configuration is wrong, or the
    database is damaged, another program's, of a newer version, or on a network file system.
    """
    with _told():
        configuration = find_configuration(configuration)
        settings = read_settings(configuration)
        path = real(find_database(database, configuration))
        count = None if workers is None else _count(workers)
        from gigq.supervisor.serve import serve  # noqa: PLC0415 (the others do without all of it)

        try:
            sound = serve(settings, configuration, path, count)
        except (StoreDamagedError, ForeignDatabaseError, SchemaVersionError) as error:
            click.echo(f"gigqd: {error}", err=True)
            sound = False
        if not sound:
            sys.exit(EXIT_CONFIGURATION)


@main.command(epilog="Example: gigqd stop jobs.db --now")
@_database
@_config
@click.option("--now", is_flag=True, help="Stop running jobs instead of letting them finish.")
def stop(database: Path | None, configuration: Path | None, *, now: bool) -> None:
    """Stop the service of DATABASE and wait until it is gone.

    Running jobs finish within the drain timeout; what has not begun stays pending.
    """
    with _told():
        path = _path(database, configuration)
        companions = Companions(path)
        holder = service_holder(companions)
        if holder is None:
            if not path.exists():
                message = f"there is no database {path}; look at its name"
                raise GigqError(message)
            click.echo(f"no gigqd serves {path}", err=True)
            return
        with _patient("it stops when its running jobs have ended, or at its drain timeout"):
            _end(holder, path, signal.SIGQUIT if now else signal.SIGTERM)
        click.echo(f"stopped: gigqd of {path}", err=True)


def _end(holder: dict[str, Any], path: Path, number: signal.Signals) -> None:
    """Signal the process that holds the lock, and no other that got its number since; wait."""
    pid = holder.get("pid")
    try:
        if pid is None or start_ticks(pid) != holder["start_ticks"]:
            message = (
                f"perhaps something holds the lock of {path}, but nobody says who; as the "
                f"service's user or root: fuser {path}.d/*"
            )
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
@click.option("--json", "as_json", is_flag=True, help="All of it, for programs.")
def status(database: Path | None, configuration: Path | None, *, as_json: bool) -> None:
    """Tell what the service of DATABASE does: exit 0 when it runs, 3 when it is stopped.

    Exit 4 when something holds the service's place and does not answer, or answers its own user and
    root only.
    """
    with _told():
        path = _path(database, configuration)
        companions = Companions(path)
        if service_holder(companions) is None:
            stopped = {"version": 1, "state": "stopped", "database": str(path)}
            click.echo(json.dumps(stopped) if as_json else f"stopped: {_how_to_start(path)}")
            sys.exit(EXIT_STOPPED)
        try:
            answer = ask(companions.control, "status", patience=_STATUS_WITHIN)
        except GigqError as error:
            if as_json:
                unknown = {"version": 1, "state": "unknown", "database": str(path)}
                click.echo(json.dumps({**unknown, "error": str(error)}))
            click.echo(f"gigqd: {error}", err=True)
            sys.exit(EXIT_UNKNOWN)
        if as_json:
            click.echo(json.dumps({**answer, "service_version": answer["version"], "version": 1}))
        else:
            click.echo(describe_service(answer))


def _how_to_start(path: Path) -> str:
    if not path.exists():
        return f"there is no database {path}; look at its name"
    name = user_name(owner(path))
    if name is None or may_act_for(path, as_root=False):
        return f"no gigqd serves {path}; start it with: gigqd start {path}"
    return f"no gigqd serves {path}; it is started as user {name}, as by: systemctl start gigqd"


@main.command(epilog="Example: gigqd health jobs.db --live")
@_database
@_config
@click.option("--live", is_flag=True, help="Only whether the service is at work.")
def health(database: Path | None, configuration: Path | None, *, live: bool) -> None:
    """Tell whether the service of DATABASE is well: exit 0; 1 with what is wrong, each on a line.

    Exit 3 when it is stopped, 4 when it does not answer. It answers within two seconds.
    """
    from gigq.supervisor.health import (  # noqa: PLC0415 (opens the database)
        ask_health,
        check_database,
        check_service,
    )

    with _told():
        path = _path(database, configuration)
        companions = Companions(path)
        if service_holder(companions) is None:
            click.echo(f"stopped: no gigqd serves {path}")
            sys.exit(EXIT_STOPPED)
        try:
            answer = ask_health(companions)
        except GigqError as error:
            click.echo(f"unknown: {error}")
            sys.exit(EXIT_UNKNOWN)
        checks = [] if live else [*check_service(answer), check_database(path)]
        wrong = [check for check in checks if check.trouble is not None]
        for check in wrong:
            click.echo(check)
        if wrong:
            sys.exit(EXIT_FAILED)
        click.echo("live" if live else "ready")


@main.command(epilog="Example: gigqd reload")
@_database
@_config
def reload(database: Path | None, configuration: Path | None) -> None:
    """Put the changed configuration in force; a file with a mistake changes nothing."""
    with _told():
        answer = _order(database, configuration, "reload")
        click.echo(f"reloaded: {_change(answer)}", err=True)


@main.command(epilog="Example: gigqd scale 4")
@click.argument("count", type=click.IntRange(0, 1000))
@_database
@_config
def scale(count: int, database: Path | None, configuration: Path | None) -> None:
    """Have COUNT workers, until the count in the configuration changes."""
    with _told():
        answer = _order(database, configuration, "scale", count=count)
        click.echo(f"scaled: {_change(answer)}", err=True)


@main.command(epilog="Example: gigqd drain && ./deploy && gigqd resume")
@_database
@_config
def drain(database: Path | None, configuration: Path | None) -> None:
    """Claim no more; returns when the running jobs have ended. The service stays."""
    with _told():
        with _patient("no job is claimed any more, until: gigqd resume"):
            _order(database, configuration, "drain")
        click.echo("drained: no job runs, and none is claimed until: gigqd resume", err=True)


@main.command(epilog="Example: gigqd resume")
@_database
@_config
def resume(database: Path | None, configuration: Path | None) -> None:
    """Claim again after a drain."""
    with _told():
        answer = _order(database, configuration, "resume")
        click.echo(f"resumed: workers: {answer['workers']}", err=True)


@main.command(epilog="Example: gigqd check --config /etc/gigq/gigqd.toml")
@_config
def check(configuration: Path | None) -> None:
    """Check a configuration file; exit 0 when a service could run with it, 78 when not."""
    with _told():
        found = find_configuration(configuration)
        settings = read_settings(found)
        check_paths(settings, found)
        workers = settings.worker_count()
        name = found or "no configuration file: the defaults"
        click.echo(f"{name}: valid; workers: {workers}; database: {settings.database}")


def _order(
    database: Path | None, configuration: Path | None, order: str, **fields: int
) -> dict[str, Any]:
    companions = Companions(_path(database, configuration))
    if service_holder(companions) is None:
        message = f"no gigqd serves {_path(database, configuration)}"
        raise GigqError(message)
    return ask(companions.control, order, **fields)


def _change(answer: dict[str, Any]) -> str:
    before, after = answer["before"], answer["workers"]
    return f"workers: {after}" if before == after else f"workers: {before} → {after}"


def _path(database: Path | None, configuration: Path | None) -> Path:
    try:
        return real(find_database(database, find_configuration(configuration)))
    except SettingsError as error:
        message = f"{error}\n  A service that runs is found when its DATABASE is given."
        raise SettingsError(message) from None


def _count(text: str) -> int:
    if text == "auto":
        return len(os.sched_getaffinity(0))
    if not text.isdecimal() or len(text) > 4 or int(text) > 1000:  # noqa: PLR2004 (as in the settings)
        message = f"--workers takes a number from 0 to 1000 or auto, not {text!r}"
        raise click.UsageError(message)
    return int(text)


for _of_systemd in (install, upgrade, uninstall):
    main.add_command(_of_systemd)


@contextmanager
def _patient(effect: str) -> Iterator[None]:
    """Say, where somebody does not want to wait any longer, what goes on all the same."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"gigqd: not waiting any longer; {effect}", err=True)
        sys.exit(EXIT_INTERRUPTED)


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
