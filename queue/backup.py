"""A verified copy of a database: beside it, before something large is done to it, or anywhere.

It is made by SQLite's backup in one step, inside one read transaction: writers go on meanwhile, and
the copy is the database at one moment. It stays in WAL mode, as what is put back has to be.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from gigq.queue.errors import StoreError
from gigq.queue.folders import sync_folder

if TYPE_CHECKING:
    from pathlib import Path


def back_up(source: sqlite3.Connection, path: Path) -> Path:
    """Copy the database at `path` as `source` sees it; gives the copy's path.

    The copy is `NAME.before-migrate-YYYYMMDD-HHMMSS`, as open to others as the database is, checked
    (integrity_check) and on the disk. No file is ever overwritten. `source` must not be in a write
    transaction. Raises StoreError, and leaves no copy, when it cannot be made or is not sound.
    """
    copy = _new_file(path)
    try:
        problems = copy_and_check(source, copy)
    except sqlite3.Error as error:
        copy.unlink()
        message = f"no backup of {path} could be made ({error}); nothing was changed"
        raise StoreError(message) from error
    if problems != "ok":
        copy.unlink()
        message = (
            f"{path} is damaged ({problems}); nothing was changed. Save what can be read with: "
            f"sqlite3 {path} .recover"
        )
        raise StoreError(message)
    sync_folder(path.parent)
    return copy


_CACHE = 200_000  # KiB, for a check that looks at all pages in the order of each index


def _new_file(path: Path) -> Path:
    """Create an empty file with the database's permissions, under a name that is free."""
    # Local time, as in the names that people give.
    name = f"{path.name}.before-migrate-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    for number in range(1, 1000):
        copy = path.with_name(name if number == 1 else f"{name}-{number}")
        try:
            create_like(path, copy)
        except FileExistsError:
            continue
        except OSError as error:
            message = f"no backup can be made: {copy}: {error.strerror}; nothing was changed"
            raise StoreError(message) from None
        return copy
    message = f"there are too many backups like {name} beside {path}; remove some"
    raise StoreError(message)


def create_like(path: Path, copy: Path) -> None:
    """Create an empty file that is as open to others as the one at `path`. Raises OSError."""
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    descriptor = os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    with suppress(PermissionError):  # only root may give it to the database's owner
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, mode)
    os.close(descriptor)


def copy_and_check(source: sqlite3.Connection, copy: Path) -> str:
    """Copy what `source` sees into an empty file; gives "ok" or what is wrong with the copy."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as target:
        source.backup(target)
        target.execute(f"PRAGMA cache_size = -{_CACHE}")
        rows = target.execute("PRAGMA integrity_check").fetchall()
    return "; ".join(str(row[0]) for row in rows)
