"""The write-ahead log of one connection: its way to the disk, and into the database.

`wal_autocheckpoint` is 0. SQLite 3.7.0 to 3.51.2 can lose commits when a checkpoint reads the log's
header while a writer resets it (sqlite.org/wal.html#walresetbug); a checkpoint here runs only while
a second connection, the *gate*, holds the write lock, so that no writer can.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from gigq.queue.log_file import LogFile
from gigq.queue.opening import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gigq.queue.companions import Companions

# About eight thousand pages. The few pages that all jobs change go into the database a quarter as
# often as with two thousand, and short jobs are drained a twelfth faster.
CHECKPOINT_BYTES = 16 << 20
# Half a megabyte of the log: the disk writes it while the next ones are made, and whoever moves the
# log waits for the last of it, instead of for all.
_WRITTEN_OUT_EACH = 64  # commits that nobody has synced
_UNLOOKED = 8  # small commits, until the log's length is looked at
_GATE_PATIENCE = 0.02  # seconds before a checkpoint is left to a later commit


class WriteAheadLog:
    """What one connection does for the log that it shares with all others."""

    def __init__(self, path: Path, companions: Companions, checkpoint_bytes: int) -> None:
        """Care for the log of the database `path`; beyond `checkpoint_bytes` it is too long."""
        self.file = LogFile(f"{path}-wal", path.parent)
        self._path = path
        self._companions = companions
        self.checkpoint_bytes = self._too_long_above = checkpoint_bytes
        self._unsynced = 0  # commits since it was last synced or written out
        self._unlooked = 0  # small commits since its length was looked at
        self._gate: sqlite3.Connection | None = None

    def note_commit(self, *, is_synced: bool, is_small: bool) -> bool:
        """Take note of a commit; now and then send those that did not wait for it to the disk.

        `is_small`: few pages were written, so that the log's length is not looked at each time.
        Tells whether it is time to move the log into the database.
        """
        if not is_synced:
            self._unsynced += 1
            if self._unsynced >= _WRITTEN_OUT_EACH:
                self._unsynced = 0
                self.file.write_out()
        self._unlooked += 1
        if is_small and self._unlooked < _UNLOOKED:
            return False
        self._unlooked = 0
        return self.is_too_long()

    def is_too_long(self) -> bool:
        """Tell whether it is time to move it into the database."""
        try:
            length = self.file.length()
        except OSError:  # what was to be committed is
            return False
        if length <= self.checkpoint_bytes:
            self._too_long_above = self.checkpoint_bytes
        elif length > self._too_long_above:
            # A reader may pin the log: again only when it has grown as much once more.
            self._too_long_above = length + self.checkpoint_bytes
            return True
        return False

    def move(
        self, connection: sqlite3.Connection, hold: Callable[[sqlite3.Connection, float], None]
    ) -> None:
        """Move it into the database; one process at a time, and no writer meanwhile.

        `hold` takes the write lock for a connection, within so many seconds. Raises OSError,
        sqlite3.Error and StoreError; nothing is lost then, and the next one may do it.
        """
        lock = self._companions.open_lock(self._companions.checkpoint_lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._gate is None:
                self._gate = connect(self._path)
                self._gate.execute("PRAGMA wal_autocheckpoint = 0")
            if not self.file.is_doubtful:
                self.sync()  # while others can write
            try:
                hold(self._gate, _GATE_PATIENCE)
                if self.file.is_doubtful:
                    self.file.write_again()
                    self.sync()
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            finally:
                self.let_writers_in()
        finally:
            os.close(lock)

    def let_writers_in(self) -> None:
        """Let go of the write lock, if `move` was interrupted while it held it."""
        with suppress(sqlite3.Error):
            if self._gate is not None and self._gate.in_transaction:
                self._gate.execute("ROLLBACK")

    def sync(self) -> None:
        """Let what was committed outlast a loss of power. Raises OSError."""
        self.file.sync()
        self._unsynced = 0

    def close(self) -> None:
        """Let go of it."""
        if self._gate is not None:
            self._gate.close()
        self.file.close()

    def leave_to_parent(self) -> None:
        """Put aside what was inherited over a fork, or closed by somebody else."""
        if self._gate is not None:
            leave_to_parent(self._gate)
            self._gate = None
        self.file.close()


def leave_to_parent(inherited: sqlite3.Connection) -> None:
    """Let nothing ever close a connection of the process that this one was forked from.

    Even closing it would harm the parent's; or, where descriptors were closed, whatever has taken
    their numbers.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
