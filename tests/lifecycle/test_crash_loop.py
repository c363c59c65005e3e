"""The blow: workers that cannot start, or die at once, again and again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from harness import GENEROUS, Service, until

from gigq.queue.companions import Companions
from gigq.supervisor.control import ask

if TYPE_CHECKING:
    from pathlib import Path

BUSY = 0.5  # seconds of processor time in one
RECOVERED_WITHIN = 2.0 * GENEROUS  # seconds after the file was corrected
BARE = '[workers]\ncount = 1\npython = "bare/bin/python"\n'
GOOD = "[workers]\ncount = 1\n"
NO_PATH = {"PYTHONPATH": ""}


def make_environment(folder: Path) -> None:
    """Make a virtual environment with nothing in it."""
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder / "bare")]
    subprocess.run(command, check=True)


def test_interpreter_without_gigqd(folder: Path) -> None:
    """An interpreter that lacks gigqd is reported and tried again ever later, until corrected."""
    make_environment(folder)
    with Service(folder, configuration=BARE, environment=NO_PATH) as service:
        until(lambda: len(service.events("worker_start_failed")) >= 3)
        failures = service.events("worker_start_failed")
        assert all("No module named" in event["error"] for event in failures)
        assert all("gigq" in event["error"] for event in failures)
        assert [each["status"] for each in failures] == [1, 1, 1]
        delays = [each["next_try"] for each in failures]
        assert 0.5 <= delays[0] <= 1 <= delays[1] <= 2 <= delays[2] <= 4
        assert service.told("status")[0] == 0
        job = service.submit("jobs.quick", {"key": "x"})
        assert service.queue.get_status(job)["status"] == "pending"
        service.configure(GOOD)
        service.wait_status(job, "completed", seconds=RECOVERED_WITHIN)


def test_interpreter_that_says_nothing(folder: Path) -> None:
    """A program that is no Python, and ends without a word, is reported as such."""
    settings = '[workers]\ncount = 1\npython = "/bin/true"\n'
    with Service(folder, configuration=settings) as service:
        failed = service.wait_for("worker_start_failed")
        assert failed["error"] == (
            "it ended without a word (exit code 0); is [workers] python a Python?"
        )


@pytest.mark.parametrize("python", ["missing/bin/python", "no-such-python", "jobs.py"])
def test_interpreter_that_is_none(folder: Path, python: str) -> None:
    """An interpreter that cannot be executed is reported, and the service goes on."""
    settings = f'[workers]\ncount = 1\npython = "{python}"\n'
    if "/" not in python:
        settings = settings.replace("jobs.py", str(folder / "jobs.py"))
    with Service(folder, configuration=settings) as service:
        failed = service.wait_for("worker_start_failed")
        assert f"{python} cannot be started:" in failed["error"]
        service.configure(GOOD)
        job = service.submit("jobs.quick", {"key": "x"})
        service.wait_status(job, "completed", seconds=RECOVERED_WITHIN)


def test_interpreter_is_corrupted_for_a_while(folder: Path) -> None:
    """After failed starts that went away by themselves the service is as quiet as ever."""
    python = folder / "python"
    settings = f'[workers]\ncount = 1\npython = "{python}"\nreload = false\n'
    with Service(folder, configuration=settings) as service:
        service.wait_for("worker_start_failed")
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        service.wait_ready()
        supervisor = psutil.Process(service.process.pid)
        before, since = supervisor.cpu_times(), time.monotonic()
        until(lambda: time.monotonic() > since + 2, what="two seconds")
        used = supervisor.cpu_times().user - before.user
        assert used < 0.5, "the supervisor is spinning"


def test_good_workers_stay_when_the_interpreter_goes_bad(folder: Path) -> None:
    """A job that runs is not disturbed by a renewal whose workers cannot start."""
    make_environment(folder)
    with Service(folder, configuration=GOOD, environment=NO_PATH) as service:
        service.wait_ready()
        service.configure(BARE)
        service.wait_for("worker_start_failed", seconds=RECOVERED_WITHIN)
        job = service.submit("jobs.quick", {"key": "x"})
        service.configure(GOOD)
        service.wait_status(job, "completed", seconds=RECOVERED_WITHIN)
        assert not service.events("worker_lost")


def test_database_is_removed(folder: Path) -> None:
    """Workers that cannot open the database are started ever later, not as fast as possible."""
    with Service(folder, configuration=GOOD) as service:
        service.wait_ready()
        (pid,) = service.worker_pids().values()
        for file in folder.glob("gigq.db*"):
            if file.is_file():
                file.unlink()
        os.kill(pid, signal.SIGKILL)
        died = time.monotonic()
        until(lambda: time.monotonic() > died + 3, what="three seconds")
        assert service.process.poll() is None
        started = len(service.events("worker_ready")) + len(service.events("worker_start_failed"))
        assert started < 8
        assert service.stop(seconds=20) == 0


def test_job_that_kills_every_worker(folder: Path) -> None:
    """Jobs that kill their workers use up their attempts, and do not keep others from running."""
    with Service(folder, configuration=GOOD) as service:
        bad = [
            service.submit("jobs.exit_process", {"key": f"bad-{number}"}, max_attempts=3)
            for number in range(2)
        ]
        good = [service.submit("jobs.quick", {"key": f"good-{number}"}) for number in range(3)]
        for job in bad:
            assert service.wait_status(job, "failed")["attempts"] == 3
        for job in good:
            assert service.wait_status(job, "completed")["attempts"] == 1


def assert_quiet(service: Service) -> None:
    """See that the service is not busy when the time of each start that was put off has come."""
    process = psutil.Process(service.process.pid)
    failed = service.events("worker_start_failed")
    due = time.monotonic() + max(event["next_try"] for event in failed)
    until(lambda: time.monotonic() > due)
    before = sum(process.cpu_times()[:2])
    until(lambda: time.monotonic() > due + 1)
    assert sum(process.cpu_times()[:2]) - before < BUSY


def test_drained_while_a_start_is_put_off(folder: Path) -> None:
    """A start that is due, and no longer wanted, keeps nobody busy."""
    settings = '[workers]\ncount = 1\npython = "/bin/false"\n'
    with Service(folder, configuration=settings) as service:
        service.wait_for("worker_start_failed")
        assert service.told("drain")[0] == 0
        assert_quiet(service)


def test_no_workers_while_a_spare_is_put_off(folder: Path) -> None:
    """Nor does that of a spare, where there are no workers any more."""
    settings = '[workers]\ncount = 1\nspare = 1\npython = "/bin/false"\n'
    with Service(folder, configuration=settings) as service:
        until(lambda: len(service.events("worker_start_failed")) >= 2)
        ask(Companions(service.database).control, "scale", count=0)
        assert_quiet(service)
