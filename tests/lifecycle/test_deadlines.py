"""The blow: a job that overruns its time."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest
from harness import GENEROUS, Locker, Service, until

if TYPE_CHECKING:
    from pathlib import Path

    from lifecycle.oracle import Oracle

KILLED_WITHIN = 0.5 * GENEROUS  # seconds after the deadline
LET_GO_WITHIN = 0.5 * GENEROUS
AT_ONCE = "[workers]\ncount = 1\nkill_grace = 0\nreload = false\n"
ONE_WORKER = "[workers]\ncount = 1\nreload = false\n"
VICTIMS = [
    "spin",
    "sleep",
    "hold_interpreter",
    "ignore_sigterm",
    "leave_child",
    "leave_orphan",
    "swallow",
]


@pytest.mark.parametrize("function", VICTIMS)
def test_job_is_killed_with_all_it_started(folder: Path, oracle: Oracle, function: str) -> None:
    """Whatever a job does, it and all it started are gone soon after its deadline, each time."""
    timeout = 0.5
    with Service(folder, configuration=AT_ONCE) as service:
        job = service.submit(f"jobs.{function}", {"key": "x"}, timeout=timeout, max_attempts=2)
        for attempt in (1, 2):
            lasted = oracle.wait_gone("x", attempt, seconds=timeout + KILLED_WITHIN)
            assert lasted > timeout / 2
        found = service.wait_status(job, "timeout")
        until(lambda: len(service.events("worker_killed", reason="deadline")) == 2)
    oracle.check()
    assert len(oracle.runs("x")) == found["attempts"] == 2
    assert found["error"] == "Job timed out after 0.5 seconds"
    assert [each["verdict"] for each in found["executions"]] == ["timeout", "timeout"]
    assert {each["error"] for each in found["executions"]} == {"Job timed out after 0.5 seconds"}
    assert function in found["executions"][-1]["stacks"]


def test_interruption_lets_go_of_the_lock(folder: Path) -> None:
    """A job that is interrupted in the middle of a write to the database locks nobody out."""
    times = 20
    with Service(folder, configuration=ONE_WORKER) as service:
        jobs = [
            service.submit("jobs.tell", timeout=0.03 + 0.001 * n, max_attempts=1)
            for n in range(times)
        ]
        cut_short = {"database": str(service.database)}
        failed = service.submit("jobs.submit_and_be_cut_short", cut_short, max_attempts=1)
        last = service.submit("jobs.directory")
        for job in jobs:
            service.wait_status(job, "timeout")
        service.wait_status(failed, "failed")
        service.wait_status(last, "completed")
        assert not service.events("worker_killed")
        assert not service.events("store_trouble")


def test_kill_does_not_wait_for_the_database(folder: Path, oracle: Oracle) -> None:
    """While an outsider holds the write lock, jobs die in time; the record is made afterwards."""
    timeout = 3
    workers = len(VICTIMS)
    settings = AT_ONCE.replace("count = 1", f"count = {workers}")
    with Service(folder, configuration=settings) as service, Locker(service.database) as locker:
        service.wait_ready(workers)
        jobs = [
            service.submit(f"jobs.{name}", {"key": name}, timeout=timeout, max_attempts=1)
            for name in VICTIMS
        ]
        for name in VICTIMS:
            oracle.wait_begun(name)
        with locker.locked():
            for name in VICTIMS:
                assert not oracle.wait_begun(name).end, "the lock came too late for this test"
            for name in VICTIMS:
                oracle.wait_gone(name, seconds=timeout + KILLED_WITHIN)
            assert {service.queue.get_status(job)["status"] for job in jobs} == {"running"}
        for job in jobs:
            found = service.wait_status(job, "timeout")
            assert found["error"] == "Job timed out after 3 seconds"
    oracle.check()


def test_default_grace_lets_finally_run(folder: Path, oracle: Oracle) -> None:
    """By default an overrun job is interrupted, its `finally` runs, and its worker lives on."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.clean_up", {"key": "x"}, timeout=0.5, max_attempts=2)
        after = service.submit("jobs.quick", {"key": "after"})
        found = service.wait_status(job, "timeout")
        service.wait_status(after, "completed")
        first, second = oracle.runs("x")
        assert first.events == second.events == ["cleaned"]
        assert service.queue.get_result(after) == first.pid == second.pid
    oracle.check()
    assert found["error"] == "Job timed out after 0.5 seconds"
    assert "clean_up" in found["executions"][-1]["stacks"]
    assert first.end is not None
    assert 0.25 < first.end - first.begin < 0.5 + LET_GO_WITHIN


