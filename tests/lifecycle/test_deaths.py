"""The blow: a process dies, or is stopped, that was in the middle of something."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from harness import GENEROUS, Service, until

from gigq.queue.identity import start_ticks

if TYPE_CHECKING:
    from pathlib import Path

    from lifecycle.oracle import Oracle

AGAIN_WITHIN = 1.0 * GENEROUS  # seconds from a worker's death to the job's next run
KILLED_WITHIN = 0.5 * GENEROUS  # seconds after the deadline
GONE_WITHIN = 1.0 * GENEROUS  # seconds for workers without a supervisor and a job to leave
ONE_WORKER = "[workers]\ncount = 1\nreload = false\n"
TWO_WORKERS = "[workers]\ncount = 2\nreload = false\n"


# A worker


def test_kill_worker(folder: Path, oracle: Oracle) -> None:
    """A job whose worker is killed runs again elsewhere at once, and its other run is on record."""
    with Service(folder, configuration=TWO_WORKERS) as service:
        service.wait_ready(2)
        job = service.submit("jobs.wait", {"key": "x"})
        pid = oracle.wait_begun("x").pid
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        again = oracle.wait_begun("x", 2, seconds=AGAIN_WITHIN)
        assert again.begin - killed < AGAIN_WITHIN
        assert again.pid != pid
        oracle.let_go("x")
        found = service.wait_status(job, "completed")
        assert service.wait_for("worker_lost", worker_pid=pid)["status"] == -signal.SIGKILL
        assert service.events("job_reclaimed", job_id=job, error="worker died: SIGKILL")
        service.wait_ready(3)
    oracle.check()
    assert found["attempts"] == 2
    assert [each["verdict"] for each in found["executions"]] == ["lost", "completed"]
    assert found["executions"][0]["error"] == "worker died: SIGKILL"


def test_kill_worker_with_attempts_used_up(folder: Path, oracle: Oracle) -> None:
    """A job that may run once fails with its worker, and the reason is said."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.wait", {"key": "x"}, max_attempts=1)
        os.kill(oracle.wait_begun("x").pid, signal.SIGKILL)
        found = service.wait_status(job, "failed")
        after = service.submit("jobs.quick", {"key": "after"})
        service.wait_status(after, "completed")
    assert found["error"] == "worker died: SIGKILL"
    assert found["attempts"] == len(oracle.runs("x")) == 1
    assert found["cause"] == "signal:9"


@pytest.mark.parametrize(
    ("function", "error", "cause"),
    [
        ("exit_process", "worker died: exit code 7", "exit:7"),
        ("crash", "worker died: SIGSEGV", "signal:11"),
    ],
)
def test_job_ends_its_process(
    folder: Path, oracle: Oracle, function: str, error: str, cause: str
) -> None:
    """A job that takes its process with it is charged, tried again, and failed with the reason."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit(f"jobs.{function}", {"key": "x"}, max_attempts=2)
        found = service.wait_status(job, "failed")
        after = service.submit("jobs.quick", {"key": "after"})
        service.wait_status(after, "completed")
    oracle.check()
    assert len(oracle.runs("x")) == found["attempts"] == 2
    assert {each["error"] for each in found["executions"]} == {found["error"]} == {error}
    assert found["cause"] == cause


def test_sys_exit_fails_the_job_only(folder: Path, oracle: Oracle) -> None:
    """A job that calls sys.exit fails, and the same worker takes the next one."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.exit_script", {"key": "x"}, max_attempts=1)
        after = service.submit("jobs.quick", {"key": "after"})
        found = service.wait_status(job, "failed")
        service.wait_status(after, "completed")
        assert service.queue.get_result(after) == oracle.runs("x")[0].pid
    assert found["error"] == "SystemExit: 3"


def test_kill_worker_with_processes(folder: Path, oracle: Oracle) -> None:
    """What a dead worker's job had started, orphans too, is dead before the job runs again."""
    with Service(folder, configuration=TWO_WORKERS) as service:
        service.wait_ready(2)
        job = service.submit("jobs.wait_with_processes", {"key": "x"})
        until(lambda: len(oracle.wait_begun("x").processes) == 2)
        os.kill(oracle.runs("x")[0].pid, signal.SIGKILL)
        oracle.wait_begun("x", 2, seconds=AGAIN_WITHIN)
        oracle.check()
        oracle.let_go("x")
        service.wait_status(job, "completed")


# A supervisor


