"""The control socket: asking a running service, and telling it what to do.

One line of JSON there, one line back. An answer to an order is given when its effect has happened,
not when it was taken. The socket stands beside the database, for its owner only (0600), and the
peer's user is checked as well: root and the service's own user may give orders.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from gigq.queue.errors import GigqError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Answer = dict[str, Any]

_LONGEST = 1 << 20
_UCRED = struct.Struct("=iII")  # pid, uid, gid: unix(7), SO_PEERCRED
_BACKLOG = 16
_SAYS_WITHIN = 30.0  # seconds for a peer that has connected; on a busy machine it may be slow
_TAKES_WITHIN = 0.05  # seconds that the loop waits for a peer to take its answer


class Pending:
    """An order whose effect is awaited: `done` gives the answer once it has happened."""

    def __init__(self, done: Callable[[], Answer | None]) -> None:
        """Await `done`, which is asked at each turn of the loop."""
        self.done = done


class _Speaker:
    """A peer that has connected and has not finished its line. Nobody waits for it."""

    def __init__(self, peer: socket.socket) -> None:
        peer.setblocking(False)  # noqa: FBT003
        self.peer = peer
        self.said = b""
        self._give_up = time.monotonic() + _SAYS_WITHIN

    def has_finished(self) -> bool:
        """Take what has come; tell whether no more is to be expected."""
        try:
            part = self.peer.recv(65536)
        except BlockingIOError:
            return time.monotonic() > self._give_up
        except OSError:
            return True
        self.said += part
        return not part or self.said.endswith(b"\n") or len(self.said) >= _LONGEST


class ControlServer:
    """The service's end: accepts, hands orders to `handle`, answers when they have had effect."""

    def __init__(
        self, path: Path, handle: Callable[[str, dict[str, Any]], Answer | Pending]
    ) -> None:
        """Listen at `path`, replacing a socket that a dead service left; the lock is held by us."""
        self._path = path
        self._handle = handle
        self._speaking: list[_Speaker] = []
        self._waiting: list[tuple[socket.socket, Pending]] = []
        with suppress(FileNotFoundError):
            path.unlink()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        before = os.umask(0o177)
        try:
            with _short(path) as name:
                self.socket.bind(name)
        finally:
            os.umask(before)
        self._inode = path.stat().st_ino
        self.socket.listen(_BACKLOG)
        self._spare: int | None = None
        self._keep_spare()

    def _keep_spare(self) -> None:
        if self._spare is None:
            with suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _turn_away(self) -> None:
        """Hang up on a peer for want of descriptors: left waiting, it would wake the loop again."""
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        with suppress(OSError):
            self.socket.accept()[0].close()

    def accept(self) -> None:
        """Let one peer in."""
        self._keep_spare()
        with suppress(OSError):
            try:
                peer, _ = self.socket.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._turn_away()
                return
            _, uid, _ = _UCRED.unpack(
                peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
            )
            if uid not in (0, os.geteuid()):
                _answer(peer, {"error": "orders are taken from the service's user and root only"})
                return
            self._speaking.append(_Speaker(peer))
            self._listen()

    def _listen(self) -> None:
        for speaker in list(self._speaking):
            if speaker.has_finished():
                self._speaking.remove(speaker)
                self._take(speaker.peer, speaker.said)

    def _take(self, peer: socket.socket, order: bytes) -> None:
        try:
            request = json.loads(order)
            answer = self._handle(request.pop("order"), request)
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            answer = {"error": "not an order that this service understands"}
        except GigqError as error:
            answer = {"error": str(error)}
        if isinstance(answer, Pending):
            self._waiting.append((peer, answer))
        else:
            _answer(peer, answer)

    def advance(self) -> None:
        """Take orders that have come; answer those whose effect has happened."""
        self._listen()
        for peer, pending in list(self._waiting):
            answer = pending.done()
            if answer is not None:
                self._waiting.remove((peer, pending))
                _answer(peer, answer)
            elif _has_hung_up(peer):
                self._waiting.remove((peer, pending))
                peer.close()

    @property
    def is_awaited(self) -> bool:
        """Whether somebody is about to give an order, or waits for an answer."""
        return bool(self._speaking or self._waiting)

    def close(self) -> None:
        """Stop listening; who still waits is told so."""
        for peer in [peer for peer, _ in self._waiting] + [each.peer for each in self._speaking]:
            _answer(peer, {"error": "the service ended before it was done"})
        self.socket.close()
        if self._spare is not None:
            os.close(self._spare)
        with suppress(OSError):
            if self._path.stat().st_ino == self._inode:  # else of another service, after a restore
                self._path.unlink()


def _has_hung_up(peer: socket.socket) -> bool:
    try:
        return not peer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def ask(path: Path, order: str, *, patience: float | None = None, **fields: object) -> Answer:
    """Give an order to the service at `path` and wait for its effect, at most `patience` seconds.

    Raises GigqError: nobody answers, or the answer is a refusal.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(patience)
        try:
            with _short(path) as name:
                peer.connect(name)
            peer.sendall(json.dumps({"order": order, **fields}).encode() + b"\n")
            answer: Answer = json.loads(_read_line(peer) or "{}")
        except PermissionError:
            message = "only the service's user and root may give it orders; try with sudo"
            raise GigqError(message) from None
        except TimeoutError:
            message = f"the service at {path} has not answered for {patience:g} s"
            raise GigqError(message) from None
        except (OSError, ValueError):
            message = f"no service answers at {path}; is it running? gigqd status tells"
            raise GigqError(message) from None
    if "error" in answer:
        raise GigqError(answer["error"])
    return answer


def _answer(peer: socket.socket, answer: Answer) -> None:
    peer.settimeout(_TAKES_WITHIN)
    with suppress(OSError):
        peer.sendall(json.dumps(answer).encode() + b"\n")
    peer.close()


def _read_line(peer: socket.socket) -> str:
    received = b""
    while not received.endswith(b"\n") and len(received) < _LONGEST:
        part = peer.recv(65536)
        if not part:
            break
        received += part
    return received.decode()


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a name of at most 107 bytes (unix(7)) for a socket, whatever its folder's length."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
