"""The blow: what a supervisor is started in, runs short of, or is told at the wrong moment."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import chdir, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from harness import GENEROUS, GIGQD, Service, replace, until, write_jobs

from gigq import Job, JobQueue
from gigq.queue.backup_to import back_up_to
from gigq.queue.companions import Companions
from gigq.queue.identity import own_identity, start_ticks
from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lifecycle.oracle import Oracle

KILLED_WITHIN = 0.5 * GENEROUS  # seconds after the deadline
AGAIN_WITHIN = 1.0 * GENEROUS
FOLLOWED_WITHIN = 2.0 * GENEROUS  # seconds after the file was replaced
ONE_WORKER = "[workers]\ncount = 1\nreload = false\n"
AT_ONCE = f"{ONE_WORKER}kill_grace = 0\n"
TWO_WORKERS = "[workers]\ncount = 2\nreload = false\n"

# What it is started in

IGNORING = """
import os, signal, sys
for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_signals_ignored_and_blocked_by_the_parent(folder: Path, oracle: Oracle) -> None:
    """Started with all signals blocked and some ignored, it reads exit codes and obeys all same."""
    settings = f"{ONE_WORKER}kill_grace = 2\n"
    ignoring = (sys.executable, "-c", IGNORING)
    with Service(folder, configuration=settings, wrapper=ignoring) as service:
        job = service.submit("jobs.exit_process", {"key": "x"}, max_attempts=1)
        assert service.wait_status(job, "failed")["error"] == "worker died: exit code 7"
        job = service.submit("jobs.clean_up", {"key": "y"}, timeout=0.5, max_attempts=1)
        found = service.wait_status(job, "timeout")
        assert "clean_up" in found["executions"][0]["stacks"]
        assert oracle.runs("y")[0].events == ["cleaned"]
        assert service.stop(seconds=20) == 0


def test_systemd_is_not_for_workers(folder: Path) -> None:
    """What systemd told the supervisor does not reach workers and jobs; they die before it does."""
    variables = {"WATCHDOG_USEC": "1000000000", "WATCHDOG_PID": "1", "LISTEN_FDS": "0"}
    with Service(folder, configuration=ONE_WORKER, environment=variables) as service:
        service.wait_ready()
        (pid,) = service.worker_pids().values()
        environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
        assert not [each for each in environment if each.partition("=")[0] in variables]
        assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "500\n"
        assert Path(f"/proc/{service.process.pid}/oom_score_adj").read_text() != "500\n"
        assert Path(f"/proc/{pid}/cmdline").read_text().split("\0")[1:4] == [
            "-P",
            "-m",
            "gigq.worker.entry",
        ]
        assert os.getsid(pid) == os.getpgid(pid) == pid


# Who lives and who does not


def test_all_workers_die_at_once(folder: Path, oracle: Oracle) -> None:
    """Workers that die in one instant are all seen, and what each held is taken back."""
    workers = 5
    with Service(folder, configuration=f"[workers]\ncount = {workers}\n") as service:
        service.wait_ready(workers)
        keys = [f"job-{number}" for number in range(workers)]
        jobs = [service.submit("jobs.wait", {"key": key}) for key in keys]
        pids = [oracle.wait_begun(key).pid for key in keys]
        service.process.send_signal(signal.SIGSTOP)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not any(start_ticks(pid) for pid in pids))
        service.process.send_signal(signal.SIGCONT)
        for key in keys:
            oracle.wait_begun(key, 2, seconds=AGAIN_WITHIN)
        oracle.let_go(*keys)
        for job in jobs:
            assert service.wait_status(job, "completed")["attempts"] == 2
        lost = {event["worker_pid"]: event["status"] for event in service.events("worker_lost")}
        assert lost == dict.fromkeys(pids, -signal.SIGKILL)
    oracle.check()


