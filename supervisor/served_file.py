"""Whether the database that is served still has its name: somebody may move it, or replace it."""

from __future__ import annotations

import os
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Place(Enum):
    """What has the name of the served database now."""

    OURS = "the database that is served"
    NOTHING = "nothing"
    ANOTHER = "another file"


class ServedFile:
    """The file that has the name when this is made, and the two that SQLite keeps beside it."""

    def __init__(self, path: Path) -> None:
        """Take note of it. Raises OSError."""
        self._path = path
        self._file = _device_and_inode(path)
        self._beside: dict[str, tuple[int, int]] = {}

    def place(self) -> Place:
        """Tell what has its name now."""
        try:
            same = _device_and_inode(self._path) == self._file
        except FileNotFoundError:
            return Place.NOTHING
        except OSError:  # a folder that may not be looked into for a while says nothing of the file
            return Place.OURS
        if not same:
            return Place.ANOTHER
        for path in (f"{self._path}-wal", f"{self._path}-shm"):
            with suppress(OSError):
                self._beside[path] = _device_and_inode(path)
        return Place.OURS

    def take_log_away(self) -> None:
        """Let the log not lie beside another file: SQLite would write it into that one.

        Whoever has it open goes on with it, and what has taken its place stays.
        """
        for path, ours in self._beside.items():
            with suppress(OSError):
                if _device_and_inode(path) == ours:
                    os.unlink(path)  # noqa: PTH108


def _device_and_inode(path: Path | str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 (twice a second)
    return status.st_dev, status.st_ino
