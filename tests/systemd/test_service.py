"""The service under a real systemd, from its installation to its removal, in this order."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from harness import until
from systemd.jobs import RUNS
from systemd.machine import GIGQ, GIGQD, PYTHON

if TYPE_CHECKING:
    from collections.abc import Iterator

    from systemd.machine import Machine

UNIT = "gigqd.service"
CONFIGURATION = "/etc/gigq/gigqd.toml"
DATABASE = "/var/lib/gigq/gigq.db"
JOBS = "/opt/code/tests/systemd"


class Service:
    """The installed service, and what tests do with it."""

    def __init__(self, machine: Machine) -> None:
        """Take the machine that it is installed on."""
        self.machine = machine

    def configure(self, text: str = "") -> None:
        """Write its configuration as a whole."""
        head = f'database = "{DATABASE}"\n[workers]\npythonpath = ["{JOBS}"]\nallow = ["jobs"]\n'
        self.machine.write(CONFIGURATION, head + text)

    def drop_in(self, text: str) -> None:
        """Change the unit; nothing takes the change back."""
        path = f"/etc/systemd/system/{UNIT}.d/test.conf"
        if text:
            self.machine.write(path, f"[Service]\n{text}\n")
        else:
            self.machine.ok("rm", "-f", path)
        self.machine.ok("systemctl", "daemon-reload")

    def submit(self, function: str, *arguments: str) -> str:
        """Submit a job as the service's user; its id."""
        words = [GIGQ, "submit", function, "--unchecked", "--quiet", "--db", DATABASE, *arguments]
        return self.machine.ok(*words, user="gigq").strip()

    def look(self, job: str) -> dict[str, Any]:
        """Tell all about a job."""
        found: dict[str, dict[str, Any]] = json.loads(
            self.machine.ok(GIGQ, "status", job, "-o", "json", "--db", DATABASE, user="gigq")
        )
        return found["job"]

    def wait(self, job: str, status: str = "completed") -> dict[str, Any]:
        """Wait until a job has ended, and see that it has this status; all about it."""
        ended = self.machine.run(
            *(GIGQ, "wait", job, "--timeout", "60", "--db", DATABASE), user="gigq", seconds=90
        )
        assert ended.returncode == (0 if status == "completed" else 3), ended.stderr
        found = self.look(job)
        assert found["status"] == status
        return found

    def wait_run(self, line: str) -> None:
        """Wait until a job has noted this."""
        runs = self.machine.path(RUNS)
        until(lambda: runs.exists() and line in runs.read_text().splitlines(), what=line)

    def runs(self, key: str) -> list[str]:
        """List what runs of this key have noted."""
        lines = self.machine.path(RUNS).read_text().splitlines()
        return [line.split()[1] for line in lines if line.split()[0] == key]

    def status(self) -> dict[str, Any]:
        """Ask the service itself."""
        found: dict[str, Any] = json.loads(self.machine.ok(GIGQD, "status", DATABASE, "--json"))
        return found

    def kill(self, signal: str) -> str:
        """Signal the supervisor; its pid."""
        pid = self.machine.shown(UNIT, "MainPID")
        self.machine.ok("kill", f"-{signal}", pid)
        return pid

    def wait_other_than(self, pid: str) -> None:
        """Wait until another supervisor is ready."""
        until(
            lambda: (
                self.machine.shown(UNIT, "MainPID") not in (pid, "0")
                and self.machine.shown(UNIT, "ActiveState") == "active"
            ),
            seconds=90,
            what="the restart",
            pause=0.1,
        )


@pytest.fixture(scope="module")
def files_before(machine: Machine) -> set[str]:
    """List the files before anything was installed."""
    return listed(machine)


def listed(machine: Machine) -> set[str]:
    """List the files in which an installation could leave something."""
    places = ("/etc", "/var/lib", "/var/log", "/usr/lib/systemd", "/run/systemd/system", "/home")
    return set(machine.ok("find", *places, "-xdev").splitlines())