def test_identities_in_the_database(folder: Path) -> None:
    """Claims of an earlier boot and of a reused pid come back; those of other namespaces stay."""
    here = own_identity()
    others = {
        "boot": here._replace(boot_id="an earlier one"),
        "pid": here._replace(start_ticks=here.start_ticks - 1),
        "namespace": here._replace(pid_namespace=here.pid_namespace + 1, pid=2**22 + 1),
        "machine": here._replace(boot_id="another", machine_id="another"),
    }
    with Service(folder, configuration=ONE_WORKER) as service:
        service.wait_ready()
        service.stop()
        jobs = {}
        store = SqliteStore(service.database)
        for name, identity in others.items():
            jobs[name] = service.submit("jobs.quick", {"key": name})
            worker = store.register(name, identity, parent=identity._replace(pid=2**22 + 2))
            assert [claim.uuid for claim in store.settle(worker, (), 1).claims] == [jobs[name]]
        store.close()
        with Service(folder) as successor:
            for name in ("boot", "pid"):
                found = successor.wait_status(jobs[name], "completed")
                assert [each["verdict"] for each in found["executions"]] == ["lost", "completed"]
            for name in ("namespace", "machine"):
                assert successor.queue.get_status(jobs[name])["status"] == "running"


# A pid namespace with a /proc of its own, which ends with the service: a container, for processes.
CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.fixture
def container() -> tuple[str, ...]:
    """Give the command that runs another one in a container."""
    for through in (CONTAINER, ("unshare", "--user", "--map-root-user", *CONTAINER[1:])):
        with suppress(OSError):
            if subprocess.run([*through, "true"], check=False, capture_output=True).returncode == 0:
                return through
    pytest.skip("no pid namespace can be made here")


def test_container_is_killed(folder: Path, oracle: Oracle, container: tuple[str, ...]) -> None:
    """What ran in a container that was killed runs again in the next one, and at once."""
    with Service(folder, configuration=ONE_WORKER, wrapper=container) as service:
        job = service.submit("jobs.wait", {"key": "x"}, timeout=None)
        oracle.wait_begun("x")
        service.kill()
        until(lambda: not service.processes())
        with Service(folder, wrapper=container) as successor:
            oracle.wait_begun("x", 2, seconds=AGAIN_WITHIN)
            oracle.let_go("x")
            assert successor.wait_status(job, "completed")["attempts"] == 2
            assert [event["worker"] for event in successor.events("job_reclaimed")] == [None]
    oracle.check()


@pytest.mark.parametrize("function", ["wait", "wait_without_descriptors"])
def test_worker_outlives_its_supervisor_in_a_container(
    folder: Path, oracle: Oracle, container: tuple[str, ...], function: str
) -> None:
    """What a worker of another container holds stays there while that worker lives."""
    # The shell stays as the container's first process, and with it all that is in there.
    kept = (*container, "sh", "-c", '"$@"; sleep 1000', "sh")
    with Service(folder, configuration=ONE_WORKER, wrapper=kept) as service:
        job = service.submit(f"jobs.{function}", {"key": "x"}, timeout=None)
        run = oracle.wait_begun("x")
        (supervisor,) = (
            each
            for each in psutil.Process(service.process.pid).children(recursive=True)
            if each.cmdline()[:3] == GIGQD
        )
        supervisor.kill()
        with Service(folder, wrapper=container) as successor:
            other = successor.submit("jobs.quick", {"key": "y"})
            successor.wait_status(other, "completed")
            assert oracle.runs("x") == [run]
            oracle.let_go("x")
            # Without its descriptors it cannot store anything any more, and dies of it each time.
            ends = ("completed", 1) if function == "wait" else ("failed", 3)
            found = successor.wait_status(job, ends[0])
            assert found["attempts"] == ends[1]
    oracle.check()


