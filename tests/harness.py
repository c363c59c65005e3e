"""What tests share: waiting on conditions with a deadline, and a real service to try things on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from gigq import Job, JobQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

GIGQD = [sys.executable, "-m", "gigq.supervisor"]
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}  # Python's default, which some environments change
GENEROUS = 10  # how much slower than it should be a busy machine may be

_LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
for order in sys.stdin:
    connection.execute(order)
    print(order, end="", flush=True)
"""


def until(
    condition: Callable[[], Any], *, seconds: float = 30, what: str = "", pause: float = 0.01
) -> Any:  # noqa: ANN401 (what the condition gives)
    """Wait until the condition gives something true, and give that; fail after `seconds`."""
    give_up = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < give_up, f"not within {seconds} s: {what or condition}"
        time.sleep(pause)


class Service:
    """A real `gigqd start` on a database in `folder`, with its events as it logged them."""

    def __init__(
        self,
        folder: Path,
        *,
        configuration: str | None = None,
        arguments: tuple[str, ...] = (),
        database: str = "gigq.db",
        environment: dict[str, str] | None = None,
        wrapper: tuple[str, ...] = (),
        output: int | None = None,
    ) -> None:
        """Write the configuration (TOML text) and start the service in `folder`.

        `wrapper` is a command that becomes the service by exec. What the service logs goes to a
        file, or to the descriptor `output`; then `events` cannot know it.
        """
        self.folder = folder
        self.database = folder / database
        self.configuration = folder / "gigqd.toml"
        if configuration is not None:
            self.configure(configuration)
        self.log = folder / f"events-{time.monotonic_ns()}.jsonl"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*wrapper, *GIGQD, "start", str(self.database), *arguments],
                cwd=folder,
                stdout=log if output is None else output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )
        self.queue = JobQueue(self.database)

    def __enter__(self) -> Self:
        """Use it in a with block, which ends it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it, kill what is left, and show its log when the test failed."""
        self.queue.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for each in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        if error is not None:
            sys.stdout.write(self.log.read_text())

    # Its processes

    def processes(self) -> list[psutil.Process]:
        """List workers and all that jobs started, also where the service is dead already."""
        mine = f"GIGQ_DB={self.database}".encode()
        found = []
        for each in psutil.process_iter():
            with contextlib.suppress(OSError):
                if mine in Path(f"/proc/{each.pid}/environ").read_bytes().split(b"\0"):
                    found.append(each)
        return found

    def wait_ready(self, workers: int = 1) -> Self:
        """Wait until so many workers have become ready."""
        until(lambda: len(self.events("worker_ready")) >= workers, what=f"{workers} ready workers")
        return self

    def worker_pids(self) -> dict[str, int]:
        """Map the names of workers that are ready and have not gone to their pids."""
        gone = {
            event["worker"]
            for name in ("worker_exited", "worker_killed", "worker_lost")
            for event in self.events(name)
        }
        return {
            event["worker"]: event["worker_pid"]
            for event in self.events("worker_ready")
            if event["worker"] not in gone
        }

    def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 60) -> int:
        """Signal the service and wait for its end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """Send SIGKILL to the service's own process, and see it dead."""
        self.process.kill()
        self.process.wait()

    # What it says

    def events(self, name: str | None = None, **fields: object) -> list[dict[str, Any]]:
        """List the logged events of that name whose fields are so."""
        found = []
        for line in self.log.read_text().splitlines():
            if not (line.startswith("{") and line.endswith("}")):
                continue
            event = json.loads(line)
            matches = all(event.get(key) == value for key, value in fields.items())
            if matches and name in (None, event["event"]):
                found.append(event)
        return found

    def wait_for(self, name: str, *, seconds: float = 30, **fields: object) -> dict[str, Any]:
        """Wait for such an event, and give the first."""
        what = f"event {name} {fields}"
        return until(lambda: self.events(name, **fields), seconds=seconds, what=what)[0]

    def command(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """Start another `gigqd` command on the same database."""
        return subprocess.Popen(
            [*GIGQD, name, str(self.database), *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def told(self, name: str, *arguments: str, seconds: float = 30) -> tuple[int, str, str]:
        """Run another `gigqd` command; give its exit code, output and errors."""
        with self.command(name, *arguments) as command:
            output, errors = command.communicate(timeout=seconds)
            return command.returncode, output, errors

    def workers(self) -> list[dict[str, Any]]:
        """List its workers, as it tells of them."""
        code, output, errors = self.told("status", "--json")
        assert code == 0, errors
        workers: list[dict[str, Any]] = json.loads(output)["workers"]
        return workers

    # What it is given

    def configure(self, text: str) -> None:
        """Replace the configuration file by a rename, as editors do."""
        replace(self.configuration, text)

    def submit(
        self,
        function: str,
        params: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        folder: Path | None = None,
        **options: Any,  # noqa: ANN401 (of Job)
    ) -> str:
        """Submit a job of the function with this dotted name as from `folder`; its id."""
        with contextlib.chdir(folder or self.folder):
            return self.queue.submit(Job(name or function, function, params, **options))

    def wait_status(self, job_id: str, *statuses: str, seconds: float = 30) -> dict[str, Any]:
        """Wait until the job has one of these statuses, and give all about it."""
        what = f"job {job_id} {statuses}"
        return until(
            lambda: (found := self.queue.get_status(job_id))["status"] in statuses and found,
            seconds=seconds,
            what=what,
        )


class Locker:
    """An outsider who takes the database's write lock, in a process of its own."""

    def __init__(self, database: Path) -> None:
        """Start it; it holds nothing yet."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LOCKER, str(database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def _do(self, statement: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(statement + "\n")
        assert self.process.stdout.readline() == statement + "\n"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock."""
        self._do("BEGIN IMMEDIATE")
        yield
        self._do("ROLLBACK")

    def __enter__(self) -> Self:
        """Use it in a with block, which ends it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.process.communicate()


def replace(path: Path, text: str) -> None:
    """Write a file beside `path` and rename it over that."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text)
    beside.replace(path)


def write_jobs(folder: Path, text: str, name: str = "jobs.py") -> Path:
    """Write a module of job functions into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    return path
