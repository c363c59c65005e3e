"""The blow: the disk is full or fails, or the database file is damaged."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from harness import GENEROUS, Service, until

from gigq import Job, JobQueue
from gigq.queue.connection import PAGE_BYTES
from gigq.queue.errors import StoreUnusableError
from gigq.queue.identity import own_identity
from gigq.queue.records import Progress
from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lifecycle.oracle import Oracle

WORKERS = "[workers]\ncount = 2\nreload = false\n"
ONE_WORKER = "[workers]\ncount = 1\nreload = false\n"
NOTICED_WITHIN = 3.0 * GENEROUS
LASTS = 1.6  # seconds that a trouble goes on, so that whoever tried each second tried again
MEBIBYTE = 1 << 20
DISK = 64 * MEBIBYTE
DAMAGED = 78
WRITES = "pwrite64,fsync,fdatasync"


class SmallDisk:
    """A file system of a few MiB."""

    def __init__(self, path: Path) -> None:
        """Name where it is mounted."""
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Leave no room, nor let the log be begun anew in the room that it has."""
        self._reader = sqlite3.connect(self.path / "gigq.db")
        self._reader.execute("BEGIN")
        self._reader.execute("SELECT * FROM job").fetchall()
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

    def empty(self) -> None:
        """Give the room back."""
        self._reader.close()
        self._filler.unlink()


@pytest.fixture
def disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount a small file system, where that is allowed."""
    path = folder / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "gigqd-test", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only, and not in every container")
    yield SmallDisk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextlib.contextmanager
def failing(pid: int, calls: str) -> Iterator[None]:
    """Let these system calls of a process fail with EIO."""
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}"]
    inject = ["-e", f"inject={calls}:error=EIO", "-p", str(pid)]
    with subprocess.Popen([*command, *inject], stderr=subprocess.PIPE) as strace:
        until(lambda: _is_traced(pid) or strace.poll() is not None, what="strace attached")
        assert strace.poll() is None, strace.stderr and strace.stderr.read()
        try:
            yield
        finally:
            strace.terminate()


def _is_traced(pid: int) -> bool:
    statuses = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/status")]
    return all("TracerPid:\t0\n" not in status for status in statuses)


@pytest.fixture
def _strace() -> None:
    """Skip where no process can be traced."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    command = ["strace", "-o", os.devnull, sys.executable, "-c", ""]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("processes cannot be traced here")


def lasting(service: Service) -> dict[str, object]:
    """Wait until the trouble has lasted for a while; the service's answer then."""

    def answer() -> dict[str, object] | None:
        code, told, errors = service.told("status", "--json")
        assert code == 0, errors
        status = json.loads(told)
        trouble = status["trouble"]
        return status if trouble and trouble["seconds"] >= LASTS else None

    found: dict[str, object] = until(answer, seconds=NOTICED_WITHIN, pause=0.2)
    return found


def test_full_disk(folder: Path, oracle: Oracle, disk: SmallDisk) -> None:
    """Nothing is claimed and nothing is lost; when there is room, all of it goes on by itself."""
    with Service(folder, configuration=WORKERS, database="disk/gigq.db") as service:
        service.wait_ready(2)
        finishes = service.submit("jobs.wait", {"key": "finishes"})
        prints = service.submit("jobs.print_much", {"key": "prints", "size": 100_000}, timeout=None)
        oracle.wait_begun("finishes")
        oracle.wait_begun("prints")
        waiting = [
            service.submit("jobs.quick", {"key": f"quick-{n}"}, max_attempts=1 + n % 3)
            for n in range(20)
        ]
        disk.fill()
        oracle.let_go("finishes", "prints")
        service.wait_for("store_waiting", seconds=NOTICED_WITHIN)
        lasting(service)
        code, told, _ = service.told("status")
        assert code == 0
        assert "nothing is claimed since" in told
        assert len(oracle.runs()) == 2  # of the two that ran
        with pytest.raises(StoreUnusableError, match="make room on its disk"):
            service.queue.submit(Job("refused", print, {"text": "x" * 100_000}))
        disk.empty()
        recovered = service.wait_for("store_recovered", seconds=NOTICED_WITHIN)
        assert recovered["seconds"] >= LASTS
        for job in waiting:
            assert service.wait_status(job, "completed", "failed")["status"] == "completed"
        assert service.wait_status(finishes, "completed")["attempts"] == 1
        failed = service.wait_status(prints, "completed")["executions"][0]
        assert "No space left on device" in failed["error"]
        assert len(service.events("store_waiting")) == len(service.events("store_recovered")) == 1
        assert not service.events("worker_lost")
        assert service.queue.stats()["total"] == 22
        assert service.stop() == 0
    oracle.check()
    assert len([run for run in oracle.runs() if run.key.startswith("quick")]) == 20