def test_lock_that_cannot_be_had(folder: Path) -> None:
    """Where workers cannot hold the locks of their lives, that is said once, and they work."""
    (folder / "gigq.db.d").mkdir()
    (folder / "gigq.db.d" / "workers.lock").symlink_to("nowhere")
    with Service(folder, configuration=TWO_WORKERS) as service:
        service.wait_ready(2)
        job = service.submit("jobs.quick", {"key": "x"})
        service.wait_status(job, "completed")
        (event,) = service.events("lock_refused")
        assert f"{service.database}.d/workers.lock: Too many levels" in event["error"]


def test_worker_that_was_stopped_when_its_supervisor_died(folder: Path, oracle: Oracle) -> None:
    """A supervisor killed between its SIGSTOP and its SIGKILL leaves no worker stopped for ever."""
    with Service(folder, configuration=TWO_WORKERS) as service:
        service.wait_ready(2)
        job = service.submit("jobs.wait", {"key": "x"}, timeout=None)
        late = service.submit("jobs.sleep", {"key": "late"}, timeout=2, max_attempts=1)
        runs = [oracle.wait_begun("x"), oracle.wait_begun("late")]
        for run in runs:
            os.kill(run.pid, signal.SIGSTOP)
        service.kill()
        oracle.let_go("x")
        with Service(folder) as successor:
            found = successor.wait_status(job, "completed")
            assert (found["attempts"], found["result"]) == (1, runs[0].pid)
            found = successor.wait_status(late, "timeout", "failed")
            assert found["attempts"] == 1
            until(lambda: not any(run.alive() for run in runs))
    oracle.check()


def test_deadline_that_passed_after_the_death(folder: Path, oracle: Oracle) -> None:
    """A worker killed before its job's deadline was not timed out, however late that is judged."""
    timeout = 1
    with Service(folder, configuration=AT_ONCE) as service:
        job = service.submit("jobs.sleep", {"key": "x"}, timeout=timeout, max_attempts=1)
        run = oracle.wait_begun("x")
        service.process.send_signal(signal.SIGSTOP)
        os.kill(run.pid, signal.SIGKILL)
        service.process.send_signal(signal.SIGCONT)
        found = service.wait_status(job, "failed", "timeout")
        assert found["error"] == "worker died: SIGKILL"


# Two services


def test_two_start_at_once(folder: Path) -> None:
    """Of two services started in one moment one serves, and the other says who does."""
    with (
        Service(folder, configuration=ONE_WORKER) as one,
        Service(folder, configuration=ONE_WORKER) as other,
    ):
        until(lambda: one.process.poll() is not None or other.process.poll() is not None)
        loser, winner = (one, other) if one.process.poll() is not None else (other, one)
        assert loser.process.returncode == 1
        said = loser.log.read_text()
        assert said.startswith("gigqd: gigqd (pid")
        assert said.count("\n") == 1
        job = winner.submit("jobs.quick", {"key": "x"})
        winner.wait_status(job, "completed")


def test_lock_file_that_names_somebody_else(folder: Path) -> None:
    """What a lock file says of a process that lives does not count where nobody holds the lock."""
    SqliteStore(folder / "gigq.db").close()
    companions = Companions(folder / "gigq.db")
    mine = {"pid": os.getpid(), "start_ticks": start_ticks(os.getpid()), "version": "0"}
    companions.service_lock.write_text(json.dumps(mine))
    with Service(folder, configuration=ONE_WORKER) as service:
        service.wait_ready()
        assert service.told("status")[1].startswith(f"running: pid {service.process.pid}")


