"""Bringing databases to today's schema: those of the real GigQ 0.5.1, and our own older ones."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from harness import Service, until, write_jobs
from old_gigq import install_gigq_0_5

from gigq import Job, JobQueue
from gigq.queue.backup import back_up
from gigq.queue.errors import (
    ForeignDatabaseError,
    GigqError,
    SchemaVersionError,
    StoreBusyError,
    StoreError,
)
from gigq.queue.identity import own_identity
from gigq.queue.migrate import Migrated, migrate, upgrade_if_older
from gigq.queue.migrations import CURRENT
from gigq.queue.service_lock import ServiceLock
from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS = """
import os, time
from pathlib import Path


def add(a, b):
    return a + b


def total(parent_results):
    return sum(parent_results.values())


def collect(**values):
    return sorted(values)


def fail(text="no such host"):
    raise ValueError(text)


def hang(file):
    Path(file).touch()
    while not Path(file + "-go").exists():
        time.sleep(0.01)
    return "late"
"""
HISTORY = """
import sys
from pathlib import Path
import old_jobs
from gigq import Job, JobQueue, Worker, Workflow

database = sys.argv[1]
queue = JobQueue(database)


def drain(name):
    worker = Worker(database, worker_id=name)
    while worker.process_one():
        pass
    worker.close()


def submit(name, function, params=None, **options):
    return queue.submit(Job(name, function, params, **options))


workflow = Workflow("etl")
first = workflow.add_job(Job("first", old_jobs.add, {"a": 1, "b": 2}, priority=7))
second = workflow.add_job(Job("second", old_jobs.add, {"a": 0.5, "b": 2}, description="why"))
workflow.add_job(Job("sum", old_jobs.total), depends_on=[first, second])
workflow.submit_all(queue)
drain("early")

failing = Workflow("failing")
bad = failing.add_job(Job("bad", old_jobs.fail, max_attempts=2))
child = failing.add_job(Job("child", old_jobs.total), depends_on=[bad])
grandchild = failing.add_job(Job("grandchild", old_jobs.total), depends_on=[child])
failing.submit_all(queue)
drain("late")
submit("retried", old_jobs.fail, {"text": "try later"}, retry_delay=3600)
drain("late")

cancelled = submit("cancelled", old_jobs.add)
queue.cancel(cancelled)
gone = submit("gone", old_jobs.add, {"a": 1, "b": 1})
drain("late")
with queue._get_connection() as connection:  # as `clear` would, but of this one only
    connection.execute("DELETE FROM jobs WHERE id = ?", (gone,))

timed = submit("timed", old_jobs.hang, {"file": "timed-go"}, timeout=0.001, max_attempts=1)
Path("timed-go-go").touch()
worker = Worker(database, worker_id="overrun")
worker._check_for_timeouts()
worker._claim_job()
import time
time.sleep(0.01)
worker._check_for_timeouts()

again = submit("again", old_jobs.fail, max_attempts=1)
drain("late")
queue.requeue_job(again)
queue.cancel(again)
queue.requeue_job(again)
submit("waiting", old_jobs.total, dependencies=[again], priority=3, pass_parent_results=True)
submit("ready", old_jobs.add, {"a": 20, "b": 22}, priority=9, max_attempts=5, timeout=45)
submit("orphaned", old_jobs.collect, {"x": 1}, dependencies=[gone, "never-there"])
queue.close()
"""
RUNNING = """
import sys
import old_jobs
from gigq import Job, JobQueue, Worker

queue = JobQueue(sys.argv[1])
options = {"priority": 99, "max_attempts": int(sys.argv[3])}
queue.submit(Job(sys.argv[2], old_jobs.hang, {"file": sys.argv[2]}, **options))
Worker(sys.argv[1], worker_id="victim").process_one()
"""
IDLE = """
import sys
from gigq import JobQueue
JobQueue(sys.argv[1]).stats()
print("here", flush=True)
sys.stdin.read()
"""
DUMP = """
import json, sys
from gigq import JobQueue
queue = JobQueue(sys.argv[1], initialize=False)
jobs = queue.list_jobs(limit=100000)
print(json.dumps([queue.get_status(job["id"]) for job in jobs]))
"""
READER = """
import sys
with open(sys.argv[1], "rb"):
    print("here", flush=True)
    sys.stdin.read()
