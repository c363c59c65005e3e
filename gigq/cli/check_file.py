"""Looks at the database file itself, and at SQLite."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from gigq.cli.finding import Finding
from gigq.queue.companions import Companions
from gigq.queue.connection import Connection
from gigq.queue.errors import ForeignDatabaseError, GigqError, StoreError
from gigq.queue.migrations import CURRENT, Kind, look
from gigq.queue.sqlite_store import exists

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_EXAMINED_UP_TO = 256 << 20  # bytes: a larger one would take long to read
_LONG_LOG = 64 << 20
_MEGABYTE = 1_000_000

Version = tuple[int, int, int]
# sqlite.org/wal.html#walresetbug
_BUG_SINCE: Version = (3, 7, 0)
_FIXED: Version = (3, 51, 3)
_FIXED_ALSO: dict[tuple[int, int], Version] = {(3, 44): (3, 44, 6), (3, 50): (3, 50, 7)}


def has_reset_bug(version: Version) -> bool:
    """Tell whether this SQLite can lose commits when two processes move the log at once."""
    fixed = _FIXED_ALSO.get(version[:2], _FIXED)
    return _BUG_SINCE <= version < fixed


def check_sqlite(
    version: str = sqlite3.sqlite_version, python: str = sys.executable
) -> Iterator[Finding]:
    """Say what the version of SQLite that a Python has means."""
    told = f"{python} has SQLite {version}"
    major, minor, patch, *_ = map(int, version.split("."))
    if not has_reset_bug((major, minor, patch)):
        yield Finding("ok", told)
        return
    yield Finding(
        "warning",
        f"{told}, which can lose commits when two programs move the write-ahead log at once (fixed "
        "in 3.51.3, 3.50.7 and 3.44.6); gigq takes care that only one of its processes does, but "
        "no other program may: in an sqlite3 shell on the database, begin with",
        "PRAGMA wal_autocheckpoint = 0;",
    )


def check_file(database: Path) -> Iterator[Finding]:
    """Say whether the file is there, ours, of this version, and sound."""
    if not exists(database):
        what = "is empty" if database.exists() else "does not exist"
        yield Finding("error", f"{database} {what}; a service would set it up", _start(database))
        return
    try:
        with closing(Connection(database, Companions(database), synchronous="FULL")) as connection:
            yield from _check_tables(connection, database)
    except ForeignDatabaseError as error:
        yield Finding("error", str(error), "gigq doctor --db OTHER")
    except GigqError as error:
        yield Finding("error", str(error), f"ls -l {database}*; fuser -v {database}")


def _check_tables(connection: Connection, database: Path) -> Iterator[Finding]:
    found = look(connection, database)
    if found.kind is Kind.NOTHING:
        yield Finding("error", f"{database} holds no tables yet", _start(database))
    elif found.kind is Kind.GIGQ_0_5:
        yield Finding("error", f"{database} was made by GigQ 0.5", f"gigq migrate {database}")
    elif found.version < CURRENT:
        told = f"{database} has schema {found.version}; this gigq needs {CURRENT}"
        yield Finding("error", told, f"gigq migrate {database}")
    elif found.version > CURRENT:
        told = f"{database} has schema {found.version}; this gigq knows {CURRENT} only"
        yield Finding("error", told, "pip install -U gigqd")
    else:
        yield Finding("ok", f"{database} has schema {CURRENT}, as it should")
    yield from _check_soundness(connection, database)


def _check_soundness(connection: Connection, database: Path) -> Iterator[Finding]:
    if database.stat().st_size > _EXAMINED_UP_TO:
        yield Finding("ok", f"{database} is large; whether it is sound was not looked at")
        return
    try:
        (problem,) = connection.row("PRAGMA quick_check(1)")
    except StoreError as error:
        problem = str(error)
    if problem == "ok":
        yield Finding("ok", f"{database} is sound (quick_check)")
    else:
        told = f"{database} is damaged ({problem}); stop the service and save what can be read"
        yield Finding("error", told, f"sqlite3 {database} .recover > saved.sql")


def check_log(database: Path) -> Iterator[Finding]:
    """Warn of a write-ahead log that somebody keeps from being moved."""
    log = database.with_name(database.name + "-wal")
    size = log.stat().st_size if log.exists() else 0
    told = f"the write-ahead log has {size / _MEGABYTE:.1f} MB"
    if size > _LONG_LOG:
        told += ": somebody has been reading for long, and keeps it from being moved"
        yield Finding("warning", told, f"fuser -v {log}")
    else:
        yield Finding("ok", told)


def _start(database: Path) -> str:
    return f"gigqd start {database}"