def test_worker_dies_while_the_disk_is_full(folder: Path, oracle: Oracle, disk: SmallDisk) -> None:
    """What it held is taken back once that can be recorded."""
    with Service(folder, configuration=WORKERS, database="disk/gigq.db") as service:
        service.wait_ready(2)
        job = service.submit("jobs.wait", {"key": "a"})
        pid = oracle.wait_begun("a").pid
        disk.fill()
        os.kill(pid, signal.SIGKILL)
        service.wait_for("worker_lost")
        service.wait_for("store_waiting", seconds=NOTICED_WITHIN)
        lasting(service)
        assert not service.events("job_reclaimed")
        disk.empty()
        service.wait_for("job_reclaimed", job_id=job, seconds=NOTICED_WITHIN)
        oracle.let_go("a")
        assert service.wait_status(job, "completed")["attempts"] == 2
        service.wait_for("store_recovered", seconds=NOTICED_WITHIN)
        assert len(service.events("store_waiting")) == 1
    oracle.check()


def test_log_that_fills_the_disk(disk: SmallDisk) -> None:
    """A log that grew beside a long reader until the disk was full is begun anew without it."""
    path = disk.path / "gigq.db"
    with closing(JobQueue(path)) as queue:
        queue.submit(Job("job", os.getpid))
    with closing(SqliteStore(path, durable=False)) as store:
        worker = store.register("worker", own_identity())
        (claim,) = store.settle(worker, (), claim=1).claims

        def tells(times: int) -> bool:
            with contextlib.suppress(StoreUnusableError):
                for step in range(times):
                    store.set_progress(claim.execution, Progress(step, None, "", step))
                return True
            return False

        with closing(sqlite3.connect(path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM job").fetchall()
            assert not tells(DISK // PAGE_BYTES)
            assert not tells(1)
        until(lambda: tells(DISK // PAGE_BYTES), what="room in the log")


@pytest.mark.usefixtures("_strace")
def test_worker_whose_disk_fails(folder: Path, oracle: Oracle) -> None:
    """A worker that cannot write keeps its outcome, and stores it when it can."""
    with Service(folder, configuration=WORKERS) as service:
        service.wait_ready(2)
        job = service.submit("jobs.wait", {"key": "a"})
        pid = oracle.wait_begun("a").pid
        with failing(pid, "pwrite64,fdatasync"):  # the job's own notes are not meant
            oracle.let_go("a")
            assert "disk I/O error" in service.wait_for("store_waiting")["error"]
            lasting(service)
            later = service.submit("jobs.quick", {"key": "later"})
        service.wait_for("store_recovered", seconds=NOTICED_WITHIN)
        assert service.wait_status(job, "completed")["attempts"] == 1
        assert service.wait_status(later, "completed")["attempts"] == 1
        assert len(service.events("store_waiting")) == len(service.events("store_recovered")) == 1
        assert not service.events("worker_lost")
    oracle.check()


@pytest.mark.usefixtures("_strace")
def test_claim_that_cannot_be_synced(folder: Path, oracle: Oracle) -> None:
    """A job that may run only once is given back, and begun when its claim is on the disk."""
    with Service(folder, configuration=ONE_WORKER) as service:
        service.wait_ready()
        (pid,) = service.worker_pids().values()
        with failing(pid, "fsync,fdatasync"):
            job = service.submit("jobs.quick", {"key": "once"}, max_attempts=1)
            service.wait_for("store_waiting", seconds=NOTICED_WITHIN)
        assert service.wait_status(job, "completed", "failed")["status"] == "completed"
        assert not service.events("worker_lost")
    oracle.check()
    assert len(oracle.runs()) == 1


@pytest.mark.usefixtures("_strace")
def test_end_that_cannot_be_synced(folder: Path, oracle: Oracle) -> None:
    """With durability = "full" no job begins before the last one's end is on the disk."""
    with Service(folder, configuration='durability = "full"\n' + ONE_WORKER) as service:
        service.wait_ready()
        (pid,) = service.worker_pids().values()
        first = service.submit("jobs.wait", {"key": "first"})
        oracle.wait_begun("first")
        with failing(pid, "fdatasync"):  # the job's own notes are not meant
            oracle.let_go("first")
            second = service.submit("jobs.quick", {"key": "second"})
            assert "cannot be synced" in service.wait_for("store_waiting")["error"]
            lasting(service)
            assert not oracle.runs("second")
        service.wait_for("store_recovered", seconds=NOTICED_WITHIN)
        assert service.wait_status(first, "completed")["attempts"] == 1
        assert service.wait_status(second, "completed")["attempts"] == 1
        assert not service.events("worker_lost")
    oracle.check()


@pytest.mark.usefixtures("_strace")
def test_supervisor_whose_disk_fails(folder: Path, oracle: Oracle) -> None:
    """A supervisor that cannot write goes on watching, and takes back when it can."""
    with Service(folder, configuration=WORKERS) as service:
        service.wait_ready(2)
        job = service.submit("jobs.wait", {"key": "a"})
        hangs = service.submit("jobs.sleep", {"key": "b"}, timeout=2, max_attempts=1)
        pid = oracle.wait_begun("a").pid
        oracle.wait_begun("b")
        with failing(service.process.pid, WRITES):
            os.kill(pid, signal.SIGKILL)
            assert "disk I/O error" in service.wait_for("store_waiting")["error"]
            lasting(service)
            assert not service.events("job_reclaimed")
            assert service.wait_status(hangs, "timeout")["attempts"] == 1
        service.wait_for("job_reclaimed", job_id=job)
        oracle.let_go("a")
        assert service.wait_status(job, "completed")["attempts"] == 2
        service.wait_for("store_recovered", seconds=NOTICED_WITHIN)
        assert len(service.events("store_waiting")) == 1
    oracle.check()


def damage(path: Path, table: str) -> None:
    """Overwrite the first page of a table or an index."""
    with closing(sqlite3.connect(path)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_damaged_database(folder: Path) -> None:
    """The service says what is wrong and what to do, deletes nothing, and ends: exit code 78."""
    path = folder / "gigq.db"
    with JobQueue(path) as queue, contextlib.chdir(folder):
        queue.submit(Job("job", "jobs.quick", {"key": "x"}))
    damage(path, "job_live")
    size = path.stat().st_size
    with Service(folder, configuration=WORKERS) as service:
        assert service.process.wait(60) == DAMAGED
        (told,) = service.events("store_damaged")
        assert "restore a backup" in told["error"]
        assert len(service.events("worker_ready")) <= 4
        assert len(service.events("service_stopped")) == 1
    assert path.stat().st_size >= size


def test_file_that_is_no_database(folder: Path) -> None:
    """It is refused at the start with exit code 78, so that nobody starts it again and again."""
    path = folder / "gigq.db"
    path.write_bytes(b"no database at all " * 500)
    with Service(folder, configuration=WORKERS) as service:
        assert service.process.wait(60) == DAMAGED
        assert "no SQLite database" in service.log.read_text()
    assert path.read_bytes() == b"no database at all " * 500


@pytest.mark.usefixtures("_strace")
def test_worker_that_alone_cannot_store(folder: Path, oracle: Oracle) -> None:
    """It is given up after ten seconds, and its job is taken back: the others go on."""
    with Service(folder, configuration=WORKERS) as service:
        service.wait_ready(2)
        job = service.submit("jobs.wait", {"key": "x"}, max_attempts=2)
        pid = oracle.wait_begun("x").pid
        with failing(pid, WRITES):
            oracle.let_go("x")
            service.wait_for("store_waiting", seconds=NOTICED_WITHIN)
            others = [service.submit("jobs.quick", {"key": f"quick-{n}"}) for n in range(3)]
            given_up = service.wait_for("worker_given_up", seconds=10 + NOTICED_WITHIN)
            assert given_up["worker_pid"] == pid
        service.wait_for("store_recovered", seconds=NOTICED_WITHIN)
        for each in (job, *others):
            service.wait_status(each, "completed")
        found = service.queue.get_status(job)
        assert found["attempts"] == 2
        first = next(each for each in found["executions"] if each["attempt"] == 1)
        assert first["error"] == (
            "worker died: SIGKILL; it had ended, and what became of it was not stored yet"
        )
        assert len(service.events("worker_given_up")) == 1
    oracle.check()
