"""The write-ahead log as a file: how long it is after a commit, and its way to the disk.

Its descriptor stays open. A worker whose jobs have used up all descriptors can still sync, and of a
write that failed Linux tells once for each descriptor that was open then (fsync(2), "Errors").
SQLite deletes the log with the last connection, so that this one's stays the same file.
"""

from __future__ import annotations

import os
import termios
from array import array
from fcntl import ioctl
from typing import TYPE_CHECKING

from gigq.queue.file_status import FileStatuses

if TYPE_CHECKING:
    from pathlib import Path

    from gigq.queue.file_status import FileStatus

_CHUNK = 1 << 20


class LogFile:
    """The log of one connection; no locks are held on it, so that closing it drops none."""

    def __init__(self, path: str, folder: Path) -> None:
        """Name the log, and the folder in which it has to be found again."""
        self._path = path
        self._folder = folder
        self._statuses = FileStatuses()
        self._descriptor: int | None = None
        self._file: FileStatus | None = None
        self.is_doubtful = False  # whether it is on the disk: a sync has failed
        self._is_named = False  # on the disk, in its folder
        self._behind = array("i", [0])

    def length(self) -> int:
        """Give its length in bytes, without what are whole 4 GiB. Raises OSError."""
        descriptor = self._descriptor
        if descriptor is None:
            descriptor = self._opened()
        # What lies behind the position, which is never moved: a quarter of what it takes to ask for
        # the file's status by its name, and harmless where a job has put another file in its place.
        ioctl(descriptor, termios.FIONREAD, self._behind)
        length = self._behind[0]
        return length if length >= 0 else length + (1 << 32)

    def sync(self) -> None:
        """Let what was committed outlast a loss of power. Raises OSError."""
        try:
            descriptor = self._opened()
            if not self._is_named:  # this connection may have made it
                self._sync_folder()
                self._is_named = True
            os.fdatasync(descriptor)
        except OSError:
            self.is_doubtful = True
            raise

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def write_again(self) -> None:
        """Write what it holds once more, for a failed sync leaves it where no other would look.

        With the write lock in hand. Raises OSError.
        """
        descriptor, offset = self._opened(), 0
        while chunk := os.pread(descriptor, _CHUNK, offset):
            offset += os.pwrite(descriptor, chunk, offset)
        self.is_doubtful = False

    def _opened(self) -> int:
        # A job may have closed all that it found, and opened something else in its place.
        if self._descriptor is not None and self._is_there(self._descriptor):
            return self._descriptor
        self._descriptor = descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        self._file = self._statuses.of(descriptor)
        return descriptor

    def _is_there(self, descriptor: int) -> bool:
        try:
            return self._statuses.of(descriptor) == self._file
        except OSError:
            return False

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor is not None and self._is_there(self._descriptor):
            os.close(self._descriptor)
        self._descriptor = None
