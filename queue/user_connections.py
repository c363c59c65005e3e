"""A thread's own connection to a database file, for jobs that want one; not used by gigq."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

_local = threading.local()


def _connections() -> dict[str, sqlite3.Connection]:
    found: dict[str, sqlite3.Connection] = _local.__dict__.setdefault("connections", {})
    return found


def get_connection(db_path: str | os.PathLike[str]) -> sqlite3.Connection:
    """Give this thread's connection to the file: rows by name, write-ahead log."""
    path = str(Path(db_path).absolute())
    connections = _connections()
    if path not in connections or _is_closed(connections[path]):
        connection = sqlite3.connect(path, timeout=30)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        # gigq moves the log itself; see gigq.queue.connection.
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        connections[path] = connection
    return connections[path]


def close_connection(db_path: str | os.PathLike[str]) -> None:
    """Close this thread's connection to the file, if it has one."""
    connection = _connections().pop(str(Path(db_path).absolute()), None)
    if connection is not None:
        connection.close()


def close_connections() -> None:
    """Close all of this thread's connections."""
    connections = _connections()
    while connections:
        connections.popitem()[1].close()


def roll_back_connections() -> bool:
    """Undo what this thread's connections have begun and not committed; True if there was any."""
    connections = _local.__dict__.get("connections")
    if not connections:
        return False
    unfinished = [
        each for each in connections.values() if not _is_closed(each) and each.in_transaction
    ]
    for connection in unfinished:
        connection.rollback()
    return bool(unfinished)


def _is_closed(connection: sqlite3.Connection) -> bool:
    """Tell whether somebody has closed it by its own method."""
    try:
        connection.in_transaction  # noqa: B018 (it raises then)
    except sqlite3.ProgrammingError:
        return True
    return False
