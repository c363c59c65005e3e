"""A worker's life as a lock, for those from where its process cannot be seen.

In another container a pid means nothing, and after the host was booted anew nobody there can tell
the old boot from another machine. A file lock means the same everywhere on one machine: the kernel
keeps it while anybody has open what took it, and drops it with the last of them. These are the
worker, whatever it forked, and the supervisor that answers for it, which lets go only after it has
taken back what the worker held. So a lock that is gone is a death that was seen.

Each life locks one byte of `workers.lock`, picked at random: there is nothing to tidy up. The locks
are those of open file descriptions (F_OFD_SETLK, fcntl(2)): somebody else who opens and closes the
file does not drop them. Who runs jobs holds it by a mapping (mmap(2)), which keeps the file open as
a descriptor does: a job may close descriptors that are not its own.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import secrets
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from gigq.queue.identity import Liveness

if TYPE_CHECKING:
    from gigq.queue.companions import Companions

WITHOUT_LOCK = "when its container is killed, what it held stays running until: gigq reclaim WORKER"

# No link and no FIFO that somebody has put there: to open one could wait for ever.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_LOCK = struct.Struct("hhqqi0q")  # struct flock: kind, whence, start, length, pid
_BYTES = 1 << 62
_LONGEST_NAME = 64
_NOT_MAPPED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


class LifeLock:
    """A byte of `workers.lock`, held until all that have it have let go of it or are dead."""

    def __init__(self, companions: Companions) -> None:
        """Hold one from now on. Raises OSError: it cannot be done here, or not now."""
        companions.make_once(companions.workers_lock, secrets.token_hex(8).encode())
        byte = secrets.randbelow(_BYTES)
        self.descriptor = os.open(companions.workers_lock, _FLAGS)  # who inherits it has it, too
        self._address: int | None = None
        try:
            fcntl.fcntl(self.descriptor, fcntl.F_OFD_SETLK, _lock(fcntl.F_RDLCK, byte))
            self.mark = f"{_name_of(self.descriptor)}.{byte}"  # by which others find it
        except BaseException:
            os.close(self.descriptor)
            raise

    def pin(self) -> None:
        """Hold it without a descriptor from now on. Raises OSError."""
        self._address = pin(self.descriptor)

    def close(self) -> None:
        """Let go of it."""
        if self._address is None:
            os.close(self.descriptor)
        else:
            _libc.munmap(self._address, mmap.PAGESIZE)


def pin(descriptor: int) -> int:
    """Keep open what a descriptor is open on, and close the descriptor; where it is mapped.

    Until that is unmapped, or this process and all that it forks from now on are dead, or have
    become other programs. Raises OSError; the descriptor is open then.
    """
    asked = (None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    address: int = _libc.mmap(*asked)
    if address == _NOT_MAPPED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "mmap")
    os.close(descriptor)
    return address


def liveness_by(mark: str, companions: Companions) -> Liveness:
    """Judge by its lock whether a worker or its supervisor lives.

    ELSEWHERE where the mark is not of the file that is here: the database came without it, from a
    backup or another machine. UNKNOWN where the file cannot be read.
    """
    name, _, byte = mark.rpartition(".")
    try:
        descriptor = os.open(companions.workers_lock, _FLAGS)
    except FileNotFoundError:
        return Liveness.ELSEWHERE
    except OSError:
        return Liveness.UNKNOWN
    try:
        if name != _name_of(descriptor) or not byte.isdecimal() or int(byte) >= _BYTES:
            return Liveness.ELSEWHERE
        # Asked, not tried: one that is taken for an instant would pass for a life.
        asked = _lock(fcntl.F_WRLCK, int(byte))
        kind, *_ = _LOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))
    except OSError:
        return Liveness.UNKNOWN
    finally:
        os.close(descriptor)
    return Liveness.DEAD if kind == fcntl.F_UNLCK else Liveness.ALIVE


def _lock(kind: int, byte: int) -> bytes:
    return _LOCK.pack(kind, os.SEEK_SET, byte, 1, 0)


def _name_of(descriptor: int) -> str:
    """Give what tells this file from any other, and from a copy of it."""
    word = b""
    with suppress(OSError):  # a FIFO or a folder: of no mark that anybody has written
        word = os.pread(descriptor, _LONGEST_NAME, 0)
    return f"{os.fstat(descriptor).st_ino}.{word.decode(errors='replace')}"
