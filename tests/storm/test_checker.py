"""The checker finds what is wrong: bugs planted into real processes, and evidence tampered with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import chdir, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from harness import until
from storm.checker import RULES, Violation, check
from storm.field import Field, StormService, processes_of
from storm.notes import NOTES, Book, parse

from gigq import Job, JobQueue, Workflow
from gigq.queue.connection import CRASH_AT
from gigq.queue.doorbell import Bell
from gigq.queue.sqlite_store import SqliteStore
from gigq.worker import outcome as outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gigq.queue.records import OpenExecution, Outcome

PLANTED = Path(__file__).with_name("planted")
SECONDS = 60


class Bench:
    """A service, perhaps with a planted bug, and what a directed workload needs."""

    def __init__(self, folder: Path, bug: str | None) -> None:
        """Prepare; nothing is started."""
        self.field = Field(folder, small_disk=False)
        self.environment = {"PYTHONPATH": str(PLANTED)} | ({"GIGQ_PLANTED": bug} if bug else {})
        self.service = StormService(self.field, environment=self.environment)
        self.service.workers_wanted = 2
        self.service.kill_grace = 0.1
        self.service.configure()
        self.queue = JobQueue(self.field.database)
        self.book = Book(self.field.notes / "submitter-0.jsonl")
        self._offers = 0

    def job(self, do: str, more: dict[str, Any] | None = None, **options: Any) -> Job:  # noqa: ANN401 (of Job)
        """Make a job of the storm."""
        with chdir(self.field.folder):
            job = Job(do, "jobs.work", {"do": do, **(more or {})}, **options)
        job.params["key"] = job.id
        return job

    def submit(self, flow: Workflow) -> None:
        """Submit as a storm's submitters do, and start the service."""
        self._offers += 1
        self.book.offer(self._offers, flow.jobs)
        with chdir(self.field.folder):
            flow.submit_all(self.queue)
        self.book.note("acknowledged", number=self._offers)
        self.service.start()

    def begins(self, job: Job) -> list[dict[str, Any]]:
        """List the begins of a job."""
        path = self.field.notes / "jobs" / f"{job.id}.jsonl"
        lines = parse(path.read_text()) if path.exists() else []
        return [line for line in lines if line["what"] == "begin"]

    def finish(self) -> None:
        """Wait until nothing waits or runs, and stop the service."""

        def finished() -> bool:
            counts = self.queue.stats()
            return not counts["pending"] and not counts["running"]

        until(finished, seconds=SECONDS, what="all jobs finished")
        assert self.service.stop(SECONDS)

    def close(self) -> None:
        """End everything."""
        self.service.kill()
        for pid, _ in processes_of(self.field.database):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.queue.close()
        self.book.close()
        self.field.close()


# The workloads: each a few seconds


def _one_job(bench: Bench, do: str, more: dict[str, Any] | None = None, **options: Any) -> None:  # noqa: ANN401 (of Job)
    flow = Workflow("one")
    flow.add_job(bench.job(do, more, **options))
    bench.submit(flow)
    bench.finish()


def _take_from_stopped(bench: Bench, judge: Callable[[OpenExecution], Outcome]) -> None:
    """Take a job from a worker that is stopped right after its run, and let that one go on."""
    flow = Workflow("one")
    job = flow.add_job(bench.job("stop"))
    bench.submit(flow)
    first = until(lambda: bench.begins(job), seconds=SECONDS)[0]["pid"]
    stat = Path(f"/proc/{first}/stat")
    until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", seconds=SECONDS)
    with closing(SqliteStore(bench.field.database, durable=False, create=False)) as store:
        (row,) = (row for row in store.open_workers() if row.identity.pid == first)
        assert store.retire(row.worker, judge)
    Bell(bench.field.companions.doorbell).ring()
    until(lambda: len(bench.begins(job)) > 1, seconds=SECONDS, what="a second run")
    os.kill(first, signal.SIGCONT)
    log = bench.service.log
    until(
        lambda: (
            "claim_lost" in log.read_text() or bench.queue.get_status(job.id)["status"] != "running"
        ),
        seconds=SECONDS,
        what="what the first worker says to count or not",
    )
    (bench.field.notes / f"go-{job.id}").touch()
    until(lambda: log.read_text().count('"job_completed"') > 1, seconds=SECONDS)
    bench.finish()


