"""Making a database ours: set up once, refused when strange, untouched by a look."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gigq import Job, JobQueue, Worker
from gigq.queue.companions import Companions
from gigq.queue.connection import PAGE_BYTES, Connection
from gigq.queue.errors import ForeignDatabaseError, SchemaVersionError, StoreError
from gigq.queue.migrate import migrate
from gigq.queue.migrations import CURRENT, split
from gigq.queue.schema import APPLICATION_ID, VERSIONS
from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# The columns of GigQ 0.5.1's tables, in their order.
# fmt: off
JOBS = [
    "id", "name", "function_name", "function_module", "params", "priority", "dependencies",
    "max_attempts", "timeout", "description", "status", "created_at", "updated_at", "attempts",
    "result", "error", "started_at", "completed_at", "worker_id", "pass_parent_results",
    "retry_delay", "retry_after",
]
JOB_EXECUTIONS = [
    "id", "job_id", "worker_id", "status", "started_at", "completed_at", "result", "error",
]
# fmt: on

# Of the second version of our own.
OLD_JOB = """
INSERT INTO job (id, uuid, name, queue_id, state, priority, max_attempts, cause, cancelled_by,
                 created_at, updated_at)
VALUES (?1, ?2, 'job', 1, ?3, 0, 1, iif(?3 = 'cancelled', 'parent_failed', NULL),
        iif(?3 = 'cancelled', 1, NULL), 1, 1)"""
OLD_SPEC = """
INSERT INTO job_spec (job_id, kind, function_module, function_name, import_root, directory, python,
                      params)
VALUES (?, 'function', 'os', 'getpid', '', '/', 'python', '{}')"""

SUBMIT_ONE_EACH = """
import fcntl, sys
from gigq import Job, JobQueue
barrier, paths = open(sys.argv[1]), sys.argv[2:]
print("here", flush=True)
fcntl.flock(barrier, fcntl.LOCK_SH)
for path in paths:
    with JobQueue(path) as queue:
        queue.submit(Job("job", print))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a database that is not there."""
    return tmp_path / "gigq.db"


def run(path: Path, *statements: str) -> list[Any]:
    """Run statements on a database as somebody else; the rows of the last."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        rows = []
        for statement in statements:
            rows = connection.execute(statement).fetchall()
        return rows


