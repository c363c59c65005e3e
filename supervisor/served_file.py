"""Whether the database that is served still has its name: somebody may move it, or replace it."""

from __future__ import annotations

import os
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
    """The file that has the name when this is made."""

    def __init__(self, path: Path) -> None:
        """Take note of it. Raises OSError."""
        self._path = path
        self._file = _device_and_inode(path)

    def place(self) -> Place:
        """Tell what has its name now."""
        try:
            same = _device_and_inode(self._path) == self._file
        except FileNotFoundError:
            return Place.NOTHING
        except OSError:  # a folder that may not be looked into for a while says nothing of the file
            return Place.OURS
        return Place.OURS if same else Place.ANOTHER


def _device_and_inode(path: Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 (twice a second)
    return status.st_dev, status.st_ino
