"""Spares: processes that stand by, with the code of jobs imported, for workers that die."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from harness import Service, until, write_jobs

if TYPE_CHECKING:
    from pathlib import Path

    from lifecycle.oracle import Oracle

CONFIGURATION = "[workers]\ncount = 1\nspare = 1\n"
SLOW = """
import os, time
time.sleep(1)
def who():
    return [os.getpid(), VERSION]
"""


def spare(service: Service) -> int:
    """Wait for the spare, and give its pid."""
    service.wait_ready()

    def found() -> int | None:
        standing_by = [each for each in service.workers() if each["state"] == "standby"]
        return standing_by[0]["pid"] if standing_by else None

    pid: int = until(found)
    return pid


def test_spare_takes_over(folder: Path, oracle: Oracle) -> None:
    """The job of a worker that died runs again in the spare, and another spare gets ready."""
    with Service(folder, configuration=CONFIGURATION) as service:
        first = spare(service)
        job = service.submit("jobs.wait", {"key": "x"})
        os.kill(oracle.wait_begun("x").pid, signal.SIGKILL)
        assert oracle.wait_begun("x", times=2).pid == first
        assert spare(service) != first
        oracle.let_go("x")
        assert service.wait_status(job, "completed")["attempts"] == 2
        assert service.told("reload")[0] == 0
    oracle.check()


def test_spare_has_imported_the_code(folder: Path) -> None:
    """A spare imports what a job has needed, also one that was ready before; and new code anew."""
    path = write_jobs(folder, SLOW + "VERSION = 1\n", "slow.py")
    with Service(folder, configuration=CONFIGURATION) as service:
        first = spare(service)
        job = service.submit("slow.who")
        service.wait_status(job, "completed")
        pid, version = service.queue.get_result(job)
        assert version == 1
        path.write_text(SLOW + "VERSION = 2\n")
        service.wait_for("workers_renewed", reason="code")
        until(lambda: spare(service) != first)
        (worker,) = [each for each in service.workers() if each["state"] == "idle"]
        assert worker["pid"] != pid
        os.kill(worker["pid"], signal.SIGKILL)
        job = service.submit("slow.who")
        service.wait_status(job, "completed")
        assert service.queue.get_result(job)[1] == 2


def test_spare_runs_nothing(folder: Path, oracle: Oracle) -> None:
    """While the only worker is busy, a spare takes no job; without workers there is no spare."""
    with Service(folder, configuration=CONFIGURATION) as service:
        spare(service)
        service.submit("jobs.wait", {"key": "x"})
        oracle.wait_begun("x")
        waiting = service.submit("jobs.quick", {"key": "y"})
        states = [worker["state"] for worker in service.workers()]
        assert sorted(states) == ["running", "standby"]
        assert "workers 1 of 1, 1 busy" in service.told("status")[1]
        oracle.let_go("x")
        service.wait_status(waiting, "completed")
        assert service.told("drain")[0] == 0
        assert service.workers() == []
        assert service.told("resume")[0] == 0
        spare(service)


def test_code_that_kills_whoever_loads_it(folder: Path, oracle: Oracle) -> None:
    """Spares get ready without it; the job that asked for it has failed."""
    write_jobs(folder, "import os\nos._exit(7)", "deadly.py")
    with Service(folder, configuration=CONFIGURATION) as service:
        spare(service)
        job = service.submit("deadly.function", max_attempts=1)
        found = service.wait_status(job, "failed")
        assert found["error"] == "worker died: exit code 7"
        spare(service)
        quick = service.submit("jobs.quick", {"key": "x"})
        service.wait_status(quick, "completed")
    oracle.check()
