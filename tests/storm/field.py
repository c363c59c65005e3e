"""Where a storm takes place: its folder, its processes as seen from outside, and its own notes."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness import GIGQD, replace
from storm.notes import Book, ticks

from gigq.queue.companions import Companions
from gigq.queue.errors import GigqError
from gigq.supervisor.control import ask

if TYPE_CHECKING:
    import random

COPIED = ("client.py", "jobs.py", "notes.py", "submitter.py")
CLOCK_RESTS = 4  # seconds: longer than anybody stands still in the middle of a transaction
HERE = Path(__file__).parent
DISK = 256 << 20  # bytes of the small disk
CLOCKS = ("service", "workers", "submitters")  # each may be off by other hours


class Process(NamedTuple):
    """A process that cannot be mistaken for a later one with its pid."""

    pid: int
    ticks: int

    def is_alive(self) -> bool:
        """Tell whether it lives."""
        return ticks(self.pid) == self.ticks

    def send(self, number: int) -> bool:
        """Send a signal, and tell whether it went."""
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.is_alive():
                    signal.pidfd_send_signal(descriptor, number)
                    return True
            finally:
                os.close(descriptor)
        return False

    def await_death(self, seconds: float) -> bool:
        """Wait until it is dead."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            return not self.is_alive() or bool(select.select([descriptor], [], [], seconds)[0])
        finally:
            os.close(descriptor)


def process(pid: int) -> Process | None:
    """Give the process with this pid now."""
    started = ticks(pid)
    return None if started is None else Process(pid, started)


class Field:
    """The folder of one storm, with a small disk for its database where that can be had."""

    def __init__(self, folder: Path, *, small_disk: bool = True) -> None:
        """Prepare the folder."""
        self.folder = folder
        self.notes = folder / "notes"
        (self.notes / "jobs").mkdir(parents=True)
        for name in COPIED:
            shutil.copy(HERE / name, folder)
        shutil.copytree(HERE / "clock", folder / "clock", ignore=lambda *_: ["__pycache__"])
        self.disk = folder / "disk"
        self.disk.mkdir()
        self.is_small = small_disk and _mount(self.disk)
        self.database = self.disk / "gigq.db"
        self.companions = Companions(self.database)
        self.book = Book(self.notes / "driver.jsonl")
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.clock_lock = threading.Lock()
        self._clocks: dict[str, tuple[float, float]] = {}  # hours, and since when

    def note(self, what: str, **facts: object) -> None:
        """Note something as the driver; from any thread."""
        with self.lock:
            self.book.note(what, **facts)

    def count(self, what: str, times: int = 1) -> None:
        """Count something for the summary; from any thread."""
        with self.lock:
            self.counts[what] += times

    def clock(self, whose: str) -> dict[str, str]:
        """Give the environment in which processes see the wall clock of these."""
        path = ("clock", os.environ.get("PYTHONPATH", ""))
        return {
            "PYTHONPATH": os.pathsep.join(str(self.folder / each) for each in path if each),
            "GIGQ_STORM_CLOCK": str(self.folder / f"clock-{whose}"),
        }

    def set_clock(self, whose: str, hours: float) -> None:
        """Let their wall clock jump to so many hours from the true time."""
        with self.clock_lock:
            replace(self.folder / f"clock-{whose}", str(hours))
            self._clocks[whose] = hours, time.monotonic()

    def is_clock_behind(self) -> bool:
        """Tell whether anybody's clock is behind, or was a moment ago."""
        now = time.monotonic()
        return any(hours < 0 or now < since + CLOCK_RESTS for hours, since in self._clocks.values())

    def mark(self) -> Path:
        """Name a file for GIGQ_CRASH_MARK."""
        return self.notes / f"crash-{time.monotonic_ns()}"

    def close(self) -> None:
        """Let go of the small disk; the database is kept beside it."""
        self.book.close()
        if self.is_small:
            kept = self.folder / "kept"
            kept.mkdir()
            for path in (*self.disk.iterdir(), *self.companions.output.glob("*.log")):
                if path.is_file():
                    shutil.copy(path, kept)
            subprocess.run(["umount", "--lazy", str(self.disk)], check=False)
            self.is_small = False


def _mount(folder: Path) -> bool:
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "gigqd-storm", str(folder)],
        check=False,
        capture_output=True,
    )
    return done.returncode == 0


