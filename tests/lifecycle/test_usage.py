"""What a job uses: counted with all that it started, and stopped where it is too much."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from harness import GENEROUS, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lifecycle.oracle import Oracle

MEBIBYTE = 1 << 20
CONFIGURATION = "[workers]\ncount = 1\n"
STOPPED_WITHIN = 1.0 * GENEROUS  # seconds: it is looked at ten times a second


def last_execution(service: Service, job: str) -> dict[str, Any]:
    """Give the last attempt of a job."""
    execution: dict[str, Any] = service.queue.get_status(job)["executions"][-1]
    return execution


class TestCounting:
    """Processor time and peak memory of each execution."""

    def test_processor_time(self, folder: Path) -> None:
        """It is counted for the job's own process, for its children, and for jobs killed."""
        with Service(folder, configuration=CONFIGURATION + "kill_grace = 0\n") as service:
            idle = service.submit("jobs.quick", {"key": "x", "seconds": 0.5})
            own = service.submit("jobs.burn", {"seconds": 0.3})
            child = service.submit("jobs.burn", {"seconds": 0.3, "in_child": True})
            killed = service.submit("jobs.spin", {"key": "y"}, timeout=2, max_attempts=1)
            for job in (idle, own, child):
                service.wait_status(job, "completed")
            service.wait_status(killed, "timeout")
            assert last_execution(service, idle)["cpu_time"] < 0.2
            assert 0.3 <= last_execution(service, own)["cpu_time"] < 0.6
            assert 0.3 <= last_execution(service, child)["cpu_time"] < 0.9
            assert 0.2 < last_execution(service, killed)["cpu_time"] < 3
            assert service.queue.get_status(own)["cpu_time"] >= 0.3

    def test_peak_memory(self, folder: Path) -> None:
        """It is known of a job that used more than any before, and of one that took a while."""
        with Service(folder, configuration=CONFIGURATION) as service:
            short = service.submit("jobs.hold_memory", {"key": "x", "mebibytes": 200})
            long = service.submit(
                "jobs.hold_memory", {"key": "y", "mebibytes": 100, "seconds": 1.5}
            )
            child = service.submit(
                "jobs.hold_memory_in_child", {"key": "z", "mebibytes": 150}, timeout=3
            )
            service.wait_status(short, "completed")
            service.wait_status(long, "completed")
            service.wait_status(child, "timeout", "pending")
            assert 200 <= last_execution(service, short)["peak_memory"] / MEBIBYTE < 300
            assert 100 <= last_execution(service, long)["peak_memory"] / MEBIBYTE < 200
            assert 150 <= last_execution(service, child)["peak_memory"] / MEBIBYTE < 300

    def test_shown(self, folder: Path) -> None:
        """`gigqd status` tells of the running job's memory and its limit."""
        with Service(folder, configuration=CONFIGURATION) as service:
            params = {"key": "x", "mebibytes": 100, "seconds": 30}
            service.submit("jobs.hold_memory", params, max_memory="1G")
            service.wait_for("job_started")
            for _ in range(100):
                (worker,) = service.workers()
                if (worker.get("job_memory") or 0) > 100 * MEBIBYTE:
                    break
            assert worker["max_memory"] == 1024 * MEBIBYTE
            assert 100 <= worker["job_memory"] / MEBIBYTE < 200
            assert " of 1 GiB" in service.told("status")[1]


class TestLimit:
    """A job beyond its limit is stopped, with all that it started."""

    def test_own_process(self, folder: Path, oracle: Oracle) -> None:
        """It fails as what it is, its stacks are kept, and the next job finds a good worker."""
        with Service(folder, configuration=CONFIGURATION) as service:
            params = {"key": "x", "mebibytes": 200, "seconds": 1000}
            job = service.submit("jobs.hold_memory", params, max_memory="120M", max_attempts=1)
            oracle.wait_gone("x", seconds=STOPPED_WITHIN)
            status = service.wait_status(job, "failed")
            assert status["cause"] == "memory_limit"
            assert status["error"].startswith("memory limit: it used ")
            assert status["error"].endswith(", and may use 120 MiB")
            assert status["peak_memory"] > 120 * MEBIBYTE
            assert "in hold_memory" in last_execution(service, job)["stacks"]
            assert service.wait_for("worker_killed")["reason"] == "memory"
            following = service.submit("jobs.quick", {"key": "y"}, max_memory="120M")
            assert service.wait_status(following, "completed")["attempts"] == 1

    def test_child(self, folder: Path, oracle: Oracle) -> None:
        """Memory of a child is memory of the job; the lower of two limits holds."""
        settings = CONFIGURATION + 'max_job_memory = "120M"\n'
        with Service(folder, configuration=settings) as service:
            params = {"key": "x", "mebibytes": 200}
            job = service.submit(
                "jobs.hold_memory_in_child", params, max_memory="1G", max_attempts=2
            )
            oracle.wait_gone("x", seconds=STOPPED_WITHIN)
            oracle.wait_gone("x", times=2, seconds=STOPPED_WITHIN)
            status = service.wait_status(job, "failed")
            assert [each["cause"] for each in status["executions"]] == ["memory_limit"] * 2
        oracle.check()

    def test_shared_pages_count_once(self, folder: Path) -> None:
        """Processes that share memory by fork use it once."""
        with Service(folder, configuration=CONFIGURATION) as service:
            params = {"mebibytes": 100, "children": 4, "seconds": 2}
            job = service.submit("jobs.share_memory", params, max_memory="300M")
            assert service.wait_status(job, "completed")["attempts"] == 1
            assert 100 <= last_execution(service, job)["peak_memory"] / MEBIBYTE < 300


@pytest.fixture
def small_group() -> Iterator[Path]:
    """Give a control group whose processes may use little memory."""
    if os.geteuid() != 0:
        pytest.skip("only root may make a control group")
    for base, limit in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ):
        group = Path(base, f"gigq-test-{os.getpid()}")
        try:
            group.mkdir()
            (group / limit).write_text(str(150 * MEBIBYTE))
        except OSError:
            if group.exists():
                group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("no control group with a memory limit can be made here")


def test_kernel_out_of_memory(folder: Path, small_group: Path) -> None:
    """A worker that the kernel killed because memory ran out is told apart, and replaced."""
    enter = ("sh", "-c", f'echo $$ > {small_group}/cgroup.procs && exec "$@"', "sh")
    with Service(folder, configuration=CONFIGURATION, wrapper=enter) as service:
        service.wait_ready()
        params = {"key": "x", "mebibytes": 400, "seconds": 1000}
        job = service.submit("jobs.hold_memory", params, max_attempts=1)
        status = service.wait_status(job, "failed")
        assert status["cause"] == "out_of_memory"
        assert status["error"] == "worker died: SIGKILL by the kernel, out of memory"
        following = service.submit("jobs.quick", {"key": "y"})
        service.wait_status(following, "completed")
        assert service.stop() == 0
