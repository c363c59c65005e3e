"""Bringing a database to today's schema: from GigQ 0.5.1, or from an older version of our own.

All of it is one transaction in the same file, after a verified copy beside it: whatever happens,
the file is either as it was or as it should be. Several processes may call it at once; one does it,
and the others find it done.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from gigq.queue import statements as sql
from gigq.queue.backup import back_up
from gigq.queue.companions import Companions, real
from gigq.queue.connection import PAGE_BYTES, Connection
from gigq.queue.errors import StoreBusyError, StoreError
from gigq.queue.explanation import named
from gigq.queue.file_users import file_users
from gigq.queue.from_gigq_0_5 import Converted, convert
from gigq.queue.identity import Identity, Liveness, liveness
from gigq.queue.migrations import CURRENT, Found, Kind, check_version, look, upgrade
from gigq.queue.service_lock import service_holder
from gigq.queue.sqlite_errors import is_busy
from gigq.queue.sqlite_store import exists

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE = 2.0  # seconds for whoever is just leaving to let go of the file
_PAUSE = 0.02


class Migrated(NamedTuple):
    """What was done."""

    jobs: int  # converted; 0 where the tables were ours before
    executions: int
    before: str  # "GigQ 0.5" or "schema N"
    backup: Path | None  # None: it was up to date, and nothing was done
    warnings: tuple[str, ...] = ()  # sentences about what became otherwise than it was


def migrate(path: Path) -> Migrated:
    """Bring the database at `path` to today's schema, whatever wrote it.

    Functions of converted jobs are looked for from the current directory, and run in it: 0.5.1
    did not note where its jobs came from.

    Raises StoreError, and changes nothing: the file is missing or empty, damaged, another
    program's (ForeignDatabaseError), of a newer version (SchemaVersionError), or in use
    (StoreBusyError, which names by whom and says what to do).
    """
    return _migrate(path, by_service=False)


def upgrade_if_older(path: Path) -> Migrated | None:
    """Upgrade a database of ours that has an older schema; None where nothing is to be done.

    For the service, which holds the service lock meanwhile. Raises as `migrate` does.
    """
    if not exists(path) or _look(real(path)).kind is not Kind.OURS:
        return None
    migrated = _migrate(path, by_service=True)
    return None if migrated.backup is None else migrated


def _migrate(path: Path, *, by_service: bool) -> Migrated:
    path = real(path)
    if not exists(path):
        message = f"there is no database {path}, or it is empty; nothing is to be migrated"
        raise StoreError(message)
    with _alone_in(path.parent):
        found = _look(path)
        if found.kind is Kind.NOTHING:
            message = f"{path} holds no jobs yet; nothing is to be migrated"
            raise StoreError(message)
        if found.kind is Kind.GIGQ_0_5:
            return _convert(path)
        check_version(path, found.version)
        if found.version == CURRENT:
            return Migrated(0, 0, f"schema {CURRENT}", None)
        if not by_service:
            _refuse_while_served(path)
        return _upgrade(path)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let one process at a time migrate in this folder; the kernel lets go for one that dies."""
    # Of the folder, so that nothing is left behind beside a file that turns out not to be ours.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _look(path: Path) -> Found:
    with closing(Connection(path, Companions(path), synchronous="FULL")) as connection:
        return look(connection, path)


# From an older version of ours


def _refuse_while_served(path: Path) -> None:
    holder = service_holder(Companions(path))
    if holder is not None:
        message = (
            f"gigqd (pid {holder.get('pid', 'unknown')}) serves {path}; nothing was changed. "
            f"Stop it, then migrate: gigqd stop {path} && gigq migrate {path}"
        )
        raise StoreBusyError(message)


def _upgrade(path: Path) -> Migrated:
    """Run the steps that are missing, while clients may have the file open."""
    with closing(Connection(path, Companions(path), synchronous="FULL")) as connection, connection:
        version = look(connection, path).version  # again: it cannot change any more
        _refuse_while_worked_on(connection, path)
        with closing(_connect(path)) as reader:
            backup = back_up(reader, path)
        upgrade(connection.run, version)
        return Migrated(0, 0, f"schema {version}", backup)