@pytest.fixture(scope="module")
def service(machine: Machine, files_before: set[str]) -> Iterator[Service]:
    """Install it, with its canary."""
    assert "/var/lib/gigq" not in files_before
    installed = machine.run(GIGQD, "install")
    assert installed.returncode == 0, installed.stderr
    assert any("gigq.worker.entry" in each for each in machine.processes_of("gigq"))
    assert f"a job ran as user gigq, in {PYTHON}" in installed.stderr
    service = Service(machine)
    service.configure()
    return service


def test_ready_when_workers_are(service: Service) -> None:
    """The start returned when workers were ready, and the status is worth reading."""
    (started,) = service.machine.entries(f"UNIT={UNIT}", "JOB_TYPE=start", "JOB_RESULT=done")
    ready = service.machine.entries(f"_SYSTEMD_UNIT={UNIT}", "GIGQ_EVENT=worker_ready")
    assert len(ready) >= service.status()["wanted"]
    # The log is written by a thread of its own: a moment later than systemd is told.
    late = int(ready[0]["__REALTIME_TIMESTAMP"]) - int(started["__REALTIME_TIMESTAMP"])
    assert late < 1_000_000
    until(lambda: "workers, 0 busy" in service.machine.shown(UNIT, "StatusText"), what="a status")


def test_installing_again_changes_nothing(service: Service) -> None:
    """A second installation leaves configuration and process as they are, and runs a canary."""
    before = service.machine.path(CONFIGURATION).read_text()
    pid = service.machine.shown(UNIT, "MainPID")
    again = service.machine.run(GIGQD, "install")
    assert again.returncode == 0, again.stderr
    assert "a job ran as user gigq" in again.stderr
    assert "wrote" not in again.stderr
    assert service.machine.path(CONFIGURATION).read_text() == before
    assert service.machine.shown(UNIT, "MainPID") == pid


def test_reload_taken_and_refused(service: Service) -> None:
    """`systemctl reload` puts a file in force; with a mistake it fails, and nothing changes."""
    service.configure("count = 3\n")
    service.machine.ok("systemctl", "reload", UNIT)
    assert service.status()["wanted"] == 3
    service.configure('count = "many"\n')
    refused = service.machine.run("systemctl", "reload", UNIT)
    assert refused.returncode != 0
    assert service.status()["wanted"] == 3
    assert service.machine.shown(UNIT, "ActiveState") == "active"
    (event, *_) = until(
        lambda: service.machine.entries("GIGQ_EVENT=configuration_refused"), what="the event"
    )
    assert f"{CONFIGURATION}:5: workers.count" in event["GIGQ_ERROR"]
    status = "a changed configuration is refused"
    until(lambda: status in service.machine.shown(UNIT, "StatusText"), what=status)
    service.configure("count = 2\n")
    service.machine.ok("systemctl", "reload", UNIT)
    assert service.status()["wanted"] == 2


def test_journal_fields(service: Service) -> None:
    """`journalctl GIGQ_JOB_ID=...` finds all of a job, with levels, line breaks, long lines."""
    good = service.submit("jobs.say", "-p", "length=300000")
    bad = service.submit("jobs.fail", "--max-attempts", "1")
    service.wait(good)
    service.wait(bad, "failed")
    entries = service.machine.entries
    events = until(
        lambda: len(found := entries(f"GIGQ_JOB_ID={good}")) >= 2 and found, what="its events"
    )
    assert [event["GIGQ_EVENT"] for event in events] == ["job_started", "job_completed"]
    assert {event["SYSLOG_IDENTIFIER"] for event in events} == {"gigqd"}
    assert {event["PRIORITY"] for event in events} == {"6"}
    assert events[1]["MESSAGE"].startswith("job_completed say job_id=")
    failure = until(lambda: entries(f"GIGQ_JOB_ID={bad}", "GIGQ_EVENT=job_failed"), what="failure")
    assert failure[0]["PRIORITY"] == "3"
    assert failure[0]["GIGQ_ERROR"].endswith("one line\nand another")
    (output,) = until(lambda: entries("GIGQ_EVENT=job_output"), what="its output")
    assert output["GIGQ_LINE"] == "x" * 300_000


