"""What systemd is told of the service (sd_notify(3)); nothing at all unless it has asked.

`READY=1` comes when every worker that is wanted has become ready or has failed to start: until then
jobs cannot run, and a service whose workers fail is up all the same, says so in its status, and
tries again. `WATCHDOG=1` is sent by `turned` only, so that it proves a turn of the supervisor's
loop, and nothing less.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from gigq.queue import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SECOND = 1_000_000_000
_MICROSECOND = 1_000
_STATUS_EVERY = _SECOND  # at most
_EXTEND_EVERY = 2 * _SECOND
_EXTEND_BY = 30  # seconds from each such message that systemd waits at least


class ServiceManager:
    """The service manager that started this process, if one did and listens."""

    def __init__(self) -> None:
        """Find it in the environment. Times are nanoseconds of the monotonic clock."""
        name = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._beat_every = _watchdog_interval() // 4 if self._address else 0
        self._next_beat = 0
        self._next_status = 0
        self._owes = False  # something may have changed since; it was too early, or was not taken
        self._next_extension = 0
        self._status = ""
        self._is_ready = False

    def next_look(self) -> int:
        """When a turn has to have happened."""
        beat = self._next_beat if self._beat_every else clock.NEVER
        return min(beat, self._next_status if self._owes else clock.NEVER)

    def turned(self, status: Callable[[], str], *, ready: bool, ending: bool) -> None:
        """Tell of a turn of the loop what is due: a sign of life, the status, readiness, the end.

        A service that ends asks for more time again and again, as long as its loop turns.
        """
        if self._socket is None:
            return
        now = time.monotonic_ns()
        if ready and not self._is_ready and not ending:
            self._is_ready = self._tell("READY=1")
            self._next_status = now
        if self._beat_every and now >= self._next_beat:
            self._next_beat = now + self._beat_every
            self._tell("WATCHDOG=1")
        if now >= self._next_status:
            self._next_status = now + _STATUS_EVERY
            self._owes = not self._tell_status(" ".join(status().split()))
        else:
            self._owes = True
        self._owes |= ready and not self._is_ready and not ending
        if ending and now >= self._next_extension:
            self._next_extension = now + _EXTEND_EVERY
            self._tell(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={_EXTEND_BY * 1_000_000}")

    def _tell_status(self, status: str) -> bool:
        if status != self._status and not self._tell(f"STATUS={status}"):
            return False
        self._status = status
        return True

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Tell that the configuration is being read, and then that what is in force is in force."""
        if self._is_ready:
            self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // _MICROSECOND}")
        try:
            yield
        finally:
            self._is_ready = self._is_ready and self._tell("READY=1")

    def close(self) -> None:
        """Say no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, message: str) -> bool:
        """Send it; False where the manager is too busy to take it: the loop waits for nobody."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendto(message.encode(errors="replace"), self._address)
                return True
        return False


def _watchdog_interval() -> int:
    """Give the time within which a sign of life is wanted of this process; 0: none is."""
    with suppress(ValueError):
        if os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            return max(0, int(os.environ.get("WATCHDOG_USEC", "0"))) * _MICROSECOND
    return 0
