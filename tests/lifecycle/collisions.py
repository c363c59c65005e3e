"""Completions and deadlines made to collide, and the proof that each came out as one thing.

Used by tests/lifecycle/test_collisions.py and, at length, by benchmarks/collisions.py.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from contextlib import chdir, closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness import Locker, Service, until

from gigq import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 4
TIMEOUT = 0.15  # seconds
SPREAD = 2.0  # milliseconds before and after the deadline
ATTEMPTS = 3
BATCH = 24  # jobs that collide, and twice as many that do not
PATIENCE = 120  # seconds for a batch
CONFIGURATION = f"[workers]\ncount = {WORKERS}\nkill_grace = 0\nreload = false\n"
_STEP = 0.25  # milliseconds by which the search for the instant of the kill moves


@dataclass
class Run:
    """One run of a job, by its own notes. `late`: milliseconds after its deadline, at its end."""

    pid: int
    begin: float
    end: float | None = None
    late: float | None = None
    alive: list[int] = field(default_factory=list)  # pids of earlier runs


class Collisions:
    """A service whose jobs end when their deadline comes, with innocent jobs between them."""

    def __init__(self, folder: Path) -> None:
        """Prepare `folder`; use it in a with block."""
        self.folder = folder
        (folder / "runs").mkdir()
        source = Path(__file__).with_name("collision_jobs.py")
        shutil.copy(source, folder)
        self._dice = random.Random(1)
        self._edge = 4.0  # milliseconds after the deadline: about when the SIGKILL comes
        self._numbers = iter(range(sys.maxsize))
        self.guilty: list[str] = []
        self.innocent: list[str] = []
        self.waited: list[str] = []  # ended while the database was locked

    def __enter__(self) -> Self:
        """Start the service."""
        self.service = Service(self.folder, configuration=CONFIGURATION).wait_ready(WORKERS)
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401, PYI036 (handed on)
        """End it."""
        self.service.__exit__(*error)

    # The blows

    def collide(self, times: int) -> None:
        """Let so many executions end around their deadline, or around the kill after it."""
        done = 0
        while done < times:
            keys = self._submit_batch()
            self._wait_idle()
            runs = [run for key in keys for run in self.runs(key)]
            done += len(runs)
            for run in runs:
                self._edge += -_STEP if run.end is None else _STEP
            self._edge = min(max(self._edge, 0.0), 60.0)

    def _submit_batch(self) -> list[str]:
        jobs, keys = [], []
        for _ in range(BATCH):
            key = f"guilty-{next(self._numbers)}"
            keys.append(key)
            centre = self._dice.choice([0, self._edge])
            offsets = [centre + self._dice.uniform(-SPREAD, SPREAD) for _ in range(ATTEMPTS)]
            params = {"key": key, "offsets": offsets}
            jobs.append(
                Job(key, "collision_jobs.collide", params, timeout=TIMEOUT, max_attempts=ATTEMPTS)
            )
            for _ in range(2):
                name = f"innocent-{next(self._numbers)}"
                params = {"key": name, "seconds": self._dice.uniform(0, 0.005)}
                jobs.append(Job(name, "collision_jobs.quick", params, timeout=60, max_attempts=3))
                self.innocent.append(name)
        self._dice.shuffle(jobs)
        self.guilty += keys
        with chdir(self.folder):
            self.service.queue.submit_many(jobs)
        return keys

    def wait_for_the_database(self, times: int) -> int:
        """Lock the database while jobs end, past their deadline; kill the worker of each second.

        Gives how many workers were killed then.
        """
        kills = 0
        with Locker(self.service.database) as locker:
            for number in range(times):
                key = f"waited-{next(self._numbers)}"
                self.waited.append(key)
                with chdir(self.folder):
                    self.service.queue.submit(
                        Job(
                            key,
                            "collision_jobs.quick",
                            {"key": key, "seconds": 0.1},
                            timeout=0.4,
                            max_attempts=ATTEMPTS,
                        )
                    )
                until(lambda key=key: self.runs(key), what=f"begin of {key}")
                with locker.locked():
                    run = until(lambda key=key: self.runs(key)[0].end and self.runs(key)[0])
                    past = run.begin + 0.6
                    if number % 2:
                        os.kill(run.pid, signal.SIGKILL)
                        kills += 1
                    until(
                        lambda past=past: time.monotonic() > past, what="a time past the deadline"
                    )
                self._wait_idle()
        return kills

    def _wait_idle(self) -> None:
        stats = self.service.queue.stats
        until(
            lambda: not (now := stats())["pending"] + now["running"],
            seconds=PATIENCE,
            pause=0.05,
            what="end of all jobs",
        )

    # What came of them

    def runs(self, key: str) -> list[Run]:
        """List the runs of a job by its own notes."""
        path = self.folder / "runs" / key
        found: list[Run] = []
        for line in path.read_text().splitlines() if path.exists() else ():
            note = json.loads(line)
            if note["event"] == "begin":
                found.append(Run(note["pid"], note["at"], alive=note["alive"]))
            else:
                found[-1].end, found[-1].late = note["at"], note.get("late")
        return found

    def check(self) -> None:
        """Check that each execution came out as one thing, as the jobs themselves saw it."""
        rows = dict(self._executions())
        for key in (*self.guilty, *self.innocent, *self.waited):
            self._check_runs(key, rows[key])
        for key in self.innocent:
            assert [verdict for verdict, _ in rows[key][1]] == ["completed"], f"{key}: {rows[key]}"
        for key in self.guilty:
            verdicts = {verdict for verdict, _ in rows[key][1]}
            assert verdicts <= {"completed", "timeout"}, f"{key}: {rows[key]}"
        for key in self.waited:
            verdicts = {verdict for verdict, _ in rows[key][1]}
            assert verdicts <= {"completed", "lost"}, f"{key}: {rows[key]}"
        self._check_counters()
        assert not self.service.events("claim_lost")
        assert self.service.process.poll() is None

    def _check_runs(self, key: str, row: tuple[str, list[tuple[str, str | None]]]) -> None:
        state, executions = row
        runs = self.runs(key)
        verdicts = [verdict for verdict, _ in executions]
        assert None not in verdicts, f"{key} has an execution without an outcome"
        assert len(runs) <= len(executions), f"{key} ran more often than it was begun"
        assert verdicts.count("completed") == (state == "completed"), f"{key}: {row}"
        assert "completed" not in verdicts[:-1], f"{key} ran again after it had completed"
        assert not any(run.alive for run in runs), f"{key} ran beside an earlier run of itself"
        for before, after in pairwise(runs):
            assert (before.end or before.begin) < after.begin, f"{key} ran twice at once"
        if state == "completed":
            assert runs[-1].end is not None, f"{key} completed and did not end"
            assert executions[-1][1] == str(runs[-1].pid), f"{key} has another run's result"

    def _executions(self) -> Iterator[tuple[str, tuple[str, list[tuple[str, str | None]]]]]:
        with closing(sqlite3.connect(self.service.database)) as connection:
            for job, name, state in connection.execute("SELECT id, name, state FROM job"):
                rows = connection.execute(
                    "SELECT verdict, result FROM execution WHERE job_id = ? "
                    "AND verdict IS NOT 'released' ORDER BY id",
                    (job,),
                ).fetchall()
                yield name, (state, rows)

    def _check_counters(self) -> None:
        with closing(sqlite3.connect(self.service.database)) as connection:
            counted = dict(connection.execute("SELECT state, count(*) FROM job GROUP BY state"))
            kept = connection.execute("SELECT state, sum(jobs) FROM job_count GROUP BY state")
            assert {state: jobs for state, jobs in kept if jobs} == counted

    def figures(self) -> dict[str, Any]:
        """Tell how many collisions there were, how they came out, and how close they were."""
        rows = dict(self._executions())
        runs = [run for key in self.guilty for run in self.runs(key)]
        late = [run.late for run in runs if run.late is not None]
        return {
            "executions": Counter(v for key in self.guilty for v, _ in rows[key][1]),
            "killed": sum(run.end is None for run in runs),
            "late": sorted(late),
            "edge": self._edge,
            "innocent": len(self.innocent),
            "waited": len(self.waited),
        }