def _refuse_while_worked_on(connection: Connection, path: Path) -> None:
    """Leave alone what workers of the older version use: they could not record how jobs end."""
    alive = [
        f"{name} (pid {identity.pid})"
        for name, identity in (
            (name, Identity(*identity))
            for name, *identity in connection.rows(sql.OPEN_WORKERS_BEFORE_UPGRADE)
        )
        if liveness(identity) is Liveness.ALIVE
    ]
    if alive:
        message = (
            f"{named(alive)} still {'works' if len(alive) == 1 else 'work'} on {path}; nothing was "
            "changed. Let it finish or stop it, and try again"
        )
        raise StoreBusyError(message)


# From GigQ 0.5.1


def _convert(path: Path) -> Migrated:
    """Convert the file while nobody else can even open it: 0.5.1's workers leave no names."""
    with closing(_connect(path)) as connection:
        _have_it_alone(connection, path)
        try:
            backup = back_up(connection, path)
            converted = _convert_in_one(connection, path)
        except sqlite3.Error as error:
            message = f"{path} cannot be converted ({error}); it is as it was"
            raise StoreError(message) from error
        with suppress(sqlite3.Error):  # it is only smaller then
            connection.executescript("PRAGMA incremental_vacuum")  # execute would take one step
    Companions(path).create()
    return Migrated(
        converted.jobs, converted.executions, Kind.GIGQ_0_5.value, backup, tuple(_notes(converted))
    )


def _have_it_alone(connection: sqlite3.Connection, path: Path) -> None:
    """Lock the file as a whole until the connection is closed. Raises StoreBusyError."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
    give_up = time.monotonic() + _PATIENCE
    while not _is_alone(connection, path):
        if time.monotonic() >= give_up:
            users = [str(user) for user in file_users(path)]
            by = named(users) if users else "a process of another user or container"
            message = (
                f"{path} is in use by {by}; nothing was changed. Stop all workers and programs "
                f"that use it, and try again: gigq migrate {path}"
            )
            raise StoreBusyError(message)
        time.sleep(_PAUSE)


def _is_alone(connection: sqlite3.Connection, path: Path) -> bool:
    try:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("ROLLBACK")  # in this locking mode the lock stays
    except sqlite3.OperationalError as error:
        if not is_busy(error):
            raise
        return False
    # A connection in rollback mode holds no lock between its statements; /proc shows it.
    return not file_users(path)


def _convert_in_one(connection: sqlite3.Connection, path: Path) -> Converted:
    connection.execute("PRAGMA legacy_alter_table = ON")
    connection.execute("PRAGMA foreign_keys = OFF")
    _shape(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        converted = convert(connection, path)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return converted


def _shape(connection: sqlite3.Connection) -> None:
    """Give the file our page size and vacuuming, where there is room to write it anew."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")
    connection.execute("PRAGMA journal_mode = WAL").fetchall()


def _notes(done: Converted) -> Iterator[str]:
    again = done.running - done.lost
    for count, note in (
        (again, "{} left running by a worker that is gone: pending again, the attempt charged"),
        (done.lost, "{} left running by a worker that is gone: failed, all attempts used up"),
        (done.abandoned, "{} waiting for one that failed: cancelled, and requeued with that one"),
        (done.of_main, "{} of a script's __main__, whose file is not known: submit them again"),
    ):
        if count:
            yield note.format(f"{count:,} {'job' if count == 1 else 'jobs'}")
    if done.missing_parents:
        yield f"dependencies on jobs that are not there: {done.missing_parents:,}, taken as met"
    if done.orphans:
        yield f"executions of jobs that were cleared away: {done.orphans:,}, dropped"


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    return connection


__all__ = ["Migrated", "migrate", "upgrade_if_older"]
