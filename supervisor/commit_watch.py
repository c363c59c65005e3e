"""Being woken by the next commit to a database, whoever makes it: inotify(7) on its two files.

A submit rings a doorbell, but not everybody can: another tool that writes to the database, a user
of another group. Each commit goes into the write-ahead log, and from there into the database.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Of inotify(7). Once: each job is a commit, and to hear of all of them would cost more than jobs.
_CHANGES = 0x2 | 0x4 | 0x400 | 0x800  # modified, attributes, deleted, moved
_ONCE = 0x80000000
_EVENTS = 4096  # bytes; an event of a file has sixteen

_libc = ctypes.CDLL(None, use_errno=True)


class CommitWatch:
    """A descriptor that becomes readable at the first commit after `arm`."""

    def __init__(self, database: Path) -> None:
        """Prepare to watch the database at this path; nothing is watched yet."""
        self._files = (os.fsencode(database), os.fsencode(f"{database}-wal"))
        # The system may have no more to give: then nothing is ever watched.
        self._descriptor = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)

    def fileno(self) -> int:
        """Give the descriptor to wait on; -1 where there is none."""
        return int(self._descriptor)

    def arm(self) -> bool:
        """Watch for the next commit; False where that is not possible."""
        self.forget()
        asked = (
            _libc.inotify_add_watch(self._descriptor, file, ctypes.c_uint32(_CHANGES | _ONCE))
            for file in self._files
        )
        return all(watch >= 0 for watch in asked)

    def forget(self) -> bool:
        """Take what has happened so far, if anything has: the descriptor is readable no longer."""
        with suppress(OSError):
            return bool(os.read(self._descriptor, _EVENTS))
        return False

    def close(self) -> None:
        """Watch no longer."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
