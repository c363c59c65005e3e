"""Drives a storm: starts service and submitters, lets faults strike, calms down, and checks.

All choices follow from the seed; which process a blow hits, and in which moment, follows from the
machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from storm.checker import Violation, check
from storm.evidence import Database, Notes
from storm.faults import CLIENT_POINTS, FAULTS, SERVICE_POINTS, Fault, Storm
from storm.field import Field, Process, StormService, StormSubmitter, processes_of
from storm.snapshots import Snapshots

from gigq import GigqError, JobQueue
from gigq.queue.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUBMITTERS = 2
SNAPSHOT_EACH = 4.0  # seconds
PAUSE = 0.65  # seconds between two faults, on average
CRASHING = 0.5  # of the processes that are started again have a crash point
BUSY = (State.READY, State.CLAIMED, State.RUNNING)
CALM_WITHIN = 120  # seconds for the service to finish everything
_WINDOWS_WITHIN = 90


class Report(NamedTuple):
    """What a storm came to."""

    seed: int
    seconds: float
    counts: Counter[str]
    faults: Counter[str]
    missing: list[str]  # faults that this machine does not have
    crashes: Counter[str]
    jobs: Counter[str]
    executions: Counter[str]
    events: Counter[str]
    runs: int
    lost_workers: Counter[str]
    violations: list[Violation]

    def text(self) -> str:
        """Say it for people."""
        total = sum(self.jobs.values())
        speed = f"{total:,} jobs ({total / self.seconds:.0f}/s), {self.runs:,} runs"
        blows = f"{self.counts['kills']:,} kills, {sum(self.faults.values()):,} faults"
        lines = [f"seed {self.seed}, {self.seconds:.0f} s: {speed}, {blows}"]
        for title, figures in (
            ("faults", self.faults),
            ("crash points", self.crashes),
            ("jobs", self.jobs),
            ("executions", self.executions),
            ("other", self.counts),
            ("events", self.events),
            ("workers that died of", self.lost_workers),
        ):
            told = ", ".join(f"{name} {figures[name]:,}" for name in sorted(figures))
            lines.append(f"{title}: {told or 'none'}")
        if self.missing:
            lines.append(f"not available here: {', '.join(self.missing)}")
        lines.append(f"violations: {len(self.violations)}")
        lines += [f"  {each}" for each in self.violations[:50]]
        return "\n".join(lines)


class Driver:
    """One storm."""

    def __init__(self, folder: Path, seed: int, *, small_disk: bool = True) -> None:
        """Prepare in an empty folder."""
        self._seed = seed
        self._chance = random.Random(seed)
        self.field = Field(folder, small_disk=small_disk)
        self.service = StormService(self.field)
        self.submitters = [StormSubmitter(self.field, n, seed * 10 + n) for n in range(SUBMITTERS)]
        self.storm = Storm(self.field, self.service, self.submitters)
        self.snapshots = Snapshots(self.field)
        self._faults: Counter[str] = Counter()
        self._windows: dict[str, threading.Thread] = {}
        self._log_size = 0
        self._begun = 0.0

    def run(self, seconds: float) -> Report:
        """Storm so long, calm down, and check."""
        try:
            self.begin()
            self._rage(time.monotonic() + seconds)
            return self.end()
        finally:
            self.close()

    def begin(self) -> None:
        """Start service and submitters."""
        self._begun = time.monotonic()
        self.service.configure()
        self.service.start()
        for submitter in self.submitters:
            submitter.start()

    def end(self) -> Report:
        """Let everything be finished, and check."""
        self._calm()
        lasted = time.monotonic() - self._begun
        self._look_for_leftovers()
        self.snapshots.take()
        return self._report(lasted)

    def close(self) -> None:
        """End all processes."""
        self.snapshots.close()
        for submitter in self.submitters:
            submitter.kill()
        self.service.kill()
        for pid, _ in processes_of(self.field.database):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for each in Notes(self.field.notes).processes:  # also those that nobody knows of
            Process(each["child"], each["child_ticks"]).send(signal.SIGKILL)
        self.field.close()

    # The storm

    def _rage(self, until: float) -> None:
        next_fault = next_snapshot = time.monotonic() + 1
        while (now := time.monotonic()) < until:
            self.restart()
            self._watch_log()
            if now >= next_fault:
                next_fault = now + self._chance.expovariate(1 / PAUSE)
                self._strike(self._chance.choices(FAULTS, [each.weight for each in FAULTS])[0])
            if now >= next_snapshot:
                next_snapshot = now + SNAPSHOT_EACH
                self.snapshots.take()
            time.sleep(0.02)  # the pace of the storm

    def _strike(self, fault: Fault) -> None:
        chance = random.Random(self._chance.random())
        if not fault.lasts:
            self._do(fault, chance)
        elif fault.name not in self._windows or not self._windows[fault.name].is_alive():
            thread = threading.Thread(target=self._do, args=(fault, chance), daemon=True)
            self._windows[fault.name] = thread
            thread.start()

    def _do(self, fault: Fault, chance: random.Random) -> None:
        try:
            if fault.strike(self.storm, chance):
                with self.field.lock:
                    self._faults[fault.name] += 1
        except Exception as error:
            self.field.note("died", who=f"fault {fault.name}", evidence=repr(error))
            raise

    def restart(self) -> None:
        """Start what has died, sometimes with a crash point."""
        how = self.service.ended()
        if how is not None:
            if how:
                self.field.note("died", who="gigqd", evidence=how)
            self.service.start(self._environment(SERVICE_POINTS))
        for submitter in self.submitters:
            how = submitter.ended()
            if how is not None:
                if how:
                    self.field.note("died", who="submitter", evidence=how)
                submitter.start(self._environment(CLIENT_POINTS))

    def _environment(self, points: Sequence[str]) -> dict[str, str]:
        crashes = self._chance.random() < CRASHING
        chance = random.Random(self._chance.random())
        return self.storm.crash_environment(chance, points) if crashes else {}

    def _watch_log(self) -> None:
        """Count how often the write-ahead log was moved into the database and begun anew."""
        with suppress(OSError):
            size = os.stat(f"{self.field.database}-wal").st_size  # noqa: PTH116
            if size < self._log_size:
                self.field.count("checkpoints")
            self._log_size = size

    # The calm

    def _calm(self) -> None:
        """No more faults: let the service finish everything, and stop it."""
        for submitter in self.submitters:
            submitter.kill()
        for each in self.storm.processes():
            each.send(signal.SIGCONT)
        self.storm.recover()  # an order may wait for workers that were replaced all the time
        give_up = time.monotonic() + _WINDOWS_WITHIN
        for name, thread in self._windows.items():
            thread.join(max(0, give_up - time.monotonic()))
            if thread.is_alive():
                self.field.note("died", who="the storm", evidence=f"{name!r} does not end")
        self.storm.recover()
        # A service that was started with a crash point hands that on.
        if not self.service.stop(60):
            self.field.note("died", who="gigqd", evidence="SIGTERM did not end it within 60 s")
            self.service.kill()
        self.service.ended()
        self.service.start()
        self._finish_everything()
        if not self.service.stop(60):
            self.field.note("died", who="gigqd", evidence="SIGTERM did not end it within 60 s")

    def _finish_everything(self) -> None:
        begin = time.monotonic()
        with JobQueue(self.field.database) as queue:
            while time.monotonic() < begin + CALM_WITHIN:
                how = self.service.ended()
                if how is not None:
                    self.field.note("died", who="gigqd in the calm", evidence=how or "killed")
                    self.service.start()
                with suppress(GigqError):
                    if not self._is_busy(queue):
                        break
                time.sleep(0.05)
        self.field.count("seconds of calm", round(time.monotonic() - begin))

    def _is_busy(self, queue: JobQueue) -> bool:
        with queue._look() as store:
            if store is None:
                return False
            is_ready, next_due = store.glance()
            # In one look: a job may be ready, running, and ready again within a millisecond.
            counts = store.counts()
        soon = time.time_ns() // 1000 + 60_000_000
        is_due = next_due is not None and next_due < soon
        return is_ready or is_due or any(counts.get(each) for each in BUSY)

    # The end

    def _look_for_leftovers(self) -> None:
        for pid, command in processes_of(self.field.database):
            self.field.note("process left", subject=pid, evidence=command)
        companions = self.field.companions
        for path in (companions.service_lock, companions.checkpoint_lock):
            with suppress(FileNotFoundError), path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self.field.note("lock held", subject=path.name, evidence="nobody should")
        if companions.control.exists():
            self.field.note("file left", subject="control", evidence="the service has stopped")

    def _report(self, lasted: float) -> Report:
        field = self.field
        violations = check(field.notes, field.database)
        database = Database(field.database)
        notes = Notes(field.notes)
        events: Counter[str] = Counter()
        lost: Counter[str] = Counter()
        for log in field.folder.glob("events-*.jsonl"):
            for line in log.read_text(errors="replace").splitlines():
                with suppress(ValueError):
                    event: dict[str, Any] = json.loads(line)
                    events[event["event"]] += 1
                    if event["event"] in ("worker_lost", "worker_start_failed"):
                        error = event.get("error") or ""
                        told = f": {error[:120]}" if "Error" in error or "cannot" in error else ""
                        lost[f"{event.get('status')}{told}"] += 1
        crashes = Counter(name for mark, name in self.storm.marks.items() if mark.exists())
        field.counts["kills"] += crashes.total()
        field.counts["jobs acknowledged"] = sum(
            len(each.jobs) for each in notes.promises if each.acknowledged is not None
        )
        field.counts["jobs not acknowledged"] = sum(
            len(each.jobs) for each in notes.promises if each.acknowledged is None
        )
        for job in database.jobs.values():
            field.counts["jobs due in hours"] += job.state == "scheduled"
        jobs = Counter(job.state for job in database.jobs.values())
        jobs["cleared"] = field.counts.pop("jobs cleared", 0)
        return Report(
            self._seed,
            lasted,
            field.counts,
            self._faults,
            self.missing(),
            crashes,
            jobs,
            Counter(str(each.verdict) for each in database.executions.values()),
            events,
            sum(map(len, notes.runs.values())),
            lost,
            violations,
        )

    def missing(self) -> list[str]:
        """List the faults that this machine does not have, each with what it needs."""
        missing = []
        if not self.field.is_small:
            missing.append("a full disk (needs root, to mount a small one)")
        if subprocess.run(["which", "strace"], check=False, capture_output=True).returncode:
            missing.append("fsync fails (needs strace)")
        return missing
