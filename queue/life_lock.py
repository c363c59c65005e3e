"""A worker's life as a lock, for those from where its process cannot be seen.

In another container a pid means nothing, and after the host was booted anew nobody there can tell
the old boot from another machine. A file lock means the same everywhere on one machine: the kernel
keeps it while anybody has open what took it, and drops it with the last of them. These are the
worker, whatever it forked, and the supervisor that answers for it, which lets go only after it has
taken back what the worker held. So a lock that is gone is a death that was seen.

Each life locks one byte of `workers.lock`, picked at random: there is nothing to tidy up. The locks
are those of open file descriptions (F_OFD_SETLK, fcntl(2)): somebody else who opens and closes the
file does not drop them.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
from typing import TYPE_CHECKING

from gigq.queue.identity import Liveness
from gigq.queue.own_descriptor import OwnDescriptor

if TYPE_CHECKING:
    from gigq.queue.companions import Companions

_LOCK = struct.Struct("hhqqi0q")  # struct flock: kind, whence, start, length, pid
_BYTES = 1 << 62
_LONGEST_NAME = 64


class LifeLock:
    """A byte of `workers.lock`, held until it is closed by all that have it."""

    def __init__(self, companions: Companions) -> None:
        """Hold one from now on. Raises OSError: it cannot be done here, or not now."""
        _make(companions)
        self._byte = secrets.randbelow(_BYTES)
        self._file = OwnDescriptor(companions.workers_lock, os.O_RDONLY)
        self._hold()
        self.mark = f"{_name_of(self._file.number)}.{self._byte}"  # by which others find it

    @property
    def descriptor(self) -> int:
        """What a process has to inherit in order to hold it, too."""
        return self._file.number

    def keep(self) -> None:
        """Hold it again after somebody has closed all descriptors. Raises OSError."""
        if self._file.status() is None:
            self._hold()

    def _hold(self) -> None:
        self._file.open()
        fcntl.fcntl(self._file.number, fcntl.F_OFD_SETLK, _lock(fcntl.F_RDLCK, self._byte))

    def close(self) -> None:
        """Let go of it; it is free once nobody else has it either."""
        self._file.close()


def hold_life(companions: Companions) -> LifeLock | None:
    """Hold a life's lock; None where that cannot be, and only the process will tell of it."""
    try:
        return LifeLock(companions)
    except OSError:
        return None


def liveness_by(mark: str, companions: Companions) -> Liveness:
    """Judge by its lock whether a worker or its supervisor lives.

    ELSEWHERE where the mark is not of the file that is here: the database came without it, from a
    backup or another machine.
    """
    name, _, byte = mark.rpartition(".")
    try:
        descriptor = os.open(companions.workers_lock, os.O_RDONLY | os.O_CLOEXEC)
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
    word = os.pread(descriptor, _LONGEST_NAME, 0).decode(errors="replace")
    return f"{os.fstat(descriptor).st_ino}.{word}"


def _make(companions: Companions) -> None:
    """Make the file, if need be, with a word in it that no other has."""
    descriptor = companions.open_lock(companions.workers_lock)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # of another kind than the locks of lives
        if os.fstat(descriptor).st_size == 0:
            os.pwrite(descriptor, secrets.token_hex(8).encode(), 0)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