"""
MIGRATE = """
import sys
from pathlib import Path
from gigq.queue import schema
schema.VERSIONS += tuple(sys.argv[2:])
from gigq.queue.errors import GigqError
from gigq.queue.migrate import migrate, upgrade_if_older
print("here", flush=True)
sys.stdin.readline()
try:
    print(migrate(Path(sys.argv[1])).before, flush=True)
except GigqError as error:
    print(type(error).__name__, error, flush=True)
"""
COLOUR = "ALTER TABLE job ADD COLUMN colour TEXT;\nUPDATE job SET colour = 'red';"


class OldGigq:
    """The real GigQ 0.5.1, in an environment of its own."""

    def __init__(self, python: Path) -> None:
        """Name its interpreter."""
        self.python = python

    def start(self, folder: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
        """Run code in a folder, which need not end."""
        write_jobs(folder, JOBS, "old_jobs.py")
        return subprocess.Popen(
            [self.python, "-c", code, *arguments],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, folder: Path, code: str, *arguments: str) -> str:
        """Run code in a folder to its end; what it printed."""
        process = self.start(folder, code, *arguments)
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        return output

    def leave_running(self, folder: Path, name: str, max_attempts: int = 3) -> None:
        """Kill a worker in the middle of a job."""
        process = self.start(folder, RUNNING, "gigq.db", name, str(max_attempts))
        until((folder / name).exists, what="begin of the job")
        process.kill()
        process.communicate()

    def dump(self, database: Path) -> dict[str, dict[str, Any]]:
        """Give what 0.5.1 says of each job, by name."""
        told = json.loads(self.run(database.parent, DUMP, database.name))
        return {job["name"]: job for job in told}


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> OldGigq:
    """Install GigQ 0.5.1 from the package index."""
    return OldGigq(install_gigq_0_5(tmp_path_factory.mktemp("gigq-0.5.1")) / "python")


@pytest.fixture
def database(tmp_path: Path, old: OldGigq) -> Path:
    """Let GigQ 0.5.1 do all that it can do, and leave two jobs running."""
    old.run(tmp_path, HISTORY, "gigq.db")
    old.leave_running(tmp_path, "interrupted")
    old.leave_running(tmp_path, "doomed", max_attempts=1)
    return tmp_path / "gigq.db"


@pytest.fixture
def small(tmp_path: Path, old: OldGigq) -> Path:
    """Let GigQ 0.5.1 make a database with one pending job."""
    code = (
        "import old_jobs, gigq; "
        "gigq.JobQueue('gigq.db').submit(gigq.Job('one', old_jobs.add, {'a': 1, 'b': 1}))"
    )
    old.run(tmp_path, code)
    return tmp_path / "gigq.db"


def migrated_in(path: Path) -> Migrated:
    """Migrate from the database's folder, where its functions are."""
    with contextlib.chdir(path.parent):
        return migrate(path)


def told(path: Path) -> dict[str, dict[str, Any]]:
    """Give what our library says of each job, by name."""
    with JobQueue(path) as queue:
        return {job["name"]: queue.get_status(job["id"]) for job in queue.list_jobs(limit=None)}


def contents(folder: Path) -> dict[str, bytes]:
    """Give every file of a folder but SQLite's memory, by name."""
    return {
        file.name: file.read_bytes()
        for file in folder.iterdir()
        if file.is_file() and not file.name.endswith("-shm")
    }


def change(path: Path, *statements: str) -> list[Any]:
    """Run statements on a database as somebody else; the rows of the last."""
    rows: list[Any] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            rows = connection.execute(statement).fetchall()
    return rows


def fill(path: Path, count: int) -> None:
    """Add so many pending jobs."""
    statement = f"""
INSERT INTO jobs
WITH n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {count})
SELECT 'job-' || i, 'n', 'add', 'old_jobs', '{{}}', 0, '[]', 3, 300, '', 'pending', created_at,
       updated_at, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL FROM jobs, n"""  # noqa: S608
    change(path, statement)


