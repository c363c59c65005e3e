"""Care for a database: doctor, backup, migrate, reclaim."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gigq.cli.exits import Exit, Failure
from gigq.cli.options import command, pass_where
from gigq.cli.show.style import note, out, paint
from gigq.cli.show.words import plural, printable
from gigq.queue.identity import Liveness, is_of_this_boot
from gigq.queue.states import STATUS

if TYPE_CHECKING:
    from gigq.cli.where import Where
    from gigq.queue.records import WorkerRow
    from gigq.queue.sqlite_store import SqliteStore

_LEVELS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red")}


@command("doctor", shows="--db jobs.db")
@pass_where
def doctor(where: Where) -> None:
    """Examine the database and what surrounds it.

    Exit code 1: something is wrong, and a remedy is named; 0 also where it only warns.
    """
    from gigq.cli.doctor import diagnose  # noqa: PLC0415 (looks at much)

    wrong = False
    for finding in diagnose(where.path(), where.configuration()):
        glyph, colour = _LEVELS[finding.level]
        out(f"{paint(glyph, colour)} {printable(finding.what)}")
        if finding.remedy is not None:
            out(f"  → {printable(finding.remedy)}")
        wrong |= finding.level == "error"
    raise click.exceptions.Exit(Exit.FAILED if wrong else Exit.DONE)


@command("backup", shows="/backup/gigq-monday.db")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@pass_where
def backup(where: Where, file: Path, *, force: bool) -> None:
    """Copy the database while it is used, and check the copy.

    FILE appears when the copy is whole, sound and on the disk, with the database's permissions.
    """
    from gigq.queue.backup_to import back_up_to  # noqa: PLC0415 (seldom used)

    with where.look():
        pass  # says how to name another database
    done = back_up_to(where.path(), file, force=force)
    size = f"{done.size / 1e6:,.1f} MB"
    out(f"Backed up {where.path()} to {done.path}: {plural(done.jobs, 'job')}, {size}, checked")


@command("migrate", shows="gigq.db")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@pass_where
def migrate(where: Where, file: Path | None) -> None:
    """Convert a database of an older version.

    That of GigQ 0.5, or of an older gigqd; a backup stays beside it. FILE is, when it is not given,
    the database that all commands use.
    """
    from gigq.queue.migrate import migrate as migrate_file  # noqa: PLC0415 (seldom used)

    if file is not None and where.db is not None:
        message = f"FILE is {file}, and --db names {where.db}: give one of them"
        raise click.UsageError(message)
    path = file.absolute() if file is not None else where.path()
    done = migrate_file(path)
    if done.backup is None:
        out(f"{path} is up to date ({done.before}); nothing was done")
        return
    told = f"{plural(done.jobs, 'job')}, {plural(done.executions, 'execution')}"
    out(f"Migrated {path} from {done.before}: {told}")
    note(f"what it was before is in {done.backup}")
    for warning in done.warnings:
        note(f"warning: {printable(warning)}")


@command("reclaim", shows="old-server.1.9daeb5ac")
@click.argument("worker")
@click.option("--force", is_flag=True, help="Also where it may be alive on this machine.")
@pass_where
def reclaim(where: Where, worker: str, *, force: bool) -> None:
    """Take back what a worker held that is gone, and that nobody can see.

    WORKER is its name, as gigq doctor tells it: of another machine, or of a container without a
    lock. What it held runs again while it has attempts left. If that machine or container still
    works on it, jobs run twice.
    """
    from gigq.queue.doorbell import Bell  # noqa: PLC0415 (seldom used)
    from gigq.worker.outcome import lost_unseen  # noqa: PLC0415

    with where.look() as store:
        unseen = _unseen(store, worker, where.path())
        if any(is_of_this_boot(row.identity) for row in unseen) and not force:
            message = (
                f"worker {worker} is of a container of this machine, and may be alive; see that "
                f"the container is gone, then: gigq reclaim {worker} --force"
            )
            raise Failure(message)
        ended = [held for row in unseen for held, _ in store.retire(row.worker, lost_unseen)]
        Bell(store.companions.doorbell).ring()
        out(f"Took back {plural(len(ended), 'job')} of {printable(worker)}.")
        for held in ended:
            job = store.job(held.uuid)
            status = STATUS[job.state].value if job else "deleted"
            out(f"Job {held.uuid} ({printable(held.name)}) is {status}.")


def _unseen(store: SqliteStore, name: str, database: Path) -> list[WorkerRow]:
    """Find the workers of this name of which only a person can know that they are gone."""
    seen = [(row, store.liveness(row)) for row in store.open_workers()]
    unseen = [row for row, liveness in seen if liveness is Liveness.ELSEWHERE]
    found = [row for row in unseen if row.name == name]
    if found:
        return found
    for row, liveness in seen:
        if row.name == name and liveness is Liveness.DEAD:
            message = f"worker {name} has died; what it held comes back by: gigqd start {database}"
            raise Failure(message)
        if row.name == name:
            message = f"worker {name} (pid {row.identity.pid}) is alive, or may be; stop it first"
            raise Failure(message)
    names = ", ".join(row.name for row in unseen)
    known = f"there {'is' if len(unseen) == 1 else 'are'} {names}" if unseen else "there is none"
    message = f"no worker {name} that cannot be seen from here; {known}"
    raise Failure(message)