def test_kill_supervisor_lets_jobs_finish(folder: Path, oracle: Oracle) -> None:
    """Jobs that run when the supervisor is killed are finished and recorded, and none is begun."""
    with Service(folder, configuration=TWO_WORKERS) as service:
        jobs = [service.submit("jobs.wait", {"key": key}) for key in ("a", "b", "c")]
        oracle.wait_begun("a")
        oracle.wait_begun("b")
        service.kill()
        oracle.let_go("a", "b", "c")
        until(lambda: not service.processes(), seconds=GONE_WITHIN, what="end of the workers")
        found = [service.queue.get_status(job) for job in jobs]
    assert [each["status"] for each in found] == ["completed", "completed", "pending"]
    assert [each["attempts"] for each in found] == [1, 1, 0]
    assert not oracle.runs("c")


def test_kill_supervisor_of_idle_workers(folder: Path) -> None:
    """Workers without a supervisor and a job leave, and take nothing that comes then."""
    with Service(folder, configuration=TWO_WORKERS) as service:
        service.wait_ready(2)
        service.kill()
        job = service.submit("jobs.quick", {"key": "x"})
        until(lambda: not service.processes(), seconds=GONE_WITHIN, what="end of the workers")
        assert service.queue.get_status(job)["status"] == "pending"


UNSEEN = ("failed", "worker died: nobody saw how; perhaps it was stopped at its deadline")
TIMED_OUT = ("timeout", "Job timed out after 1 seconds")


@pytest.mark.parametrize(
    ("function", "grace", "events", "record"),
    [
        ("clean_up", 0, [], UNSEEN),
        ("clean_up", 2, ["cleaned"], TIMED_OUT),
        ("hold_interpreter", 0, [], UNSEEN),
        ("hold_interpreter", 2, [], UNSEEN),
        ("swallow", 2, [], UNSEEN),
    ],
)
def test_kill_supervisor_keeps_deadlines(
    folder: Path,
    oracle: Oracle,
    function: str,
    grace: float,
    events: list[str],
    record: tuple[str, str],
) -> None:
    """Without a supervisor a job still ends at its deadline; the next service records the rest."""
    timeout = 1
    settings = f"[workers]\ncount = 1\nkill_grace = {grace}\nreload = false\n"
    with Service(folder, configuration=settings) as service:
        job = service.submit(f"jobs.{function}", {"key": "x"}, timeout=timeout, max_attempts=1)
        pending = service.submit("jobs.quick", {"key": "pending"})
        oracle.wait_begun("x")
        service.kill()
        oracle.wait_gone("x", seconds=timeout + grace + KILLED_WITHIN)
        assert service.queue.get_status(pending)["status"] == "pending"
        assert oracle.runs("x")[0].events == events
        with Service(folder) as successor:
            found = successor.wait_status(job, "timeout", "failed")
            successor.wait_status(pending, "completed")
    oracle.check()
    assert found["attempts"] == 1
    assert (found["status"], found["error"]) == record


def test_new_service_leaves_running_jobs_alone(folder: Path, oracle: Oracle) -> None:
    """A service started while workers of a killed one still run jobs waits for these jobs."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.wait", {"key": "x"})
        run = oracle.wait_begun("x")
        service.kill()
        with Service(folder) as successor:
            other = successor.submit("jobs.quick", {"key": "other"})
            successor.wait_status(other, "completed")
            until(lambda: run.alive() and time.monotonic() > run.begin + 3, what="three seconds")
            assert successor.queue.get_status(job)["status"] == "running"
            oracle.let_go("x")
            assert successor.wait_status(job, "completed")["attempts"] == 1
            until(lambda: not run.alive(), seconds=GONE_WITHIN, what="end of the old worker")
    oracle.check()


def test_kill_supervisor_and_worker(folder: Path, oracle: Oracle) -> None:
    """A new service kills what a worker left that died with its supervisor, then runs the job."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.wait_with_processes", {"key": "x"})
        until(lambda: len(oracle.wait_begun("x").processes) == 2)
        run = oracle.runs("x")[0]
        service.kill()
        os.kill(run.pid, signal.SIGKILL)
        until(lambda: run.pid not in run.alive())
        assert len(run.alive()) == 2, "the strays are to be there"
        with Service(folder) as successor:
            oracle.wait_begun("x", 2, seconds=AGAIN_WITHIN)
            oracle.check()
            assert not run.alive()
            oracle.let_go("x")
            found = successor.wait_status(job, "completed")
    assert [each["verdict"] for each in found["executions"]] == ["lost", "completed"]


