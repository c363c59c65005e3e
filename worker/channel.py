"""Messages between a supervisor and a worker process: JSON datagrams over a socket pair.

Messages inform; nothing depends on one for safety. Neither side ever waits to send: a supervisor
that is stopped must not stop its workers, nor the other way round.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
from contextlib import suppress
from typing import Any

_BUFFER = 1 << 20  # as long as a message may be; the system may allow less for all that wait
_FULL = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)


class Channel:
    """One end of the pair."""

    def __init__(self, end: socket.socket) -> None:
        """Hold one end."""
        end.setblocking(False)  # noqa: FBT003
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._socket = end
        self.at_end = False  # the other side is gone

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Make both ends."""
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(here), cls(there)

    @classmethod
    def inherited(cls, descriptor: int) -> Channel:
        """Hold the end that was handed over at the spawn."""
        os.set_inheritable(descriptor, False)  # noqa: FBT003
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """Give the descriptor to wait on."""
        return self._socket.fileno()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until something has come, the other side is gone, or so many seconds are over."""
        self._poll(select.POLLIN, seconds)

    def wait_for_room(self, seconds: float) -> None:
        """Wait until something may be sent, at most for so many seconds."""
        self._poll(select.POLLOUT, seconds)

    def _poll(self, event: int, seconds: float | None) -> None:
        poll = select.poll()  # select(2) would not take a descriptor above 1023
        poll.register(self._socket, event)
        poll.poll(None if seconds is None else seconds * 1000)

    def send(self, message: dict[str, Any]) -> bool:
        """Send a message unless that would mean waiting; False to try it again later."""
        try:
            self._socket.send(json.dumps(message).encode())
        except OSError as error:
            # One that is too long, or that nobody can read, must not hold up the others.
            return error.errno not in _FULL
        return True

    def receive(self) -> list[dict[str, Any]]:
        """Take all messages that have come; `at_end` tells afterwards whether more can come."""
        messages = []
        with suppress(BlockingIOError):
            while True:
                try:
                    packet = self._socket.recv(_BUFFER)
                except ConnectionResetError:
                    packet = b""
                if not packet:
                    self.at_end = True
                    break
                # A job can reach the descriptor of this socket: what it writes there is ignored.
                with suppress(ValueError):
                    message = json.loads(packet)
                    if isinstance(message, dict) and "event" in message:
                        messages.append(message)
        return messages

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
