"""What a supervisor holds, counted, while its workers go and come by all the ways there are.

Used by tests/lifecycle/test_leaks.py and, at length, by benchmarks/leaks.py.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import chdir, closing
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple, Self

from harness import Service, replace, until, write_jobs

from gigq import Job

WORKERS = 4
# What the first checkpoint brings, and stays: its lock file, and a connection of the store's.
_ONCE = ("checkpoint.lock",)
_CONNECTION = 2  # descriptors: the database and its log
CONFIGURATION = f"[workers]\ncount = {WORKERS}\nkill_grace = 0\n"
CODE = """
import ctypes, os, time
import helper

def crash():
    ctypes.string_at(0)

def leave():
    os._exit(7)

def print_and_leave():
    print("a word", flush=True)
    os._exit(7)

def overrun():
    time.sleep(1000)

def load():
    return helper.VERSION
"""


class Figures(NamedTuple):
    """What a supervisor holds. Memory in KiB."""

    restarts: int
    descriptors: int
    threads: int
    children: int
    rss: int
    pss: int
    files: int  # in the folder beside the database, but for output
    empty_outputs: int  # of workers that printed nothing
    outputs: int  # kept by design: jobs printed something
    open_workers: int  # rows of workers that have not said goodbye
    workers: int  # all rows


class Restarts:
    """A service whose workers are made to go, in turns by each way."""

    def __init__(self, folder: Path) -> None:
        """Prepare `folder`; use it in a with block."""
        self.folder = folder
        write_jobs(folder, CODE, "leaving.py")
        write_jobs(folder, "VERSION = 0\n", "helper.py")
        self._version = 0
        self._ways = cycle(
            [self._kill, self._crash, self._leave, self._print, self._overrun, self._edit]
        )
        self._log = 0  # position up to which it was read
        self.ready: dict[str, int] = {}  # pid by worker
        self.restarts = -WORKERS  # the first starts are none

    def __enter__(self) -> Self:
        """Start the service."""
        self.service = Service(self.folder, configuration=CONFIGURATION)
        self._settle()
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401, PYI036 (handed on)
        """End it."""
        self.service.__exit__(*error)

    def restart(self, times: int) -> None:
        """Let workers go and come until so many more have come."""
        enough = self.restarts + times
        while self.restarts < enough:
            before = self.restarts
            next(self._ways)()
            until(lambda before=before: self._read() > before, what="a worker that came anew")
            self._settle()

    # The ways to go

    def _kill(self) -> None:
        for pid in self.ready.values():
            os.kill(pid, signal.SIGKILL)

    def _crash(self) -> None:
        self._submit("crash")

    def _leave(self) -> None:
        self._submit("leave")

    def _print(self) -> None:
        self._submit("print_and_leave")

    def _overrun(self) -> None:
        self._submit("overrun", timeout=0.05)

    def _edit(self) -> None:
        for job in self._submit("load", 3 * WORKERS):
            self.service.wait_status(job, "completed")
        self._version += 1
        replace(self.folder / "helper.py", f"VERSION = {self._version}\n")

    def _submit(self, function: str, jobs: int = WORKERS, **options: Any) -> list[str]:  # noqa: ANN401 (of Job)
        new = [Job(function, f"leaving.{function}", max_attempts=1, **options) for _ in range(jobs)]
        with chdir(self.folder):
            self.service.queue.submit_many(new)
        return [job.id for job in new]

    # What there is

    def _read(self) -> int:
        """Read what the log says since the last time: who came, who went."""
        with self.service.log.open() as log:
            log.seek(self._log)
            while (line := log.readline()).endswith("\n"):
                self._log = log.tell()
                event = json.loads(line)
                if event["event"] == "worker_ready":
                    self.ready[event["worker"]] = event["worker_pid"]
                    self.restarts += 1
                elif event["event"] in ("worker_exited", "worker_killed", "worker_lost"):
                    self.ready.pop(event["worker"], None)
        return self.restarts

    def _settle(self) -> None:
        """Wait until all workers are there, and nothing is to be done."""

        def is_settled() -> bool:
            self._read()
            stats = self.service.queue.stats()
            return len(self.ready) == WORKERS and not stats["pending"] + stats["running"]

        until(is_settled, seconds=60, what="as many workers as are wanted, and no job")

    def figures(self) -> Figures:
        """Count, when all that is to be taken back and tidied up has been."""
        until(lambda: self._rows("WHERE ended_at IS NULL") == WORKERS, what="goodbyes")
        until(lambda: len(self._outputs(empty=True)) == WORKERS, what="the output files to go")
        pid = self.service.process.pid
        proc = Path(f"/proc/{pid}")
        beside = Path(f"{self.service.database}.d")
        return Figures(
            self.restarts,
            len(list((proc / "fd").iterdir())),
            len(list((proc / "task").iterdir())),
            len((proc / "task" / str(pid) / "children").read_text().split()),
            _kib(proc / "status", "VmRSS"),
            _kib(proc / "smaps_rollup", "Pss"),
            sum(not each.is_dir() and each.name not in _ONCE for each in beside.iterdir()),
            len(self._outputs(empty=True)),
            len(self._outputs(empty=False)),
            self._rows("WHERE ended_at IS NULL"),
            self._rows(""),
        )

    def _outputs(self, *, empty: bool) -> list[Path]:
        folder = Path(f"{self.service.database}.d") / "output"
        return [each for each in folder.iterdir() if (each.stat().st_size == 0) == empty]

    def _rows(self, where: str) -> int:
        with closing(sqlite3.connect(self.service.database)) as connection:
            rows: int = connection.execute(f"SELECT count(*) FROM worker {where}").fetchone()[0]  # noqa: S608
        return rows


def _kib(path: Path, name: str) -> int:
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


def leaks(before: Figures, after: Figures, memory: int) -> list[str]:
    """Say what is more after than before; of memory so many KiB are allowed."""
    before = before._replace(descriptors=before.descriptors + _CONNECTION)
    counted = ("descriptors", "threads", "children", "files", "empty_outputs", "open_workers")
    found = [
        f"{name}: {getattr(before, name)} → {getattr(after, name)}"
        for name in counted
        if getattr(after, name) > getattr(before, name)
    ]
    if after.pss > before.pss + memory:
        found.append(f"pss: {before.pss} → {after.pss} KiB")
    return found
