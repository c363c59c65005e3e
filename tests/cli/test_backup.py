"""`gigq backup`: a whole and sound copy while the database is used, or none."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from cli.client import Client
from cli.conftest import JOBS
from harness import Service, until, write_jobs

from gigq import Job, JobQueue

if TYPE_CHECKING:
    from pathlib import Path

WORKERS = "[workers]\ncount = 2\nreload = false\n"


@pytest.fixture
def filled(project: Client) -> Client:
    """Give a client beside a database with some jobs."""
    with JobQueue(project.folder / "gigq.db") as queue, contextlib.chdir(project.folder):
        queue.submit_many([Job("job", "jobs.quick") for _ in range(50)])
    return project


def names(folder: Path) -> set[str]:
    """List what lies in a folder."""
    return {file.name for file in folder.iterdir()}


def test_backup_of_a_running_service_is_restored(tmp_path: Path) -> None:
    """The copy of a service at work, put in its place, holds all jobs, and each of them ends."""
    write_jobs(tmp_path, JOBS)
    gigq = Client(tmp_path)
    go = tmp_path / "go"
    with Service(tmp_path, configuration=WORKERS) as service:
        service.wait_ready(2)
        running = service.submit("jobs.wait", {"go": str(go)}, max_attempts=3)
        service.wait_status(running, "running")
        jobs = [service.submit("jobs.quick", {"name": str(n)}) for n in range(200)]
        stop = threading.Event()
        more: list[str] = []

        def keep_submitting() -> None:
            while not stop.is_set():
                more.append(queue.submit(Job("more", "jobs.quick")))

        with JobQueue(service.database) as queue, contextlib.chdir(tmp_path):
            thread = threading.Thread(target=keep_submitting)
            thread.start()
            until(lambda: len(more) > 20)
            acknowledged = list(more)
            done = gigq("backup", "saved.db")
            stop.set()
            thread.join()
        assert "checked" in done.out
        assert "saved.db: " in done.out
        go.touch()
        service.wait_status(running, "completed")
        go.unlink()
        assert service.stop() == 0
    assert not {"saved.db-wal", "saved.db-shm", "saved.db-journal"} & names(tmp_path)
    # Restored as the page says: the old files are put aside together.
    (tmp_path / "old").mkdir()
    for file in tmp_path.glob("gigq.db*"):
        file.rename(tmp_path / "old" / file.name)
    shutil.copy(tmp_path / "saved.db", tmp_path / "gigq.db")
    with closing(sqlite3.connect(tmp_path / "gigq.db")) as restored:
        assert restored.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        restored.execute("PRAGMA wal_autocheckpoint = 0")
    with Service(tmp_path) as service:
        service.wait_for("job_reclaimed", job_id=running)
        go.touch()
        for job in [running, *jobs, *acknowledged]:
            service.wait_status(job, "completed")
        until(lambda: (stats := service.queue.stats())["completed"] == stats["total"])


def test_permissions(filled: Client) -> None:
    """The copy is as open to others as the database, and no more."""
    (filled.folder / "gigq.db").chmod(0o640)
    filled("backup", "saved.db")
    assert stat.S_IMODE((filled.folder / "saved.db").stat().st_mode) == 0o640


def test_no_file_is_replaced_without_force(filled: Client) -> None:
    """What lies there stays, byte for byte; with --force a sound copy takes its place."""
    target = filled.folder / "saved.db"
    target.write_text("precious")
    done = filled("backup", "saved.db", code=1)
    assert done.err == f"gigq: {target} exists; name another file, or replace it with --force\n"
    assert target.read_text() == "precious"
    filled("backup", "saved.db", "--force")
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("SELECT count(*) FROM job").fetchone() == (50,)


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("gigq.db", "is the database itself"),
        ("link.db", "is the database itself"),
        ("folder", "is a folder"),
        ("nowhere/saved.db", "does not exist; create it first"),
        ("stale.db", "stale.db-wal lies there"),
    ],
)
@pytest.mark.parametrize("force", [(), ("--force",)], ids=["plain", "force"])
def test_refused(filled: Client, target: str, problem: str, force: tuple[str, ...]) -> None:
    """A target that cannot be meant is refused in one sentence, and nothing is left behind."""
    (filled.folder / "folder").mkdir()
    (filled.folder / "link.db").symlink_to("gigq.db")
    (filled.folder / "stale.db-wal").touch()
    before = names(filled.folder)
    done = filled("backup", target, *force, code=1)
    assert problem in done.err
    assert len(done.err.splitlines()) == 1
    assert names(filled.folder) == before


def test_no_database(gigq: Client) -> None:
    """Where there is nothing to back up, nothing is created."""
    assert "does not exist" in gigq("backup", "saved.db", code=1).err
    assert names(gigq.folder) == set()


def test_damaged_database(filled: Client) -> None:
    """A copy that is not sound is not kept."""
    path = filled.folder / "gigq.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'edge_child'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 2048)
        file.write(b"\xff" * 2048)
    before = names(filled.folder)
    assert "gigq doctor" in filled("backup", "saved.db", code=1).err
    assert names(filled.folder) == before


def test_wrong_counters(filled: Client) -> None:
    """A copy whose counters are not what is counted is not kept."""
    with closing(sqlite3.connect(filled.folder / "gigq.db", isolation_level=None)) as connection:
        connection.execute("UPDATE tally SET jobs = jobs + 1 WHERE state = 'ready'")
    assert "counters" in filled("backup", "saved.db", code=1).err
    assert "saved.db" not in names(filled.folder)


def test_full_disk(filled: Client) -> None:
    """It says how much is needed, and leaves nothing that takes room."""
    disk = filled.folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "gigqd-test", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only, and not in every container")
    try:
        done = filled("backup", "disk/saved.db", code=1)
        assert "disk is full; about 1 MB are needed" in done.err
        assert names(disk) == set()
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
