"""`gigq logs`: what jobs printed, of jobs that run, were killed, and have finished."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from harness import until

from gigq import Worker
from gigq.queue.output import HEAD, TAIL

if TYPE_CHECKING:
    from cli.client import Client, Examples
    from cli.conftest import Served


def submitted(served: Served, *line: str) -> str:
    """Submit a job; its id."""
    return served.gigq("submit", "-q", *line).out.strip()


def running(served: Served, job: str) -> None:
    """Wait until the job runs and has printed its first line."""
    until(lambda: served.gigq("logs", job, code=None).out.endswith("\n"), pause=0.1)


def test_finished(served: Served) -> None:
    """Of jobs that ran one after another each has its own part."""
    jobs = [submitted(served, "jobs.quick", "-p", f"name={name}") for name in "abc"]
    served.gigq("wait", *jobs)
    assert [served.gigq("logs", job).out for job in jobs] == ["hello a\n", "hello b\n", "hello c\n"]


def test_running(served: Served) -> None:
    """A running job's output so far is there, and no other job's."""
    before = submitted(served, "jobs.quick", "--wait")
    go = served.folder / "go-logs"
    job = submitted(served, "jobs.wait", "-p", f"go={go}")
    running(served, job)
    assert served.gigq("logs", job).out == "it begins\n"
    go.touch()
    served.gigq("wait", job)
    assert served.gigq("logs", job).out == "it begins\nit ends\n"
    del before


def test_killed_at_the_deadline(served: Served) -> None:
    """What a job printed before it was killed is kept, and the stacks are shown."""
    job = submitted(served, "jobs.hang", "--timeout", "0.3", "--max-attempts", "1")
    served.gigq("wait", job, code=3)
    done = served.gigq("logs", job)
    assert done.out == "it hangs\n"
    assert "attempt 1 ended as timeout: Job timed out after 0.3 seconds" in done.err
    assert 'jobs.py", line' in done.err


def test_worker_died(served: Served) -> None:
    """The last words of a job that took its worker along are kept."""
    job = submitted(served, "jobs.die", "--max-attempts", "1")
    served.gigq("wait", job, code=3)
    done = served.gigq("logs", job)
    assert done.out == "last words\n"
    assert "attempt 1 ended as lost: worker died: SIGKILL" in done.err


def test_attempts(served: Served) -> None:
    """Without --attempt it is the last; a number that there is not is refused."""
    job = submitted(served, "jobs.bad_once", "-p", f"marker={served.folder / 'once-logs'}")
    served.gigq("wait", job)
    assert served.gigq("logs", job).out == "run 2\n"
    first = served.gigq("logs", job, "--attempt", "1")
    assert first.out == "run 1\n"
    assert "attempt 1 ended as failed: the first time\nTraceback" in first.err
    assert "there are: 1, 2" in served.gigq("logs", job, "--attempt", "3", code=1).err
    assert served.gigq("logs", job, "--attempt", "1", "-f").out == "run 1\n"


def test_follow(served: Served) -> None:
    """With -f it goes on until the job has ended, and the exit code says nothing of the job."""
    go = served.folder / "go-follow-logs"
    job = submitted(served, "jobs.wait", "-p", f"go={go}")
    with served.gigq.start("logs", "-f", job) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "it begins\n"
        go.touch()
        assert following.stdout.read() == "it ends\n"
        assert following.wait(30) == 0


def test_long_output(served: Served) -> None:
    """Of a long output head and tail are shown, and how much is missing between."""
    size = HEAD + TAIL + (2 << 20)
    script = f"import sys; sys.stdout.write('a' * ({size} - 5)); sys.stdout.write('the e')"
    job = served.gigq("run", "-q", "--wait", "--", "python3", "-c", script).out.strip()
    out = served.gigq("logs", job).out
    assert out.startswith("aaa")
    assert out.endswith("the e")
    assert "bytes were not kept" in out
    assert len(out) < size


def test_silent_job(served: Served) -> None:
    """A job that printed nothing is no failure; it is said."""
    job = submitted(served, "jobs.quiet", "--wait")
    done = served.gigq("logs", job)
    assert done.out == ""
    assert "printed nothing" in done.err


@pytest.mark.parametrize("field", ["ready", "scheduled", "blocked", "cancelled"])
def test_has_not_run(look: Client, shown: Examples, field: str) -> None:
    """A job that has not run has no output: a failure, which says where to look."""
    job = getattr(shown, field)
    assert f"has not run ({'cancelled' if field == 'cancelled' else 'pending'})" in (
        look("logs", job, code=1).err
    )


def test_deleted_output(served: Served) -> None:
    """Output whose file was deleted is named as gone."""
    job = submitted(served, "jobs.quick", "--wait")
    attempt = served.gigq("status", job, "-o", "json").document("status")["job"]["executions"][0]
    file = served.service.database.with_name("gigq.db.d") / "output" / attempt["output"]["log"]
    aside = file.with_suffix(".aside")
    file.rename(aside)
    try:
        assert "is gone" in served.gigq("logs", job, code=1).err
    finally:
        aside.rename(file)


def test_in_a_programs_own_worker(project: Client) -> None:
    """Where a program's own Worker runs the job, its output is not ours, and that is said."""
    go = project.folder / "go"
    loop = 'until test -e "$1"; do sleep 0.01; done'
    job = project("run", "-q", "--", "sh", "-c", loop, "sh", str(go)).out.strip()
    worker = Worker(project.folder / "gigq.db")
    thread = threading.Thread(target=worker.process_one)
    thread.start()
    try:
        until(lambda: worker.current_job_id == job)
        done = project("logs", job)
    finally:
        go.touch()
        thread.join()
        worker.close()
    assert done.out == ""
    assert "belongs to a program of its own" in done.err
    assert "prints there" in project("logs", job).err
