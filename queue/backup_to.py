"""`gigq backup FILE`: a verified copy of a database in use, under a name of one's own.

The copy is made and checked under a temporary name in the folder of `FILE`, and gets its own name
when it is sound and on the disk: what lies there is a whole backup, or none.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

from gigq.queue import statements as sql
from gigq.queue.backup import copy_and_check, create_like
from gigq.queue.companions import real
from gigq.queue.errors import StoreError
from gigq.queue.file_system import Reach, file_system
from gigq.queue.folders import sync_folder
from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

_MEGABYTE = 1_000_000
_BESIDE = ("-wal", "-shm", "-journal")


class Backup(NamedTuple):
    """What was backed up."""

    path: Path
    jobs: int
    size: int  # bytes


def back_up_to(database: Path, target: Path, *, force: bool = False) -> Backup:
    """Copy the database at `database` into `target`, a new file unless `force`; while it is used.

    Raises StoreError, and leaves what lay at `target` as it was: the database is not ours or not
    sound, the target is itself or in use, its folder is missing, on a network or full.
    """
    SqliteStore(database, create=False).close()  # raises where there is nothing of ours
    database, target = real(database), target.absolute()
    _refuse(database, target, force=force)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        create_like(database, part)
        jobs = _copy(database, part)
        size = part.stat().st_size
        _give_name(part, target, force=force)
        sync_folder(target.parent)
    except OSError as error:
        message = f"no backup was made: {target}: {error.strerror}"
        raise StoreError(message) from None
    finally:
        for suffix in ("", *_BESIDE):
            part.with_name(part.name + suffix).unlink(missing_ok=True)
    return Backup(target, jobs, size)


def _refuse(database: Path, target: Path, *, force: bool) -> None:
    """Say what speaks against the target."""
    message = None
    if target.is_dir():
        message = f"{target} is a folder; name a file in it"
    elif not target.parent.is_dir():
        message = f"the folder {target.parent} does not exist; create it first"
    elif target.exists() and target.samefile(database):
        message = f"{target} is the database itself; name another file"
    elif target.exists() and not force:
        message = f"{target} exists; name another file, or replace it with --force"
    elif in_use := next((f for f in _beside(target) if f.exists()), None):
        message = (
            f"{in_use} lies there: it belongs to a database that is in use, or that is gone, and "
            "would be mixed with the copy; name another file, or remove it if nobody needs it"
        )
    else:
        found = file_system(target.parent)
        if found is not None and found.reach is Reach.NETWORK:
            message = (
                f"{target.parent} lies on {found.kind}, a network file system, where SQLite cannot "
                "work; back up to a disk of this machine, and copy the file from there"
            )
    if message is not None:
        raise StoreError(message)


def _beside(target: Path) -> list[Path]:
    return [target.with_name(target.name + suffix) for suffix in _BESIDE]


def _copy(database: Path, part: Path) -> int:
    """Copy and check; gives the number of jobs."""
    try:
        with closing(sqlite3.connect(database, isolation_level=None)) as source:
            source.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
            problems = copy_and_check(source, part)
        with closing(sqlite3.connect(part, isolation_level=None)) as copy:
            counted = {tuple(row[:2]): row[2] for row in copy.execute(sql.COUNTED)}
            kept = {tuple(row[:2]): row[2] for row in copy.execute(sql.COUNTERS)}
    except sqlite3.Error as error:
        raise StoreError(_why_not(error, database, part)) from error
    if problems == "ok" and counted != kept:
        problems = "its counters are not what is counted"
    if problems != "ok":
        message = (
            f"no backup was made: the copy is not sound ({problems}); examine the database with: "
            f"gigq doctor --db {database}"
        )
        raise StoreError(message)
    return sum(counted.values())


def _why_not(error: sqlite3.Error, database: Path, part: Path) -> str:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        free = shutil.disk_usage(part.parent).free
        return (
            f"no backup was made: {part.parent} is full; about "
            f"{database.stat().st_size // _MEGABYTE + 1:,} MB are needed, and "
            f"{(free + part.stat().st_size) // _MEGABYTE:,} MB were free"
        )
    return f"no backup of {database} was made: {error}; examine it with: gigq doctor"


def _give_name(part: Path, target: Path, *, force: bool) -> None:
    """Rename it; not over a file that somebody has put there in the meantime."""
    if force:
        part.replace(target)
        return
    try:
        target.hardlink_to(part)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        part.rename(target)  # a file system without links
    with suppress(FileNotFoundError):
        part.unlink()
