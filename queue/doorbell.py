"""Waking a waiting worker: a FIFO beside the database, one byte a ring.

The bell is a hint; the database is the truth. A ring that finds nobody is lost without harm,
because a worker looks at the database before it waits, and again from time to time.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from gigq.queue.own_descriptor import OwnDescriptor

if TYPE_CHECKING:
    from pathlib import Path

_EVERYTHING = 65536  # a pipe's default capacity: one read empties it
# For both directions: a listener must not see end-of-file when the last submitter leaves, nor a
# submitter an error while nobody listens.
_FLAGS = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC


class Bell:
    """The ringing end. It stays open, for to open it costs ten times as much as to ring."""

    def __init__(self, path: Path) -> None:
        """Name the FIFO; it is opened by the first ring."""
        self._fifo = OwnDescriptor(path, _FLAGS)

    def ring(self) -> None:
        """Wake one waiting worker, if there is one. Never waits, never fails."""
        with suppress(OSError):  # EAGAIN: full of unread rings
            status = self._fifo.status()
            if status is None or not status.links:  # not open, taken away, or deleted
                status = self._fifo.open()
                if not stat.S_ISFIFO(status.mode):
                    self._fifo.close()
                    return
            os.write(self._fifo.number, b"!")

    def close(self) -> None:
        """Let go of it; the next ring would open it again."""
        self._fifo.close()


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
