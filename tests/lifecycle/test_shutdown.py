"""The blow: somebody stops the service."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from harness import GENEROUS, GIGQD, Locker, Service, until

from gigq.queue.companions import Companions
from gigq.queue.errors import GigqError
from gigq.queue.identity import start_ticks
from gigq.supervisor.control import ask

if TYPE_CHECKING:
    from pathlib import Path

    from lifecycle.oracle import Oracle

STOPPED_WITHIN = 1.0 * GENEROUS  # seconds beyond what the running jobs may take
ONE_WORKER = "[workers]\ncount = 1\nreload = false\n"
TWO_WORKERS = "[workers]\ncount = 2\nreload = false\n"


def test_terminate_finishes_what_runs(folder: Path, oracle: Oracle) -> None:
    """SIGTERM lets running jobs finish; what has not begun stays pending, uncharged."""
    with Service(folder, configuration=TWO_WORKERS) as service:
        running = [service.submit("jobs.wait", {"key": key}) for key in ("a", "b")]
        oracle.wait_begun("a")
        oracle.wait_begun("b")
        waiting = [service.submit("jobs.quick", {"key": f"w{number}"}) for number in range(3)]
        service.process.send_signal(signal.SIGTERM)
        service.wait_for("service_draining")
        waiting.append(service.submit("jobs.quick", {"key": "late"}))
        oracle.let_go("a")
        service.wait_for("worker_exited")
        assert service.queue.get_status(running[1])["status"] == "running"
        oracle.let_go("b")
        assert service.process.wait(STOPPED_WITHIN) == 0
        for job in running:
            found = service.queue.get_status(job)
            assert (found["status"], found["attempts"]) == ("completed", 1)
        for job in waiting:
            found = service.queue.get_status(job)
            assert (found["status"], found["attempts"], found["executions"]) == ("pending", 0, [])
        assert service.events()[-1]["event"] == "service_stopped"
        assert not service.processes()
    assert {run.key for run in oracle.runs()} == {"a", "b"}


@pytest.mark.parametrize(
    ("function", "grace", "events"),
    [("clean_up", 2, ["cleaned"]), ("hold_interpreter", 0.2, []), ("leave_orphan", 0, [])],
)
def test_drain_timeout_is_exceeded(
    folder: Path, oracle: Oracle, function: str, grace: float, events: list[str]
) -> None:
    """A job that outlasts the drain is stopped; its attempt is given back if it may run again."""
    settings = (
        f"[workers]\ncount = 2\nkill_grace = {grace}\nreload = false\n"
        "[shutdown]\ndrain_timeout = 0.5\n"
    )
    with Service(folder, configuration=settings) as service:
        often = service.submit(f"jobs.{function}", {"key": "often"}, max_attempts=3)
        once = service.submit(f"jobs.{function}", {"key": "once"}, max_attempts=1)
        runs = [oracle.wait_begun("often"), oracle.wait_begun("once")]
        told = time.monotonic()
        assert service.stop() == 0
        assert 0.4 < time.monotonic() - told < 0.5 + grace + STOPPED_WITHIN
        assert not any(run.alive() for run in runs)
        assert not service.processes()
        found = service.queue.get_status(often)
        assert (found["status"], found["attempts"]) == ("pending", 0)
        assert [each["verdict"] for each in found["executions"]] == ["stopped"]
        found = service.queue.get_status(once)
        assert (found["status"], found["attempts"]) == ("failed", 1)
        assert found["error"] == "stopped by shutdown"
    assert [run.events for run in oracle.runs()] == [events, events]
    oracle.check()


def test_stopped_job_runs_again(folder: Path, oracle: Oracle) -> None:
    """A job that a shutdown stopped runs again at the next start, with all its attempts."""
    settings = f"{ONE_WORKER}[shutdown]\ndrain_timeout = 0\n"
    with Service(folder, configuration=settings) as service:
        job = service.submit("jobs.wait", {"key": "x"}, max_attempts=2)
        oracle.wait_begun("x")
        assert service.stop() == 0
    with Service(folder) as service:
        oracle.wait_begun("x", 2)
        oracle.let_go("x")
        found = service.wait_status(job, "completed")
    oracle.check()
    assert found["attempts"] == 1
    assert [each["verdict"] for each in found["executions"]] == ["stopped", "completed"]


def test_stop_waits_for_the_database(folder: Path, oracle: Oracle) -> None:
    """A job that has ended and waits to be recorded is not stopped when the drain is over."""
    settings = f"{ONE_WORKER}[shutdown]\ndrain_timeout = 0.2\n"
    with Service(folder, configuration=settings) as service, Locker(service.database) as locker:
        job = service.submit("jobs.wait", {"key": "x"}, max_attempts=1)
        oracle.wait_begun("x")
        with locker.locked():
            oracle.let_go("x")
            until(lambda: oracle.runs("x")[0].end)
            service.process.send_signal(signal.SIGTERM)
            service.wait_for("service_stopping")
            stopping = time.monotonic()
            until(lambda: time.monotonic() > stopping + 1, what="a second")
            assert service.process.poll() is None
        assert service.process.wait(STOPPED_WITHIN) == 0
        assert service.queue.get_status(job)["status"] == "completed"


def test_interrupt_once(folder: Path, oracle: Oracle) -> None:
    """One ^C lets the running job finish."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.wait", {"key": "x"})
        oracle.wait_begun("x")
        service.process.send_signal(signal.SIGINT)
        service.wait_for("service_draining")
        oracle.let_go("x")
        assert service.process.wait(STOPPED_WITHIN) == 0
        assert service.queue.get_status(job)["status"] == "completed"
        assert not service.events("service_stopping")


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_twice(folder: Path, oracle: Oracle, first: signal.Signals) -> None:
    """^C during the drain stops the running job, and gives its attempt back."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.clean_up", {"key": "x"})
        oracle.wait_begun("x")
        service.process.send_signal(first)
        service.wait_for("service_draining")
        assert service.stop(signal.SIGINT, seconds=STOPPED_WITHIN) == 0
        found = service.queue.get_status(job)
    assert (found["status"], found["attempts"]) == ("pending", 0)
    assert oracle.runs("x")[0].events == ["cleaned"]


@pytest.mark.parametrize("how", ["signal", "command"])
def test_stop_now(folder: Path, oracle: Oracle, how: str) -> None:
    """SIGQUIT and `gigqd stop --now` stop the running job without a drain."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.clean_up", {"key": "x"})
        oracle.wait_begun("x")
        if how == "signal":
            service.process.send_signal(signal.SIGQUIT)
        else:
            assert service.told("stop", "--now", seconds=STOPPED_WITHIN)[0] == 0
        assert service.process.wait(STOPPED_WITHIN) == 0
        found = service.queue.get_status(job)
    assert (found["status"], found["attempts"]) == ("pending", 0)
    assert oracle.runs("x")[0].events == ["cleaned"]


