"""The write-ahead log as a file: how long it is after a commit, and its way to the disk.

It stays open. A worker whose jobs have used up all descriptors can still sync, and of a write that
failed Linux tells once for each descriptor that was open then (fsync(2), "Errors"). SQLite deletes
the log with the last connection, so that this one's stays the same file.
"""

from __future__ import annotations

import ctypes
import errno
import os
import termios
from array import array
from contextlib import suppress
from fcntl import ioctl
from typing import TYPE_CHECKING

from gigq.queue.folders import sync_folder
from gigq.queue.own_descriptor import OwnDescriptor

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 1 << 20
_WRITE = 2  # SYNC_FILE_RANGE_WRITE
_LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)  # else it could not be done here, and harms nothing
_write_out = ctypes.CDLL(None, use_errno=True).sync_file_range
_write_out.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_TRUSTED = 64  # looks at the length, after which it is seen whether it is still the log's


class LogFile:
    """The log of one connection; no locks are held on it, so that closing it drops none."""

    def __init__(self, path: str, folder: Path) -> None:
        """Name the log, and the folder in which it has to be found again."""
        self._path = path
        self._folder = folder
        self._file = OwnDescriptor(path, os.O_RDWR)
        self._looks = 0
        self._is_named = False  # on the disk, in its folder
        self._behind = array("i", [0])
        # A sync has failed, and the next one would not do what it did not: until `write_again` has
        # come before it, nobody knows what of the log is on the disk.
        self.is_doubtful = False

    def length(self) -> int:
        """Give its length in bytes, modulo 4 GiB. Raises OSError."""
        self._looks -= 1
        try:
            if self._looks < 0:
                self._looks = _TRUSTED
                self._file.opened()
            # What lies behind the position, which is never moved: a quarter of what it takes to ask
            # for the file's status by its name. Its times are not touched: see `file_status`.
            ioctl(self._file.number, termios.FIONREAD, self._behind)
        except (OSError, ValueError):  # no descriptor, or a kernel that knows this of pipes only
            return os.stat(self._path).st_size  # noqa: PTH116 (once a commit)
        length = self._behind[0]
        return length if length >= 0 else length + (1 << 32)

    def write_out(self) -> None:
        """Send what the disk does not have yet on its way there, without waiting for it to arrive.

        It promises nothing; the next sync has less to wait for (sync_file_range(2)).
        """
        with suppress(OSError):
            failed = _write_out(self._file.opened(), 0, 0, _WRITE)
            if failed and ctypes.get_errno() in _LOST:
                self.is_doubtful = True

    def sync(self) -> None:
        """Let what was committed outlast a loss of power. Raises OSError."""
        try:
            descriptor = self._file.opened()
            if not self._is_named:  # this connection may have made it
                sync_folder(self._folder)
                self._is_named = True
            os.fdatasync(descriptor)
        except OSError:
            self.is_doubtful = True
            raise

    def write_again(self) -> None:
        """Write what it holds once more, for a failed sync leaves it where no other would look.

        With the write lock in hand. Raises OSError.
        """
        descriptor, offset = self._file.opened(), 0
        while chunk := os.pread(descriptor, _CHUNK, offset):
            offset += os.pwrite(descriptor, chunk, offset)
        self.is_doubtful = False

    def close(self) -> None:
        """Let go of it."""
        self._file.close()
