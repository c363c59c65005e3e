"""The blow: jobs come while workers have nothing to do."""

from __future__ import annotations

import signal
from contextlib import chdir
from typing import TYPE_CHECKING

from harness import Service

from gigq import Job

if TYPE_CHECKING:
    from pathlib import Path

    from lifecycle.oracle import Oracle

WORKERS = 6
ROUNDS = 5
BEGUN_WITHIN = 20  # seconds; an idle worker looks by itself after a minute


def test_each_job_wakes_a_worker(folder: Path, oracle: Oracle) -> None:
    """Jobs submitted one right after the other each find an idle worker at once."""
    with Service(folder, configuration=f"[workers]\ncount = {WORKERS}\n") as service:
        service.wait_ready(WORKERS)
        service.process.send_signal(signal.SIGSTOP)  # it looks for jobs without a ring, too
        for turn in range(ROUNDS):
            keys = [f"{turn}-{number}" for number in range(WORKERS)]
            jobs = [service.submit("jobs.wait", {"key": key}) for key in keys]
            for key in keys:
                oracle.wait_begun(key, seconds=BEGUN_WITHIN)
            oracle.let_go(*keys)
            for job in jobs:
                service.wait_status(job, "completed")
    assert len(oracle.runs()) == WORKERS * ROUNDS


def test_jobs_that_come_together_wake_all_workers(folder: Path, oracle: Oracle) -> None:
    """Jobs of one submit are begun by all idle workers, not by one after the other."""
    keys = [f"job-{number}" for number in range(WORKERS)]
    with Service(folder, configuration=f"[workers]\ncount = {WORKERS}\n") as service:
        service.wait_ready(WORKERS)
        service.process.send_signal(signal.SIGSTOP)  # it looks for jobs without a ring, too
        with chdir(folder):
            jobs = [Job(key, "jobs.wait", {"key": key}) for key in keys]
            service.queue.submit_many(jobs)
        for key in keys:
            oracle.wait_begun(key, seconds=BEGUN_WITHIN)
        oracle.let_go(*keys)
        for job in jobs:
            service.wait_status(job.id, "completed")