def test_start_while_stopping(folder: Path, oracle: Oracle) -> None:
    """While a service drains, another is refused with its name; when it is gone, one starts."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("jobs.wait", {"key": "x"})
        oracle.wait_begun("x")
        with service.command("stop") as stop:
            service.wait_for("service_draining")
            code, _, errors = service.told("start")
            assert code == 1
            assert f"gigqd (pid {service.process.pid}) serves" in errors
            oracle.let_go("x")
            assert stop.wait(20) == 0
        with Service(folder) as successor:
            successor.wait_ready()
        assert service.queue.get_status(job)["status"] == "completed"


def test_terminate_in_the_middle_of_claims(folder: Path, oracle: Oracle) -> None:
    """SIGTERM at any moment of a busy queue leaves each job done once or not begun, uncharged."""
    dice = random.Random(3)
    with Service(folder, configuration=TWO_WORKERS) as service:
        jobs = [service.submit("jobs.quick", {"key": f"job-{number}"}) for number in range(150)]
        service.wait_status(jobs[0], "completed")
        assert service.stop() == 0
        for _ in range(2):
            _check_claims(service, jobs)
            with Service(folder) as again:
                again.wait_ready()
                moment = time.monotonic() + dice.uniform(0, 0.1)
                until(lambda moment=moment: time.monotonic() > moment, pause=0.001)
                assert again.stop() == 0
        _check_claims(service, jobs)
    oracle.check()
    assert len(oracle.runs()) == len({run.key for run in oracle.runs()})


def _check_claims(service: Service, jobs: list[str]) -> None:
    for job in jobs:
        found = service.queue.get_status(job)
        charged = {"completed": 1, "pending": 0}[found["status"]]
        assert found["attempts"] == len(found["executions"]) == charged


def test_storm_of_signals(folder: Path) -> None:
    """Hundreds of signals while it logs hold nothing up."""
    with Service(folder, configuration=ONE_WORKER) as service:
        service.wait_ready()
        for number in range(300):
            service.process.send_signal(signal.SIGHUP)
            if number % 10 == 0:
                service.submit("jobs.quick", {"key": f"job-{number}"})
        job = service.submit("jobs.quick", {"key": "last"})
        service.wait_status(job, "completed")
        assert service.stop(seconds=20) == 0


# What it runs short of


def test_no_descriptors_for_a_while(folder: Path, oracle: Oracle) -> None:
    """Without a free descriptor deadlines hold, the dead are seen, and starts are tried later."""
    with Service(folder, configuration=AT_ONCE.replace("count = 1", "count = 2")) as service:
        service.wait_ready(2)
        over = service.submit("jobs.leave_orphan", {"key": "over"}, timeout=1, max_attempts=1)
        job = service.submit("jobs.wait", {"key": "x"})
        until(lambda: oracle.wait_begun("over").processes)
        run = oracle.wait_begun("x")
        pid = service.process.pid
        held = _descriptors(pid)
        before = _limit(pid, resource.RLIMIT_NOFILE, held)
        os.kill(run.pid, signal.SIGKILL)
        oracle.wait_gone("over", seconds=1 + KILLED_WITHIN)
        failed = service.wait_for("worker_start_failed")
        assert "Too many open files" in failed["error"]
        service.wait_status(over, "timeout")
        assert service.process.poll() is None
        _limit(pid, resource.RLIMIT_NOFILE, before)
        oracle.wait_begun("x", 2)
        oracle.let_go("x")
        assert service.wait_status(job, "completed")["attempts"] == 2
        until(lambda: len(service.worker_pids()) == 2)
        until(lambda: _descriptors(pid) <= held + 4, what="no descriptor lost")
    oracle.check()


SHORT_OF_DESCRIPTORS = """
import os, resource, sys
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (1150, most))
for number in range(1100):
    os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_more_workers_than_the_soft_limit_allows(folder: Path) -> None:
    """A service takes the descriptors that its workers need, above 1023; jobs find theirs."""
    settings = "[workers]\ncount = 10\nspare = 1\nreload = false\n"
    wrapper = (sys.executable, "-c", SHORT_OF_DESCRIPTORS)
    with Service(folder, configuration=settings, wrapper=wrapper) as service:
        service.wait_ready(11)
        assert _descriptors(service.process.pid) > 1150
        job = service.submit("jobs.most_descriptors")
        assert service.wait_status(job, "completed")["result"] == 1150
        os.kill(next(iter(service.worker_pids().values())), signal.SIGKILL)
        service.wait_ready(12)
        assert not service.events("worker_start_failed")
        assert service.stop() == 0