def test_group_may_submit(service: Service) -> None:
    """Who is in the group may submit, others are told that they may not; root leaves no mark."""
    machine = service.machine
    machine.ok("useradd", "--create-home", "--groups", "gigq", "member")
    machine.ok("useradd", "--create-home", "stranger")
    words = [GIGQ, "--db", DATABASE, "submit", "jobs.run", "--unchecked", "--quiet", "-p", "key=m"]
    ids = [machine.ok(*words, user="member").strip(), machine.ok(*words).strip()]
    for job in ids:
        service.wait(job)
    refused = machine.run(*words, user="stranger")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert DATABASE in refused.stderr
    assert (
        machine.ok("find", "/var/lib/gigq", "!", "-user", "gigq", "-o", "!", "-group", "gigq") == ""
    )


def test_files_of_root(service: Service) -> None:
    """A database that root creates in the service's folder can be used by the service's user."""
    machine = service.machine
    machine.ok("install", "-d", "-o", "gigq", "-g", "gigq", "-m", "2770", "/srv/shared")
    new = "/srv/shared/new.db"
    words = ["submit", "jobs.run", "--unchecked", "--quiet", "-p", "key=r"]
    job = machine.ok(GIGQ, "--db", new, *words).strip()
    assert machine.ok("find", "/srv/shared", "!", "-user", "gigq") == ""
    modes = machine.ok("stat", "--format=%a", new, f"{new}.d", f"{new}.d/doorbell").split()
    assert modes == ["660", "2770", "660"]
    machine.ok(*(GIGQ, "--config", CONFIGURATION, "--db", new, "worker", "--once"), user="gigq")
    status = machine.ok(GIGQ, "--db", new, "status", job, "-o", "json", user="member")
    assert json.loads(status)["job"]["status"] == "completed"


def test_stop_drains(service: Service) -> None:
    """`systemctl stop` lets what runs finish, and asks for the time that this takes."""
    service.drop_in("TimeoutStopSec=2")
    running = service.submit("jobs.run", "-p", "key=drained", "-p", "seconds=5")
    service.wait_run("drained began")
    begun = time.monotonic()
    service.machine.ok("systemctl", "stop", UNIT)
    assert time.monotonic() - begun > 3  # longer than the unit would wait
    assert service.machine.shown(UNIT, "Result") == "success"
    service.drop_in("")
    service.machine.ok("systemctl", "start", UNIT)
    assert service.wait(running)["attempts"] == 1
    assert service.runs("drained") == ["began", "ended"]


def test_supervisor_killed(service: Service) -> None:
    """After SIGKILL of the supervisor systemd starts another, and every job is completed."""
    running = service.submit("jobs.first_time", "-p", "key=killed", "-p", "seconds=60")
    waiting = [service.submit("jobs.run", "-p", f"key=k{n}", "-p", "seconds=1") for n in range(3)]
    service.wait_run("killed began")
    service.wait_other_than(service.kill("KILL"))
    assert service.wait(running)["attempts"] == 2
    for job in waiting:
        service.wait(job)
    assert service.runs("killed") == ["began", "began", "ended"]


