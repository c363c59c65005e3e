"""What SQLite complains of, as the errors that users see: with the file, and what to do next."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from gigq.queue.errors import (
    ForeignDatabaseError,
    StoreDamagedError,
    StoreError,
    StoreUnusableError,
)

if TYPE_CHECKING:
    from pathlib import Path

_ADVICE = {
    sqlite3.SQLITE_FULL: "make room on its disk; nothing that was stored is lost",
    sqlite3.SQLITE_READONLY: "give this user write permission to the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "its folder must exist, and this user must be able to write there",
    sqlite3.SQLITE_IOERR: "look at its disk; nothing was changed",
    sqlite3.SQLITE_CORRUPT: "the file is damaged, and was left as it is: stop the service, "
    "examine it with gigq doctor, and restore a backup",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database, and was left as it is; name another file",
}
_KINDS: dict[int, type[StoreError]] = {
    sqlite3.SQLITE_CORRUPT: StoreDamagedError,
    sqlite3.SQLITE_NOTADB: ForeignDatabaseError,
}
_OTHER_ADVICE = "nothing was changed"
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another connection's lock was in the way."""
    return _code(error) in _BUSY


def is_full(error: sqlite3.Error) -> bool:
    """Tell whether the disk is."""
    return _code(error) == sqlite3.SQLITE_FULL


def cannot_be_opened(path: Path, error: sqlite3.OperationalError) -> StoreError:
    """Say so."""
    return StoreError(f"{path} cannot be opened ({error}); {_ADVICE[sqlite3.SQLITE_CANTOPEN]}")


def trouble(path: Path, error: sqlite3.DatabaseError) -> Exception:
    """Say what is wrong with the file or its disk; a mistake in a statement stays one."""
    if type(error) not in (sqlite3.DatabaseError, sqlite3.OperationalError):
        return error
    code = _code(error)
    kind = _KINDS.get(code, StoreUnusableError)
    return kind(f"{path}: {error}; {_ADVICE.get(code, _OTHER_ADVICE)}")


def _code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
