"""`gigq worker`: workers without the service."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from cli.client import Client
from harness import until

if TYPE_CHECKING:
    from cli.conftest import Served


def status(gigq: Client, job: str) -> str:
    """Give a job's public status."""
    return str(gigq("status", job, "-o", "json").document("status")["job"]["status"])


def worker_name(gigq: Client, job: str) -> str:
    """Give the name of the worker that ran a job."""
    return str(gigq("status", job, "-o", "json").document("status")["job"]["worker"])


def test_once(project: Client) -> None:
    """With --once one job is run, and what happened is said at the end."""
    first = project("submit", "-q", "jobs.quick").out.strip()
    second = project("submit", "-q", "jobs.quick").out.strip()
    done = project("worker", "--once", "--worker-id", "me")
    assert "quick | hello nobody" in done.out
    assert done.out.endswith("\nProcessed one job.\n")
    assert (status(project, first), status(project, second)) == ("completed", "pending")
    assert worker_name(project, first) == "me"
    project("worker", "--once")
    assert project("worker", "--once").out.endswith("\nNo jobs available to process.\n")


def test_failed_job_is_a_job(project: Client) -> None:
    """A job that fails was processed all the same: exit code 0."""
    job = project("submit", "-q", "jobs.bad", "--max-attempts", "1").out.strip()
    assert project("worker", "--once").out.endswith("\nProcessed one job.\n")
    assert status(project, job) == "failed"


def test_creates_a_missing_database(gigq: Client) -> None:
    """It may be started before the first submit; that it creates the database is said."""
    done = gigq("worker", "--once")
    assert done.err == f"gigq: warning: created the database {gigq.folder}/gigq.db\n"


def test_until_interrupted(project: Client) -> None:
    """It runs what comes until ^C, and then lets the running job finish."""
    go = project.folder / "go"
    with project.start("worker", "--concurrency", "2", "--worker-id", "me") as worker:
        quick = project("submit", "-q", "jobs.quick").out.strip()
        project("wait", quick)
        assert worker_name(project, quick) in ("me-0", "me-1")
        slow = project("submit", "-q", "jobs.wait", "-p", f"go={go}").out.strip()
        until(lambda: status(project, slow) == "running", pause=0.1)
        worker.send_signal(signal.SIGINT)
        go.touch()
        out, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert status(project, slow) == "completed"
    assert "service_draining" in out


def test_hard_deadline(project: Client) -> None:
    """A job that hangs is killed at its deadline, as under the service."""
    job = project(
        "submit", "-q", "jobs.hang", "--timeout", "0.2", "--max-attempts", "1"
    ).out.strip()
    project("worker", "--once")
    assert status(project, job) == "timeout"


def test_variables(project: Client) -> None:
    """GIGQ_WORKER_ID names it, and GIGQ_POLLING_INTERVAL is accepted."""
    variables = {"GIGQ_WORKER_ID": "from-variable", "GIGQ_POLLING_INTERVAL": "0.5"}
    gigq = Client(project.folder, **variables)
    job = gigq("submit", "-q", "jobs.quick").out.strip()
    gigq("worker", "--once")
    assert worker_name(gigq, job) == "from-variable"
    done = Client(project.folder, GIGQ_POLLING_INTERVAL="often")("worker", "--once", code=2)
    assert "--polling-interval" in done.err


def test_configuration(project: Client) -> None:
    """--config gives it the settings of a service: where jobs run, and what they find."""
    (project.folder / "elsewhere").mkdir()
    (project.folder / "mine.toml").write_text(
        'database = "other.db"\n[workers]\ndirectory = "elsewhere"\nenvironment = { A = "b" }\n'
    )
    job = project(
        *("run", "-q", "--config", "mine.toml", "--", "sh", "-c", "basename $PWD; echo $A")
    ).out.strip()
    project("worker", "--once", "--config", "mine.toml")
    assert project("logs", job, "--config", "mine.toml").out == "elsewhere\nb\n"


def test_beside_the_service(served: Served) -> None:
    """It may serve the same database as a running gigqd."""
    done = served.gigq("worker", "--once")
    assert done.out.endswith("\nNo jobs available to process.\n")
