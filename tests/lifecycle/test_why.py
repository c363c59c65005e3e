"""Each reason why a job does not run, and each way it ends, made to happen and then explained."""

from __future__ import annotations

import os
import re
import signal
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from harness import Service, until, write_jobs

from gigq import Job, JobQueue
from gigq.queue.explain import Explanation, explain
from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lifecycle.oracle import Oracle

ONE_WORKER = "[workers]\ncount = 1\nkill_grace = 0\nreload = false\n"
TIME = r"([\d-]+ )?\d\d:\d\d:\d\d \((now|[\d.]+ s ago)\)"
MORE_JOBS = '''
import datetime

import gigq
import jobs


def report(key):
    """Say how far it is, and wait."""
    gigq.current_job().progress(40, 100, "rows")
    jobs.wait(key)


def look_at_the_clock():
    """Return what is not JSON."""
    return {"when": datetime.datetime.now()}

'''


def why(database: Path, job: str) -> Explanation:
    """Explain a job as any other process would."""
    with closing(SqliteStore(database, create=False)) as store:
        row = store.job(job)
        assert row is not None
        return explain(store, store.companions, row)


@pytest.fixture
def service(folder: Path) -> Iterator[Service]:
    """Give a service with one worker that kills at once."""
    write_jobs(folder, MORE_JOBS, "more_jobs.py")
    with Service(folder, configuration=ONE_WORKER) as service:
        yield service.wait_ready()


def ended(service: Service, function: str, *statuses: str, **options: Any) -> Explanation:  # noqa: ANN401
    """Explain a job of this function after it has ended."""
    params = options.pop("params", {"key": "x"})
    job = service.submit(function, params, **{"max_attempts": 1, **options})
    service.wait_status(job, *statuses)
    return why(service.database, job)


# Why it is not begun


def test_no_service(folder: Path) -> None:
    """Before a service is started and after it has stopped, its absence is the reason."""
    database = folder / "gigq.db"
    with JobQueue(database) as queue:
        job = queue.submit(Job("early", os.getcwd))
    expected = Explanation(
        f"It is ready to run, but no gigqd serves {database} and no other worker is alive.",
        f"gigqd start {database}",
        "no_service",
    )
    assert why(database, job) == expected
    with Service(folder, configuration=ONE_WORKER) as service:
        service.wait_status(job, "completed")
        service.stop()
        late = service.submit("jobs.quick", {"key": "late"})
        assert why(database, late) == expected


def test_service_without_workers(folder: Path) -> None:
    """A service that was told to have no workers is named as the reason."""
    with Service(folder, configuration="[workers]\ncount = 0\n") as service:
        service.wait_for("service_started")
        job = service.submit("jobs.quick", {"key": "x"})
        found = why(service.database, job)
        pid = service.process.pid
    assert found.cause == "no_worker"
    assert found.sentence == (
        f"It is ready to run, but gigqd (pid {pid}) has no worker alive: "
        "it is drained, scaled to 0, or its workers do not start."
    )


def test_workers_that_cannot_start(folder: Path) -> None:
    """A service whose workers end before they are ready has no worker alive."""
    settings = '[workers]\ncount = 1\npython = "/bin/false"\n'
    with Service(folder, configuration=settings) as service:
        service.wait_for("worker_start_failed")
        job = service.submit("jobs.quick", {"key": "x"})
        assert why(service.database, job).cause == "no_worker"


def test_busy_workers(service: Service, oracle: Oracle) -> None:
    """Behind a running job a job waits for the worker, or for the ready jobs before it."""
    running = service.submit("jobs.wait", {"key": "x"})
    oracle.wait_begun("x")
    first, second = (service.submit("jobs.quick", {"key": key}) for key in ("a", "b"))
    assert why(service.database, first) == (
        "It is ready to run; the only worker is busy.",
        "gigq list --status running",
        "workers_busy",
    )
    assert why(service.database, second).sentence == (
        "It is ready to run, behind 1 other ready job; the only worker is busy."
    )
    oracle.let_go("x")
    service.wait_status(running, "completed")
    service.wait_status(second, "completed")


def test_not_due_and_paused(service: Service) -> None:
    """A delayed job and one of a paused queue wait though a worker is free."""
    delayed = service.submit("jobs.quick", {"key": "delayed"}, delay=3600, queue="mail")
    found = why(service.database, delayed)
    assert re.fullmatch(r"It is not due until .* \(in 60 min\)\.", found.sentence)
    assert found.cause == "not_due"
    with (
        closing(SqliteStore(service.database)) as store,
        store._connection as connection,
    ):
        connection.run("UPDATE queue SET paused = 1 WHERE name = 'mail'")
    paused = service.submit("jobs.quick", {"key": "paused"}, queue="mail")
    after = service.submit("jobs.quick", {"key": "after"})
    service.wait_status(after, "completed")
    assert why(service.database, paused).sentence == "Its queue 'mail' is paused."


