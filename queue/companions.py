"""The files that stand beside a database, all in one folder `NAME.d`.

    service.lock     held by the one gigqd of this database; never unlinked
    checkpoint.lock  held by whoever moves the write-ahead log into the database
    control          the service's socket, for its owner only
    doorbell         a FIFO: a byte wakes one waiting worker
    output/          what jobs printed

The folder takes the database's permissions, so that whoever may submit may also ring.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_READ_TO_SEARCH = 2  # 0444 shifted gives the matching 0111


class Companions:
    """Paths of one database's companion files."""

    def __init__(self, database: Path) -> None:
        """Name the files; nothing is created.

        A symbolic link to a database is that database, as it is for SQLite.
        """
        database = database.resolve()
        self.folder = database.with_name(database.name + ".d")
        self.service_lock = self.folder / "service.lock"
        self.checkpoint_lock = self.folder / "checkpoint.lock"
        self.control = self.folder / "control"
        self.doorbell = self.folder / "doorbell"
        self.output = self.folder / "output"
        self._database = database

    def create(self) -> None:
        """Make the folder and its parts, as open to others as the database is.

        Raises OSError when the database's own folder cannot be written.
        """
        mode = stat.S_IMODE(os.stat(self._database).st_mode)  # noqa: PTH116
        folder_mode = mode | (mode & 0o444) >> _READ_TO_SEARCH
        for folder in (self.folder, self.output):
            if _make(folder, folder_mode):
                self._hand_over(folder)
        with suppress(FileExistsError):
            os.mkfifo(self.doorbell)
            with suppress(PermissionError):
                self.doorbell.chmod(mode | 0o600)
            self._hand_over(self.doorbell)

    def _hand_over(self, path: Path | int) -> None:
        """Give what root made to the database's owner, whose service has to use it."""
        if os.geteuid() == 0:
            owner = os.stat(self._database)  # noqa: PTH116
            os.chown(path, owner.st_uid, owner.st_gid)

    def open_lock(self, path: Path) -> int:
        """Open a lock file for flock, creating it if need be; the caller closes it."""
        mode = stat.S_IMODE(os.stat(self._database).st_mode)  # noqa: PTH116
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
        with suppress(PermissionError):
            os.fchmod(descriptor, mode)
        self._hand_over(descriptor)
        return descriptor


def _make(folder: Path, mode: int) -> bool:
    """Make a folder; False where it was there."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    # A chmod that names no setgid bit keeps a folder's inherited one only if it is given again.
    inherited = stat.S_IMODE(folder.stat().st_mode) & stat.S_ISGID
    with suppress(PermissionError):
        folder.chmod(mode | 0o700 | inherited)
    return True