def _descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _limit(pid: int, what: int, most: int) -> int:
    """Set a process's soft limit; gives the one before."""
    before, hard = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (most, hard))
    return before


def test_no_processes_for_a_while(folder: Path) -> None:
    """When the system starts no process, workers are tried later, and the service goes on."""
    with Service(folder, configuration=ONE_WORKER) as service:
        service.wait_ready()
        (worker,) = service.worker_pids().values()
        with _no_new_process(service.process.pid):
            os.kill(worker, signal.SIGKILL)
            failed = service.wait_for("worker_start_failed")
            assert "temporarily unavailable" in failed["error"]
        service.wait_ready(2)


@contextmanager
def _no_new_process(pid: int) -> Iterator[None]:
    """Let a process start no other: by its limit or, since root has none, by a control group."""
    if os.geteuid() != 0:
        before = _limit(pid, resource.RLIMIT_NPROC, 1)
        yield
        _limit(pid, resource.RLIMIT_NPROC, before)
        return
    group = _control_group(f"gigq-test-{pid}", "pids.max")
    try:
        (group / "pids.max").write_text("1")
        (group / "cgroup.procs").write_text(str(pid))
        yield
        (group.parent / "cgroup.procs").write_text(str(pid))
    finally:
        _remove(group)


@pytest.mark.parametrize("frozen", ["worker", "what its job started"])
def test_process_that_cannot_be_killed(folder: Path, oracle: Oracle, frozen: str) -> None:
    """What outlives SIGKILL keeps its own job claimed; others go on, and the service can stop."""
    group = _control_group(f"gigq-test-{os.getpid()}", "freezer.state")
    try:
        with Service(folder, configuration=AT_ONCE) as service:
            job = service.submit("jobs.leave_orphan", {"key": "x"}, timeout=1.5)
            (orphan,) = until(lambda: oracle.wait_begun("x").processes)
            victim = oracle.wait_begun("x").pid if frozen == "worker" else orphan[0]
            (group / "cgroup.procs").write_text(str(victim))
            (group / "freezer.state").write_text("FROZEN")
            stuck = service.wait_for("worker_stuck")
            assert stuck["worker_pid"] == oracle.runs("x")[0].pid
            other = service.submit("jobs.quick", {"key": "other"})
            service.wait_status(other, "completed")
            (pid,) = {p for p in service.worker_pids().values() if p != stuck["worker_pid"]}
            os.kill(pid, signal.SIGKILL)  # its own end is not held up
            service.wait_for("worker_lost", worker_pid=pid)
            assert service.queue.get_status(job)["status"] == "running"
            if frozen == "worker":
                assert "stuck" in service.told("status")[1]
                assert service.stop(seconds=20) == 0
            else:
                (group / "freezer.state").write_text("THAWED")
                service.wait_for("job_timed_out", job_id=job)
    finally:
        (group / "freezer.state").write_text("THAWED")
        _remove(group)
    if frozen == "worker":
        with Service(folder) as successor:
            oracle.wait_begun("x", 2)
            assert successor.queue.get_status(job)["attempts"] == 2
    oracle.check()


STUBBORN = """
import subprocess, time
from pathlib import Path

def leave():
    child = subprocess.Popen(["sleep", "1000"])
    Path("child").write_text(str(child.pid))
    while not Path("go").exists():
        time.sleep(0.01)
    raise ValueError("no")
"""


