"""Workers that have served their time: another takes the place, ready before the old one goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

from harness import Service, until

from gigq.queue.companions import Companions
from gigq.supervisor.control import ask

if TYPE_CHECKING:
    from pathlib import Path

    from lifecycle.oracle import Oracle


def workers(count: int, settings: str = "") -> str:
    """Write a configuration with so many workers."""
    return f"[workers]\ncount = {count}\n{settings}"


def states(service: Service) -> list[str]:
    """List what its workers do."""
    return [worker["state"] for worker in service.workers()]


def test_worker_runs_no_more_than_max_jobs(folder: Path) -> None:
    """No process runs more jobs than it may, none is lost, and each run is a first attempt."""
    with Service(folder, configuration=workers(2, "max_jobs = 3\n")) as service:
        jobs = [service.submit("jobs.quick", {"key": str(number)}) for number in range(20)]
        for job in jobs:
            assert service.wait_status(job, "completed")["attempts"] == 1
        pids = Counter(service.queue.get_result(job) for job in jobs)
        assert max(pids.values()) <= 3
        assert service.events("worker_recycled", reason="max_jobs")
        assert not service.events("worker_lost")
        assert not service.events("worker_start_failed")


def test_replacement_is_ready_first(folder: Path, oracle: Oracle) -> None:
    """While the last job of a worker runs, the next worker gets ready and runs nothing."""
    with Service(folder, configuration=workers(1, "max_jobs = 1\n")) as service:
        running = service.submit("jobs.wait", {"key": "x"})
        oracle.wait_begun("x")
        service.wait_ready(2)
        waiting = service.submit("jobs.quick", {"key": "y"})
        assert states(service) == ["finishing", "standby"]
        assert "workers 1 of 1" in service.told("status")[1]
        assert service.queue.get_status(waiting)["status"] == "pending"
        oracle.let_go("x")
        service.wait_status(waiting, "completed")
        assert service.queue.get_result(waiting) != service.queue.get_result(running)
    assert oracle.runs("x")[0].end <= oracle.runs("y")[0].begin


def test_worker_that_keeps_memory(folder: Path) -> None:
    """A worker that has grown beyond max_memory is replaced between two jobs."""
    with Service(folder, configuration=workers(1, 'max_memory = "80M"\n')) as service:
        big = service.submit("jobs.keep_memory", {"mebibytes": 100})
        service.wait_status(big, "completed")

        def replaced() -> bool:
            job = service.submit("jobs.quick", {"key": "x"})
            assert service.wait_status(job, "completed")["attempts"] == 1
            return service.queue.get_result(job) != service.queue.get_result(big)

        until(replaced)
        recycled = service.events("worker_recycled")
        assert [event["reason"] for event in recycled] == ["max_memory"]


def test_replacement_that_does_not_start(folder: Path, oracle: Oracle) -> None:
    """Workers stay while those that are to take their places do not start, and say so."""
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder / "bare")]
    subprocess.run(command, check=True)
    environment = {"PYTHONPATH": ""}
    with Service(folder, configuration=workers(1), environment=environment) as service:
        first = service.submit("jobs.quick", {"key": "x"})
        service.wait_status(first, "completed")
        service.configure(workers(1, 'python = "bare/bin/python"\n'))
        service.wait_for("worker_start_failed")
        code, _, errors = service.told("reload")
        assert code == 1
        assert "workers do not start" in errors
        job = service.submit("jobs.quick", {"key": "y"})
        service.wait_status(job, "completed")
        assert service.queue.get_result(job) == service.queue.get_result(first)
    oracle.check()


def test_drain_takes_those_who_stand_by(folder: Path, oracle: Oracle) -> None:
    """A drain ends also the worker that waits for another's place; a resume starts anew."""
    with Service(folder, configuration=workers(1, "max_jobs = 1\n")) as service:
        service.submit("jobs.wait", {"key": "x"})
        oracle.wait_begun("x")
        service.wait_ready(2)
        drain = service.command("drain")
        until(lambda: states(service) == ["finishing"])
        oracle.let_go("x")
        assert drain.wait(30) == 0
        drain.communicate()
        assert service.told("resume")[0] == 0
        job = service.submit("jobs.quick", {"key": "y"})
        service.wait_status(job, "completed")


def test_scale_down_takes_those_who_stand_by(folder: Path, oracle: Oracle) -> None:
    """A place that is no longer wanted is not taken by anybody."""
    with Service(folder, configuration=workers(1, "max_jobs = 1\n")) as service:
        service.submit("jobs.wait", {"key": "x"})
        oracle.wait_begun("x")
        service.wait_ready(2)
        ask(Companions(service.database).control, "scale", count=0)
        until(lambda: states(service) == ["finishing"])
        oracle.let_go("x")
        until(lambda: states(service) == [])


def test_reload_amid_constant_recycling(folder: Path) -> None:
    """Orders are answered also where workers are replaced all the time."""
    settings = workers(2, "max_jobs = 1\n")
    with Service(folder, configuration=settings) as service:
        jobs = [service.submit("jobs.quick", {"key": str(number)}) for number in range(60)]
        service.wait_for("worker_recycled")
        service.configure(settings + "kill_grace = 1\n")
        assert service.told("reload")[0] == 0
        for job in jobs:
            service.wait_status(job, "completed")


def test_status_counts_restarts(folder: Path, oracle: Oracle) -> None:
    """`gigqd status` tells how many workers were replaced, and why."""
    with Service(folder, configuration=workers(1)) as service:
        service.submit("jobs.wait", {"key": "x"})
        os.kill(oracle.wait_begun("x").pid, signal.SIGKILL)
        oracle.wait_begun("x", times=2)
        assert "workers replaced: 1 lost" in service.told("status")[1]
        oracle.let_go("x")