def test_waits_for_parents(service: Service, oracle: Oracle) -> None:
    """A job that waits for others names them with what they do."""
    with service.queue as queue:
        first = service.submit("jobs.wait", {"key": "x"})
        second = service.submit("jobs.quick", {"key": "y"})
        child = service.submit("jobs.directory", dependencies=[first, second])
        oracle.wait_begun("x")
        assert why(service.database, child) == (
            "It waits for its parents 'jobs.wait' (running) and 'jobs.quick' (pending).",
            f"gigq status {first}",
            "waits_for_parents",
        )
        oracle.let_go("x")
        service.wait_status(child, "completed")
        assert queue.stats()["completed"] == 3


def test_failed_parent(service: Service) -> None:
    """What a failed job kept from running names it, and its command brings all of it back."""
    root = service.submit("more_jobs.missing", max_attempts=1)
    middle = service.submit("jobs.directory", dependencies=[root])
    child = service.submit("jobs.directory", dependencies=[middle])
    blocked = service.submit("jobs.directory", dependencies=[root], on_parent_failure="block")
    service.wait_status(child, "cancelled")
    found = why(service.database, child)
    assert re.fullmatch(
        rf"It was cancelled at {TIME} because 'more_jobs.missing', which it needs, failed\.",
        found.sentence,
    )
    assert found[1:] == (f"gigq requeue {root}", "parent_failed")
    held = why(service.database, blocked)
    assert held.sentence.startswith("It is blocked by its parent 'more_jobs.missing', which failed")
    assert held[1:] == (f"gigq requeue {root}", "parent_failed_blocks")
    write_jobs(service.folder, MORE_JOBS + "\ndef missing():\n    pass\n", "more_jobs.py")
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    assert service.queue.requeue_job(root)
    with Service(service.folder) as again:
        for job in (root, middle, child, blocked):
            assert again.wait_status(job, "completed", "failed")["status"] == "completed"


def test_retry(service: Service) -> None:
    """A job that failed tells when it is tried again and what went wrong."""
    job = service.submit(
        "jobs.complain", {"text": "no such host", "times": 1}, retry_delay=60, max_attempts=2
    )
    until(lambda: service.queue.get_status(job)["state"] == "scheduled")
    found = why(service.database, job)
    assert re.fullmatch(
        r"It is tried again at .* \(in (60|59) s\), attempt 2 of 2, after: no such host\.",
        found.sentence,
    )
    assert found[1:] == (f"gigq status {job} --show-executions", "retry")


# What it does


def test_running(service: Service, oracle: Oracle) -> None:
    """A running job tells its worker's pid, what it said of its progress, and its deadline."""
    job = service.submit("more_jobs.report", {"key": "x"}, timeout=100)
    pid = oracle.wait_begun("x").pid
    found = why(service.database, job)
    (name,) = service.worker_pids()
    assert re.fullmatch(
        rf"It has been running since {TIME} on worker {re.escape(name)} \(pid {pid}\), "
        r"attempt 1 of 3, 40 of 100 done \(rows\), until its deadline at .* \(in \d+ s\) "
        r"at the latest\.",
        found.sentence,
    )
    assert found[1:] == (None, "running")
    oracle.let_go("x")
    service.wait_status(job, "completed")


