"""A verified copy of a database beside it, before something large is done to it."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from gigq.queue.errors import StoreError

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
        problems = _copy(source, copy)
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
    _sync_folder(path.parent)
    return copy


def _new_file(path: Path) -> Path:
    """Create an empty file with the database's permissions, under a name that is free."""
    # Local time, as in the names that people give.
    name = f"{path.name}.before-migrate-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    for number in range(1, 1000):
        copy = path.with_name(name if number == 1 else f"{name}-{number}")
        try:
            descriptor = os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
        except FileExistsError:
            continue
        except OSError as error:
            message = f"no backup can be made: {copy}: {error.strerror}; nothing was changed"
            raise StoreError(message) from None
        with suppress(PermissionError):  # only root may give it to the database's owner
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, mode)
        os.close(descriptor)
        return copy
    message = f"there are too many backups like {name} beside {path}; remove some"
    raise StoreError(message)


def _copy(source: sqlite3.Connection, copy: Path) -> str:
    with closing(sqlite3.connect(copy, isolation_level=None)) as target:
        source.backup(target)
        # One file, without a log beside it, is easier to keep and to put back.
        target.execute("PRAGMA journal_mode = DELETE").fetchall()
        rows = target.execute("PRAGMA integrity_check").fetchall()
    return "; ".join(str(row[0]) for row in rows)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