def test_kill_everything_again_and_again(folder: Path, oracle: Oracle) -> None:
    """However often all is killed at once, no job is lost and none runs twice at once."""
    keys = [f"job-{number}" for number in range(40)]
    with Service(folder, configuration=TWO_WORKERS) as service:
        jobs = [
            service.submit("jobs.quick", {"key": key, "seconds": 0.05}, max_attempts=20)
            for key in keys
        ]
        until(lambda: len(oracle.runs()) > 5)
        for each in service.processes():
            each.send_signal(signal.SIGSTOP)
        service.process.send_signal(signal.SIGSTOP)
        service.kill()
        for each in service.processes():
            each.kill()
    for blow in (10, 20):
        with Service(folder) as service:
            until(lambda blow=blow: len(oracle.runs()) > blow)
            service.kill()
            for each in service.processes():
                each.kill()
    with Service(folder) as service:
        for job in jobs:
            found = service.wait_status(job, "completed")
            assert [each["verdict"] for each in found["executions"][:-1]] == (
                ["lost"] * (found["attempts"] - 1)
            )
    oracle.check()
    assert {run.key for run in oracle.runs() if run.end is not None} == set(keys)


def test_stop_supervisor_for_a_while(folder: Path, oracle: Oracle) -> None:
    """While the supervisor is held up, jobs go on and deadlines hold; then all is recorded."""
    timeout = 1
    settings = "[workers]\ncount = 2\nkill_grace = 0\nreload = false\n"
    with Service(folder, configuration=settings) as service:
        over = service.submit("jobs.hold_interpreter", {"key": "over"}, timeout=timeout)
        patient = service.submit("jobs.wait", {"key": "patient"})
        oracle.wait_begun("over")
        oracle.wait_begun("patient")
        more = [service.submit("jobs.quick", {"key": f"more-{n}"}) for n in range(5)]
        service.process.send_signal(signal.SIGSTOP)
        oracle.wait_gone("over", seconds=timeout + KILLED_WITHIN)
        oracle.let_go("patient")
        for job in (patient, *more):
            service.wait_status(job, "completed")
        service.process.send_signal(signal.SIGCONT)
        oracle.wait_begun("over", 2)
        found = service.queue.get_status(over)
        assert found["executions"][0]["verdict"] == "timeout"
        assert found["executions"][0]["error"] == "Job timed out after 1 seconds"
    oracle.check()


def test_stacks_are_of_the_job_that_was_killed(folder: Path, oracle: Oracle) -> None:
    """A job that dies by its own timer is not recorded with the stacks of an earlier one."""
    settings = "[workers]\ncount = 1\nkill_grace = 0.5\nreload = false\n"
    with Service(folder, configuration=settings) as service:
        first = service.submit("jobs.oblige", {"key": "first"}, timeout=0.3, max_attempts=1)
        assert "oblige" in service.wait_status(first, "timeout")["executions"][0]["stacks"]
        job = service.submit("jobs.hold_interpreter", {"key": "x"}, timeout=0.5, max_attempts=1)
        oracle.wait_begun("x")
        service.process.send_signal(signal.SIGSTOP)
        oracle.wait_gone("x", seconds=1 + KILLED_WITHIN)
        service.process.send_signal(signal.SIGCONT)
        found = service.wait_status(job, "timeout")
    assert "oblige" not in (found["executions"][0]["stacks"] or "")


def test_stacks_of_an_earlier_job_are_forgotten(folder: Path, oracle: Oracle) -> None:
    """A job that is interrupted without a supervisor does not get an earlier job's stacks."""
    with Service(folder, configuration=ONE_WORKER) as service:
        first = service.submit("jobs.oblige", {"key": "first"}, timeout=0.3, max_attempts=1)
        assert "oblige" in service.wait_status(first, "timeout")["executions"][0]["stacks"]
        job = service.submit("jobs.clean_up", {"key": "x"}, timeout=1, max_attempts=1)
        oracle.wait_begun("x")
        service.kill()
        found = service.wait_status(job, "timeout")
    assert "oblige" not in (found["executions"][0]["stacks"] or "")


# Jobs that harm what they run in


