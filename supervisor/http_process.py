"""The HTTP process seen from the supervisor: spawned, watched, started again, and never waited for.

What is wanted, an address or none, is kept apart from what there is; `advance` brings the one
nearer to the other.
"""

from __future__ import annotations

import json
import os
import selectors
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gigq.queue import clock
from gigq.supervisor.heartbeat import Heartbeat
from gigq.supervisor.restart_policy import restart_delay
from gigq.worker.child import NOT_INHERITED

if TYPE_CHECKING:
    from gigq.queue.companions import Companions
    from gigq.supervisor.log import Log

_SECOND = 1_000_000_000
_LONGEST = 4096
_BEAT_EVERY = _SECOND  # at least; the process takes the supervisor for hung after five
_END_WITHIN = 2.0  # seconds


class HttpProcess:
    """At most one process. Times are nanoseconds of the monotonic clock."""

    def __init__(
        self,
        listen: str,
        database: str,
        companions: Companions,
        log: Log,
        selector: selectors.BaseSelector,
    ) -> None:
        """Want a process that listens there, none for ''; `advance` spawns it."""
        self._wanted = listen
        self._database = database
        self._companions = companions
        self._log = log
        self._selector = selector
        self._heartbeat = Heartbeat()
        self._heartbeat.beat()
        self._next_beat = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._listen = ""  # where the process there is was told to listen
        self._listens = False
        self._trouble: str | None = None
        self._failures = 0
        self._not_before = 0

    @property
    def pid(self) -> int | None:
        """The pid of the process, until it is reaped."""
        return None if self._process is None else self._process.pid

    def use(self, listen: str) -> None:
        """Want it to listen there from now on."""
        if listen != self._wanted:
            self._wanted = listen
            self._failures = self._not_before = 0

    def advance(self) -> None:
        """Show that the supervisor is at work; spawn or end the process as is wanted."""
        self._heartbeat.beat()
        self._next_beat = time.monotonic_ns() + _BEAT_EVERY
        if self._process is None:
            if self._wanted and time.monotonic_ns() >= self._not_before:
                self._spawn()
        elif self._listen != self._wanted:
            self._process.kill()  # it keeps nothing; `_mourn` hears of its end

    def next_look(self) -> int:
        """When there is something to do, if nothing else happens before."""
        if self._process is not None:
            return self._next_beat
        return self._not_before if self._wanted else clock.NEVER

    def _spawn(self) -> None:
        self._listen, self._listens, self._trouble = self._wanted, False, None
        try:
            self._start()
        except OSError as error:
            self._retry(None, f"the process cannot be started: {error.strerror}")

    def _start(self) -> None:
        self._pipe, there = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        descriptors = self._heartbeat.descriptor, there
        try:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "gigq.supervisor.http_server"),
                    *(self._database, self._listen),
                    *map(str, (*descriptors, os.getpid())),
                ],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),
                pass_fds=descriptors,
                start_new_session=True,  # a ^C on the terminal is for the supervisor
                cwd=self._companions.folder,
                env={k: v for k, v in os.environ.items() if k not in NOT_INHERITED},
            )
        except OSError:
            os.close(self._pipe)
            raise
        finally:
            os.close(there)
        # The pipe tells of the end, too: only the process has its other end.
        self._selector.register(self._pipe, selectors.EVENT_READ, self._hear)

    def _hear(self) -> None:
        """Take what the process says; the end of the pipe is its own."""
        said = b""
        with suppress(BlockingIOError):
            said = os.read(self._pipe, _LONGEST)
        for line in said.splitlines():
            message = json.loads(line)
            self._trouble = message.get("refused")
            if "listening" in message:
                self._listens, self._failures = True, 0
                self._log.event("http_listening", address=message["listening"])
        if not said:
            self._mourn()

    def _mourn(self) -> None:
        if self._process is None:
            return
        self._selector.unregister(self._pipe)
        os.close(self._pipe)
        status = self._process.wait()  # its last act was to let go of the pipe
        self._process = None
        if self._listens and "/" in self._listen:
            _remove_socket(Path(self._listen))
        if self._listen == self._wanted:
            self._retry(status, self._trouble or "it died")

    def _retry(self, status: int | None, error: str | None) -> None:
        self._failures += 1
        delay = restart_delay(self._failures)
        self._not_before = time.monotonic_ns() + int(delay * _SECOND)
        self._log.event(
            "http_failed",
            address=self._listen,
            status=status,
            error=error,
            next_try=round(delay, 1),
        )

    def close(self) -> None:
        """End it."""
        self._wanted = ""
        if self._process is not None:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_WITHIN)
                self._mourn()
        self._heartbeat.close()


def _remove_socket(path: Path) -> None:
    with suppress(OSError):
        if stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