def test_supervisor_stopped(service: Service) -> None:
    """A supervisor that hangs is ended by the watchdog; its stack is logged; no job is lost."""
    service.drop_in("WatchdogSec=5")
    service.machine.ok("systemctl", "restart", UNIT)
    running = service.submit("jobs.first_time", "-p", "key=hung", "-p", "seconds=60")
    service.wait_run("hung began")
    waiting = [service.submit("jobs.run", "-p", f"key=h{n}") for n in range(3)]
    pid = service.kill("STOP")
    service.wait_other_than(pid)
    said = service.machine.ok("journalctl", "--output=cat", f"_PID={pid}", "--no-pager")
    assert "Fatal Python error: Aborted" in said
    assert service.machine.entries(f"UNIT={UNIT}", "UNIT_RESULT=watchdog")
    for job in waiting:
        service.wait(job)
    assert service.wait(running)["attempts"] == 2
    assert service.runs("hung") == ["began", "began", "ended"]
    service.drop_in("")


def test_mistake_in_the_configuration_is_not_retried(service: Service) -> None:
    """A start with an invalid file fails once, with exit 78, and systemd does not try again."""
    service.configure("count = -1\n")
    failed = service.machine.run("systemctl", "restart", UNIT)
    assert failed.returncode != 0
    assert service.machine.shown(UNIT, "ActiveState") == "failed"
    assert service.machine.shown(UNIT, "ExecMainStatus") == "78"
    assert service.machine.shown(UNIT, "NRestarts") == "0"
    installed = service.machine.run(GIGQD, "install")
    assert installed.returncode == 78
    assert f"{CONFIGURATION}:5: workers.count" in installed.stderr
    service.configure()
    service.machine.ok("systemctl", "start", UNIT)


def test_instance_beside_it(service: Service) -> None:
    """A named instance has its own unit, configuration and database, and goes by itself."""
    machine = service.machine
    installed = machine.run(GIGQD, "install", "--name", "other")
    assert installed.returncode == 0, installed.stderr
    pids = {machine.shown(unit, "MainPID") for unit in (UNIT, "gigqd@other.service")}
    assert len(pids) == 2
    other = "/var/lib/gigq/other.db"
    done = machine.ok(GIGQ, "list", "--db", other, "-o", "json", user="gigq")
    assert [job["name"] for job in json.loads(done)["jobs"]] == ["gigqd-canary"]
    upgraded = machine.run(GIGQD, "upgrade", "--name", "other")
    assert upgraded.returncode == 0, upgraded.stderr
    assert machine.shown("gigqd@other.service", "MainPID") not in pids
    assert machine.shown(UNIT, "MainPID") in pids
    machine.ok(GIGQD, "uninstall", "--name", "other")
    assert machine.shown("gigqd@other.service", "LoadState") == "not-found"
    assert machine.shown(UNIT, "ActiveState") == "active"


