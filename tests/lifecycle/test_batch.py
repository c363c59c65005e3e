"""Several claims at a time: what becomes of the others behind a long job, or with a dead worker."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from harness import GENEROUS, Service, until, write_jobs

from gigq import Job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIGURATION = "[workers]\ncount = 1\nbatch = 16\nreload = false\nkill_grace = 0\n"
VISIBLE_WITHIN = 0.05 * GENEROUS  # seconds
WARMING_UP = 100  # jobs, after which a worker takes whole batches

JOBS = """
import os
import re
import time
from pathlib import Path

HERE = Path(__file__).parent


def quick(key):
    descriptor = os.open(HERE / "runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{key} {os.getpid()}\\n".encode())
    os.close(descriptor)


def wait(key):
    quick(key)
    while not (HERE / "go").exists():
        time.sleep(0.01)


def grip(key):
    "Hold the interpreter, so that no other thread runs; but only the first time."
    again = f"{key} " in (HERE / "runs").read_text()
    quick(key)
    if not again:
        re.match(r"(a+)+\\Z", "a" * 50 + "b")
"""


class Bench:
    """A service whose one worker takes whole batches by now."""

    def __init__(self, service: Service) -> None:
        """Take it over."""
        self.service = service

    def submit(self, *functions: str, **options: Any) -> list[str]:  # noqa: ANN401 (of Job)
        """Submit one batch: jobs of these functions, each named as its place; their ids."""
        jobs = [
            Job(f"{place}", f"jobs.{function}", {"key": str(place)}, **options)
            for place, function in enumerate(functions)
        ]
        self.service.queue.submit_many(jobs)
        return [job.id for job in jobs]

    def runs(self, key: int) -> list[int]:
        """List the pids in which a job has run."""
        lines = (self.service.folder / "runs").read_text().split("\n")
        return [int(line.split()[1]) for line in lines if line.startswith(f"{key} ")]

    def statuses(self, ids: list[str]) -> list[str]:
        """Give the jobs' statuses."""
        return [self.service.queue.get_status(each)["status"] for each in ids]

    def verdicts(self, job: str) -> list[str]:
        """Give how a job's attempts ended."""
        found: list[dict[str, Any]] = self.service.queue.get_status(job)["executions"]
        return [each["verdict"] for each in found]

    def kill_worker(self, key: int) -> None:
        """Send SIGKILL to the process that has begun a job."""
        os.kill(until(lambda: self.runs(key), what=f"a run of {key}")[0], signal.SIGKILL)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Give it."""
    write_jobs(tmp_path, JOBS)
    with warm(tmp_path) as bench:
        yield bench


@contextmanager
def warm(folder: Path) -> Iterator[Bench]:
    """Run enough short jobs."""
    with Service(folder, configuration=CONFIGURATION) as service:
        os.chdir(folder)
        service.queue.submit_many(
            [Job("warm", "jobs.quick", {"key": "warm"}) for _ in range(WARMING_UP)]
        )
        until(lambda: service.queue.stats()["completed"] == WARMING_UP, what="warm")
        yield Bench(service)


def test_long_job_gives_back(bench: Bench) -> None:
    """What ended before a long job is stored at once, and what waits behind it is given back."""
    ids = bench.submit("quick", "quick", "wait", "quick", "quick")
    until(lambda: bench.runs(2), what="the long job")
    begun = time.monotonic()
    expected = ["completed", "completed", "running", "pending", "pending"]
    until(lambda: bench.statuses(ids) == expected, what=str(expected))
    assert time.monotonic() - begun < VISIBLE_WITHIN
    assert [bench.service.queue.get_status(each)["attempts"] for each in ids] == [1, 1, 1, 0, 0]
    (bench.service.folder / "go").touch()
    for each in ids:
        assert bench.service.wait_status(each, "completed")["attempts"] == 1
    assert [len(bench.runs(key)) for key in range(5)] == [1] * 5


def test_kill_worker(bench: Bench) -> None:
    """What had ended and was not stored runs again; what had not begun is not charged."""
    ids = bench.submit("quick", "grip", "quick")
    bench.kill_worker(1)
    found = [bench.service.wait_status(each, "completed") for each in ids]
    assert [len(bench.runs(key)) for key in range(3)] == [2, 2, 1]
    assert [each["attempts"] for each in found] == [2, 2, 1]
    assert [bench.verdicts(each) for each in ids] == [["lost", "completed"]] * 2 + [["completed"]]
    assert found[0]["executions"][0]["error"] == (
        "worker died: SIGKILL; it had ended, and what became of it was not stored yet"
    )
    assert found[1]["executions"][0]["error"] == "worker died: SIGKILL"


def test_deadline(bench: Bench) -> None:
    """A job that has to be killed at its deadline takes those along that were not stored yet."""
    ids = bench.submit("quick", "grip", "quick", timeout=0.5, max_attempts=2)
    for each in ids:
        bench.service.wait_status(each, "completed")
    assert [bench.verdicts(each) for each in ids] == [
        ["lost", "completed"],
        ["timeout", "completed"],
        ["completed"],
    ]


def test_once_only_is_alone(bench: Bench) -> None:
    """A job that may be begun once is stored before another begins, and never runs again."""
    (once,) = bench.submit("quick", max_attempts=1)
    before, grip = bench.submit("quick", "grip")
    until(lambda: bench.statuses([once]) == ["completed"], what="the job that may run once")
    bench.kill_worker(1)
    for each in (before, grip):
        bench.service.wait_status(each, "completed")
    assert bench.verdicts(once) == ["completed"]


def test_drain(bench: Bench) -> None:
    """A service that stops finishes the job that runs, and leaves the others as they were."""
    ids = bench.submit("quick", "wait", "quick")
    until(lambda: bench.runs(1), what="the long job")
    bench.service.process.send_signal(signal.SIGTERM)
    bench.service.wait_for("service_draining")
    (bench.service.folder / "go").touch()
    assert bench.service.process.wait(60) == 0
    assert bench.statuses(ids) == ["completed", "completed", "pending"]
    assert len(bench.runs(2)) == 0
