"""A service with nothing to do rests: its supervisor does not turn until something comes."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from harness import Service, until, write_jobs

from gigq import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

STILL = 2.0  # seconds without a turn; an awake supervisor turns twice a second
AT_ONCE = 10.0  # seconds; who rests looks after half a minute, a worker by itself after a minute
JOBS = """
import time
from pathlib import Path

HERE = Path(__file__).parent


def quick():
    pass


def shout():
    raise ValueError("x" * 10_000)


def hang():
    (HERE / "begun").touch()
    time.sleep(1000)
"""


class Stillness:
    """Watches whether a process's main thread has run."""

    def __init__(self, service: Service) -> None:
        """Begin to look at the supervisor's."""
        self._schedstat = Path(f"/proc/{service.process.pid}/schedstat")
        self._seen = ""
        self._since = 0.0

    def has_lasted(self) -> bool:
        """Tell whether it has not run for some seconds."""
        now, ran = time.monotonic(), self._schedstat.read_text().split()[0]
        if ran != self._seen:
            self._seen, self._since = ran, now
        return now - self._since > STILL


@pytest.fixture
def resting(tmp_path: Path) -> Iterator[Service]:
    """Give a service of two workers that had work, and rests."""
    write_jobs(tmp_path, JOBS)
    configuration = "[workers]\ncount = 2\nkill_grace = 0\n"
    with Service(tmp_path, configuration=configuration) as service:
        service.wait_ready(2)
        service.wait_status(service.submit("jobs.quick"), "completed")
        until(Stillness(service).has_lasted, what="the supervisor rests")
        yield service


def test_submit_without_a_ring(resting: Service) -> None:
    """A job of somebody who could not ring the doorbell is begun soon all the same."""
    (resting.folder / "gigq.db.d" / "doorbell").unlink()
    job = resting.submit("jobs.quick")
    resting.wait_status(job, "completed", seconds=AT_ONCE)


def test_time_without_a_ring(resting: Service) -> None:
    """A job of somebody who could not ring is begun soon after its time."""
    (resting.folder / "gigq.db.d" / "doorbell").unlink()
    job = resting.submit("jobs.quick", delay=2)
    resting.wait_status(job, "completed", seconds=AT_ONCE)


def test_failures_that_come_in_masses(resting: Service) -> None:
    """Each failure is told, however many there are, and without another job after them."""
    jobs = [Job("shout", "jobs.shout", max_attempts=2) for _ in range(500)]
    with contextlib.chdir(resting.folder):
        resting.queue.submit_many(jobs)
    until(lambda: len(resting.events("job_failed")) == 1000, seconds=AT_ONCE * 3)


def test_deadline(resting: Service) -> None:
    """The first job after a rest ends at its deadline."""
    job = resting.submit("jobs.hang", timeout=1.5, max_attempts=1)
    found = resting.wait_status(job, "timeout", seconds=AT_ONCE)
    assert found["executions"][0]["stacks"]
    assert resting.wait_for("job_started", job_id=job)
    assert resting.wait_for("worker_killed", reason="deadline")


def test_cancel(resting: Service) -> None:
    """The first job after a rest can be cancelled while it runs."""
    job = resting.submit("jobs.hang")
    until((resting.folder / "begun").exists)
    assert resting.queue.cancel(job, running=True)
    resting.wait_status(job, "cancelled", seconds=AT_ONCE)


def test_figures(resting: Service) -> None:
    """What is counted of the last jobs before a rest is soon stored, too."""
    with contextlib.chdir(resting.folder):  # the claim of the first stores what there was
        resting.queue.submit_many([Job("quick", "jobs.quick") for _ in range(4)])
    with contextlib.closing(sqlite3.connect(resting.database)) as connection:
        query = "SELECT total(value) FROM metric WHERE name = 'attempts'"
        until(lambda: connection.execute(query).fetchone()[0] == 5, seconds=AT_ONCE)


def test_worker_of_somebody_else_dies(resting: Service) -> None:
    """What a process held that registered during the rest, and was killed, is taken back."""
    resting.process.send_signal(signal.SIGSTOP)  # not one of its workers is to run this job
    for pid in resting.worker_pids().values():
        os.kill(pid, signal.SIGSTOP)
    job = resting.submit("jobs.hang")
    code = f"import gigq; gigq.Worker({str(resting.database)!r}).start()"
    with subprocess.Popen([sys.executable, "-c", code], cwd=resting.folder) as other:
        until((resting.folder / "begun").exists)
        (resting.folder / "begun").unlink()
        resting.process.send_signal(signal.SIGCONT)
        for pid in resting.worker_pids().values():
            os.kill(pid, signal.SIGCONT)
        other.kill()
    until((resting.folder / "begun").exists, seconds=AT_ONCE)
    found = resting.queue.get_status(job)
    assert [each["verdict"] for each in found["executions"]] == ["lost", None]
