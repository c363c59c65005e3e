"""Waking a waiting worker: a FIFO beside the database, one byte a ring.

The bell is a hint; the database is the truth. A ring that finds nobody is lost without harm,
because a worker looks at the database before it waits, and again from time to time.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import finalize

from gigq.queue.file_status import FileStatuses

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_EVERYTHING = 65536  # a pipe's default capacity: one read empties it
# For both directions: a listener must not see end-of-file when the last submitter leaves, nor a
# submitter an error while nobody listens.
_FLAGS = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC


class Bell:
    """The ringing end. It stays open, for to open it costs ten times as much as to ring."""

    def __init__(self, path: Path) -> None:
        """Name the FIFO; it is opened by the first ring."""
        self._path = path
        self._statuses = FileStatuses()
        self._descriptor: int | None = None
        self._file: tuple[int, int] | None = None
        self._close: Callable[[], object] = _nothing

    def ring(self) -> None:
        """Wake one waiting worker, if there is one. Never waits, never fails."""
        with suppress(OSError):  # EAGAIN: full of unread rings
            if self._descriptor is None or self._fifo(self._descriptor) != self._file:
                self._open()
            if self._descriptor is not None:
                os.write(self._descriptor, b"!")

    def _open(self) -> None:
        self.close()
        descriptor = os.open(self._path, _FLAGS)
        self._file = self._fifo(descriptor)
        if self._file is None:
            os.close(descriptor)
            return
        self._descriptor = descriptor
        self._close = finalize(self, _close_same, descriptor, self._file)

    def close(self) -> None:
        """Let go of it; the next ring would open it again."""
        self._descriptor = None
        self._close()

    def _fifo(self, descriptor: int) -> tuple[int, int] | None:
        """Tell one FIFO from another; None for one that was deleted, and for what is none."""
        status = self._statuses.of(descriptor)
        if not status.links or not stat.S_ISFIFO(status.mode):
            return None
        return status.device, status.inode


def _nothing() -> None:
    pass


def _close_same(descriptor: int, file: tuple[int, int]) -> None:
    # A program that became a daemon has closed all, and may have something else behind the number.
    with suppress(OSError):
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) == file:
            os.close(descriptor)


class Doorbell:
    """The listening end, to be registered with EPOLLEXCLUSIVE: a ring wakes one worker."""

    def __init__(self, path: Path) -> None:
        """Open the FIFO. Raises OSError when it cannot be opened."""
        self._descriptor = os.open(path, _FLAGS)

    def fileno(self) -> int:
        """Give the descriptor to wait on."""
        return self._descriptor

    def silence(self) -> None:
        """Take all rings at once. Who then finds a job rings for the next worker."""
        with suppress(BlockingIOError):
            os.read(self._descriptor, _EVERYTHING)

    def ring(self) -> None:
        """Wake one other waiting worker."""
        with suppress(OSError):
            os.write(self._descriptor, b"!")

    def close(self) -> None:
        """Stop listening."""
        os.close(self._descriptor)
