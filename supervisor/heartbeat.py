"""A sign of life: when the supervisor last turned, in memory that another process can see."""

from __future__ import annotations

import mmap
import os
import struct
import time

_PAGE = 4096
_TIME = struct.Struct("=q")
_SECOND = 1_000_000_000


class Heartbeat:
    """The shared page; it costs the supervisor no system call."""

    def __init__(self, descriptor: int | None = None) -> None:
        """Make a page, or map the one behind an inherited descriptor."""
        if descriptor is None:
            descriptor = os.memfd_create("gigq-heartbeat")
            os.ftruncate(descriptor, _PAGE)
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _PAGE)

    def beat(self) -> None:
        """Note that the supervisor is at work."""
        _TIME.pack_into(self._memory, 0, time.monotonic_ns())

    def age(self) -> float:
        """Seconds since the last beat."""
        beaten: int = _TIME.unpack_from(self._memory, 0)[0]
        return (time.monotonic_ns() - beaten) / _SECOND

    def close(self) -> None:
        """Let go of the page."""
        self._memory.close()
        os.close(self.descriptor)
