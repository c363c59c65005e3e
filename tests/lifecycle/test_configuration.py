"""The blow: the configuration changes, for good or bad."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import chdir
from typing import TYPE_CHECKING

import pytest
from harness import GENEROUS, GIGQD, Service, until, write_jobs

from gigq import Job

if TYPE_CHECKING:
    from pathlib import Path

    from lifecycle.oracle import Oracle

FOLLOWED_WITHIN = 2.0 * GENEROUS  # seconds after the file was replaced
REACHED_WITHIN = 2.0 * GENEROUS


def workers(count: int, rest: str = "") -> str:
    """Write a configuration with so many workers."""
    return f"[workers]\ncount = {count}\nreload = false\n{rest}"


def test_count_is_followed_under_load(folder: Path, oracle: Oracle) -> None:
    """Workers become as many as the file says while jobs run, and no job is disturbed."""
    jobs: list[str] = []

    def is_served_by(service: Service, count: int) -> bool:
        """Keep it busy meanwhile."""
        if service.queue.stats()["pending"] < 20:  # in one go: one by one may be too slow for ever
            keys = [f"job-{number}" for number in range(len(jobs), len(jobs) + 40)]
            new = [Job(key, "jobs.quick", {"key": key, "seconds": 0.02}) for key in keys]
            with chdir(folder):
                service.queue.submit_many(new)
            jobs.extend(job.id for job in new)
        return len(service.worker_pids()) == count

    with Service(folder, configuration=workers(2)) as service:
        until(lambda: is_served_by(service, 2))
        for count in (4, 1, 3, 2):
            service.configure(workers(count))
            until(
                lambda count=count: is_served_by(service, count),
                seconds=FOLLOWED_WITHIN,
                what=f"{count} workers",
            )
            already = len(oracle.runs())
            until(
                lambda already=already, c=count: (
                    is_served_by(service, c) and len(oracle.runs()) > already + 5
                )
            )
        for job in jobs:
            found = service.wait_status(job, "completed")
            assert found["attempts"] == len(found["executions"]) == 1
        scaled = [(event["before"], event["workers"]) for event in service.events("workers_scaled")]
        assert scaled == [(2, 4), (4, 1), (1, 3), (3, 2)]
        assert not service.events("worker_lost")
    oracle.check()
    assert len(oracle.runs()) == len(jobs)


def test_scaling_down_lets_long_jobs_finish(folder: Path, oracle: Oracle) -> None:
    """Fewer workers: those that are idle go first, those that run a job when it is finished."""
    with Service(folder, configuration=workers(3)) as service:
        service.wait_ready(3)
        jobs = [service.submit("jobs.wait", {"key": key}) for key in ("a", "b")]
        busy = {oracle.wait_begun(key).pid for key in ("a", "b")}
        service.configure(workers(1))
        until(lambda: set(service.worker_pids().values()) == busy, seconds=FOLLOWED_WITHIN)
        oracle.let_go("a", "b")
        for job in jobs:
            assert service.wait_status(job, "completed")["attempts"] == 1
        until(lambda: len(service.worker_pids()) == 1, seconds=FOLLOWED_WITHIN)
        last = service.submit("jobs.quick", {"key": "last"})
        service.wait_status(last, "completed")
        assert service.queue.get_result(last) in busy


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('[workers]\n# more\ncount = "many"\n', 3, "workers.count: expected an int"),
        ("[workers]\ncount = 3\nkil_grace = 1\n", 3, "workers.kil_grace: unknown setting"),
        ("[workers]\ncount = 3\n[workers\n", 3, ""),
    ],
)
def test_invalid_file_changes_nothing(
    folder: Path, oracle: Oracle, text: str, line: int, problem: str
) -> None:
    """A file with a mistake is refused with file, line and key, and what was in force stays."""
    with Service(folder, configuration=workers(2)) as service:
        service.wait_ready(2)
        before = service.worker_pids()
        job = service.submit("jobs.wait", {"key": "x"})
        oracle.wait_begun("x")
        service.configure(text)
        refused = service.wait_for("configuration_refused", seconds=FOLLOWED_WITHIN)
        assert refused["error"].startswith(f"{service.configuration}:{line}: {problem}")
        oracle.let_go("x")
        assert service.wait_status(job, "completed")["attempts"] == 1
        assert service.worker_pids() == before
        assert not service.events("configuration_reloaded")
        service.configure(workers(1))
        service.wait_for("configuration_reloaded", seconds=FOLLOWED_WITHIN)
        until(lambda: len(service.worker_pids()) == 1, seconds=FOLLOWED_WITHIN)


def test_file_is_written_in_place(folder: Path) -> None:
    """A file that is overwritten where it stands is followed as well."""
    with Service(folder, configuration=workers(1)) as service:
        service.wait_ready()
        service.configuration.write_text(workers(2))
        until(lambda: len(service.worker_pids()) == 2, seconds=FOLLOWED_WITHIN)


def test_file_is_removed_and_comes_back(folder: Path) -> None:
    """While the file is missing, what was in force stays; when it comes back, it is followed."""
    with Service(folder, configuration=workers(1)) as service:
        service.wait_ready()
        service.configuration.unlink()
        job = service.submit("jobs.quick", {"key": "x"})
        service.wait_status(job, "completed")
        service.configuration.write_text(workers(2))
        until(lambda: len(service.worker_pids()) == 2, seconds=FOLLOWED_WITHIN)
        assert not service.events("worker_lost")


def test_hangup_reloads(folder: Path) -> None:
    """SIGHUP reads the file again, and the file of variables that it names."""
    (folder / "secrets").write_text("SECRET=old\n")
    settings = workers(1, 'environment_file = "secrets"\n')
    with Service(folder, configuration=settings) as service:
        job = service.submit("jobs.variable", {"name": "SECRET"})
        service.wait_status(job, "completed")
        assert service.queue.get_result(job) == "old"
        (folder / "secrets").write_text("SECRET=new\n")
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("configuration_reloaded")
        service.wait_for("workers_renewed", reason="settings")
        service.wait_ready(2)
        job = service.submit("jobs.variable", {"name": "SECRET"})
        service.wait_status(job, "completed")
        assert service.queue.get_result(job) == "new"


def test_hangup_with_an_invalid_file(folder: Path) -> None:
    """SIGHUP with a mistake in the file is refused, and the service goes on."""
    with Service(folder, configuration=workers(1)) as service:
        service.wait_ready()
        (folder / "gigqd.toml").write_text("count = 1\n")
        service.process.send_signal(signal.SIGHUP)
        refused = service.wait_for("configuration_refused")
        problem = 'count: unknown setting; did you mean "workers.count"?'
        assert refused["error"] == f"{service.configuration}:1: {problem}"
        job = service.submit("jobs.quick", {"key": "x"})
        service.wait_status(job, "completed")


def test_changed_environment_reaches_jobs(folder: Path, oracle: Oracle) -> None:
    """Workers are renewed for changed variables, between jobs, and the next jobs find them.

    Who takes the place of a busy one waits until its job has ended: no more run than are wanted.
    """
    with Service(folder, configuration=workers(1, 'environment = { COLOUR = "red" }\n')) as service:
        running = service.submit("jobs.wait", {"key": "x"})
        oracle.wait_begun("x")
        service.configure(workers(1, 'environment = { COLOUR = "blue" }\n'))
        service.wait_for("workers_renewed", seconds=FOLLOWED_WITHIN, reason="settings")
        service.wait_ready(2)
        job = service.submit("jobs.variable", {"name": "COLOUR"})
        assert [worker["state"] for worker in service.workers()] == ["finishing", "standby"]
        assert service.queue.get_status(job)["status"] == "pending"
        oracle.let_go("x")
        service.wait_status(job, "completed")
        assert service.queue.get_result(job) == "blue"
        assert service.wait_status(running, "completed")["attempts"] == 1


def test_durability(folder: Path) -> None:
    """With durability = "full" workers wait for the disk between two jobs; a reload is enough."""
    with Service(folder, configuration=workers(1)) as service:

        def syncs() -> object:
            job = service.submit("jobs.syncs")
            service.wait_status(job, "completed")
            return service.queue.get_result(job)

        assert [syncs(), syncs()] == [0, 0]
        service.configure('durability = "full"\n' + workers(1))
        service.wait_for("workers_renewed", seconds=FOLLOWED_WITHIN, reason="settings")
        service.wait_ready(2)
        assert syncs() == 0
        assert syncs() in (1, 2)  # the end of the last one, and perhaps the claim alone


def test_changed_grace_reaches_jobs(folder: Path, oracle: Oracle) -> None:
    """A changed kill_grace holds for the next jobs."""
    with Service(folder, configuration=workers(1, "kill_grace = 0\n")) as service:
        job = service.submit("jobs.clean_up", {"key": "before"}, timeout=0.3, max_attempts=1)
        service.wait_status(job, "timeout")
        service.configure(workers(1, "kill_grace = 5\n"))
        service.wait_for("workers_renewed", seconds=FOLLOWED_WITHIN, reason="settings")
        service.wait_ready(3)  # the second came after the first job's end
        job = service.submit("jobs.clean_up", {"key": "after"}, timeout=0.3, max_attempts=1)
        service.wait_status(job, "timeout")
    assert oracle.runs("before")[0].events == []
    assert oracle.runs("after")[0].events == ["cleaned"]


def test_workers_option_stands_above_the_file(folder: Path) -> None:
    """`--workers 3` is kept whatever the file says, then and later."""
    with Service(folder, configuration=workers(1), arguments=("--workers", "3")) as service:
        service.wait_ready(3)
        service.configure(workers(2))
        service.wait_for("configuration_reloaded", seconds=FOLLOWED_WITHIN)
        job = service.submit("jobs.quick", {"key": "x"})
        service.wait_status(job, "completed")
        assert len(service.worker_pids()) == 3


@pytest.mark.parametrize("arguments", [(), ("--config", "other.toml")])
def test_bad_file_at_the_start(folder: Path, arguments: tuple[str, ...]) -> None:
    """A file that is invalid, or missing where it was named, ends the start with exit 78."""
    text = '[workers]\ncount = "many"\n'
    with Service(folder, configuration=text, arguments=arguments) as service:
        assert service.process.wait(30) == 78
        said = service.log.read_text()
        file = folder / "gigqd.toml:2: workers.count" if not arguments else "other.toml"
        assert said.startswith("gigqd: ")
        assert str(file) in said
        assert said.count("\n") == 1


def test_where_jobs_run(folder: Path) -> None:
    """Directory, import folders and variables of the file are what jobs find."""
    write_jobs(folder / "lib", "def where():\n    return __file__\n", "only_there.py")
    (folder / "data").mkdir()
    (folder / "elsewhere").mkdir()
    (folder / "variables").write_text("# a comment\nFIRST=from file\nSECOND='from file'\n")
    settings = workers(
        1,
        'directory = "data"\npythonpath = ["lib", "."]\nenvironment_file = "variables"\n'
        'environment = { SECOND = "from table" }\n',
    )
    with Service(folder, configuration=settings) as service:
        wanted = {
            service.submit("jobs.directory"): str(folder / "data"),
            service.submit("jobs.directory", cwd=folder / "elsewhere"): str(folder / "elsewhere"),
            service.submit("only_there.where"): str(folder / "lib" / "only_there.py"),
            service.submit("jobs.variable", {"name": "FIRST"}): "from file",
            service.submit("jobs.variable", {"name": "SECOND"}): "from table",
            service.submit("jobs.variable", {"name": "HOME"}): os.environ.get("HOME"),
        }
        for job, result in wanted.items():
            service.wait_status(job, "completed")
            assert service.queue.get_result(job) == result


def test_jobs_run_where_they_were_submitted(folder: Path) -> None:
    """Without a configured directory a job runs in the one that it was submitted from."""
    other = folder / "other"
    write_jobs(other, "import os\n\n\ndef where():\n    return os.getcwd()\n", "there.py")
    with Service(folder, configuration=workers(1)) as service:
        for from_folder, function in ((other, "there.where"), (folder, "jobs.directory")):
            job = service.submit(function, folder=from_folder)
            service.wait_status(job, "completed")
            assert service.queue.get_result(job) == str(from_folder)


def test_missing_directory_is_a_failure_with_a_name(folder: Path) -> None:
    """A job whose directory is missing fails for that reason, and its worker takes the next."""
    with Service(folder, configuration=workers(1)) as service:
        before = service.submit("jobs.quick", {"key": "before"})
        job = service.submit("jobs.directory", cwd=folder / "missing", max_attempts=2)
        after = service.submit("jobs.quick", {"key": "after"})
        found = service.wait_status(job, "failed")
        service.wait_status(after, "completed")
        assert service.queue.get_result(before) == service.queue.get_result(after)
    assert found["cause"] == "directory"
    assert found["error"].startswith(
        f"the directory {folder / 'missing'} cannot be entered: No such"
    )
    assert found["attempts"] == 2


def test_reload_without_a_file(folder: Path) -> None:
    """A service that reads no file says so, also where one has come since it was started."""
    with Service(folder, arguments=("--workers", "1")) as service:
        service.wait_ready()
        service.configure("[workers]\ncount = 2\n")
        code, _, errors = service.told("reload")
        assert (code, "without a configuration file" in errors) == (1, True)


def test_reload_while_stopping(folder: Path, oracle: Oracle) -> None:
    """A service that is stopping refuses a reload instead of saying that it was done."""
    with Service(folder, configuration=workers(1)) as service:
        service.submit("jobs.wait", {"key": "x"})
        oracle.wait_begun("x")
        service.process.send_signal(signal.SIGTERM)
        service.wait_for("service_draining")
        code, _, errors = service.told("reload")
        assert code == 1
        assert "the service is stopping" in errors
        oracle.let_go("x")


def test_late_worker_of_older_settings(folder: Path) -> None:
    """One that becomes ready after its successor keeps no later order from being answered."""
    slow = folder / "slow-python"
    slow.write_text(f'#!/bin/sh\nsleep 2\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    before = f'[workers]\ncount = 1\npython = "{slow}"\n'
    with Service(folder, configuration=before) as service:
        service.wait_for("service_started")
        service.configure("[workers]\ncount = 1\n")
        assert service.told("reload")[0] == 0
        service.wait_ready(2)
        assert service.told("reload")[0] == 0


@pytest.mark.parametrize("wrong", ["directory = '/no/such/folder'", "python = '/no/such/python'"])
def test_paths_that_are_not_there(folder: Path, oracle: Oracle, wrong: str) -> None:
    """By them no job could run: they are refused by a check, and by a service that runs."""
    with Service(folder, configuration=workers(1)) as service:
        service.wait_ready()
        service.configure(workers(1, wrong))
        refused = service.wait_for("configuration_refused")
        assert f"gigqd.toml: workers.{wrong.partition(' ')[0]}: /no/such/" in refused["error"]
        said = f"! a changed configuration is refused: {refused['error']}\n"
        assert said in service.told("status")[1]
        command = [*GIGQD, "check", "--config", str(service.configuration)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (78, f"gigqd: {refused['error']}\n")
        job = service.submit("jobs.quick", {"key": "x"})
        service.wait_status(job, "completed")
    oracle.check()
