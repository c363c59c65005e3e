"""Waiting without work: for the doorbell, a message, a time, or a slow look all the same."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING

from gigq.queue import clock
from gigq.queue.doorbell import Doorbell

if TYPE_CHECKING:
    from pathlib import Path

_JITTER = 0.2


class Wakeup:
    """What can end a worker's wait."""

    def __init__(self, doorbell: Path) -> None:
        """Listen at the doorbell if there is one; without, the slow look is left."""
        self._doorbell_path = doorbell
        self._doorbell: Doorbell | None = None
        self._epoll = select.epoll()
        self._own = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._own, select.EPOLLIN)
        self._listen()

    def _listen(self) -> None:
        with suppress(OSError):
            self._doorbell = Doorbell(self._doorbell_path)
            # One ring wakes one worker, not all of them.
            self._epoll.register(self._doorbell, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def watch(self, descriptor: int) -> None:
        """Let a readable descriptor end the wait too."""
        self._epoll.register(descriptor, select.EPOLLIN)

    def silence(self) -> None:
        """Forget rings up to now; to be called before looking for work, so that none is missed."""
        if self._doorbell is None:
            self._listen()
        else:
            self._doorbell.silence()
        with suppress(BlockingIOError):
            os.eventfd_read(self._own)

    def wait(self, seconds: float) -> None:
        """Wait until something happens, at most about so long."""
        self._epoll.poll(seconds * clock.jitter(1 - _JITTER, 1))

    def wake(self) -> None:
        """End the wait, from another thread or a signal handler."""
        os.eventfd_write(self._own, 1)

    def ring_next(self) -> None:
        """Wake one other worker."""
        if self._doorbell is not None:
            self._doorbell.ring()

    def close(self) -> None:
        """Let go of all descriptors."""
        self._epoll.close()
        os.close(self._own)
        if self._doorbell is not None:
            self._doorbell.close()