@contextlib.contextmanager
def racers(path: Path, count: int, *steps: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Start processes that migrate when they are told, with so many further versions."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, str(path), *steps],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def race(path: Path, count: int, *steps: str) -> list[str]:
    """Let processes migrate at once; what each says was there before."""
    with racers(path, count, *steps) as processes:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        return sorted(process.communicate()[0].strip() for process in processes)


class TestConversion:
    """What becomes of the jobs of GigQ 0.5.1."""

    def test_everything_is_kept(self, database: Path, old: OldGigq) -> None:
        """All that 0.5.1 says of its jobs is said by our library, but for what is better now."""
        before = old.dump(database)
        done = migrated_in(database)
        after = told(database)
        executions = sum(len(job["executions"]) for job in before.values())
        assert (done.jobs, done.executions, done.before) == (len(before), executions, "GigQ 0.5")
        assert after.keys() == before.keys()
        changed = {
            "child": "cancelled",
            "grandchild": "cancelled",
            "interrupted": "pending",
            "doomed": "failed",
        }
        for name, job in before.items():
            ours = after[name]
            for key in (
                "id", "function_name", "function_module", "params", "priority", "max_attempts",
                "timeout", "description", "created_at", "attempts", "pass_parent_results",
                "retry_delay",
            ):  # fmt: skip
                assert ours[key] == job[key], (name, key)
            assert ours["status"] == changed.get(name, job["status"]), name
            assert len(ours["executions"]) == len(job["executions"])
            if name not in changed:
                for key in ("result", "error", "started_at"):
                    if name != "again":
                        assert ours[key] == job[key], (name, key)
                for ours_was, theirs_was in zip(ours["executions"], job["executions"], strict=True):
                    for key in ("job_id", "worker_id", "status", "result", "error", "started_at"):
                        assert ours_was[key] == theirs_was[key], (name, key)
            if name != "orphaned":
                assert ours["dependencies"] == job["dependencies"]
        assert after["again"]["error"] is after["again"]["result"] is None
        assert after["first"]["completed_at"] == before["first"]["completed_at"]

    def test_states_and_causes(self, database: Path) -> None:
        """What waits knows why it waits, and what failed knows why it failed."""
        migrated_in(database)
        after = told(database)
        known = {name: (job["state"], job["cause"]) for name, job in after.items()}
        assert known == {
            "first": ("completed", None),
            "second": ("completed", None),
            "sum": ("completed", None),
            "bad": ("failed", "raised"),
            "child": ("cancelled", "parent_failed"),
            "grandchild": ("cancelled", "parent_failed"),
            "retried": ("scheduled", "raised"),
            "cancelled": ("cancelled", "cancelled"),
            "orphaned": ("ready", None),
            "timed": ("timeout", "deadline"),
            "again": ("ready", None),
            "waiting": ("blocked", None),
            "ready": ("ready", None),
            "interrupted": ("ready", "worker_died"),
            "doomed": ("failed", "worker_died"),
        }
        for name in ("interrupted", "doomed"):
            (execution,) = after[name]["executions"]
            assert execution["verdict"] == "lost"
            assert execution["error"] == "worker died: GigQ 0.5 had left it running"
            assert execution["completed_at"] is not None
        assert [each["attempt"] for each in after["bad"]["executions"]] == [1, 2]
        assert after["retried"]["retry_after"] is not None
        assert after["orphaned"]["dependencies"] == []

    def test_warnings(self, database: Path) -> None:
        """What became otherwise than it was is counted in words."""
        assert migrated_in(database).warnings == (
            "1 job left running by a worker that is gone: pending again, the attempt charged",
            "1 job left running by a worker that is gone: failed, all attempts used up",
            "2 jobs waiting for one that failed: cancelled, and requeued with that one",
            "dependencies on jobs that are not there: 2, taken as met",
            "executions of jobs that were cleared away: 1, dropped",
        )

    def test_counters_are_right(self, database: Path) -> None:
        """The counters and the references of the new tables hold together."""
        migrated_in(database)
        with JobQueue(database) as queue:
            counted = queue.stats()
            jobs = queue.list_jobs(limit=None)
        for status, count in counted.items():
            if status != "total":
                assert count == sum(job["status"] == status for job in jobs)
        assert counted["total"] == len(jobs)
        assert change(database, "PRAGMA foreign_key_check") == []
        assert change(database, "PRAGMA integrity_check") == [("ok",)]
        tables = {name for (name,) in change(database, "SELECT name FROM sqlite_schema")}
        assert not [name for name in tables if name.startswith(("gigq_0_5", "idx_jobs"))]

    def test_service_finishes_what_is_pending(self, database: Path) -> None:
        """Our service runs what was left, in the order and with the results that it should have."""
        folder = database.parent
        migrated_in(database)
        (folder / "interrupted-go").touch()
        with JobQueue(database) as queue:
            jobs = {job["name"]: job["id"] for job in queue.list_jobs()}
            assert queue.requeue_job(jobs["bad"])
        write_jobs(folder, JOBS.replace("raise ValueError(text)", "return 5"), "old_jobs.py")
        with Service(folder, configuration="[workers]\ncount = 1\n") as service:
            for name in (
                "ready", "again", "waiting", "orphaned", "interrupted", "bad", "child", "grandchild"
            ):  # fmt: skip
                service.wait_status(jobs[name], "completed", "failed")
            after = told(database)
        results = {name: job["result"] for name, job in after.items()}
        assert results["ready"] == 42
        assert results["again"] == results["bad"] == 5
        assert results["waiting"] == results["child"] == results["grandchild"] == 5
        assert results["orphaned"] == ["parent_results", "x"]
        assert results["interrupted"] == "late"
        assert after["interrupted"]["attempts"] == 2
        assert [each["verdict"] for each in after["interrupted"]["executions"]] == [
            "lost",
            "completed",
        ]
        begun = {name: job["started_at"] for name, job in after.items()}
        assert begun["interrupted"] < begun["ready"] < begun["orphaned"]
        assert after["retried"]["status"] == "pending"

    def test_late_finish_keeps_its_result(self, tmp_path: Path, old: OldGigq) -> None:
        """A result that 0.5.1 took from an earlier execution than the last is the job's result."""
        old.leave_running(tmp_path, "x")
        change(
            tmp_path / "gigq.db",
            "INSERT INTO job_executions SELECT 'late', job_id, 'other', 'completed', '2020-01-01', "
            "'2020-01-02', '\"early\"', NULL FROM job_executions",
            "UPDATE jobs SET status = 'completed', result = '\"early\"', attempts = 2",
        )
        migrated_in(tmp_path / "gigq.db")
        job = told(tmp_path / "gigq.db")["x"]
        assert (job["status"], job["result"], job["worker_id"]) == ("completed", "early", "other")
        assert [each["verdict"] for each in job["executions"]] == ["completed", "lost"]

    def test_finished_job_without_executions(self, small: Path) -> None:
        """A finished job whose executions are not there keeps its result, error and times."""
        change(
            small,
            "UPDATE jobs SET status = 'failed', error = 'gone', attempts = 3, "
            "started_at = '2024-05-06T07:08:09', completed_at = '2024-05-06T07:08:10.5'",
        )
        done = migrated_in(small)
        job = told(small)["one"]
        assert (done.jobs, done.executions) == (1, 0)
        assert (job["status"], job["error"], job["attempts"]) == ("failed", "gone", 3)
        assert job["started_at"] == "2024-05-06T07:08:09"
        assert job["completed_at"] == "2024-05-06T07:08:10.500000"

    @pytest.mark.parametrize(
        ("written", "timeout"),
        [("NULL", 300), ("0", 300), ("-1", 300), ("'soon'", 300), ("0.5", 0.5), ("1e300", 3.16e9)],
    )
    def test_timeouts(self, small: Path, written: str, timeout: float) -> None:
        """A timeout means what it meant, and never none."""
        change(small, f"UPDATE jobs SET timeout = {written}")  # noqa: S608
        migrated_in(small)
        assert told(small)["one"]["timeout"] == pytest.approx(timeout, rel=0.01)

    def test_values_that_0_5_1_let_through(self, small: Path) -> None:
        """What 0.5.1 stored though it should not have stays what it was."""
        change(
            small,
            'UPDATE jobs SET params = \'{"a": NaN, "b": 1}\', priority = 1.5, max_attempts = 0, '
            "description = NULL, retry_delay = NULL, name = 'J\u00fcrgen \U0001f600'",
        )
        migrated_in(small)
        job = told(small)["J\u00fcrgen \U0001f600"]
        assert repr(job["params"]) == "{'a': nan, 'b': 1}"
        assert (job["priority"], job["max_attempts"], job["description"]) == (1, 1, "")

    def test_file_of_an_earlier_0_5(self, small: Path) -> None:
        """A file without the columns that 0.5.1 adds by itself is converted all the same."""
        for column in ("pass_parent_results", "retry_delay", "retry_after"):
            change(small, f"ALTER TABLE jobs DROP COLUMN {column}")
        migrated_in(small)
        job = told(small)["one"]
        assert (job["pass_parent_results"], job["retry_delay"]) == (None, 0)

    def test_circle_and_self(self, small: Path, old: OldGigq) -> None:
        """Jobs that wait for each other or for themselves stay, and wait on."""
        code = (
            "import old_jobs, gigq; queue = gigq.JobQueue('gigq.db'); "
            "a, b, c = (gigq.Job(n, old_jobs.fail, max_attempts=1) for n in 'abc'); "
            "a.dependencies = [b.id]; b.dependencies = [a.id, a.id]; c.dependencies = [c.id]; "
            "[queue.submit(job) for job in (a, b, c)]"
        )
        old.run(small.parent, code)
        migrated_in(small)
        after = told(small)
        assert {after[name]["state"] for name in "abc"} == {"blocked"}
        assert after["b"]["dependencies"] == [after["a"]["id"]]
        assert after["c"]["dependencies"] == [after["c"]["id"]]

    def test_function_of_a_script(self, small: Path) -> None:
        """A pending job of a script's __main__ is named in a warning: nobody knows its file."""
        change(small, "UPDATE jobs SET function_module = '__main__'")
        assert migrated_in(small).warnings == (
            "1 job of a script's __main__, whose file is not known: submit them again",
        )

    def test_views_of_others_go_on(self, small: Path) -> None:
        """A table and a view of other people in the same file stay, and the view reads ours."""
        change(
            small,
            "CREATE TABLE note (text)",
            "INSERT INTO note VALUES ('mine')",
            "CREATE VIEW open_jobs AS SELECT name FROM jobs WHERE status = 'pending'",
        )
        migrated_in(small)
        assert change(small, "SELECT text FROM note") == [("mine",)]
        assert change(small, "SELECT name FROM open_jobs") == [("one",)]

    def test_large_database(self, small: Path) -> None:
        """Twenty thousand jobs in chains are converted within seconds, and the file is compact."""
        change(
            small,
            "INSERT INTO jobs WITH n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE "
            "i < 20000) SELECT 'job-' || i, 'n', function_name, function_module, params, priority, "
            "iif(i % 100 = 1, '[]', '[\"job-' || (i - 1) || '\"]'), 3, 300, '', "
            "iif(i % 100 = 1, 'failed', 'pending'), created_at, updated_at, 0, NULL, NULL, NULL, "
            "NULL, NULL, NULL, 0, NULL FROM jobs, n",
        )
        begun = time.monotonic()
        done = migrated_in(small)
        assert time.monotonic() - begun < 60
        assert done.jobs == 20_001
        with JobQueue(small) as queue:
            counts = queue.stats()
        assert (counts["failed"], counts["cancelled"], counts["pending"]) == (200, 19_800, 1)
        assert change(small, "PRAGMA freelist_count") == [(0,)]

    def test_lasting_choices(self, small: Path) -> None:
        """The converted file has the page size, vacuuming and log of a fresh one of ours."""
        migrated_in(small)
        SqliteStore(small.with_name("fresh.db")).close()
        for pragma in ("page_size", "auto_vacuum", "journal_mode", "application_id"):
            assert change(small, f"PRAGMA {pragma}") == change(
                small.with_name("fresh.db"), f"PRAGMA {pragma}"
            )


class TestBackup:
    """The copy that is made before."""

    def test_old_gigq_reads_it(self, database: Path, old: OldGigq) -> None:
        """The copy is what 0.5.1 had, whole, with the database's permissions, in one file."""
        database.chmod(0o640)
        before = old.dump(database)
        backup = migrated_in(database).backup
        assert backup is not None
        assert backup.parent == database.parent
        assert backup.name.startswith("gigq.db.before-migrate-20")
        assert backup.stat().st_mode & 0o777 == 0o640
        assert [file.name for file in backup.parent.glob(backup.name + "*")] == [backup.name]
        assert change(backup, "PRAGMA integrity_check") == [("ok",)]
        assert old.dump(backup) == before

    def test_never_overwritten(self, small: Path) -> None:
        """Copies made within one second all stay."""
        with closing(sqlite3.connect(small)) as source:
            copies = {back_up(source, small) for _ in range(5)}
        assert len(copies) == 5
        assert all(copy.stat().st_size for copy in copies)

    def test_damaged_database(self, small: Path) -> None:
        """A damaged database is not touched, and no copy of it is left."""
        fill(small, 500)
        with small.open("r+b") as file:
            file.seek(-6000, os.SEEK_END)
            file.write(b"\xff" * 3000)
        before = contents(small.parent)
        with pytest.raises(StoreError, match=r"damaged|malformed"):
            migrate(small)
        assert contents(small.parent) == before

    def test_no_room_for_it(self, small: Path) -> None:
        """Where no copy can be written nothing is done, and what was begun of it is removed."""
        fill(small, 500)
        before = contents(small.parent)
        code = (
            "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
            "from pathlib import Path; from gigq.queue.migrate import migrate; "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000)); migrate(Path(sys.argv[1]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(small)], capture_output=True, text=True, check=False
        )
        assert "no backup of" in done.stderr
        assert contents(small.parent) == before