def test_stop_waits(folder: Path, oracle: Oracle) -> None:
    """`gigqd stop` returns when the running job is recorded and the service is gone, not before."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.wait", {"key": "x"})
        oracle.wait_begun("x")
        ticks = start_ticks(service.process.pid)
        with service.command("stop") as stop:
            service.wait_for("service_draining")
            assert stop.poll() is None
            oracle.let_go("x")
            output, errors = stop.communicate(timeout=STOPPED_WITHIN)
        assert start_ticks(service.process.pid) != ticks, "it is still there"
        assert service.queue.get_status(job)["status"] == "completed"
        assert stop.returncode == 0
        assert f"stopped: gigqd of {service.database}" in output + errors
        with Service(folder) as successor:
            successor.wait_ready()


def test_status_and_stop_of_a_stopped_service(folder: Path, oracle: Oracle) -> None:
    """`gigqd status` exits 0 while the service runs and 3 after; stopping a stopped one is fine."""
    with Service(folder, configuration=ONE_WORKER) as service:
        service.submit("jobs.wait", {"key": "x"})
        service.submit("jobs.quick", {"key": "y"})
        oracle.wait_begun("x")
        code, output, _ = service.told("status")
        assert code == 0
        assert output.startswith(f"running: pid {service.process.pid}")
        assert "1 running" in output
        oracle.let_go("x")
        service.stop()
        code, output, _ = service.told("status")
        assert code == 3
        assert output.startswith("stopped:")
        code, output, errors = service.told("stop")
        assert code == 0
        assert f"no gigqd serves {service.database}" in output + errors
        command = [*GIGQD, "stop", str(folder / "mistyped.db")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, "mistyped.db; look at its name" in done.stderr) == (1, True)


def test_status_after_a_kill(folder: Path) -> None:
    """`gigqd status` of a service that was killed says that it is stopped."""
    with Service(folder, configuration=ONE_WORKER) as service:
        service.wait_ready()
        service.kill()
        assert service.told("status")[0] == 3


def test_second_service_is_refused(folder: Path) -> None:
    """A second service on the same database says who serves it and exits 1; the first goes on."""
    with Service(folder, configuration=ONE_WORKER) as service:
        service.wait_ready()
        code, output, errors = service.told("start")
        assert code == 1
        assert errors.startswith(f"gigqd: gigqd (pid {service.process.pid}) serves")
        assert "Traceback" not in output + errors
        job = service.submit("jobs.quick", {"key": "x"})
        service.wait_status(job, "completed")
        assert len(service.events("worker_ready")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_stop_while_starting(folder: Path, number: signal.Signals) -> None:
    """A service that is stopped while its workers start ends as asked and leaves nothing."""
    with Service(folder, configuration=TWO_WORKERS) as service:
        service.wait_for("service_started")
        assert service.stop(number, seconds=STOPPED_WITHIN) == 0
        until(lambda: not service.processes(), seconds=1)
        assert not service.events("worker_start_failed")
        assert not service.events("worker_lost")
        lines = service.log.read_text().splitlines()
        assert lines == [line for line in lines if line.startswith("{")]


def test_orders_at_the_end(folder: Path, oracle: Oracle) -> None:
    """A service that stops begins nothing again, whatever it is told meanwhile."""
    with Service(folder, configuration=ONE_WORKER) as service:
        service.submit("jobs.wait", {"key": "x"})
        oracle.wait_begun("x")
        service.process.send_signal(signal.SIGTERM)
        service.wait_for("service_draining")
        waiting = service.submit("jobs.quick", {"key": "y"})
        for order, fields in ("resume", {}), ("scale", {"count": 2}), ("drain", {}), ("reload", {}):
            with pytest.raises(GigqError, match="the service is stopping"):
                ask(Companions(service.database).control, order, **fields)
        oracle.let_go("x")
        assert service.process.wait(30) == 0
        assert service.queue.get_status(waiting)["status"] == "pending"
    oracle.check()


def is_taken(service: Service) -> bool:
    """Tell whether a service claims nothing any more."""
    status = json.loads(service.told("status", "--json")[1])
    return bool(status["paused"])


@pytest.mark.parametrize("order", ["drain", "stop"])
def test_nobody_waits_any_longer(folder: Path, oracle: Oracle, order: str) -> None:
    """^C ends the waiting, and says what goes on all the same."""
    with Service(folder, configuration=ONE_WORKER) as service:
        service.submit("jobs.wait", {"key": "x"})
        oracle.wait_begun("x")
        with service.command(order) as command:
            until(lambda: is_taken(service), what=f"{order} was taken")
            command.send_signal(signal.SIGINT)
            _, errors = command.communicate(timeout=30)
            assert command.returncode == 130
            assert "not waiting any longer; " in errors
        oracle.let_go("x")
    oracle.check()


def test_drain_that_is_resumed(folder: Path, oracle: Oracle) -> None:
    """Whoever waits for the drained service is told that it was resumed."""
    with Service(folder, configuration=ONE_WORKER) as service:
        service.submit("jobs.wait", {"key": "x"})
        oracle.wait_begun("x")
        with service.command("drain") as drain:
            until(lambda: is_taken(service), what="drain was taken")
            assert service.told("resume")[0] == 0
            _, errors = drain.communicate(timeout=30)
            assert drain.returncode == 1
            assert "resumed" in errors
        oracle.let_go("x")
    oracle.check()