def test_failed_job_whose_process_cannot_be_killed(folder: Path) -> None:
    """The next attempt begins when what the last one started is gone, and not before."""
    write_jobs(folder, STUBBORN, "stubborn.py")
    group = _control_group(f"gigq-test-{os.getpid()}", "freezer.state")
    try:
        with Service(folder, configuration=AT_ONCE) as service:
            job = service.submit("stubborn.leave", max_attempts=2)
            child = folder / "child"
            until(lambda: child.exists() and child.read_text())
            (group / "cgroup.procs").write_text(child.read_text())
            (group / "freezer.state").write_text("FROZEN")
            (folder / "go").touch()
            lost = service.wait_for("worker_stuck")
            (last,) = service.events("job_left_processes")
            assert last["alive"] == 1
            service.wait_status(service.submit("os.getpid"), "completed")
            found = service.queue.get_status(job)
            assert (found["status"], found["attempts"]) == ("running", 1)
            (group / "freezer.state").write_text("THAWED")
            told = service.wait_for("worker_lost")
            assert told["worker_pid"] == lost["worker_pid"]
            assert told["error"] == "a process that its job has started cannot be ended"
            found = service.wait_status(job, "failed")
            assert [each["error"] for each in found["executions"]] == [
                "worker died: exit code 5",
                "no",
            ]
    finally:
        (group / "freezer.state").write_text("THAWED")
        _remove(group)


def _control_group(name: str, needed: str) -> Path:
    """Make a control group that has the file `needed`, by either version of them; else skip."""
    controller = needed.partition(".")[0]
    for hierarchy in (Path("/sys/fs/cgroup") / controller, Path("/sys/fs/cgroup")):
        group = hierarchy / name
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / needed).exists():
            return group
        group.rmdir()
    pytest.skip(f"no control group with {needed} can be made here")