def contents(folder: Path) -> dict[str, bytes]:
    """Give all files below a folder."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def looks(path: Path) -> Iterator[Callable[[], Any]]:
    """Give each way of looking at a database without submitting to it."""
    queue = JobQueue(path)
    yield lambda: queue.get_status("nobody")
    yield queue.list_jobs
    yield queue.stats
    yield lambda: queue.cancel("nobody")
    yield lambda: queue.requeue_job("nobody")
    yield queue.clear_completed
    yield Worker(path).process_one


class TestSetUp:
    """Creating the tables."""

    def test_fresh_file(self, path: Path) -> None:
        """The first submit makes a missing file a database of ours, with its lasting choices."""
        SqliteStore(path).close()
        for pragma, value in (
            ("application_id", APPLICATION_ID),
            ("user_version", CURRENT),
            ("journal_mode", "wal"),
            ("auto_vacuum", 2),
            ("page_size", PAGE_BYTES),
        ):
            assert run(path, f"PRAGMA {pragma}") == [(value,)]
        assert run(path, "SELECT name FROM queue") == [("default",)]

    def test_empty_file(self, path: Path) -> None:
        """An existing empty file is set up like a missing one, and keeps its permissions."""
        path.touch(mode=0o600)
        with JobQueue(path) as queue:
            queue.submit(Job("job", print))
            assert queue.stats()["pending"] == 1
        assert path.stat().st_mode & 0o777 == 0o600

    def test_second_opening_changes_nothing(self, path: Path) -> None:
        """A database of ours is opened as it is."""
        SqliteStore(path).close()
        before = contents(path.parent)
        SqliteStore(path).close()
        assert contents(path.parent) == before

    def test_race(self, tmp_path: Path) -> None:
        """Processes that submit their first jobs at the same moment all succeed."""
        paths = [tmp_path / f"{number}.db" for number in range(12)]
        with (tmp_path / "barrier").open("w") as barrier:
            fcntl.flock(barrier, fcntl.LOCK_EX)
            command = [sys.executable, "-c", SUBMIT_ONE_EACH, barrier.name, *map(str, paths)]
            racers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
            for racer in racers:
                assert racer.stdout is not None
                racer.stdout.readline()
        for racer in racers:
            racer.communicate()
        assert [racer.returncode for racer in racers] == [0] * 4
        for path in paths:
            with JobQueue(path) as queue:
                assert queue.stats()["pending"] == 4

    def test_half_made_file_is_finished(self, path: Path) -> None:
        """A file whose maker died before it had tables is set up by the next submit."""
        run(path, "PRAGMA journal_mode = WAL")
        assert path.stat().st_size > 0
        with JobQueue(path) as queue:
            queue.submit(Job("job", print))
            assert queue.stats()["pending"] == 1

    def test_missing_folder(self, tmp_path: Path) -> None:
        """A file whose folder does not exist cannot be made; the error names it."""
        path = tmp_path / "none" / "gigq.db"
        with pytest.raises(StoreError, match=f"{path} cannot be opened .* must exist"):
            SqliteStore(path)
        assert list(tmp_path.iterdir()) == []

    def test_deletions_find_their_references(self, path: Path) -> None:
        """Each reference to a row that can be deleted has an index: a deletion scans no table."""
        SqliteStore(path).close()
        never_deleted = {"queue", "workflow", "worker"}
        tables = run(path, "SELECT name FROM sqlite_schema WHERE type = 'table'")
        without = []
        for (table,) in tables:
            keys = {
                run(path, f"PRAGMA index_info({name})")[0][2]
                for _, name, _, _, partial in run(path, f"PRAGMA index_list({table})")
                if not partial
            }
            keys |= {
                name
                for _, name, _, _, _, key in run(path, f"PRAGMA table_info({table})")
                if key == 1
            }
            without += [
                (table, column)
                for _, _, target, column, *_ in run(path, f"PRAGMA foreign_key_list({table})")
                if target not in never_deleted and column not in keys
            ]
        assert without == []


class TestRefusal:
    """What is not ours, or not of this version, stays as it is."""

    @pytest.fixture(params=[True, False], ids=["submit", "look"])
    def opening(self, request: pytest.FixtureRequest, path: Path) -> Callable[[], object]:
        """Open the database to submit, or to look."""

        def opening() -> object:
            with JobQueue(path) as queue:
                return queue.submit(Job("job", print)) if request.param else queue.stats()

        return opening

    def test_foreign_database(self, path: Path, opening: Callable[[], object]) -> None:
        """A database with other tables is refused by name, and not a byte of it changes."""
        run(path, "CREATE TABLE customer (id)", "INSERT INTO customer VALUES (1)")
        before = contents(path.parent)
        with pytest.raises(ForeignDatabaseError, match=f"{path} belongs to .*customer"):
            opening()
        assert contents(path.parent) == before

    def test_foreign_application(self, path: Path, opening: Callable[[], object]) -> None:
        """An empty database that another program has marked as its own is refused."""
        run(path, "PRAGMA application_id = 77", "CREATE TABLE t (x)", "DROP TABLE t")
        with pytest.raises(ForeignDatabaseError, match="another program"):
            opening()
        assert run(path, "PRAGMA application_id") == [(77,)]

    def test_file_that_is_no_database(self, path: Path, opening: Callable[[], object]) -> None:
        """A text file is refused, and not a byte of it changes."""
        path.write_text("name,price\n" * 1000)
        before = contents(path.parent)
        with pytest.raises(ForeignDatabaseError, match="SQLite database"):
            opening()
        assert contents(path.parent) == before

    def test_folder(self, path: Path) -> None:
        """A folder is no database."""
        path.mkdir()
        with pytest.raises(StoreError, match=str(path)):
            SqliteStore(path)

    def test_database_of_gigq_0_5(self, path: Path, opening: Callable[[], object]) -> None:
        """A database that GigQ 0.5.1 wrote is not touched; the error says how to convert it."""
        run(
            path,
            f"CREATE TABLE jobs ({', '.join(JOBS)})",
            f"CREATE TABLE job_executions ({', '.join(JOB_EXECUTIONS)})",
            "CREATE INDEX idx_jobs_status ON jobs (status)",
            "INSERT INTO jobs (id, status) VALUES ('a', 'pending')",
        )
        before = contents(path.parent)
        with pytest.raises(ForeignDatabaseError, match=f"GigQ 0.5; .*gigq migrate {path}"):
            opening()
        assert contents(path.parent) == before

    def test_newer_version(self, path: Path, opening: Callable[[], object]) -> None:
        """A database of a newer version is refused, with the command that helps."""
        SqliteStore(path).close()
        run(path, f"PRAGMA user_version = {CURRENT + 1}")
        with pytest.raises(
            SchemaVersionError, match=rf"newer gigqd \(schema {CURRENT + 1}, .*pip install -U"
        ):
            opening()
        assert run(path, "PRAGMA user_version") == [(CURRENT + 1,)]

    def test_older_version(self, path: Path, opening: Callable[[], object]) -> None:
        """A database of an older version is not upgraded in passing; the error says how."""
        SqliteStore(path).close()
        run(path, "PRAGMA user_version = 0")
        with pytest.raises(SchemaVersionError, match="gigq migrate"):
            opening()
        assert run(path, "PRAGMA user_version") == [(0,)]


class TestLooks:
    """A look creates nothing."""

    def test_missing_file(self, path: Path) -> None:
        """No method but submit makes a file, or anything beside it."""
        for look in looks(path):
            look()
            assert list(path.parent.iterdir()) == []

    def test_empty_file(self, path: Path) -> None:
        """An empty file stays empty and alone."""
        path.touch()
        for look in looks(path):
            look()
            assert contents(path.parent) == {"gigq.db": b""}

    def test_file_being_set_up(self, path: Path) -> None:
        """While somebody sets a database up, looks find nothing yet, and no error."""
        run(path, "PRAGMA journal_mode = WAL")
        with closing(sqlite3.connect(path, isolation_level=None)) as maker:
            maker.execute("BEGIN IMMEDIATE")
            maker.execute("CREATE TABLE job (id)")
            none_yet = [look() for look in looks(path.with_name("none.db"))]
            assert [look() for look in looks(path)] == none_yet

    def test_refused_when_it_has_to_be_there(self, path: Path) -> None:
        """JobQueue(initialize=False) submits to no missing database, and says what to do."""
        with (
            JobQueue(path, initialize=False) as queue,
            pytest.raises(StoreError, match=f"no database {path}; submit a job"),
        ):
            queue.submit(Job("job", print))
        assert list(path.parent.iterdir()) == []


class TestViews:
    """`jobs` and `job_executions` show GigQ 0.5.1's columns to people who query by SQL."""

    @pytest.fixture
    def queue(self, path: Path) -> Iterator[JobQueue]:
        """Give a queue with a job in each of several states."""
        with JobQueue(path) as queue:
            first = Job("add", abs, params={"x": -3}, priority=3, max_attempts=1)
            failing = Job("fail", "builtins.open", max_attempts=1, timeout=None, description="why")
            again = Job("again", "builtins.open", retry_delay=90.5, timeout=0.5)
            child = Job(
                "child", print, dependencies=[first.id, failing.id], pass_parent_results=True
            )
            for job in (first, failing, again, child):
                queue.submit(job)
            with closing(Worker(path, worker_id="me")) as worker:
                while worker.process_one():
                    pass
            queue.submit(Job("later", print, delay=60))
            yield queue

    def test_columns(self, path: Path, queue: JobQueue) -> None:
        """Both views have the columns of the tables that they stand for, in their order."""
        assert queue.stats()["total"] == 5
        with closing(sqlite3.connect(path)) as connection:
            for view, columns in (("jobs", JOBS), ("job_executions", JOB_EXECUTIONS)):
                shown = connection.execute(f"SELECT * FROM {view}")  # noqa: S608
                assert [column[0] for column in shown.description] == columns

    def test_values_are_those_of_the_api(self, path: Path, queue: JobQueue) -> None:
        """A row of `jobs` says what get_status says: JSON as text, times to milliseconds."""
        with closing(sqlite3.connect(path)) as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute("SELECT * FROM jobs").fetchall()
            executions = connection.execute("SELECT * FROM job_executions").fetchall()
        for row in rows:
            told = queue.get_status(row["id"])
            shown = dict(row)
            for key in ("params", "dependencies", "result"):
                shown[key] = None if shown[key] is None else json.loads(shown[key])
            passes = shown["pass_parent_results"]
            shown["pass_parent_results"] = None if passes is None else bool(passes)
            for key in ("created_at", "updated_at", "started_at", "completed_at", "retry_after"):
                assert (shown[key] is None) == (told[key] is None)
                times = [datetime.fromisoformat(each[key]) for each in (shown, told) if each[key]]
                assert not times or abs(times[0] - times[1]) < timedelta(milliseconds=1)
                told[key] = shown[key]
            assert shown == {key: told[key] for key in JOBS}
            counted = [each for each in executions if each["job_id"] == row["id"]]
            assert [each["status"] for each in counted] == [
                each["status"] for each in told["executions"]
            ]

    def test_views_cannot_be_written(self, path: Path, queue: JobQueue) -> None:
        """Whoever tries to change a job through the view is refused."""
        queue.close()
        with pytest.raises(sqlite3.OperationalError, match="view"):
            run(path, "UPDATE jobs SET status = 'pending'")


