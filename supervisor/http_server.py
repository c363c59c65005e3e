"""The process that answers /livez, /readyz and /metrics; `gigq.supervisor.http_process` spawns it.

It runs no code of anybody's jobs, and dies with the supervisor. Whatever a client does, however
slowly, holds up neither the supervisor nor the other clients.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import stat
import sys
import threading
import time
import traceback
from contextlib import closing, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from gigq.queue.companions import Companions
from gigq.queue.errors import GigqError
from gigq.queue.sqlite_store import SqliteStore
from gigq.supervisor import health, metrics
from gigq.supervisor.heartbeat import Heartbeat
from gigq.worker.process_tree import signal_when_parent_dies

if TYPE_CHECKING:
    from collections.abc import Callable

LIVE_WITHIN = 5.0  # seconds since the supervisor's last turn; a resting one turns each second
_PATIENCE = 5.0  # seconds for a client to say what it wants, and again to take the answer
_AT_ONCE = 16  # requests
_TEXT = "text/plain; charset=utf-8"
_NEVER = 86_400.0  # seconds; nothing but requests wakes the server


class Answer(NamedTuple):
    """What a client gets."""

    status: HTTPStatus
    body: bytes
    content_type: str = _TEXT


class Service:
    """The service and the database that are asked about."""

    def __init__(self, database: Path, heartbeat: Heartbeat) -> None:
        """Nothing is opened yet."""
        self._database = database
        self._companions = Companions(database)
        self._heartbeat = heartbeat
        self.routes: dict[str, Callable[[], Answer]] = {
            "/livez": self.live,
            "/readyz": self.ready,
            "/metrics": self.metrics,
        }

    def live(self) -> Answer:
        """Tell whether the supervisor is at work; neither it nor the database is asked."""
        age = self._heartbeat.age()
        trouble = None if age < LIVE_WITHIN else f"its last turn was {age:.1f} s ago"
        return _checked([health.Check("supervisor", trouble)])

    def ready(self) -> Answer:
        """Tell whether jobs that are submitted now will run."""
        try:
            checks = health.check_service(health.ask_health(self._companions))
        except GigqError as error:
            checks = [health.Check("service", str(error))]
        return _checked([*checks, health.check_database(self._database)])

    def metrics(self) -> Answer:
        """Give the metrics; what cannot be had is missing, and a metric of its own tells so."""
        try:
            service = health.ask_health(self._companions)
        except GigqError:
            service = None
        try:
            store = SqliteStore(self._database, create=False, patience=health.PATIENCE)
        except GigqError:
            body = metrics.exposition(self._database, None, service)
        else:
            with closing(store):
                body = metrics.exposition(self._database, store, service)
        return Answer(HTTPStatus.OK, body, metrics.CONTENT_TYPE)


def _checked(checks: list[health.Check]) -> Answer:
    well = all(check.trouble is None for check in checks)
    body = "".join(f"{check}\n" for check in checks).encode()
    return Answer(HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, body)


class Server(ThreadingTCPServer):
    """Listens, and gives each of a bounded number of clients a thread."""

    daemon_threads = True
    allow_reuse_address = True  # or a restart would find the port in use for minutes
    request_queue_size = 64

    def __init__(self, listen: str, service: Service) -> None:
        """Listen. Raises OSError: the address cannot be had."""
        self.service = service
        self._room = threading.Semaphore(_AT_ONCE)
        self.address_family, address = resolve(listen)
        if self.address_family == socket.AF_UNIX:
            self.allow_reuse_address = False
            _remove_stale(str(address))
        before = os.umask(0o117)
        try:
            super().__init__(address, Handler)  # type: ignore[arg-type]
        finally:
            os.umask(before)

    @property
    def name(self) -> str:
        """The address, with the port that was chosen where none was asked for."""
        address = self.socket.getsockname()
        if self.address_family == socket.AF_UNIX:
            return str(address)
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{host}:{address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Begin a thread for a client; turn it away where there are too many."""
        if self._room.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except RuntimeError:  # no thread can be started
                self._room.release()
                self.shutdown_request(request)
            return
        with suppress(OSError):
            request.settimeout(0)
            request.sendall(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n")
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Answer one client."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Do without a word: a client that goes away is no error of ours."""


def resolve(listen: str) -> tuple[socket.AddressFamily, object]:
    """Give family and address of HOST:PORT or of a path. Raises OSError for an unknown host."""
    if "/" in listen:
        return socket.AF_UNIX, listen
    host, _, port = listen.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    return found[0][0], found[0][4]


def _remove_stale(path: str) -> None:
    """Remove the socket of a process that is gone, and nothing else."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116 (a name for bind)
            return
        with socket.socket(socket.AF_UNIX) as probe, suppress(ConnectionRefusedError):
            probe.settimeout(_PATIENCE)
            probe.connect(path)
            return
        os.unlink(path)  # noqa: PTH108


class Handler(BaseHTTPRequestHandler):
    """One request of one client."""

    server: Server

    def setup(self) -> None:
        """Read with a deadline for the whole request, not for each of its bytes."""
        super().setup()
        self.rfile = io.BufferedReader(_Deadline(self.connection, time.monotonic() + _PATIENCE))

    def do_GET(self) -> None:
        """Answer."""
        route = self.server.service.routes.get(urlsplit(self.path).path)
        if route is None:
            known = ", ".join(self.server.service.routes)
            self._send(Answer(HTTPStatus.NOT_FOUND, f"there are: {known}\n".encode()))
            return
        try:
            answer = route()
        except Exception:  # noqa: BLE001 (the log gets it, not the client)
            traceback.print_exc()
            answer = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error\n")
        self._send(answer)

    do_HEAD = do_GET  # noqa: N815

    def _send(self, answer: Answer, **headers: str) -> None:
        self.connection.settimeout(_PATIENCE)
        self.send_response_only(answer.status)  # says neither who serves nor with what
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no request, or another method; called by http.server."""
        del message, explain
        self.command = self.command or ""
        self.request_version = self.protocol_version  # without one no headers are sent
        self.close_connection = True
        if code == HTTPStatus.NOT_IMPLEMENTED:
            refusal = Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET and HEAD\n")
            self._send(refusal, Allow="GET, HEAD")
        else:
            self._send(Answer(HTTPStatus(code), b"not understood\n"))

    def log_message(self, *_: object) -> None:
        """Log no requests."""


class _Deadline(io.RawIOBase):
    """What a client sends, until a point of the monotonic clock."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        super().__init__()
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


def main() -> None:
    """Serve for the supervisor that started this; what becomes of it is told through a pipe."""
    database, listen, heartbeat, pipe, parent = sys.argv[1:]
    signal_when_parent_dies(signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before
        return
    try:
        server = Server(listen, Service(Path(database), Heartbeat(int(heartbeat))))
    except OSError as error:
        _tell(int(pipe), refused=error.strerror or str(error))
        sys.exit(1)
    _tell(int(pipe), listening=server.name)
    server.serve_forever(_NEVER)


def _tell(pipe: int, **message: str) -> None:
    os.write(pipe, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