def test_fork_does_not_make_a_second_worker(folder: Path, oracle: Oracle) -> None:
    """A forked child that returns from its job does not settle it, and takes no other job."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.fork_and_return", {"key": "x"}, max_attempts=1)
        other = service.submit("jobs.quick", {"key": "other"})
        service.wait_status(job, "completed", "failed")
        oracle.let_go("x")
        service.wait_status(other, "completed")
        assert service.queue.get_result(job) == "parent"
        assert service.queue.get_result(other) == oracle.runs("x")[0].pid
    (run,) = oracle.runs("x")
    (after,) = oracle.runs("other")
    assert run.end is not None
    assert after.begin > run.end


@pytest.mark.parametrize("how", ["stream", "descriptor"])
def test_job_closes_its_output(folder: Path, how: str) -> None:
    """A job that closes standard output has completed all the same."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.close_output", {"how": how}, max_attempts=1)
        found = service.wait_status(job, "completed", "failed")
    assert (found["status"], found["error"]) == ("completed", None)


def test_job_leaves_a_transaction_open(folder: Path) -> None:
    """A job that returns in the middle of a write does not lock out everybody else."""
    with Service(folder, configuration=TWO_WORKERS) as service:
        service.wait_ready(2)
        job = service.submit("jobs.leave_transaction", {"database": str(service.database)})
        service.wait_status(job, "completed", seconds=10)
        after = service.submit("jobs.quick", {"key": "x"})
        service.wait_status(after, "completed", seconds=10)


def test_job_leaves_a_thread(folder: Path) -> None:
    """A thread that a job left does not keep its worker from going when it is told to."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.leave_thread")
        service.wait_status(job, "completed")
        assert service.stop(seconds=GONE_WITHIN) == 0
        assert not service.events("worker_lost")


@pytest.mark.parametrize(
    ("name", "times"), [("short", 50_000), ("long" * 250, 1)], ids=["error", "name"]
)
def test_long_text_does_not_harm_the_service(folder: Path, name: str, times: int) -> None:
    """However long a job's name or error, the service takes it and goes on."""
    with Service(folder, configuration=ONE_WORKER) as service:
        params = {"text": "\N{PILE OF POO}", "times": times}
        job = service.submit("jobs.complain", params, name=name, max_attempts=1)
        assert service.wait_status(job, "failed")["name"] == name
        assert_supervised(service)


def test_many_modules_do_not_harm_the_service(folder: Path) -> None:
    """A job that imports more modules than fit in one message is served like any other."""
    package = folder / ("package_with_a_long_name_" * 5)
    package.mkdir()
    for number in range(600):
        (package / f"module_{number:03}.py").touch()
    imports = "".join(f"import {package.name}.module_{number:03}\n" for number in range(600))
    (folder / "large.py").write_text(f"{imports}\n\ndef run():\n    return 600\n")
    with Service(folder, configuration="[workers]\ncount = 1\n") as service:
        service.wait_status(service.submit("large.run"), "completed")
        assert_supervised(service)


def assert_supervised(service: Service) -> None:
    """Check that the service still runs jobs, and sees its worker die."""
    after = service.submit("jobs.quick", {"key": "after"})
    service.wait_status(after, "completed")
    pid = service.queue.get_result(after)
    os.kill(pid, signal.SIGKILL)
    service.wait_for("worker_lost", worker_pid=pid)
    again = service.submit("jobs.quick", {"key": "again"})
    service.wait_status(again, "completed")


def test_orphaned_job_is_cancelled(folder: Path, oracle: Oracle) -> None:
    """A job that never ends, and whose supervisor was killed, is ended by the next when asked."""
    with Service(folder, configuration=ONE_WORKER) as first:
        job = first.submit("jobs.swallow", {"key": "x"}, timeout=None)
        oracle.wait_begun("x")
        first.process.kill()
        first.process.wait()
        with Service(folder, configuration=ONE_WORKER) as service:
            service.wait_ready()
            assert oracle.runs("x")[0].alive()
            assert service.queue.get_status(job)["status"] == "running"
            assert service.queue.cancel(job, running=True)
            assert service.wait_status(job, "cancelled")["attempts"] == 1
            oracle.wait_gone("x", seconds=60)


def test_command_ends_with_its_worker(folder: Path) -> None:
    """A command line whose supervisor and worker are gone does not outlive its deadline."""
    at_once = ONE_WORKER + "kill_grace = 0\n"
    with Service(folder, configuration=at_once) as service:
        argv = ["sh", "-c", "trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done"]
        params = {"argv": argv}
        job = service.submit("gigq.worker.command.run", params, timeout=2, max_attempts=1)
        pid = int(until(lambda: (folder / "pid").exists() and (folder / "pid").read_text()))
        service.process.kill()
        service.process.wait()
        until(lambda: start_ticks(pid) is None, seconds=30, what="the shell is gone")
    with Service(folder, configuration=at_once) as service:
        service.wait_status(job, "failed", "timeout")