def take_lost(bench: Bench) -> None:
    """Take it back as that of a dead worker."""
    _take_from_stopped(bench, lambda held: outcomes.lost(held, None))


def take_released(bench: Bench) -> None:
    """Take it back as never begun: the attempt is given out twice."""
    _take_from_stopped(bench, outcomes.released)


def run_long(bench: Bench) -> None:
    """Run longer than some would wait."""
    _one_job(bench, "sleep", {"seconds": 1.5}, max_attempts=2)


def kill_client(bench: Bench) -> None:
    """Kill a client right after its third commit."""
    done = subprocess.run(
        [sys.executable, "client.py", str(bench.field.database), "0"],
        cwd=bench.field.folder,
        env={**os.environ, **bench.environment, CRASH_AT: "submit:after:3"},
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == -signal.SIGKILL


def fan_in(bench: Bench) -> None:
    """Wait for a short and a long parent."""
    flow = Workflow("fan-in")
    parents = [
        flow.add_job(bench.job("return", priority=1)),
        flow.add_job(bench.job("sleep", {"seconds": 0.7})),
    ]
    flow.add_job(bench.job("return"), parents)
    bench.submit(flow)
    bench.finish()


def start_processes(bench: Bench) -> None:
    """Start processes, miss the deadline, and try again."""
    _one_job(bench, "family", timeout=0.2, max_attempts=2)


def ignore_deadline(bench: Bench) -> None:
    """Be killed at the deadline, and try again."""
    _one_job(bench, "deaf", timeout=0.2, max_attempts=2)


class Plant(NamedTuple):
    """A bug, where it shows, and what the checker has to say."""

    bug: str
    workload: Callable[[Bench], None]
    rule: str
    evidence: str


PLANTS = (
    Plant("fence_removed", take_lost, "unrecorded", "is open, the job is completed"),
    Plant("fence_on_attempt", take_released, "unrecorded", "is open, the job is completed"),
    Plant("reclaim_by_age", run_long, "overlap", "(begin) of execution"),
    Plant("submit_in_several_commits", kill_client, "torn", "of 6 jobs of one submit 2 are there"),
    Plant("counter_off_by_one", fan_in, "early", "has no result of parent"),
    Plant("grandchildren_spared", start_processes, "overlap", "(process) of execution"),
    Plant("outcome_before_kill", ignore_deadline, "overlap", "(begin) of execution"),
)


def _violations(
    folder: Path, workload: Callable[[Bench], None], bug: str | None
) -> list[Violation]:
    bench = Bench(folder, bug)
    try:
        workload(bench)
        for pid, command in processes_of(bench.field.database):
            bench.field.note("process left", subject=pid, evidence=command)
        calm = workload is not kill_client
        return check(bench.field.notes, bench.field.database, calm=calm)
    finally:
        bench.close()


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.bug)
def test_planted_bug_is_found(tmp_path: Path, plant: Plant) -> None:
    """With the bug the checker names the broken promise, with the evidence."""
    found = _violations(tmp_path, plant.workload, plant.bug)
    assert any(each.rule == plant.rule and plant.evidence in each.evidence for each in found), found


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.bug)
def test_same_workload_without_the_bug_is_clean(tmp_path: Path, plant: Plant) -> None:
    """Without the bug there is nothing to find."""
    assert [*map(str, _violations(tmp_path, plant.workload, None))] == []