class TestObstacles:
    """What stands in the way is said, with what to do about it."""

    def refusal(self, service: Service, gigqd: object = GIGQD) -> str:
        """Try to install another instance; what is said."""
        tried = service.machine.run(gigqd, "install", "--name", "blocked")
        assert tried.returncode == 1, tried.stderr
        assert "Traceback" not in tried.stderr
        return tried.stderr.partition("gigqd: ")[2]

    @pytest.fixture(autouse=True)
    def without_it(self, service: Service) -> Iterator[None]:
        """Take away what an attempt has left."""
        yield
        service.machine.run("systemctl", "disable", "--now", "gigqd@blocked")
        service.machine.ok(
            "sh",
            "-c",
            "rm -rf /etc/systemd/system/gigqd@blocked* /etc/gigq/blocked.toml "
            "/var/lib/gigq/blocked.db* /home/closed; systemctl daemon-reload",
        )

    def configure(self, service: Service, text: str) -> None:
        """Write its configuration."""
        service.machine.write("/etc/gigq/blocked.toml", text)

    def test_closed_home(self, service: Service) -> None:
        """An environment in a home that is closed to others cannot be used by the service."""
        machine = service.machine
        machine.ok("cp", "-a", "/opt/gigqd", "/home/closed")
        machine.ok("sed", "-i", "1s:/opt/gigqd:/home/closed:", "/home/closed/bin/gigqd")
        machine.ok("chmod", "700", "/home/closed")
        said = self.refusal(service, "/home/closed/bin/gigqd")
        assert "user gigq cannot run gigqd with /home/closed/bin/python" in said
        assert ": /home/closed is closed to others" in said
        assert "gigqd install --user" in said
        assert not machine.path("/etc/systemd/system/gigqd@blocked.service").exists()

    def test_folder_not_writable(self, service: Service) -> None:
        """A database in a folder that the service's user cannot write is refused."""
        self.configure(service, 'database = "/srv/closed.db"\n')
        said = self.refusal(service)
        assert said.startswith("user gigq cannot write into /srv, the folder of the database")

    def test_database_of_root(self, service: Service) -> None:
        """A database that the service's user cannot write is refused, with the way out."""
        service.machine.write("/var/lib/gigq/blocked.db", "")
        said = self.refusal(service)
        assert said.startswith("user gigq cannot write the database /var/lib/gigq/blocked.db")
        way_out = said.partition("let it: sudo ")[2].splitlines()[0]
        service.machine.ok("sh", "-c", way_out)
        again = service.machine.run(GIGQD, "install", "--name", "blocked")
        assert again.returncode == 0, again.stderr

    def test_python_without_gigqd(self, service: Service) -> None:
        """Workers that cannot start are told of, with the reason."""
        python = service.machine.ok(PYTHON, "-c", "import sys; print(sys._base_executable)").strip()
        self.configure(
            service, f'database = "/var/lib/gigq/blocked.db"\n[workers]\npython = "{python}"\n'
        )
        said = self.refusal(service)
        assert "gigqd@blocked.service runs, but no job does: " in said
        assert "workers do not start" in said
        assert "No module named" in said

    def test_unit_that_does_not_start(self, service: Service) -> None:
        """The last words of a unit that fails are shown."""
        drop_in = "[Service]\nExecStartPre=sh -c 'echo the disk is missing; exit 3'\n"
        service.machine.write("/etc/systemd/system/gigqd@blocked.service.d/test.conf", drop_in)
        said = self.refusal(service)
        assert said.startswith("gigqd@blocked.service does not start (exit-code). It said:")
        assert "the disk is missing" in said
        assert "gigqd install --system --name blocked" in said

    def test_unit_of_somebody_else(self, service: Service) -> None:
        """A unit that was not written by gigqd install stays as it is."""
        unit = "/etc/systemd/system/gigqd@blocked.service"
        service.machine.write(unit, "[Service]\nExecStart=/bin/true\n")
        assert f"{unit} was not written by gigqd install" in self.refusal(service)
        assert service.machine.path(unit).read_text().endswith("ExecStart=/bin/true\n")


def test_units_are_valid_where_they_are_used(service: Service) -> None:
    """Nothing is there for systemd to complain of in what is installed."""
    verified = service.machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}")
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_uninstall_leaves_data_only(service: Service, files_before: set[str]) -> None:
    """After it nothing is left but data, configuration and the user, and these are named."""
    machine = service.machine
    machine.ok("rm", "-rf", f"/etc/systemd/system/{UNIT}.d")
    removed = machine.run(GIGQD, "uninstall")
    assert removed.returncode == 0, removed.stderr
    for stays in (CONFIGURATION, DATABASE, "userdel gigq"):
        assert stays in removed.stderr
    assert machine.shown(UNIT, "LoadState") == "not-found"
    assert machine.processes_of("gigq") == []
    # What the system itself keeps of users, and of these tests' users.
    others = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid")
    others += ("/etc/subgid", "/etc/.pwd.lock", "/home/", "/var/log/", "/var/lib/systemd/")
    left = {path for path in listed(machine) - files_before if not path.startswith(others)}
    assert {path for path in left if not path.startswith(("/etc/gigq", "/var/lib/gigq"))} == set()
    assert machine.path(DATABASE).exists()
    again = machine.run(GIGQD, "uninstall")
    assert (again.returncode, "nothing is to be removed" in again.stderr) == (0, True)
