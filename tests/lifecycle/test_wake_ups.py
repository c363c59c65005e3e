"""A worker that waits is woken for whatever it could do, long before it would look by itself."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING

import pytest
from harness import Service, until, write_jobs

from gigq import Job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOON = 20.0  # seconds: a worker that nobody wakes looks after a minute
JOBS = """
import time
from pathlib import Path

HERE = Path(__file__).parent


def quick():
    pass


def wait():
    while not (HERE / "go").exists():
        time.sleep(0.01)
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Give a service of two workers that take batches, and wait."""
    write_jobs(tmp_path, JOBS)
    with Service(tmp_path, configuration="[workers]\ncount = 2\nbatch = 16\n") as service:
        service.wait_ready(2)
        service.wait_status(service.submit("jobs.quick"), "completed")
        service.process.send_signal(signal.SIGSTOP)  # it looks for jobs without a ring, too
        try:
            with contextlib.chdir(tmp_path):
                yield service
        finally:
            (tmp_path / "go").touch()


def assert_soon(service: Service, job: str, since: float) -> None:
    """See that a job is completed before anybody has looked without being woken."""
    service.wait_status(job, "completed")
    assert time.monotonic() - since < SOON


def test_next_due_beside_a_long_job(service: Service) -> None:
    """When the only worker that waits for a time goes to work, another waits for the next one."""
    first = Job("first", "jobs.wait", delay=0.5)
    second = Job("second", "jobs.quick", delay=1)
    due = time.monotonic() + 1
    service.queue.submit_many([first, second])
    assert_soon(service, second.id, due)
    assert service.queue.get_status(first.id)["status"] == "running"


def test_child_of_a_cancelled_parent(service: Service) -> None:
    """A job that runs however its parent ends does so when that one is cancelled."""
    for _ in range(10):  # the ring of a submit may still be heard
        parent = service.submit("jobs.quick", delay=3600)
        child = service.submit("jobs.quick", dependencies=[parent], on_parent_failure="run")
        assert service.queue.cancel(parent)
        assert_soon(service, child, time.monotonic())


def test_child_of_a_batch(service: Service) -> None:
    """What a batch makes ready while a long job of it runs is done by another worker."""
    service.queue.submit_many([Job("warm", "jobs.quick") for _ in range(200)])
    until(lambda: service.queue.stats()["completed"] == 201)
    parent = Job("parent", "jobs.quick")
    long = Job("long", "jobs.wait")
    child = Job("child", "jobs.quick", dependencies=[parent.id])
    service.queue.submit_many([parent, long, child])
    assert_soon(service, child.id, time.monotonic())
    assert service.queue.get_status(long.id)["status"] == "running"