def _remove(group: Path) -> None:
    for pid in (group / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


def test_log_that_nobody_reads(folder: Path, oracle: Oracle) -> None:
    """With a full pipe for a log deadlines hold, orders are taken, and the service can stop."""
    write_jobs(
        folder, "def run():\n    for _ in range(3000):\n        print('x' * 100)\n", "loud.py"
    )
    reader, writer = os.pipe()
    try:
        with Service(folder, configuration=AT_ONCE, output=writer) as service:
            loud = service.submit("loud.run")
            service.wait_status(loud, "completed")
            job = service.submit("jobs.hold_interpreter", {"key": "x"}, timeout=1, max_attempts=1)
            oracle.wait_gone("x", seconds=1 + KILLED_WITHIN)
            service.wait_status(job, "timeout")
            assert service.told("status")[0] == 0
            assert service.stop(seconds=20) == 0
    finally:
        os.close(reader)
        os.close(writer)


def test_peer_that_is_slow(folder: Path, oracle: Oracle) -> None:
    """Who connects and is silent holds up no other order and no deadline; who is slow is heard."""
    order = json.dumps({"order": "status"}).encode() + b"\n"
    with (
        Service(folder, configuration=AT_ONCE) as service,
        socket.socket(socket.AF_UNIX) as silent,
        socket.socket(socket.AF_UNIX) as slow,
    ):
        service.wait_ready()
        with chdir(f"{service.database}.d"):  # for a short name
            silent.connect("control")
            slow.connect("control")
        job = service.submit("jobs.spin", {"key": "x"}, timeout=0.5, max_attempts=1)
        slow.send(order[:5])
        assert service.told("status")[0] == 0
        oracle.wait_gone("x", seconds=0.5 + KILLED_WITHIN)
        service.wait_status(job, "timeout")
        slow.send(order[5:])
        slow.settimeout(30)
        assert json.loads(slow.makefile().readline())["pid"] == service.process.pid
        service.stop()
        silent.settimeout(30)
        assert "the service ended" in silent.makefile().readline()


def test_worker_that_hangs_before_it_is_ready(folder: Path) -> None:
    """A worker that is not ready in time is killed, which is said, and tried again later."""
    python = folder / "python"
    python.write_text('#!/bin/sh\necho "waiting for the network drive"\nexec sleep 1000\n')
    python.chmod(0o755)
    settings = f'{ONE_WORKER}python = "{python}"\nstart_timeout = 0.5\n'
    with Service(folder, configuration=settings) as service:
        failed = service.wait_for("worker_start_failed")
        assert failed["error"] == ("not ready within 0.5 s; it said: waiting for the network drive")
        assert not [each for each in service.processes() if each.name() == "sleep"]
        replace(python, f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        service.configure(settings.replace("0.5", "60"))
        job = service.submit("jobs.quick", {"key": "x"})
        service.wait_status(job, "completed")


# Its configuration


def test_configuration_behind_a_link_is_swapped(folder: Path) -> None:
    """A link to the configuration that is turned to another file is followed."""
    for count in (1, 2):
        (folder / f"{count}.toml").write_text(f"[workers]\ncount = {count}\n")
    (folder / "gigqd.toml").symlink_to("1.toml")
    with Service(folder) as service:
        service.wait_ready()
        (folder / "new").symlink_to("2.toml")
        (folder / "new").replace(folder / "gigqd.toml")
        until(lambda: len(service.worker_pids()) == 2, seconds=FOLLOWED_WITHIN)


def test_configuration_written_in_parts(folder: Path) -> None:
    """A file that is being written is not put in force by halves, though the half is valid."""
    with Service(folder, configuration="[workers]\ncount = 1\n") as service:
        service.wait_ready()
        with service.configuration.open("w") as file:
            for part in ("[workers]\n", "count = 2\n", 'environment = { A = "1" }\n'):
                file.write(part)
                file.flush()
        service.wait_for("configuration_reloaded", seconds=FOLLOWED_WITHIN)
        until(lambda: len(service.worker_pids()) == 2)
        scaled = [(event["before"], event["workers"]) for event in service.events("workers_scaled")]
        assert scaled == [(1, 2)]


NO_INOTIFY = 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"'


def test_nothing_can_be_watched(folder: Path) -> None:
    """Where the system has no more watches, that is said, and a reload is taken all the same."""
    through = ("unshare", "--user", "--map-root-user", "sh", "-c", NO_INOTIFY, "sh")
    try:
        subprocess.run([*through, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("user namespaces are not allowed here")
    with Service(folder, configuration=ONE_WORKER, wrapper=through) as service:
        service.wait_for("watch_failed")
        service.wait_ready()
        service.configure(TWO_WORKERS)
        assert service.told("reload")[0] == 0
        assert len(service.worker_pids()) == 2


COPY = """
import os, shutil

def run(database, number):
    shutil.copy(database, f"{database}-copy")
    with open(database, "rb") as file:
        file.read(100)
    return number
"""


def test_job_opens_the_database_file(folder: Path) -> None:
    """Jobs that open and close the database file, and so drop SQLite's locks, lose nothing."""
    write_jobs(folder, COPY, "copying.py")
    with Service(folder, configuration=TWO_WORKERS) as service:
        service.wait_ready(2)
        params = {"database": str(service.database)}
        jobs = [service.submit("copying.run", {**params, "number": n}) for n in range(60)]
        for number, job in enumerate(jobs):
            assert service.wait_status(job, "completed")["result"] == number
        for pid in service.worker_pids().values():
            os.kill(pid, signal.SIGKILL)
        service.wait_ready(4)
        assert service.stop() == 0
        with closing(sqlite3.connect(service.database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert service.queue.stats()["completed"] == len(jobs)


def test_database_is_moved_and_comes_back(folder: Path, oracle: Oracle) -> None:
    """Nothing is claimed while the file has no name, and all goes on when it has it again."""
    with Service(folder, configuration=TWO_WORKERS) as service:
        service.wait_ready(2)
        running = service.submit("jobs.wait", {"key": "x"})
        oracle.wait_begun("x")
        away = service.database.with_name("away.db")
        service.database.rename(away)
        waiting = service.wait_for("store_waiting")
        assert f"{service.database} was moved or deleted" in waiting["error"]
        oracle.let_go("x")
        away.rename(service.database)
        service.wait_for("store_recovered")
        job = service.submit("jobs.quick", {"key": "y"})
        for each in (running, job):
            assert service.wait_status(each, "completed")["attempts"] == 1
    oracle.check()


@pytest.mark.parametrize("rests", [True, False])
def test_database_is_replaced(folder: Path, oracle: Oracle, *, rests: bool) -> None:
    """The service finishes what runs, and ends; nothing of the old file gets into the new one."""
    with Service(folder, configuration=TWO_WORKERS) as service:
        service.wait_ready(2)
        if not rests:
            service.submit("jobs.wait", {"key": "x"})
            oracle.wait_begun("x")
        saved, kept = folder / "saved.db", folder / "kept.db"
        for place in (saved, kept):
            back_up_to(service.database, place)
        late = [service.submit("jobs.quick", {"key": f"late-{n}"}) for n in range(30)]
        for job in late:
            service.wait_status(job, "completed")
        service.queue.close()
        saved.replace(service.database)
        replaced = service.wait_for("database_replaced")
        assert f"{service.database} is another file now" in replaced["error"]
        oracle.let_go("x")
        assert service.process.wait(30) == 1
        assert service.events("service_stopped")
    oracle.check()
    rows = []
    for path in (service.database, kept):
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            rows.append(connection.execute("SELECT uuid, state FROM job").fetchall())
    assert rows[0] == rows[1]


def test_restored_beside_a_service(folder: Path) -> None:
    """One that was not stopped notices when all is put aside, and leaves the next one its place."""
    with Service(folder, configuration=TWO_WORKERS) as service:
        service.wait_ready(2)
        saved, broken = folder / "saved.db", folder / "broken"
        back_up_to(service.database, saved)
        service.queue.close()
        broken.mkdir()
        for path in folder.glob("gigq.db*"):
            path.rename(broken / path.name)
        service.wait_for("store_waiting")
        looked = time.monotonic()
        until(lambda: time.monotonic() > looked + 3, what="tries to go on")
        saved.rename(service.database)
        with Service(folder, configuration=TWO_WORKERS) as second:
            service.wait_for("database_replaced")
            assert service.process.wait(30) == 1
            job = second.submit("jobs.quick", {"key": "y"})
            assert second.wait_status(job, "completed")["attempts"] == 1
            assert second.told("status")[0] == 0


def test_named_worker_is_replaced(folder: Path) -> None:
    """One that takes the place of another of the same name is not taken for it."""
    code = write_jobs(folder, "def run():\n    return 1\n", "named.py")
    command = [sys.executable, "-m", "gigq", "worker", "--worker-id", "me"]
    with JobQueue(folder / "gigq.db") as queue, chdir(folder):
        queue.submit(Job("first", "named.run"))
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
            for result in (1, 2, 3):
                replace(code, f"def run():\n    return {result}\n")
                job = queue.submit(Job("next", "named.run"))
                until(lambda job=job: queue.get_status(job)["status"] == "completed")
                found = queue.get_status(job)
                assert (found["result"], found["worker_id"]) == (result, "me")
            worker.send_signal(signal.SIGINT)
            assert worker.wait(30) == 0
            assert worker.stderr is not None
            assert "Traceback" not in worker.stderr.read()


def test_replaced_under_a_worker(folder: Path) -> None:
    """`gigq worker` ends with an error then, so that whoever cares for it starts it anew."""
    database, saved = folder / "gigq.db", folder / "saved.db"
    SqliteStore(database).close()
    back_up_to(database, saved)
    command = [sys.executable, "-m", "gigq", "--db", str(database), "worker"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as worker:
        with JobQueue(database) as queue:
            job = queue.submit(Job("quick", "os.getpid"))
            until(lambda: queue.get_status(job)["status"] == "completed")
        saved.replace(database)
        assert worker.wait(30) == 1
        assert worker.stderr is not None
        assert "was replaced while its jobs ran" in worker.stderr.read()
