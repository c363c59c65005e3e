"""Health and metrics of a real service, asked over real HTTP, while blows fall."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest
from harness import GENEROUS, Locker, Service, until
from prometheus_client.parser import text_string_to_metric_families

from gigq.queue.sqlite_store import SqliteStore
from gigq.supervisor.http_server import LIVE_WITHIN
from gigq.supervisor.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTICED_WITHIN = 2.0 * GENEROUS
HEALTH_WITHIN = 2.0 * GENEROUS


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    body: str
    headers: dict[str, str]


def configuration(listen: str, workers: int = 1) -> str:
    """Write a configuration."""
    return f'[workers]\ncount = {workers}\nreload = false\n[http]\nlisten = "{listen}"\n'


class Client:
    """Asks the HTTP process of a service."""

    def __init__(self, service: Service) -> None:
        """Wait until it listens."""
        self.service = service
        self.find()

    def find(self, after: int = 0) -> None:
        """Take the address that was told last, once it was told more than `after` times."""
        told = until(lambda: self.service.events("http_listening")[after:], what="it listens")
        self.address = told[-1]["address"]

    def get(self, path: str, method: str = "GET") -> Reply:
        """Ask."""
        host, _, port = self.address.rpartition(":")
        with closing(http.client.HTTPConnection(host, int(port), timeout=30)) as connection:
            connection.request(method, path)
            reply = connection.getresponse()
            headers = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, reply.read().decode(), headers)

    def becomes(self, path: str, status: int, text: str = "", seconds: float = 30) -> Reply:
        """Ask until this is the answer."""
        return until(
            lambda: (reply := self.get(path)).status == status and text in reply.body and reply,
            seconds=seconds,
            what=f"{path} answers {status} {text}",
            pause=0.05,
        )

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Ask for the metrics; by the name and the sorted values of the labels."""
        reply = self.get("/metrics")
        assert reply.status == 200
        assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return samples(reply.body)

    def process(self) -> psutil.Process:
        """Find the process."""
        (found,) = (
            each
            for each in psutil.Process(self.service.process.pid).children()
            if "gigq.supervisor.http_server" in each.cmdline()
        )
        return found


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Parse the text as Prometheus does."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def families(text: str) -> set[str]:
    """Give the names of the metrics."""
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}


@pytest.fixture
def served(folder: Path) -> Iterator[Client]:
    """Give the client of a service with one worker that is ready."""
    with Service(folder, configuration=configuration("127.0.0.1:0")) as service:
        service.wait_ready()
        yield Client(service)


def test_live_and_ready(served: Client) -> None:
    """Both are answered with each check by name, and the command says the same."""
    assert served.becomes("/readyz", 200).body == "service: ok\nworkers: ok\ndatabase: ok\n"
    assert served.get("/livez").body == "supervisor: ok\n"
    assert served.service.told("health") == (0, "ready\n", "")
    assert served.service.told("health", "--live") == (0, "live\n", "")


def test_database_locked_by_an_outsider(served: Client) -> None:
    """A locked database is not ready, and live all the same; metrics can be read."""
    with Locker(served.service.database) as locker, locker.locked():
        reply = served.get("/readyz")
        assert reply.status == 503
        assert "service: ok\nworkers: ok\n" in reply.body
        assert "database: " in reply.body
        assert "locked by another process" in reply.body
        began = time.monotonic()
        assert served.get("/livez").status == 200
        assert time.monotonic() - began < 1
        assert served.metrics()["gigq_database_readable",] == 1
        began = time.monotonic()
        status, output, _ = served.service.told("health")
        assert time.monotonic() - began < HEALTH_WITHIN
        assert status == 1
        (line,) = output.splitlines()
        assert line.startswith("database: ")
        assert served.service.told("health", "--live")[0] == 0
    served.becomes("/readyz", 200)


def test_supervisor_stopped(served: Client) -> None:
    """A supervisor that does nothing is neither live nor ready; nobody waits for it for long."""
    process = served.service.process
    process.send_signal(signal.SIGSTOP)
    try:
        reply = served.becomes("/livez", 503, seconds=LIVE_WITHIN * GENEROUS)
        assert reply.body.startswith("supervisor: its last turn was ")
        assert "service: the service at" in served.get("/readyz").body
        metrics = served.metrics()
        assert metrics["gigq_service_up",] == 0
        assert ("gigq_jobs", "default", "pending") in metrics
        began = time.monotonic()
        commands = [served.service.command("health", *more) for more in ((), ("--live",))]
        for command in commands:
            with command:
                assert command.communicate()[0].startswith("unknown: the service at ")
            assert command.returncode == 4
        assert time.monotonic() - began < HEALTH_WITHIN
        code, told, errors = served.service.told("status", "--json")
        assert (code, json.loads(told)["state"]) == (4, "unknown")
        assert "has not answered for 5 s" in errors
    finally:
        process.send_signal(signal.SIGCONT)
    served.becomes("/livez", 200)
    served.becomes("/readyz", 200)