def test_nothing_is_left_open(path: Path) -> None:
    """A refused database is not held open."""
    path.write_text("no database")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for create in (True, False):
        with pytest.raises(ForeignDatabaseError):
            SqliteStore(path, create=create)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


class TestThirdVersion:
    """What the third version of the tables adds, to databases made before."""

    @pytest.fixture
    def path(self, path: Path) -> Path:
        """Give a database of the second version, with a failed parent and its two children."""
        with closing(Connection(path, Companions(path), synchronous="NORMAL")) as connection:
            connection.use_write_ahead_log()
            with connection:
                for statement in split("".join(VERSIONS[:2])):
                    connection.run(statement)
                connection.run(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.run("PRAGMA user_version = 2")
                for job, state in enumerate(("failed", "cancelled", "cancelled", "ready"), 1):
                    connection.run(OLD_JOB, (job, f"job {job}", state))
                    connection.run(OLD_SPEC, (job,))
                connection.run("INSERT INTO edge VALUES (1, 2, 0), (1, 3, 0)")
                connection.run("INSERT INTO tally VALUES (1, 'failed', 1), (1, 'cancelled', 2)")
                connection.run("INSERT INTO tally VALUES (1, 'ready', 1)")
        return path

    def test_same_tables_as_in_a_fresh_one(self, path: Path, tmp_path: Path) -> None:
        """An upgraded database has the tables and indexes of one that is made today."""
        with pytest.raises(SchemaVersionError, match="gigq migrate"):
            SqliteStore(path)
        migrate(path)
        fresh = tmp_path / "fresh.db"
        SqliteStore(fresh).close()
        look = "SELECT name, sql FROM sqlite_schema WHERE type <> 'trigger' ORDER BY name"
        assert run(path, look) == run(fresh, look)

    def test_children_are_told(self, path: Path) -> None:
        """A parent from before is known to have children: its requeue revives them."""
        migrate(path)
        assert run(path, "SELECT id FROM job WHERE has_children") == [(1,)]
        with JobQueue(path) as queue:
            assert queue.requeue_job("job 1")
            assert queue.stats()["pending"] == 4
            worker = Worker(path)
            for _ in range(4):
                worker.process_one()
            assert queue.stats() == {"completed": 4} | dict.fromkeys(
                ("pending", "running", "failed", "cancelled", "timeout"), 0
            ) | {"total": 4}

    def test_client_of_before(self, path: Path) -> None:
        """A client that has had the file open over the upgrade submits a child, which is told."""
        with closing(sqlite3.connect(path, isolation_level=None)) as client:
            client.execute("SELECT count(*) FROM job").fetchone()
            migrate(path)
            for job, state in ((5, "ready"), (6, "blocked")):
                client.execute(OLD_JOB, (job, f"job {job}", state))
                client.execute(OLD_SPEC, (job,))
            client.execute("UPDATE job SET waiting_on = 1 WHERE id = 6")
            client.execute("INSERT INTO edge VALUES (5, 6, 0)")
        with JobQueue(path) as queue:
            worker = Worker(path)
            for _ in range(3):
                worker.process_one()
            assert queue.get_status("job 6")["status"] == "completed"
