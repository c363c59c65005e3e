"""Which file a descriptor is open on, without its times.

From Linux 6.13 on a file of which somebody has asked the times records a new one at its next write
(docs.kernel.org/filesystems/multigrain-ts.html). On ext4 that goes into the journal, and the next
fdatasync(2) waits for it: 40 of the 170 microseconds of a durable commit, where stat(2) was called
of the log, or of the doorbell, for each. statx(2) gives no more than what it is asked for.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import NamedTuple

_AT_EMPTY_PATH = 0x1000
_ASKED = 0x1 | 0x4 | 0x100  # the kind, the number of links, the inode
_BYTES = 256  # of a struct statx
_FIELDS = struct.Struct("=16xI8xHxxQ")  # links, mode, inode
_DEVICE = struct.Struct("=II")  # major, minor
_DEVICE_AT = 136
_NOT_HERE = (errno.ENOSYS, errno.EPERM)  # an old kernel, or a container's filter

_libc = ctypes.CDLL(None, use_errno=True)
_statx = getattr(_libc, "statx", None)  # not in the C library before glibc 2.28


class FileStatus(NamedTuple):
    """Which file it is, and of what kind."""

    device: int
    inode: int
    mode: int
    links: int


class FileStatuses:
    """Asks for it; of one thread at a time."""

    def __init__(self) -> None:
        """Prepare the place for the answer."""
        self._answer = ctypes.create_string_buffer(_BYTES)
        self._is_known = _statx is not None

    def of(self, descriptor: int) -> FileStatus:
        """Tell what a descriptor is open on. Raises OSError."""
        if self._ask(descriptor):
            links, mode, inode = _FIELDS.unpack_from(self._answer)
            device = os.makedev(*_DEVICE.unpack_from(self._answer, _DEVICE_AT))
            return FileStatus(device, inode, mode, links)
        found = os.fstat(descriptor)
        return FileStatus(found.st_dev, found.st_ino, found.st_mode, found.st_nlink)

    def _ask(self, descriptor: int) -> bool:
        if not self._is_known:
            return False
        if not _statx(descriptor, b"", _AT_EMPTY_PATH, _ASKED, self._answer):  # type: ignore[misc]
            return True
        code = ctypes.get_errno()
        if code not in _NOT_HERE:
            raise OSError(code, os.strerror(code))
        self._is_known = False
        return False