def test_job_that_obliges_is_still_timed_out(folder: Path, oracle: Oracle) -> None:
    """A job that catches the interruption and returns is a timeout; its worker lives on."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.oblige", {"key": "x"}, timeout=0.5, max_attempts=1)
        after = service.submit("jobs.quick", {"key": "after"})
        found = service.wait_status(job, "timeout")
        service.wait_status(after, "completed")
        assert service.queue.get_result(after) == oracle.runs("x")[0].pid
    assert found["result"] is None
    assert found["error"] == "Job timed out after 0.5 seconds"


@pytest.mark.parametrize("grace", [0, 2])
def test_call_that_was_cut_short_is_not_taken_for_done(folder: Path, grace: float) -> None:
    """A C function that returns because of the interruption does not complete the job."""
    settings = f"[workers]\ncount = 1\nkill_grace = {grace}\nreload = false\n"
    with Service(folder, configuration=settings) as service:
        job = service.submit("jobs.sleep_in_c", {"key": "x"}, timeout=0.5, max_attempts=1)
        found = service.wait_status(job, "timeout", "completed")
    assert found["status"] == "timeout"
    assert found["result"] is None
    assert "sleep_in_c" in found["executions"][0]["stacks"]


@pytest.mark.parametrize("function", ["swallow", "ignore_sigterm", "hold_interpreter"])
def test_grace_has_an_end(folder: Path, oracle: Oracle, function: str) -> None:
    """A job that does not end when it is interrupted is killed after its grace, and not before."""
    settings = "[workers]\ncount = 1\nkill_grace = 1\nreload = false\n"
    with Service(folder, configuration=settings) as service:
        job = service.submit(f"jobs.{function}", {"key": "x"}, timeout=0.5, max_attempts=1)
        lasted = oracle.wait_gone("x", seconds=1.5 + KILLED_WITHIN)
        found = service.wait_status(job, "timeout")
    assert lasted > 1.2
    assert found["error"] == "Job timed out after 0.5 seconds"
    assert function in found["executions"][-1]["stacks"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_grace_is_for_the_next_job_too(
    folder: Path, oracle: Oracle, number: signal.Signals
) -> None:
    """A job that leaves a signal ignored does not take the next job's clean-up from it."""
    with Service(folder, configuration=ONE_WORKER) as service:
        before = service.submit("jobs.leave_signal_ignored", {"number": int(number)})
        job = service.submit("jobs.clean_up", {"key": "x"}, timeout=0.5, max_attempts=1)
        service.wait_status(before, "completed")
        found = service.wait_status(job, "timeout")
    assert oracle.runs("x")[0].events == ["cleaned"]
    assert "clean_up" in found["executions"][0]["stacks"]


@pytest.mark.parametrize("timeout", [0.1, 0.75, 1, 1.25])
def test_timeout_may_be_a_fraction(folder: Path, oracle: Oracle, timeout: float) -> None:
    """A timeout of any length is kept, and named in the error as it was given."""
    with Service(folder, configuration=AT_ONCE) as service:
        job = service.submit("jobs.sleep", {"key": "x"}, timeout=timeout, max_attempts=1)
        found = service.wait_status(job, "timeout")
        assert found["error"] == f"Job timed out after {timeout} seconds"
        assert timeout / 2 < oracle.wait_gone("x", seconds=timeout + KILLED_WITHIN)


def test_no_timeout_is_no_deadline(folder: Path, oracle: Oracle) -> None:
    """A job with timeout=None runs on while others are killed around it."""
    with Service(folder, configuration=AT_ONCE.replace("count = 1", "count = 2")) as service:
        job = service.submit("jobs.wait", {"key": "patient"}, timeout=None)
        oracle.wait_begun("patient")
        other = service.submit("jobs.sleep", {"key": "other"}, timeout=0.3, max_attempts=3)
        service.wait_status(other, "timeout")
        assert service.queue.get_status(job)["status"] == "running"
        oracle.let_go("patient")
        assert service.wait_status(job, "completed")["attempts"] == 1


@pytest.mark.parametrize("grace", [0, 0.5])
def test_innocent_next_job_lives(folder: Path, oracle: Oracle, grace: float) -> None:
    """Deadlines that fall on the very end of jobs hit those jobs or nobody, once each."""
    settings = f"[workers]\ncount = 2\nkill_grace = {grace}\nreload = false\n"
    dice = random.Random(1)
    with Service(folder, configuration=settings) as service:
        service.wait_ready(2)
        close, generous = [], []
        for number in range(40):
            params = {"key": f"close-{number}", "seconds": dice.uniform(0.07, 0.11)}
            close.append(service.submit("jobs.quick", params, timeout=0.1, max_attempts=1))
            for other in range(4):
                params = {"key": f"generous-{number}-{other}", "seconds": dice.uniform(0, 0.005)}
                generous.append(service.submit("jobs.quick", params, timeout=60, max_attempts=3))
        until(lambda: not service.queue.stats()["pending"], seconds=60, what="end of all jobs")
        for job in generous:
            found = service.wait_status(job, "completed")
            assert found["attempts"] == len(found["executions"]) == 1
        ended = [service.wait_status(job, "completed", "timeout") for job in close]
    oracle.check()
    assert {len(found["executions"]) for found in ended} == {1}
    assert {found["executions"][0]["verdict"] for found in ended} == {"completed", "timeout"}
