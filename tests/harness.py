"""What tests share: waiting on conditions with a deadline, and a real service to try things on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from gigq import JobQueue

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

GIGQD = [sys.executable, "-m", "gigq.supervisor"]
GENEROUS = 10  # how much slower than it should be a busy machine may be


def until(
    condition: Callable[[], Any], *, seconds: float = 30, what: str = "", pause: float = 0.01
) -> Any:
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
    ) -> None:
        """Write the configuration (TOML text) and start the service in `folder`."""
        self.folder = folder
        self.database = folder / database
        self.configuration = folder / "gigqd.toml"
        if configuration is not None:
            self.configuration.write_text(configuration)
        self.log = folder / f"events-{time.monotonic_ns()}.jsonl"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*GIGQD, "start", str(self.database), *arguments],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )
        self.queue = JobQueue(self.database)

    def __enter__(self) -> Self:
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
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                for each in [*self.tree(), psutil.Process(self.process.pid)]:
                    each.kill()
                self.process.wait()
        if error is not None:
            sys.stdout.write(self.log.read_text())

    def tree(self) -> list[psutil.Process]:
        """List all processes below the service."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def events(self, name: str | None = None, **fields: object) -> list[dict[str, Any]]:
        """List the logged events of that name whose fields are so."""
        found = []
        for line in self.log.read_text().splitlines():
            if not line.startswith("{"):
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

    def wait_ready(self, workers: int = 1) -> Self:
        """Wait until so many workers have become ready."""
        until(lambda: len(self.events("worker_ready")) >= workers, what=f"{workers} ready workers")
        return self

    def worker_pids(self) -> dict[str, int]:
        """Map the names of workers that are ready and have not gone to their pids."""
        gone = {
            event["worker"]
            for name in ("worker_exited", "worker_lost")
            for event in self.events(name)
        }
        return {
            event["worker"]: event["worker_pid"]
            for event in self.events("worker_ready")
            if event["worker"] not in gone
        }

    def wait_status(self, job_id: str, *statuses: str, seconds: float = 30) -> dict[str, Any]:
        """Wait until the job has one of these statuses, and give all about it."""
        what = f"job {job_id} {statuses}"
        return until(
            lambda: (found := self.queue.get_status(job_id))["status"] in statuses and found,
            seconds=seconds,
            what=what,
        )

    def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 60) -> int:
        """Signal the service and wait for its end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


def write_jobs(folder: Path, text: str, name: str = "jobs.py") -> Path:
    """Write a module of job functions into `folder`."""
    path = folder / name
    path.write_text(text)
    return path
