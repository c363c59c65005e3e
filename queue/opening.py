"""Opening a database file with SQLite, and refusing what is none before SQLite has touched it."""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import TYPE_CHECKING

from gigq.queue.errors import StoreError
from gigq.queue.sqlite_errors import cannot_be_opened

if TYPE_CHECKING:
    from pathlib import Path

_STATEMENTS = 256  # that stay prepared


def connect(path: Path) -> sqlite3.Connection:
    """Open it, or make it, without a transaction or any waiting of Python's. Raises StoreError."""
    _refuse_what_is_no_file(path)
    try:
        return sqlite3.connect(
            path,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
        )
    except sqlite3.OperationalError as error:
        raise cannot_be_opened(path, error) from None


def _refuse_what_is_no_file(path: Path) -> None:
    """Say so of a folder, a pipe or a device, of which SQLite knows only that it fails."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 (once a connection)
    except FileNotFoundError:
        return
    except OSError as error:
        message = f"{path} cannot be opened: {error.strerror}"
        raise StoreError(message) from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        message = f"{path} is {what}, and cannot be a database; name another file"
        raise StoreError(message)