class StormService:
    """A `gigqd` that is started again when it has died, and its configuration."""

    def __init__(self, field: Field, *, environment: dict[str, str] | None = None) -> None:
        """Prepare; `environment` is for each start."""
        self._field = field
        self._environment = environment or {}
        self._starts = 0
        self._mark: Path | None = None
        self._killed = False
        self.configuration = field.folder / "gigqd.toml"
        self.workers_wanted = 3
        self.kill_grace = 0.2
        self.max_jobs = 0
        self.batch = 4
        self.worker_environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = field.folder / "events-0.jsonl"
        self._seen: set[Process] = set()

    def configure(self, **more: object) -> None:
        """Write the configuration file, by a rename as editors do."""
        clock = self._field.clock("workers")["GIGQ_STORM_CLOCK"]
        environment = {"GIGQ_STORM_CLOCK": clock, **self.worker_environment}
        lines = [
            "[workers]",
            f"count = {self.workers_wanted}",
            f"kill_grace = {self.kill_grace}",
            f"max_jobs = {self.max_jobs}",
            f"batch = {self.batch}",
            *(f"{name} = {json.dumps(value)}" for name, value in more.items()),
            "[workers.environment]",
            *(f"{name} = {json.dumps(value)}" for name, value in environment.items()),
            "[shutdown]",
            "drain_timeout = 3.0",
        ]
        replace(self.configuration, "\n".join(lines) + "\n")

    def start(self, environment: dict[str, str] | None = None) -> None:
        """Start it."""
        self._starts += 1
        self._killed = False
        self.log = self._field.folder / f"events-{self._starts}.jsonl"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*GIGQD, "start", str(self._field.database)],
                cwd=self._field.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    **self._field.clock("service"),
                    **self._environment,
                    **(environment or {}),
                },
            )

    def kill(self) -> Process | None:
        """Send SIGKILL, and see it dead."""
        service = self.own()
        if service is None or self.process is None:
            return None
        self._killed = True
        self.process.kill()
        self.process.wait()
        return service

    def own(self) -> Process | None:
        """Give its process while it lives."""
        if self.process is None or self.process.poll() is not None:
            return None
        return process(self.process.pid)

    def ended(self) -> str | None:
        """Tell how it ended, if it did: "" when it was killed or refused to start, else why."""
        if self.process is None or self.process.poll() is None:
            return None
        if self._killed or self.process.returncode == -signal.SIGKILL:
            return ""
        text = self.log.read_text()
        # Without descriptors an interpreter cannot even import what it is to run.
        if "service_started" not in text and ("Traceback" not in text or "Errno 24" in text):
            self._field.count("refused starts")
            self._field.note("refused start", why=text[-300:])
            return ""
        return f"exit {self.process.returncode}: {text[-2000:]}"

    def workers(self) -> list[Process]:
        """List the worker processes that live, those of dead services among them."""
        for pid in [] if self.process is None else _children(self.process.pid):
            with suppress(OSError):
                if b"gigq.worker.entry" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found = process(pid)
                    self._seen |= {found} if found else set()
        self._seen = {each for each in self._seen if each.is_alive()}
        return sorted(self._seen)

    def ask(self, order: str, **fields: object) -> bool:
        """Give it an order; False when nobody took it."""
        try:
            ask(self._field.companions.control, order, **fields)
        except GigqError:
            return False
        return True

    def stop(self, seconds: float) -> bool:
        """Send SIGTERM and wait for its end."""
        if self.process is None or self.process.poll() is not None:
            return True
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


class StormSubmitter:
    """A submitter that is started again when it has died."""

    def __init__(self, field: Field, number: int, seed: int) -> None:
        """Prepare."""
        self._field = field
        self._number = number
        self._seed = seed
        self._starts = 0
        self._killed = False
        self._errors = field.folder / f"submitter-{number}.err"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, environment: dict[str, str] | None = None) -> None:
        """Start it, with choices of its own."""
        self._starts += 1
        self._killed = False
        name = f"{self._number}-{self._starts}"
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    str(self._field.folder / "submitter.py"),
                    str(self._field.database),
                    str(self._seed * 1000 + self._starts),
                    name,
                ],
                cwd=self._field.folder,
                stderr=errors,
                env={**os.environ, **self._field.clock("submitters"), **(environment or {})},
            )

    def own(self) -> Process | None:
        """Give its process while it lives."""
        if self.process is None or self.process.poll() is not None:
            return None
        return process(self.process.pid)

    def kill(self) -> bool:
        """Send SIGKILL, and see it dead."""
        if self.own() is None or self.process is None:
            return False
        self._killed = True
        self.process.kill()
        self.process.wait()
        return True

    def ended(self) -> str | None:
        """Tell how it ended, if it did: "" when it was killed."""
        if self.process is None or self.process.poll() is None:
            return None
        if self._killed or self.process.returncode == -signal.SIGKILL:
            return ""
        return f"exit {self.process.returncode}: {self._errors.read_text()[-2000:]}"


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


def processes_of(database: Path) -> list[tuple[int, str]]:
    """List worker processes of this database and all that carry a job's mark: pid and command."""
    mine = f"GIGQ_DB={database}".encode()
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 (names)
        with suppress(OSError, ValueError):
            environment = Path(f"/proc/{int(entry)}/environ").read_bytes().split(b"\0")
            if mine in environment and any(each.startswith(b"GIGQ_TREE=") for each in environment):
                command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ")
                found.append((int(entry), command.decode(errors="replace")[:200]))
    return found


def pick(chance: random.Random, found: list[Any]) -> Any:  # noqa: ANN401 (one of them)
    """Choose one, None of none; draws a number in any case, so that choices do not shift."""
    number = chance.random()
    return found[int(number * len(found))] if found else None
