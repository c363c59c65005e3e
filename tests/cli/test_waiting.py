"""Waiting: exit codes that scripts go on with."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from cli.client import Database
from harness import until

from gigq import Job, Workflow
from gigq.queue.states import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from cli.client import Client, Examples
    from cli.conftest import Served


class TestWait:
    """`gigq wait`."""

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            (["completed"], 0),
            (["failed"], 3),
            (["timeout"], 3),
            (["cancelled"], 3),
            (["completed", "failed"], 3),
        ],
        ids=str,
    )
    def test_ended_before(
        self, look: Client, shown: Examples, fields: list[str], code: int
    ) -> None:
        """What has ended is not waited for: 0 when all completed, else 3, and each is named."""
        done = look("wait", *(getattr(shown, field)[:12] for field in fields), code=code)
        assert done.out == ""
        assert done.err.count("more with: gigq why") == sum(f != "completed" for f in fields)

    @pytest.mark.parametrize("field", ["running", "ready", "scheduled"])
    def test_time_is_up(self, look: Client, shown: Examples, field: str) -> None:
        """A job that goes on beyond --timeout is exit code 124."""
        done = look("wait", getattr(shown, field), shown.completed, "--timeout", "0.1", code=124)
        assert "not ended after 0.1 s: 1 job; they go on" in done.err

    def test_becomes_completed(self, served: Served) -> None:
        """It returns when the last job has ended."""
        go = served.folder / "go-wait"
        slow = served.gigq("submit", "-q", "jobs.wait", "-p", f"go={go}").out.strip()
        quick = served.gigq("submit", "-q", "jobs.quick").out.strip()
        with served.gigq.start("wait", slow, quick) as waiting:
            until(lambda: served.service.queue.get_status(quick)["status"] == "completed")
            assert waiting.poll() is None
            go.touch()
            assert waiting.wait(30) == 0

    def test_workflow(self, tmp_path: Path, gigq: Client) -> None:
        """--workflow waits for all of its jobs, also for those that come while it waits."""
        database = Database(tmp_path / "gigq.db")
        flow = Workflow("etl")
        first = flow.add_job(Job("first", "json.dumps", {"obj": 1}))
        flow.submit_all(database.queue)
        database.claim(first.id)
        with gigq.start("wait", "--workflow", "etl", "--timeout", "60") as waiting:
            second = flow.add_job(Job("second", "json.dumps", {"obj": 2}))
            flow.submit_all(database.queue)
            assert database.queue.cancel(second.id)
            assert database.queue.cancel(first.id, running=True)
            self._end_as_asked(database, first.id)
            assert waiting.wait(30) == 3
            assert waiting.stderr is not None
            told = waiting.stderr.read()
        database.close()
        assert "first was cancelled" in told
        assert "second was cancelled" in told

    @staticmethod
    def _end_as_asked(database: Database, job: str) -> None:
        """Let the worker say of its one job that it ended."""
        from gigq.queue.records import Outcome  # noqa: PLC0415

        row = database.store.job(job)
        assert row is not None
        assert row.execution_id is not None
        outcome = Outcome(row.execution_id, row.job, 1, Verdict.COMPLETED)
        database.store.settle(database._worker, [outcome])

    def test_interrupted(self, look: Client, shown: Examples) -> None:
        """^C ends the wait with 130 and leaves the job alone."""
        with look.start("wait", shown.scheduled) as waiting:
            assert waiting.stderr is not None
            assert "waiting for later: " in waiting.stderr.readline()  # it is in the loop
            waiting.send_signal(signal.SIGINT)
            assert waiting.wait(30) == 130
            assert "the jobs go on" in waiting.stderr.read()

    def test_cleared_meanwhile(self, tmp_path: Path, gigq: Client) -> None:
        """A job that is deleted while it is waited for is no success: nobody can tell."""
        database = Database(tmp_path / "gigq.db")
        job = database.submit("gone")
        with gigq.start("wait", job) as waiting:
            assert waiting.stderr is not None
            assert "waiting for gone: " in waiting.stderr.readline()
            database.store._connection.run("DELETE FROM job WHERE uuid = ?", (job,))
            assert waiting.wait(30) == 3
            assert "was cleared away" in waiting.stderr.read()
        database.close()


class TestFollow:
    """`gigq follow`."""

    def test_output_as_it_comes(self, served: Served) -> None:
        """What a job prints is there while it runs; the exit code is as of gigq wait."""
        go = served.folder / "go-follow"
        job = served.gigq("submit", "-q", "jobs.wait", "-p", f"go={go}").out.strip()
        with served.gigq.start("follow", job) as following:
            assert following.stdout is not None
            assert following.stdout.readline() == "it begins\n"
            assert following.poll() is None
            go.touch()
            assert following.stdout.read() == "it ends\n"
            assert following.wait(30) == 0

    def test_failure(self, served: Served) -> None:
        """The end of a failed job goes to standard error, with its traceback, and the code is 3."""
        job = served.gigq("submit", "-q", "jobs.bad", "--max-attempts", "1").out.strip()
        done = served.gigq("follow", job, code=3)
        assert done.out == "before the fault\n"
        assert "attempt 1 ended as failed: a fault\nTraceback" in done.err
        assert 'jobs.py", line' in done.err

    def test_waits_for_a_job_to_begin(self, served: Served) -> None:
        """A job that is not due yet is waited for."""
        job = served.gigq(
            "submit", "-q", "jobs.quick", "--delay", "0.5", "-p", "name=x"
        ).out.strip()
        begun = time.monotonic()
        assert served.gigq("follow", job).out == "hello x\n"
        assert time.monotonic() - begun < 30
