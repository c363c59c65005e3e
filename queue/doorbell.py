"""Waking a waiting worker: a FIFO beside the database, one byte a ring.

The bell is a hint; the database is the truth. A ring that finds nobody is lost without harm,
because a worker looks at the database before it waits, and again from time to time.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_EVERYTHING = 65536  # a pipe's default capacity: one read empties it


def ring(path: Path) -> None:
    """Wake one waiting worker, if there is one. Never waits, never fails."""
    # ENXIO: nobody listens; ENOENT: no worker ever did; EAGAIN: full of unread rings.
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"!")
        finally:
            os.close(descriptor)


class Doorbell:
    """The listening end, to be registered with EPOLLEXCLUSIVE: a ring wakes one worker."""

    def __init__(self, path: Path) -> None:
        """Open the FIFO. Raises OSError when it cannot be opened."""
        # Open for both: a listener must not see end-of-file when the last submitter leaves.
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

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
