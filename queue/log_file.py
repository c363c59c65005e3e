"""The write-ahead log as a file: synced behind the commits of a worker that waits for the disk.

Its descriptor stays open. A worker whose jobs have used up all descriptors can still sync, and of a
write that failed Linux tells once for each descriptor that was open then (fsync(2), "Errors").
"""

from __future__ import annotations

import os
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

    def sync(self) -> None:
        """Let what was committed outlast a loss of power. Raises OSError."""
        os.fdatasync(self._opened())

    def write_again(self) -> None:
        """Write what it holds once more, for a failed sync leaves it where no other would look.

        With the write lock in hand. Raises OSError.
        """
        descriptor, offset = self._opened(), 0
        while chunk := os.pread(descriptor, _CHUNK, offset):
            offset += os.pwrite(descriptor, chunk, offset)

    def _opened(self) -> int:
        # A job may have closed all that it found, and opened something else in its place.
        if self._descriptor is not None and self._is_there(self._descriptor):
            return self._descriptor
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # this connection may have made the log
        finally:
            os.close(folder)
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