class TestInUse:
    """A database that somebody uses is left alone."""

    def test_idle_program(self, small: Path, old: OldGigq) -> None:
        """A program of 0.5.1 that merely has the database open is named, and nothing is changed."""
        with old.start(small.parent, IDLE, "gigq.db") as program:
            assert program.stdout is not None
            program.stdout.readline()
            before = contents(small.parent)
            with pytest.raises(StoreBusyError) as refused:
                migrate(small)
            assert contents(small.parent) == before
            assert f"pid {program.pid} (" in str(refused.value)
            assert str(old.python) in str(refused.value)
            assert f"gigq migrate {small}" in str(refused.value)
            program.communicate()
        assert migrated_in(small).jobs == 1

    def test_working_worker(self, small: Path, old: OldGigq) -> None:
        """A worker of 0.5.1 in the middle of a job is waited for by people, not overrun."""
        with old.start(small.parent, RUNNING, "gigq.db", "job", "3") as worker:
            until((small.parent / "job").exists)
            with pytest.raises(StoreBusyError, match=f"pid {worker.pid}"):
                migrate(small)
            (small.parent / "job-go").touch()
            worker.communicate()
        migrated_in(small)
        assert told(small)["job"]["result"] == "late"

    def test_any_open_file(self, small: Path) -> None:
        """A process that has the file open without SQLite is found too."""
        with subprocess.Popen(
            [sys.executable, "-c", READER, str(small)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            with pytest.raises(StoreBusyError, match=f"pid {other.pid} "):
                migrate(small)
            other.communicate()
        assert migrated_in(small).jobs == 1

    def test_connection_of_this_process(self, small: Path) -> None:
        """A connection that this very process holds is in the way like any other."""
        with closing(sqlite3.connect(small)) as connection:
            connection.execute("SELECT * FROM jobs").fetchall()
            with pytest.raises(StoreBusyError, match="is in use by"):
                migrate(small)

    def test_old_gigq_afterwards(self, small: Path, old: OldGigq) -> None:
        """A program of 0.5.1 that is started after the conversion fails, and changes nothing."""
        migrated_in(small)
        before = told(small)
        for code in (
            "import gigq, old_jobs; gigq.JobQueue('gigq.db').submit(gigq.Job('x', old_jobs.add))",
            "import gigq, sys; sys.exit(not gigq.Worker('gigq.db').process_one())",
        ):
            process = old.start(small.parent, code)
            process.communicate()
            assert process.returncode != 0
        assert told(small) == before


class TestAllOrNothing:
    """However it ends, the file is as it was or as it should be."""

    def test_race(self, small: Path) -> None:
        """Of several processes exactly one converts; the others find it done."""
        assert race(small, 5) == ["GigQ 0.5", *[f"schema {CURRENT}"] * 4]
        assert len(list(small.parent.glob("*.before-migrate-*"))) == 1
        assert told(small)["one"]["status"] == "pending"

    def test_kill(self, small: Path) -> None:
        """Killed at any moment, it leaves a database that the next try converts."""
        fill(small, 5000)
        dice = random.Random(7)
        killed = 0
        while change(small, "PRAGMA application_id") == [(0,)]:
            assert change(small, "SELECT count(*) FROM jobs") == [(5001,)]
            with racers(small, 1) as (process,):
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(dice.uniform(0, 0.03) + killed * 0.01)
                killed += process.poll() is None
        with JobQueue(small) as queue:
            assert queue.stats()["pending"] == 5001
        assert killed > 2
        assert change(small, "PRAGMA integrity_check") == [("ok",)]

    @pytest.mark.parametrize(
        ("statement", "complaint"),
        [
            ("UPDATE jobs SET status = 'odd'", "there is no status 'odd'"),
            ("UPDATE jobs SET created_at = 'Monday'", "created_at or updated_at is no time"),
            ("UPDATE jobs SET dependencies = '{}'", "its dependencies are not a JSON list"),
            ("UPDATE jobs SET params = '{'", "its params are not JSON"),
            ("UPDATE jobs SET result = 'x'", "its result is not JSON"),
        ],
    )
    def test_row_that_cannot_be(self, small: Path, statement: str, complaint: str) -> None:
        """A row that 0.5.1 cannot have written is named, and all stays as it was."""
        change(small, statement)
        rows = change(small, "SELECT * FROM jobs")
        with pytest.raises(StoreError, match=complaint) as refused:
            migrate(small)
        assert rows[0][0] in str(refused.value)
        assert change(small, "SELECT * FROM jobs") == rows

    def test_name_is_taken(self, small: Path) -> None:
        """A table of somebody else with the name of one of ours is in the way, and stays."""
        change(small, "CREATE TABLE worker (mine)")
        with pytest.raises(StoreError, match="table worker already exists"):
            migrate(small)
        assert change(small, "SELECT count(*) FROM jobs") == [(1,)]


class TestOwnVersions:
    """Our own older schemas, upgraded by the same means."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Give a database of today, which a later version would find old."""
        path = tmp_path / "gigq.db"
        with JobQueue(path) as queue:
            queue.submit(Job("job", print))
        return path

    def test_race(self, path: Path) -> None:
        """Of several processes exactly one upgrades, though all and a client have it open."""
        with JobQueue(path) as client:
            client.stats()
            assert race(path, 5, COLOUR) == [
                f"schema {CURRENT}",
                *[f"schema {CURRENT + 1}"] * 4,
            ]
        assert change(path, "SELECT colour FROM job") == [("red",)]
        assert change(path, "PRAGMA user_version") == [(CURRENT + 1,)]
        (backup,) = path.parent.glob("*.before-migrate-*")
        assert change(backup, "PRAGMA user_version") == [(CURRENT,)]
        assert change(backup, "SELECT name FROM job") == [("job",)]

    def test_several_steps(self, path: Path) -> None:
        """A database that is two versions behind takes both steps at once."""
        (said,) = race(path, 1, COLOUR, "UPDATE job SET colour = 'blue';")
        assert said == f"schema {CURRENT}"
        assert change(path, "SELECT colour FROM job") == [("blue",)]
        assert change(path, "PRAGMA user_version") == [(CURRENT + 2,)]

    def test_step_that_fails(self, path: Path) -> None:
        """When a later step fails, the earlier ones are undone too."""
        (said,) = race(path, 1, COLOUR, "UPDATE no_such_table SET x = 1;")
        assert said.startswith("Store")
        assert "no such table" in said
        assert change(path, "PRAGMA user_version") == [(CURRENT,)]
        with JobQueue(path) as queue:
            assert queue.stats()["pending"] == 1

    def test_service_runs(self, path: Path) -> None:
        """While a service serves it, a database is not upgraded behind its back."""
        with closing(SqliteStore(path)) as store:
            lock = ServiceLock(store.companions)
            lock.describe({"pid": 812})
        (said,) = race(path, 1, COLOUR)
        lock.close()
        assert said.startswith("StoreBusyError gigqd (pid 812) serves")
        assert f"gigqd stop {path} && gigq migrate {path}" in said
        assert race(path, 1, COLOUR) == [f"schema {CURRENT}"]

    def test_worker_is_alive(self, path: Path) -> None:
        """A worker of the older version is left to finish; a dead one is not waited for."""
        with closing(SqliteStore(path)) as store:
            worker = store.register("old", own_identity())
            store.register("dead", own_identity()._replace(start_ticks=1))
            (said,) = race(path, 1, COLOUR)
            assert said.startswith(f"StoreBusyError old (pid {os.getpid()}) still works on {path}")
            store.retire(worker, lambda held: pytest.fail(str(held)))
        assert race(path, 1, COLOUR) == [f"schema {CURRENT}"]

    def test_up_to_date(self, path: Path) -> None:
        """A database of today is said to be one, and nothing is done."""
        before = contents(path.parent)
        assert migrate(path) == Migrated(0, 0, f"schema {CURRENT}", None)
        assert upgrade_if_older(path) is None
        assert contents(path.parent) == before

    def test_upgrade_by_the_service(self, path: Path) -> None:
        """The service upgrades while it holds its lock; there is nothing to do the second time."""
        code = MIGRATE.replace(
            "migrate(Path(sys.argv[1])).before",
            "[upgrade_if_older(Path(sys.argv[1])) for _ in range(2)]",
        )
        with closing(SqliteStore(path)) as store:
            lock = ServiceLock(store.companions)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), COLOUR],
            input="\n",
            capture_output=True,
            text=True,
            check=True,
        )
        lock.close()
        assert f"before='schema {CURRENT}'" in done.stdout
        assert done.stdout.endswith(", None]\n")