# Tampering: each rule, without waiting for a bug that breaks it


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a workload without a violation: jobs, workflows, cancels, requeues."""
    bench = Bench(tmp_path_factory.mktemp("evidence") / "field", None)
    try:
        bench.service.start()
        subprocess.run(
            [sys.executable, "client.py", str(bench.field.database), "1", "--keep"],
            cwd=bench.field.folder,
            check=True,
            timeout=SECONDS,
        )
        bench.finish()
        assert check(bench.field.notes, bench.field.database) == []
    finally:
        bench.close()
    return bench.field.folder


@pytest.fixture
def case(evidence: Path, tmp_path: Path) -> Iterator[Case]:
    """Give a copy of it to tamper with."""
    shutil.copytree(evidence, tmp_path / "copy", ignore=lambda *_: ["doorbell", "control"])
    case = Case(tmp_path / "copy")
    yield case
    case.connection.close()


class Case:
    """A copy of the evidence."""

    def __init__(self, folder: Path) -> None:
        """Open it."""
        self.notes = folder / "notes"
        self.database = folder / "disk" / "gigq.db"
        self.connection = sqlite3.connect(self.database, isolation_level=None)

    def value(self, query: str) -> Any:  # noqa: ANN401 (any value)
        """Give the first value of a query."""
        return self.connection.execute(query).fetchone()[0]

    def completed(self) -> str:
        """Give the last job that completed, one of a workflow."""
        return str(self.value("SELECT uuid FROM job WHERE state = 'completed' ORDER BY id DESC"))

    def append(self, name: str, *lines: dict[str, Any]) -> None:
        """Write further notes."""
        with (self.notes / name).open("a") as file:
            file.writelines(
                json.dumps({"at": 1e9, "pid": 1, "ticks": 1, **line}) + "\n" for line in lines
            )

    def begin(self, job: str, execution: int, **more: Any) -> None:  # noqa: ANN401 (any value)
        """Note one more begin of a job."""
        line = {"what": "begin", "execution": execution, "parents": None, **more}
        self.append(f"jobs/{job}.jsonl", line)


def _begin_again(case: Case) -> None:
    job = case.completed()
    begin = json.loads((case.notes / "jobs" / f"{job}.jsonl").read_text().splitlines()[0])
    case.begin(job, begin["execution"])


def _begin_unclaimed(case: Case) -> None:
    case.begin(case.completed(), 12345)


def _run_cancelled(case: Case) -> None:
    asked = parse((case.notes / "submitter-1.jsonl").read_text())
    (job,) = (line["job"] for line in asked if line["what"] == "cancel")
    case.begin(job, 12345)


def _overlap(case: Case) -> None:
    job = case.completed()
    path = case.notes / "jobs" / f"{job}.jsonl"
    begin = json.loads(path.read_text().splitlines()[0])["at"]
    case.begin(job, 12345, at=begin + 1e-6)
    case.append(f"jobs/{job}.jsonl", {"what": "end", "execution": 12345, "how": "raised"})


def _early(case: Case) -> None:
    parent = case.value(
        "SELECT p.uuid FROM edge e JOIN job p ON p.id = e.parent_id JOIN job c ON c.id = e.child_id"
        " WHERE p.state = 'completed' AND c.state = 'completed'"
    )
    path = case.notes / "jobs" / f"{parent}.jsonl"
    lines = [{**line, "at": 1e9} for line in parse(path.read_text())]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _run_for_hours(case: Case) -> None:
    job = case.completed()
    path = case.notes / "jobs" / f"{job}.jsonl"
    begin, *_ = path.read_text().splitlines()
    line = {"what": "end", "execution": json.loads(begin)["execution"], "how": "returned"}
    path.write_text(begin + "\n")
    case.append(f"jobs/{job}.jsonl", {**line, "at": 1e9, "pid": json.loads(begin)["pid"]})


def _back_up(case: Case, statement: str) -> None:
    copy = case.notes / "copy.db"
    shutil.copy(case.database, copy)
    case.append("driver.jsonl", {"what": "backup", "began": 1e9, "path": str(copy)})
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        assert connection.execute(statement.format(completed=case.completed())).rowcount


def _lose_from_backup(case: Case) -> None:
    _back_up(case, "DELETE FROM job WHERE uuid = '{completed}'")


def _miscount_in_backup(case: Case) -> None:
    _back_up(case, "UPDATE tally SET jobs = jobs + 1")


def _change(case: Case) -> None:
    row = ["completed", 1, 1, 1, 1, None]
    seen = {"what": "seen", "job": case.completed(), "since": 0, "gone": False}
    case.append(
        "driver.jsonl", {**seen, "row": row}, {**seen, "row": ["completed", 1, 1, 1, 2, None]}
    )


TAMPERINGS: dict[str, tuple[str, str | Callable[[Case], None]]] = {
    "an acknowledged job is gone": ("lost", "DELETE FROM job WHERE uuid = '{completed}'"),
    "half a submit is there": ("torn", "DELETE FROM job WHERE uuid = '{completed}'"),
    "a job waits though nothing is in its way": (
        "stuck",
        "UPDATE job SET state = 'ready' WHERE uuid = '{completed}'",
    ),
    "a job waits for one parent too many": (
        "miscounted",
        "UPDATE job SET state = 'blocked', waiting_on = 1 WHERE uuid = '{completed}'",
    ),
    "two runs cross": ("overlap", _overlap),
    "an execution begins twice": ("begun twice", _begin_again),
    "a run has no row": ("begun unclaimed", _begin_unclaimed),
    "a child began before its parent": ("early", _early),
    "a job was charged too often": (
        "charges",
        "UPDATE job SET attempts = max_attempts + 1 WHERE uuid = '{completed}'",
    ),
    "a job has too many executions": (
        "charges",
        """
        INSERT INTO execution (id, job_id, attempt, worker_id, started_at, verdict)
        SELECT (id << 24) + 90 + n, id, 1, 1, 1, 'failed'
          FROM job, (SELECT 1 n UNION SELECT 2 UNION SELECT 3) WHERE uuid = '{completed}'""",
    ),
    "a result is not there": (
        "unrecorded",
        """
        UPDATE execution SET result = NULL
         WHERE job_id = (SELECT id FROM job WHERE uuid = '{completed}')""",
    ),
    "an execution is open": ("unrecorded", "UPDATE execution SET verdict = NULL"),
    "a cancelled job runs": ("ran cancelled", _run_cancelled),
    "nobody cancelled it": (
        "baseless",
        "UPDATE job SET state = 'cancelled', cause = 'cancelled' WHERE uuid = '{completed}'",
    ),
    "it failed without a try": (
        "baseless",
        "UPDATE job SET state = 'failed', attempts = 0 WHERE uuid = '{completed}'",
    ),
    "its parent did not fail": (
        "baseless",
        """
        UPDATE job SET state = 'cancelled', cause = 'parent_failed', cancelled_by = (
               SELECT id FROM job WHERE uuid = '{completed}')
         WHERE id = (SELECT min(id) FROM job)""",
    ),
    "a job runs for hours": ("late", _run_for_hours),
    "a finished job changes": ("changed", _change),
    "a counter is off": ("counters", "UPDATE tally SET jobs = jobs + 1"),
    "a row refers to none": ("integrity", "DELETE FROM worker"),
    "a wish outlives its execution": (
        "integrity",
        "INSERT INTO cancellation SELECT min(id), 1 FROM execution",
    ),
    "a worker's life has no end": ("worker left", "UPDATE worker SET ended_at = NULL"),
    "a backup lacks a job": ("backup", _lose_from_backup),
    "a backup is not sound": ("backup", _miscount_in_backup),
    "a process is left": (
        "process left",
        lambda case: case.append(
            "driver.jsonl", {"what": "process left", "subject": 1, "evidence": "sleep"}
        ),
    ),
    "the service dies by itself": (
        "died",
        lambda case: case.append(
            "driver.jsonl", {"what": "died", "who": "gigqd", "evidence": "exit 1"}
        ),
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_tampering_is_found(case: Case, what: str) -> None:
    """Each rule finds what breaks it."""
    rule, tamper = TAMPERINGS[what]
    if isinstance(tamper, str):
        case.connection.execute("PRAGMA foreign_keys = OFF")
        changed = case.connection.execute(tamper.format(completed=case.completed()))
        assert changed.rowcount
    else:
        tamper(case)
    found = check(case.notes, case.database)
    assert rule in {each.rule for each in found}, found


def test_each_rule_is_tampered_with() -> None:
    """No rule is without its tampering."""
    assert len(RULES) <= len(TAMPERINGS)
    assert NOTES.name == "notes"