def test_dead_worker(folder: Path, oracle: Oracle) -> None:
    """A job whose worker died unseen says so, and what the next service makes of it."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.wait", {"key": "x"}, max_attempts=1)
        run = oracle.wait_begun("x")
        service.kill()
        os.kill(run.pid, signal.SIGKILL)
        until(lambda: not run.alive(), what="end of the worker")
        found = why(service.database, job)
        assert f"(pid {run.pid}), which has died; its job is taken back when" in found.sentence
        assert found[1:] == (f"gigqd start {service.database}", "worker_dead")
        with Service(folder) as successor:
            successor.wait_status(job, "failed")
            last = why(successor.database, job)
    assert last.sentence.startswith("Its worker died, and nobody saw how, at ")
    assert last[1:] == (f"gigq requeue {job}", "worker_died")


# How it ended


def test_completed(service: Service) -> None:
    """A completed job tells when, after how long, and on which attempt."""
    found = ended(service, "jobs.quick", "completed", max_attempts=3)
    assert re.fullmatch(
        rf"It completed at {TIME} after [\d.]+ s, on attempt 1 of 3\.", found.sentence
    )
    assert found.cause == "completed"


@pytest.mark.parametrize("function", ["swallow", "hold_interpreter"])
def test_deadline(service: Service, function: str) -> None:
    """A job that was killed at its deadline says so, and does not suspect a lack of memory."""
    found = ended(service, f"jobs.{function}", "timeout", timeout=0.5)
    assert re.fullmatch(
        rf"It was killed at its deadline of 0\.5 s, at {TIME}, on attempt 1 of 1\.", found.sentence
    )
    assert found.cause == "deadline"
    assert found.next_command is not None
    assert found.next_command.endswith(" --show-executions")


def test_killed_by_somebody(service: Service, oracle: Oracle) -> None:
    """A worker that somebody else sent SIGKILL may have been the victim of a lack of memory."""
    job = service.submit("jobs.wait", {"key": "x"}, max_attempts=1)
    os.kill(oracle.wait_begun("x").pid, signal.SIGKILL)
    service.wait_status(job, "failed")
    found = why(service.database, job)
    assert re.fullmatch(
        r"Its worker died of SIGKILL, possibly because the system ran out of memory, "
        rf"at {TIME}, on attempt 1 of 1\.",
        found.sentence,
    )
    assert found[1:] == (f"gigq requeue {job}", "signal:9")


def test_worker_died_with_its_job(service: Service) -> None:
    """A crash and an exit in the middle of a job are told apart."""
    crash = ended(service, "jobs.crash", "failed")
    assert crash.sentence.startswith("Its worker died of SIGSEGV, at ")
    assert crash.cause == "signal:11"
    left = ended(service, "jobs.exit_process", "failed")
    assert left.sentence.startswith("Its worker's process ended with exit code 7 in the middle of ")
    assert left.cause == "exit:7"


def test_raised(service: Service) -> None:
    """A job whose code raised repeats the error."""
    found = ended(service, "jobs.complain", "failed", params={"text": "no host", "times": 1})
    assert found.sentence.startswith("Its code raised an error (no host), at ")
    assert found.cause == "raised"


def test_not_imported(service: Service) -> None:
    """A function that is nowhere is said to be missing, where, and for which Python."""
    found = ended(service, "no_such_module.run", "failed")
    assert found.sentence.startswith(
        "Its function could not be imported (`no_such_module` was imported from "
        f"{service.folder}, and is missing there now), at "
    )
    assert found.cause == "import"


def test_result_is_not_json(service: Service) -> None:
    """A job whose work was done, and whose result could not be kept, says both."""
    found = ended(service, "more_jobs.look_at_the_clock", "failed", params={}, max_attempts=3)
    assert found.sentence.startswith(
        "It ran to its end, but what it returned is not JSON (result.when: a datetime is not JSON"
    )
    assert found.sentence.endswith("; it is not tried again, for its work was done.")
    assert found.cause == "result_not_json"


def test_directory_is_gone(service: Service) -> None:
    """A job that is to run where nothing is names the directory."""
    nowhere = service.folder / "nowhere"
    found = ended(service, "jobs.directory", "failed", params={}, cwd=nowhere)
    assert found.sentence.startswith(
        f"It could not run where it should (the directory {nowhere} cannot be entered: "
    )
    assert found.cause == "directory"


def test_cancelled(service: Service, oracle: Oracle) -> None:
    """A job cancelled before it ran is told from one that ran, and from one that still does."""
    running = service.submit("jobs.swallow", {"key": "x"})
    oracle.wait_begun("x")
    pending = service.submit("jobs.quick", {"key": "y"})
    assert service.queue.cancel(pending)
    before = why(service.database, pending)
    assert re.fullmatch(rf"Somebody cancelled it at {TIME}, before it ran\.", before.sentence)
    assert before[1:] == (f"gigq requeue {pending}", "cancelled")
    service.process.send_signal(signal.SIGSTOP)  # so that it does not follow the wish at once
    assert service.queue.cancel(running, running=True)
    meanwhile = why(service.database, running)
    service.process.send_signal(signal.SIGCONT)
    assert meanwhile.sentence.startswith("Somebody asked to cancel it; worker ")
    assert meanwhile.cause == "cancelling"
    service.wait_status(running, "cancelled")
    after = why(service.database, running)
    assert re.fullmatch(
        rf"Somebody cancelled it while it ran; it was ended at {TIME}\.", after.sentence
    )
    assert after[1:] == (f"gigq requeue {running}", "cancelled_running")


def test_stopped_by_shutdown(folder: Path, oracle: Oracle) -> None:
    """A shutdown ends a job that may be begun once, and gives back one that may run again."""
    with Service(folder, configuration=ONE_WORKER.replace("count = 1", "count = 2")) as service:
        once = service.submit("jobs.wait", {"key": "once"}, max_attempts=1)
        again = service.submit("jobs.wait", {"key": "again"})
        oracle.wait_begun("once")
        oracle.wait_begun("again")
        service.stop(signal.SIGQUIT)
        ended_for_good = why(service.database, once)
        waits = why(service.database, again)
    assert ended_for_good.sentence.startswith(
        "A shutdown stopped it, and it may be begun only once, at "
    )
    assert ended_for_good[1:] == (f"gigq requeue {once}", "shutdown")
    assert waits.sentence.startswith("It is ready to run again, after a shutdown stopped it, but ")
    assert waits.cause == "no_service"