class TestRefusal:
    """What cannot be migrated is said in a sentence, and stays as it is."""

    def refuse(self, path: Path, error: type[GigqError], match: str) -> None:
        """Try, and compare the folder before and after."""
        before = contents(path.parent)
        with pytest.raises(error, match=match):
            migrate(path)
        assert contents(path.parent) == before
        assert not list(path.parent.glob("*.d"))

    def test_missing(self, tmp_path: Path) -> None:
        """A missing file is not created."""
        self.refuse(tmp_path / "none.db", StoreError, "there is no database .*none.db")
        assert upgrade_if_older(tmp_path / "none.db") is None
        assert list(tmp_path.iterdir()) == []

    def test_empty(self, tmp_path: Path) -> None:
        """An empty file has nothing to migrate."""
        (tmp_path / "gigq.db").touch()
        self.refuse(tmp_path / "gigq.db", StoreError, "nothing is to be migrated")

    def test_foreign(self, tmp_path: Path) -> None:
        """Another program's database is refused by name."""
        change(tmp_path / "gigq.db", "CREATE TABLE customer (id)")
        self.refuse(tmp_path / "gigq.db", ForeignDatabaseError, "another program .*customer")

    def test_tables_of_the_same_names(self, tmp_path: Path) -> None:
        """Tables that only have the names of GigQ's are not taken for them."""
        path = tmp_path / "gigq.db"
        change(path, "CREATE TABLE jobs (id, name)", "CREATE TABLE job_executions (id)")
        with pytest.raises(ForeignDatabaseError, match="not those of GigQ"):
            migrate(path)
        assert change(path, "SELECT * FROM jobs") == []

    def test_no_database(self, tmp_path: Path) -> None:
        """A text file is refused."""
        (tmp_path / "gigq.db").write_text("name,price\n" * 1000)
        self.refuse(tmp_path / "gigq.db", ForeignDatabaseError, "SQLite database")

    def test_newer(self, tmp_path: Path) -> None:
        """A database of a newer version is refused, with the command that helps."""
        path = tmp_path / "gigq.db"
        SqliteStore(path).close()
        change(path, f"PRAGMA user_version = {CURRENT + 1}")
        for attempt in (migrate, upgrade_if_older):
            with pytest.raises(SchemaVersionError, match=r"newer gigqd .*pip install -U"):
                attempt(path)
        assert not list(tmp_path.glob("*.before-migrate-*"))
