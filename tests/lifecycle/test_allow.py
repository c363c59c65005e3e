"""`[workers] allow`: what it does not name is refused by workers before anything is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from harness import Service, write_jobs

from gigq.queue.explain import explain
from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULE = """
import os
from pathlib import Path
from os import getpid

Path(__file__).with_suffix(".imported").touch()


def run():
    return {name!r}
"""
SCRIPT = """
from gigq import Job, JobQueue


def load():
    return "script"


if __name__ == "__main__":
    print(JobQueue("gigq.db").submit(Job("load", load, max_attempts=3)))
"""


def settings(*allow: str) -> str:
    """Write a configuration that allows these."""
    return f"[workers]\ncount = 1\nkill_grace = 0\nallow = {list(allow)!r}\n"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Give a service that allows the module `good` and one script."""
    for name in ("good", "bad"):
        write_jobs(tmp_path, MODULE.format(name=name), f"{name}.py")
    write_jobs(tmp_path, SCRIPT, "good_script.py")
    write_jobs(tmp_path, SCRIPT, "bad_script.py")
    allowed = settings("good", str(tmp_path / "good_script.py"))
    with Service(tmp_path, configuration=allowed) as service:
        yield service.wait_ready()


def refused(service: Service, job: str) -> dict[str, Any]:
    """Wait until a job has failed because it may not run, at once and for good."""
    found = service.wait_status(job, "failed", "completed")
    assert found["status"] == "failed"
    assert found["attempts"] == 1
    assert [each["cause"] for each in found["executions"]] == ["not_allowed"]
    return found


def submitted_by(service: Service, *command: str) -> str:
    """Submit by a command that prints a job's id."""
    done = subprocess.run(
        command, cwd=service.folder, capture_output=True, text=True, check=True, env=os.environ
    )
    return done.stdout.split()[-1]


def test_functions(service: Service) -> None:
    """A module that is not named is not even imported; one that is named runs, and only its own."""
    bad = service.submit("bad.run", max_attempts=3)
    imported = service.submit("good.getpid", max_attempts=3)
    good = service.submit("good.run")
    assert refused(service, bad)["error"] == (
        'bad.run may not be run here; to allow it, add "bad:run" to [workers] allow'
    )
    assert refused(service, imported)["error"].startswith(
        "getpid is imported by good, not defined there, and may not be run here"
    )
    service.wait_status(good, "completed")
    assert not (service.folder / "bad.imported").exists()
    assert (service.folder / "good.imported").exists()
    assert service.wait_for("job_failed", job_id=bad)["error"].startswith("bad.run may not be")


def test_names_through_modules(service: Service) -> None:
    """Somebody who writes to the file cannot reach `os.system` through an allowed module."""
    assert service.told("drain")[0] == 0
    job = service.submit("good.run", {"command": "true"})
    with (
        closing(SqliteStore(service.database, durable=False)) as store,
        store._connection as writer,
    ):
        writer.run("UPDATE job_spec SET function_name = 'os.system'")
    assert service.told("resume")[0] == 0
    assert "os.system is imported by good" in refused(service, job)["error"]


def test_import_root(service: Service) -> None:
    """A module of an allowed name in the submitter's folder is not the one that runs."""
    write_jobs(service.folder / "elsewhere", MODULE.format(name="planted"), "good.py")
    job = service.submit("good.run", folder=service.folder / "elsewhere")
    service.wait_status(job, "completed")
    assert service.queue.get_result(job) == "good"
    assert not (service.folder / "elsewhere/good.imported").exists()


def test_scripts(service: Service) -> None:
    """A script that is named by its path runs, and no other."""
    good = submitted_by(service, sys.executable, "good_script.py")
    bad = submitted_by(service, sys.executable, "bad_script.py")
    service.wait_status(good, "completed")
    assert refused(service, bad)["error"].startswith(f"the script {service.folder}/bad_script.py ")


def test_commands_and_a_reload(service: Service) -> None:
    """Command lines have a name of their own; a changed file is in force for the next job."""
    gigq = (sys.executable, "-m", "gigq", "run", "-q", "--", "touch", "made")
    job = submitted_by(service, *gigq)
    assert refused(service, job)["error"] == (
        'a command line may not be run here; to allow it, add "gigq.worker.command" '
        "to [workers] allow"
    )
    with closing(SqliteStore(service.database, create=False)) as store:
        row = store.job(job)
        assert row is not None
        why = explain(store, store.companions, row)
    assert why.cause == "not_allowed"
    assert why.sentence.startswith("It was not run, for the service's settings do not allow it (a ")
    assert not (service.folder / "made").exists()
    service.configure(settings("gigq.worker.command"))
    assert service.told("reload")[0] == 0
    service.wait_status(submitted_by(service, *gigq), "completed")
    assert (service.folder / "made").exists()
    refused(service, service.submit("good.run"))