def test_drained_and_without_workers(served: Client) -> None:
    """A drained service is not ready, nor is one without a worker; each says so."""
    service = served.service
    assert service.told("drain")[0] == 0
    reply = served.get("/readyz")
    assert reply.status == 503
    assert "service: was drained; it goes on after: gigqd resume\n" in reply.body
    assert service.told("resume")[0] == 0
    served.becomes("/readyz", 200)
    service.configure(configuration("127.0.0.1:0", workers=0))
    served.becomes("/readyz", 503, "workers: none is ready, 0 wanted\n")
    status, output, _ = service.told("health")
    assert (status, output) == (1, "workers: none is ready, 0 wanted\n")


def test_stopped(served: Client) -> None:
    """While it stops it is not ready; afterwards nobody listens, and health says stopped."""
    service = served.service
    job = service.submit("jobs.sleep", {"key": "x"})
    service.wait_status(job, "running")
    service.process.send_signal(signal.SIGTERM)
    served.becomes("/readyz", 503, "service: is draining")
    http_process = served.process()
    assert service.stop(signal.SIGQUIT) == 0
    assert not http_process.is_running()
    assert service.told("health")[0] == 3


def test_metrics(served: Client) -> None:
    """What happened stands in the metrics, all known ones are there, and the command agrees."""
    service = served.service
    service.wait_status(service.submit("jobs.quick", {"key": "x"}), "completed")
    service.wait_status(service.submit("jobs.exit_script", {"key": "y"}, max_attempts=1), "failed")
    service.submit("jobs.quick", {"key": "z"}, delay=3600)
    late = service.submit("jobs.spin", {"key": "l"}, timeout=0.5, max_attempts=1)
    service.wait_status(late, "timeout")
    died = service.submit("jobs.exit_process", {"key": "d"}, max_attempts=1)
    service.wait_status(died, "failed")
    attempts = ("completed", "default"), ("failed", "default"), ("timeout", "default")
    until(
        lambda: (
            (found := served.metrics())["gigq_jobs_reclaimed_total", "default"] == 1
            and all(found["gigq_job_attempts_total", *each] == 1 for each in attempts)
        ),
        what="all attempts are counted",
    )
    until(lambda: served.metrics().get(("gigq_workers", "idle")) == 1)
    found = served.metrics()
    assert found["gigq_jobs_submitted_total", "default"] == 5
    assert found["gigq_job_attempts_total", "lost", "default"] == 1
    assert found["gigq_jobs", "default", "completed"] == 1
    assert found["gigq_jobs", "default", "failed"] == 2
    assert found["gigq_jobs", "default", "pending"] == 1
    assert found["gigq_queue_oldest_ready_age_seconds", "default"] == 0
    # What the process that left without a word had not yet written is missing: a claim at most.
    assert found["gigq_job_wait_seconds_count", "default"] in (3, 4)
    assert found["gigq_job_duration_seconds_count", "default"] == 4
    assert found["gigq_job_duration_seconds_bucket", "5.0", "default"] >= 3
    assert found["gigq_worker_restarts_total", "lost"] == 1
    assert found["gigq_worker_resident_memory_bytes", "1"] > 1 << 20
    assert families(served.get("/metrics").body) == set(METRICS)
    command = [sys.executable, "-m", "gigq", "metrics", "--db", str(service.database)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert printed.stderr == ""
    assert samples(printed.stdout).keys() == found.keys()


def test_killed_process_comes_back(served: Client) -> None:
    """The HTTP process is started again after its death, and no worker is disturbed."""
    service = served.service
    before = service.worker_pids()
    served.process().kill()
    failed = service.wait_for("http_failed", seconds=NOTICED_WITHIN)
    assert failed["status"] == -signal.SIGKILL
    served.find(after=1)
    served.becomes("/readyz", 200)
    # Nor is it swept away with what a worker leaves.
    http_process = served.process()
    psutil.Process(*before.values()).kill()
    service.wait_for("worker_lost")
    until(lambda: service.worker_pids().keys() - before.keys())
    served.becomes("/readyz", 200)
    assert http_process.is_running()
    assert len(service.events("http_failed")) == 1


def test_dies_with_the_supervisor(served: Client) -> None:
    """A SIGKILL of the supervisor leaves nobody who says that all is well."""
    http_process = served.process()
    served.service.kill()
    until(lambda: not http_process.is_running() or http_process.status() == "zombie")


def test_port_in_use(folder: Path) -> None:
    """A port that another program has is an event, and is taken once it is free."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        service = Service(folder, configuration=configuration(listen))
        with service:
            failed = service.wait_for("http_failed")
            assert failed["address"] == listen
            assert "in use" in failed["error"]
            assert failed["level"] == "warning"
            service.wait_ready()
            other.close()
            client = Client(service)
            assert client.address == listen
            client.becomes("/readyz", 200)


def test_reload_turns_it_on_and_off(folder: Path) -> None:
    """The setting takes effect without a restart: on, as a socket, off; workers stay."""
    with Service(folder, configuration=configuration("")) as service:
        service.wait_ready()
        before = service.worker_pids()
        assert not service.events("http_listening")
        service.configure(configuration("127.0.0.1:0"))
        client = Client(service)
        client.becomes("/readyz", 200)
        http_process = client.process()
        service.configure(configuration("./http.sock"))
        client.find(after=1)
        path = folder / "http.sock"
        assert client.address == str(path)
        assert not http_process.is_running()
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            peer.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            assert peer.makefile().read().startswith("HTTP/1.0 200 OK\r\n".replace("\r", ""))
        service.configure(configuration(""))
        until(lambda: not path.exists(), seconds=NOTICED_WITHIN, what="the socket is gone")
        assert service.worker_pids() == before
        assert not service.events("http_failed")


def test_refused_configuration_shows(served: Client) -> None:
    """A refused file shows in the metrics until one is in force again."""
    assert served.metrics()["gigq_config_last_reload_successful",] == 1
    served.service.configure("[workers]\ncount = -1\n")
    until(lambda: served.metrics()["gigq_config_last_reload_successful",] == 0)
    address = served.address.replace(":0", ":")
    served.service.configure(configuration("127.0.0.1:0").replace("127.0.0.1:0", address))
    served.service.wait_for("configuration_reloaded")
    served.find(after=1)
    assert served.metrics()["gigq_config_last_reload_successful",] == 1


class TestManners:
    """What a client may do, and learns."""

    def test_other_paths_and_methods(self, served: Client) -> None:
        """HEAD has no body; other paths are 404, other methods 405; nothing tells who serves."""
        got, head = served.get("/livez"), served.get("/livez?verbose", "HEAD")
        assert head == got._replace(body="")
        missing = served.get("/nope")
        assert (missing.status, missing.body) == (404, "there are: /livez, /readyz, /metrics\n")
        refused = served.get("/metrics", "POST")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
        for reply in (got, missing, refused):
            assert "server" not in reply.headers
            assert "ython" not in str(reply)

    def test_slow_and_senseless_clients(self, served: Client) -> None:
        """Clients that say nothing are put off and dropped; those that say nonsense are told so."""
        host, _, port = served.address.rpartition(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(40)]
        assert served.process().num_threads() <= 17
        until(lambda: _is_served(served), what="the silent ones were dropped")
        for each in silent:
            each.close()
        with socket.create_connection((host, int(port))) as peer:
            peer.sendall(b"\0\1\2 garbage\r\n\r\n")
            peer.settimeout(30)
            assert b" 400 Bad Request" in peer.recv(4096)
        assert served.service.process.poll() is None

    def test_idle_costs_nothing(self, served: Client) -> None:
        """A process that nobody asks does not wake up."""
        served.get("/metrics")
        process = served.process()
        until(lambda: process.num_threads() == 1)
        before = process.num_ctx_switches()
        time.sleep(1)
        after = process.num_ctx_switches()
        assert sum(after) - sum(before) <= 2


def _is_served(client: Client) -> bool:
    try:
        return client.get("/livez").status == 200
    except (OSError, http.client.HTTPException):
        return False


def test_read_only_database() -> None:
    """A database that may not be written is not ready; the check says why."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        path = folder / "gigq.db"
        SqliteStore(path).close()
        with closing(sqlite3.connect(path)) as held:  # a service has it open, and its log is there
            held.execute("SELECT count(*) FROM job").fetchall()
            path.chmod(0o444)
            code = (
                "import os, sys; from pathlib import Path; from gigq.supervisor.health import *; "
                "os.geteuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534)); "
                "print(check_database(Path(sys.argv[1])))"
            )
            done = subprocess.run(
                [sys.executable, "-c", code, str(path)],
                capture_output=True,
                text=True,
                check=False,
            )
    assert "database: " in done.stdout, done.stderr
    assert "readonly" in done.stdout
