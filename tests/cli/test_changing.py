"""Changes: cancel, requeue, clear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cli.client import Client, examples
from harness import until

if TYPE_CHECKING:
    from pathlib import Path

    from cli.client import Examples
    from cli.conftest import Served


@pytest.fixture
def made(tmp_path: Path) -> Examples:
    """Give a database with a job of each status, to be changed."""
    return examples(tmp_path / "gigq.db")


def status(gigq: Client, job: str) -> str:
    """Give a job's public status."""
    return str(gigq("status", job, "-o", "json").document("status")["job"]["status"])


class TestCancel:
    """`gigq cancel`."""

    def test_pending(self, gigq: Client, made: Examples) -> None:
        """A pending job is cancelled, and its child with it."""
        assert gigq("cancel", made.ready[:12]).out == f"Job {made.ready} cancelled.\n"
        assert status(gigq, made.ready) == status(gigq, made.blocked) == "cancelled"

    def test_parent_and_child(self, gigq: Client, made: Examples) -> None:
        """What is cancelled along with another one, or named twice, is no failure."""
        done = gigq("cancel", made.ready, made.blocked, made.ready)
        jobs = (made.ready, made.blocked)
        assert done.out.splitlines() == [f"Job {job} cancelled." for job in jobs]
        done = gigq("requeue", *jobs, made.ready)
        assert done.out.splitlines() == [f"Job {job} requeued." for job in jobs]
        assert status(gigq, made.ready) == status(gigq, made.blocked) == "pending"
        gigq("cancel", *jobs)
        assert f"could not cancel job {made.blocked}" in gigq("cancel", *jobs, code=1).err

    @pytest.mark.parametrize("field", ["completed", "failed", "running"])
    def test_others(self, gigq: Client, made: Examples, field: str) -> None:
        """Any other is refused with its status, a running one with what to type."""
        job = getattr(made, field)
        done = gigq("cancel", job, code=1)
        assert f"could not cancel job {job}: it is {field}" in done.err
        assert (f"gigq cancel {job} --running" in done.err) == (field == "running")

    def test_running(self, served: Served) -> None:
        """A running job is ended with --running, and gigq wait tells so."""
        job = served.gigq("submit", "-q", "jobs.hang").out.strip()
        until(lambda: status(served.gigq, job) == "running")
        done = served.gigq("cancel", job, "--running")
        assert done.out.startswith(f"Job {job} is being ended")
        served.gigq("wait", job, code=3)
        assert status(served.gigq, job) == "cancelled"
        assert served.gigq("logs", job).out == "it hangs\n"


class TestRequeue:
    """`gigq requeue`."""

    @pytest.mark.parametrize("field", ["failed", "timeout", "cancelled"])
    def test_unsuccessful(self, gigq: Client, made: Examples, field: str) -> None:
        """An unsuccessful job is pending again."""
        job = getattr(made, field)
        assert gigq("requeue", job[:12]).out == f"Job {job} requeued.\n"
        assert status(gigq, job) == "pending"

    def test_several(self, gigq: Client, made: Examples) -> None:
        """Each of them is pending again; what is not one of them does not keep the others."""
        listed = gigq("list", "--status", "failed", "--status", "timeout", "-o", "ids").out.split()
        assert {made.failed, made.timeout} <= set(listed)
        done = gigq("requeue", made.completed, *listed, "none", code=1)
        assert done.out.splitlines() == [f"Job {job} requeued." for job in listed]
        assert f"could not requeue job {made.completed}: it is completed" in done.err
        assert "no job's id begins with 'none'" in done.err

    @pytest.mark.parametrize("field", ["completed", "running", "ready"])
    def test_others(self, gigq: Client, made: Examples, field: str) -> None:
        """Any other is refused with its status."""
        done = gigq("requeue", getattr(made, field), code=1)
        assert "could not requeue job" in done.err

    def test_child_of_a_failed_parent(self, gigq: Client, made: Examples) -> None:
        """The child of a parent that failed is refused, and the parent is named."""
        gigq("cancel", made.ready)
        done = gigq("requeue", made.blocked, code=1)
        assert made.ready in done.err
        gigq("requeue", made.ready)
        assert status(gigq, made.blocked) == "pending"


class TestClear:
    """`gigq clear`."""

    def test_all(self, gigq: Client, made: Examples) -> None:
        """Completed and cancelled jobs are deleted, and counted."""
        assert gigq("clear").out == "Cleared 2 completed jobs.\n"
        gigq("status", made.completed, code=1)
        assert gigq("stats", "-o", "json").document("stats")["total"] == 6

    def test_before(self, gigq: Client, made: Examples) -> None:
        """--before spares what ended less than so many days ago."""
        assert gigq("clear", "--before", "1").out == "Cleared 0 completed jobs.\n"
        assert gigq("clear", "--before", "1e9", code=2).out == ""
        assert gigq("clear", "--before", "0").out == "Cleared 2 completed jobs.\n"
        gigq("status", made.failed)
