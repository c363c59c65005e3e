"""A file that stays open, in a process in which jobs may close or take over any descriptor.

To open it for each use would take ten times as long, or need a descriptor where a job has used up
all of them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import finalize

from gigq.queue.file_status import FileStatuses

if TYPE_CHECKING:
    from collections.abc import Callable

    from gigq.queue.file_status import FileStatus


class OwnDescriptor:
    """The descriptor of one file; closed with this object, for whoever forgets to."""

    def __init__(self, path: str | os.PathLike[str], flags: int) -> None:
        """Name the file, and how it is opened."""
        self._path = path
        self._flags = flags
        self._statuses = FileStatuses()
        self._file: FileStatus | None = None
        self._close: Callable[[], object] = _nothing
        self.number = -1  # as which it was opened; -1: it is not open

    def status(self) -> FileStatus | None:
        """Tell of the file; None where it is not open, or another one stands behind the number."""
        if self._file is None:
            return None
        try:
            status = self._statuses.of(self.number)
        except OSError:
            return None
        return status if _is_same(status, self._file) else None

    def open(self) -> FileStatus:
        """Open it, anew where it is open. Raises OSError."""
        self.close()
        number = os.open(self._path, self._flags | os.O_CLOEXEC)
        status = self._statuses.of(number)
        self.number, self._file = number, status
        self._close = finalize(self, _close_same, number, status)
        return status

    def opened(self) -> int:
        """Give the descriptor, of the file opened anew if need be. Raises OSError."""
        if self.status() is None:
            self.open()
        return self.number

    def close(self) -> None:
        """Let go of it."""
        self.number, self._file = -1, None
        self._close()


def _nothing() -> None:
    pass


def _close_same(number: int, file: FileStatus) -> None:
    # A program that became a daemon has closed all, and may have something else behind the number.
    with suppress(OSError):
        if _is_same(FileStatuses().of(number), file):
            os.close(number)


def _is_same(one: FileStatus, other: FileStatus) -> bool:
    return (one.device, one.inode) == (other.device, other.inode)
