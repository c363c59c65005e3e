"""One private connection: a fair lock, a short log, forks, and errors that name the file."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gc
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from harness import until

from gigq import Job, JobQueue
from gigq.queue import clock, log_file
from gigq.queue.companions import Companions
from gigq.queue.connection import Connection, roll_back_interrupted
from gigq.queue.errors import StoreBusyError, StoreError, StoreUnusableError
from gigq.queue.identity import own_identity
from gigq.queue.log_file import LogFile
from gigq.queue.sqlite_errors import is_busy
from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

MEGABYTE = 1 << 20
CHECKPOINT_BYTES = 4 * MEGABYTE
WRITTEN_WITHIN = 10  # seconds; by itself the kernel writes after 30
WRITE_OUT = LogFile.write_out
_CACHESTAT = 451  # a system call

WRITE_UNTIL_TOLD = """
import fcntl, json, os, sys, time
from pathlib import Path
from gigq.queue.identity import own_identity
from gigq.queue.sqlite_store import SqliteStore
barrier, path, seconds = open(sys.argv[1]), sys.argv[2], float(sys.argv[3])
store, who = SqliteStore(path, durable=False), own_identity()
print("here", flush=True)
fcntl.flock(barrier, fcntl.LOCK_SH)
commits, longest, now = 0, 0.0, time.monotonic()
end = now + seconds
while now < end:
    store.register("writer", who)
    before, now = now, time.monotonic()
    longest = max(longest, now - before)
    commits += 1
print(json.dumps([commits, longest]))
"""

WITHOUT_DESCRIPTORS = """
import os, resource, sys
from gigq.queue.identity import own_identity
from gigq.queue.sqlite_store import SqliteStore

store, who = SqliteStore("gigq.db", checkpoint_bytes=1), own_identity()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
used = []
try:
    while True:
        used.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for _ in range(int(sys.argv[1])):
    os.close(used.pop())
for name in "first", "second":
    store.register(name, who)
assert [each.name for each in store.open_workers()] == ["first", "second"]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a database that is set up."""
    path = tmp_path / "gigq.db"
    SqliteStore(path).close()
    return path


@pytest.fixture
def outsider(path: Path) -> Iterator[sqlite3.Connection]:
    """Give somebody else's connection to the database."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as found:
        yield found


def connect(path: Path, patience: float = 30) -> Connection:
    """Open a connection."""
    return Connection(path, Companions(path), synchronous="NORMAL", patience=patience)


def write_megabyte(store: SqliteStore) -> None:
    """Submit a job with a megabyte of parameters."""
    record = Job("large", print, params={"text": "x" * MEGABYTE}).to_record(clock.now())
    store.submit([record])


def log_size(path: Path) -> int:
    """Give the size of the write-ahead log."""
    return os.stat(f"{path}-wal").st_size  # noqa: PTH116


class TestLock:
    """Waiting for the write lock."""

    def test_writers_share_it_fairly(self, path: Path) -> None:
        """Of several processes that write in a tight loop none is starved."""
        with (path.parent / "barrier").open("w") as barrier:
            fcntl.flock(barrier, fcntl.LOCK_EX)
            command = [sys.executable, "-c", WRITE_UNTIL_TOLD, barrier.name, str(path), "1"]
            writers = [
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)
            ]
            for writer in writers:
                assert writer.stdout is not None
                writer.stdout.readline()
        told = [json.loads(writer.communicate()[0]) for writer in writers]
        assert [writer.returncode for writer in writers] == [0] * 6
        commits = [each for each, _ in told]
        assert min(commits) * 10 > max(commits)
        assert max(longest for _, longest in told) < 0.9
        with closing(SqliteStore(path)) as store:
            assert len(store.open_workers()) == sum(commits)

    def test_busy_error_names_the_file(self, path: Path, outsider: sqlite3.Connection) -> None:
        """A lock held by an outsider ends the wait after `patience`; the error names the file."""
        with closing(SqliteStore(path, patience=0.2)) as store:
            outsider.execute("BEGIN IMMEDIATE")
            start = time.monotonic()
            with pytest.raises(StoreBusyError, match=rf"{path} has been locked .* 0\.2 s"):
                store.register("worker", own_identity())
            assert 0.2 <= time.monotonic() - start < 2
            outsider.execute("COMMIT")
            store.register("worker", own_identity())
            assert len(store.open_workers()) == 1

    def test_patience_ends_with_the_lock(self, path: Path, outsider: sqlite3.Connection) -> None:
        """A writer that waits goes on as soon as the outsider lets go."""
        outsider.execute("BEGIN IMMEDIATE")
        with closing(SqliteStore(path)) as store, closing(SqliteStore(path)) as other:
            writer = threading.Thread(target=store.register, args=("worker", own_identity()))
            writer.start()
            assert other.open_workers() == []
            outsider.execute("COMMIT")
            writer.join(10)
            assert not writer.is_alive()
            assert len(other.open_workers()) == 1

    def test_patience_covers_looks(self, tmp_path: Path) -> None:
        """A look at a file that is locked as a whole waits too, and then names it."""
        path = tmp_path / "plain.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as outsider:
            outsider.execute("CREATE TABLE t (x)")
            outsider.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreBusyError, match=f"{path} has been locked"):
                SqliteStore(path, create=False, patience=0.05)

    def test_only_locks_are_waited_for(self, path: Path) -> None:
        """Another error than a lock is raised at once, and is not called busy."""
        with closing(connect(path)) as connection:
            start = time.monotonic()
            with pytest.raises((sqlite3.Error, StoreError), match="nowhere") as caught:
                connection.rows("SELECT * FROM nowhere")
            assert not isinstance(caught.value, StoreBusyError)
            assert time.monotonic() - start < 5


class TestTransaction:
    """A with block is one write transaction."""

    def test_commit(self, path: Path) -> None:
        """What the block did is there for others when it has ended, and not before."""
        with closing(connect(path)) as one, closing(connect(path)) as other:
            with one:
                one.run("INSERT INTO queue (name) VALUES ('mail')")
                assert len(other.rows("SELECT * FROM queue")) == 1
            assert len(other.rows("SELECT * FROM queue")) == 2

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_roll_back(self, path: Path, error: type[BaseException]) -> None:
        """A block that raises has done nothing, and the connection can be used again."""
        with closing(connect(path)) as connection:
            with suppress(error), connection:
                connection.run("INSERT INTO queue (name) VALUES ('mail')")
                raise error
            assert len(connection.rows("SELECT * FROM queue")) == 1
            with connection:
                connection.run("INSERT INTO queue (name) VALUES ('mail')")

    def test_failed_commit(self, path: Path) -> None:
        """A commit that fails undoes the block and frees the lock."""
        with closing(connect(path)) as connection, closing(connect(path, patience=0)) as other:
            connection.rows("PRAGMA foreign_keys = ON")
            connection.__enter__()
            connection.run("PRAGMA defer_foreign_keys = ON")
            connection.run("INSERT INTO edge VALUES (1, 2, 0)")
            with pytest.raises((sqlite3.IntegrityError, StoreError)):
                connection.__exit__(None, None, None)
            with other:
                assert other.rows("SELECT * FROM edge") == []

    def test_settings(self, path: Path) -> None:
        """The connection never checkpoints by itself, and checks no references."""
        with closing(connect(path)) as connection:
            assert connection.row("PRAGMA wal_autocheckpoint") == (0,)
            assert connection.row("PRAGMA foreign_keys") == (0,)
            assert connection.row("PRAGMA busy_timeout") == (0,)


class TestInterruption:
    """An exception of a signal handler comes where `with` has the lock and no block yet."""

    def test_lock_is_given_back(self, path: Path, outsider: sqlite3.Connection) -> None:
        """What this thread was in the middle of is undone, and nothing else."""
        with closing(connect(path)) as connection:
            connection.__enter__()
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                outsider.execute("PRAGMA busy_timeout = 0").execute("BEGIN IMMEDIATE")
            thread = threading.Thread(target=roll_back_interrupted)
            thread.start()
            thread.join()
            assert connection._sqlite.in_transaction
            roll_back_interrupted()
            outsider.execute("BEGIN IMMEDIATE").execute("ROLLBACK")

    def test_next_transaction_begins_anew(self, path: Path) -> None:
        """What was left of an interrupted one does not become part of the next."""
        with closing(SqliteStore(path)) as store:
            store._connection.__enter__()
            store._connection.run("INSERT INTO queue (name) VALUES ('left')")
            with store._connection:
                store._connection.run("INSERT INTO queue (name) VALUES ('meant')")
            names = store._connection.rows("SELECT name FROM queue ORDER BY id")
            assert names == [("default",), ("meant",)]

    def test_nothing_to_give_back(self, path: Path) -> None:
        """After transactions that ended there is nothing left to do."""
        with closing(SqliteStore(path)) as store:
            store.register("worker", own_identity())
            roll_back_interrupted()
            store.register("worker", own_identity())
            assert len(store.open_workers()) == 2


class TestSync:
    """The log is synced behind a commit."""

    @pytest.fixture
    def store(self, path: Path) -> Iterator[SqliteStore]:
        """Give a store that has synced once."""
        with closing(SqliteStore(path, durable=False)) as store:
            store.register("worker", own_identity())
            store.sync()
            yield store

    def test_without_descriptors(self, store: SqliteStore) -> None:
        """Who has used up all descriptors can still sync."""
        store.register("worker", own_identity())
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))
        try:
            store.sync()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    def test_descriptor_that_was_taken_away(self, store: SqliteStore, tmp_path: Path) -> None:
        """Where a job has closed it, or put something else in its place, the log is opened anew."""
        log = store._connection._log.file
        synced: list[str] = []
        fdatasync = os.fdatasync

        def recorded(descriptor: int) -> None:
            synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
            fdatasync(descriptor)

        with patch.object(os, "fdatasync", recorded):
            os.close(log._file.number)
            store.sync()
            with (tmp_path / "other").open("w") as other:
                os.dup2(other.fileno(), log._file.number)
            taken = log._file.number
            store.sync()
            os.close(taken)
        assert synced == [f"{store.path}-wal"] * 2

    def test_failed_sync(self, store: SqliteStore) -> None:
        """After a sync that failed the log is written again before the next one counts."""
        fdatasync, pwrite = os.fdatasync, os.pwrite
        done: list[str] = []

        def failing(_: int) -> None:
            done.append("failed")
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        def written(descriptor: int, chunk: bytes, offset: int) -> int:
            done.append("written")
            return pwrite(descriptor, chunk, offset)

        def synced(descriptor: int) -> None:
            done.append("synced")
            fdatasync(descriptor)

        before = Path(f"{store.path}-wal").read_bytes()
        with patch.object(os, "pwrite", written):
            with (
                patch.object(os, "fdatasync", failing),
                pytest.raises(StoreUnusableError, match="cannot be synced: Input/output error"),
            ):
                store.sync()
            with patch.object(os, "fdatasync", synced):
                store.sync()
                store.sync()
        assert done == ["failed", "written", "synced", "synced"]
        assert Path(f"{store.path}-wal").read_bytes() == before
        store.register("another", own_identity())

    def test_other_journal_mode(self, path: Path) -> None:
        """A copy that has no write-ahead log gets one when it is opened."""
        SqliteStore(path).close()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        with closing(SqliteStore(path, durable=False, create=False)) as store:
            store.register("worker", own_identity())
            store.sync()
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


class TestLog:
    """The write-ahead log is moved into the database before it grows long."""

    @pytest.mark.parametrize("by_link", [False, True], ids=["path", "symbolic link"])
    def test_it_stays_short(self, path: Path, by_link: bool) -> None:  # noqa: FBT001
        """However much is written, by whatever name of the file, the log stays bounded."""
        name = path
        if by_link:
            name = path.parent / "elsewhere" / "link.db"
            name.parent.mkdir()
            name.symlink_to(path)
        with closing(SqliteStore(name, durable=False, checkpoint_bytes=CHECKPOINT_BYTES)) as store:
            longest = 0
            for _ in range(16):
                write_megabyte(store)
                longest = max(longest, log_size(path))
        assert longest < CHECKPOINT_BYTES + 3 * MEGABYTE

    def test_many_writers(self, path: Path) -> None:
        """Writers that take turns keep the log as short as one does."""
        stores = [
            SqliteStore(path, durable=False, checkpoint_bytes=CHECKPOINT_BYTES) for _ in range(3)
        ]
        longest = 0
        for number in range(18):
            write_megabyte(stores[number % 3])
            longest = max(longest, log_size(path))
        for store in stores:
            store.close()
        assert longest < CHECKPOINT_BYTES + 5 * MEGABYTE

    def test_long_reader(self, path: Path, outsider: sqlite3.Connection) -> None:
        """A reader pins the log only as long as it reads."""
        outsider.execute("BEGIN")
        outsider.execute("SELECT * FROM job").fetchall()
        with closing(SqliteStore(path, durable=False, checkpoint_bytes=CHECKPOINT_BYTES)) as store:
            for _ in range(12):
                write_megabyte(store)
            assert log_size(path) > 12 * MEGABYTE
            outsider.execute("COMMIT")
            for _ in range(8):
                write_megabyte(store)
            assert log_size(path) < CHECKPOINT_BYTES + 3 * MEGABYTE

    def test_checkpoint_waits_for_nobody(self, path: Path) -> None:
        """While another process checkpoints, or the lock's folder is gone, writers go on."""
        companions = Companions(path)
        lock = companions.open_lock(companions.checkpoint_lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with closing(SqliteStore(path, durable=False, checkpoint_bytes=CHECKPOINT_BYTES)) as store:
            for _ in range(6):
                write_megabyte(store)
            os.close(lock)
            for _ in range(6):
                write_megabyte(store)
            assert log_size(path) < 2 * CHECKPOINT_BYTES

    @pytest.mark.parametrize("free", [0, 1, 2])
    def test_commit_stands_without_a_checkpoint(self, tmp_path: Path, free: int) -> None:
        """Where nothing can be opened for a checkpoint, what was committed counts as committed."""
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_DESCRIPTORS, str(free)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def test_no_writer_during_a_checkpoint(self, path: Path) -> None:
        """The log is moved only while the write lock is held, so that no writer resets it."""
        held: list[bool] = []
        with (
            closing(connect(path)) as connection,
            closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as outsider,
        ):

            def is_locked(statement: str) -> None:
                if "wal_checkpoint" in statement:
                    try:
                        outsider.execute("BEGIN IMMEDIATE")
                    except sqlite3.OperationalError as error:
                        held.append(is_busy(error))
                    else:
                        outsider.execute("ROLLBACK")
                        held.append(False)

            connection._sqlite.set_trace_callback(is_locked)
            connection._checkpoint()
        assert held == [True]


FORK = '''
import json, os, sys
from gigq import Job
from gigq.queue import clock
from gigq.queue.identity import own_identity
from gigq.queue.sqlite_store import SqliteStore

store = SqliteStore(sys.argv[1], durable=False)
store.register("parent", own_identity())
inherited = store._connection._sqlite
reader, writer = os.pipe()
if os.fork() == 0:
    ACTION
    os.write(writer, json.dumps(store._connection._sqlite is not inherited).encode())
    END
os.close(writer)
_, status = os.wait()
told = os.read(reader, 99).decode()
for number in range(20):
    store.register(f"parent {number}", own_identity())
# A stranger that comes and goes deletes the log, if it finds nobody's locks.
import subprocess
code = """
import sqlite3, sys
stranger = sqlite3.connect(sys.argv[1])
stranger.execute("SELECT * FROM job").fetchall()
stranger.close()
"""
subprocess.run([sys.executable, "-c", code, sys.argv[1]], check=True)
assert os.path.exists(sys.argv[1] + "-wal")
store.register("last", own_identity())
store.close()
print(status, told)
'''


class TestFork:
    """A connection inherited over a fork."""

    @pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit()"])
    @pytest.mark.parametrize(
        ("action", "lives"),
        [
            ("store.register('child', own_identity())", 23),
            ("store.counts()", 22),
        ],
        ids=["write", "read"],
    )
    def test_use(self, path: Path, action: str, lives: int, end: str) -> None:
        """A child that uses its parent's store does so over a connection of its own."""
        assert self.fork(path, action, end) == ["0", "true"]
        assert self.lives(path) == lives

    @pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit()"])
    @pytest.mark.parametrize("action", ["pass", "store.close()"])
    def test_end(self, path: Path, action: str, end: str) -> None:
        """A child that closes its parent's store, or just ends, harms nothing."""
        action = f"{action}\n    store = SqliteStore(sys.argv[1]); inherited = None"
        assert self.fork(path, action, end) == ["0", "true"]
        assert self.lives(path) == 22

    @staticmethod
    def fork(path: Path, action: str, end: str) -> list[str]:
        """Let a program fork, the child do something, and the parent go on."""
        code = FORK.replace("ACTION", action).replace("END", end)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    @staticmethod
    def lives(path: Path) -> int:
        """Count what parent and child have written; the file is sound."""
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found: int = database.execute("SELECT count(*) FROM worker").fetchone()[0]
        return found


CLOSED = """
import os, sys
from gigq import Job, JobQueue
from gigq.queue.errors import DescriptorsLostError

queue, other = JobQueue(sys.argv[1]), JobQueue(sys.argv[1])
for each in (other, queue, other):
    each.submit(Job("job", "os.getpid"))
other.close()
JobQueue(sys.argv[1]).stats()  # forgotten, and closed by Python
queue.submit(Job("job", "os.getpid"))
print(queue.stats()["total"])
os.closerange(3, 1000)
files = [open(f"{sys.argv[1]}.own{number}", "w+") for number in range(int(sys.argv[2]))]
for use in (lambda: queue.submit(Job("lost", "os.getpid")), queue.stats, queue.list_jobs):
    try:
        use()
    except DescriptorsLostError as error:
        print("start it anew" in str(error))
queue.close()
"""


# What is left of the first connection's is taken up again by the third one.
TAKEN_UP = """
import os, sys
from gigq import Job, JobQueue
from gigq.queue.errors import DescriptorsLostError

path, opened, has_closed_first = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True"
first, second = JobQueue(path), JobQueue(path)
for each in (first, second):
    each.submit(Job("job", "os.getpid"))
first.close()
third = JobQueue(path)
if not has_closed_first:
    third.submit(Job("job", "os.getpid"))
os.closerange(3, 1000)
files = [open(f"{path}.own{number}", "w+") for number in range(opened)]
for queue in (third, JobQueue(path)):
    for _ in range(2):
        try:
            queue.submit(Job("lost", "os.getpid"))
        except DescriptorsLostError as error:
            print("start it anew" in str(error))
"""

AT_ONCE = """
import os, sys, threading
from gigq import Job, JobQueue
from gigq.queue.errors import DescriptorsLostError

queues = [JobQueue(sys.argv[1]) for _ in range(8)]
threads = [threading.Thread(target=queue.stats) for queue in queues]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
logs = sorted(
    int(name) for name in os.listdir("/proc/self/fd")
    if os.path.realpath(f"/proc/self/fd/{name}").endswith(".db-wal")
)
for number in logs:
    os.close(number)
for queue in queues:
    try:
        queue.submit(Job("lost", "os.getpid"))
    except DescriptorsLostError as error:
        print("start it anew" in str(error))
"""


class TestClosedDescriptors:
    """A program that closes what it did not open, as some do to become daemons."""

    @pytest.mark.parametrize("opened", [0, 30])
    def test_use(self, path: Path, opened: int) -> None:
        """It gets an error, and nothing is written into the files that it has opened since."""
        command = [sys.executable, "-c", CLOSED, str(path), str(opened)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.stdout.split(), done.stderr) == (["4", "True", "True", "True"], "")
        own = list(path.parent.glob("*.own*"))
        assert [file.stat().st_size for file in own] == [0] * opened
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("SELECT count(*) FROM job").fetchone() == (4,)

    @pytest.mark.parametrize("has_closed_first", [False, True])
    @pytest.mark.parametrize("opened", [0, 30])
    def test_new_connection(self, path: Path, opened: int, has_closed_first: bool) -> None:  # noqa: FBT001
        """It does not use what others of its process have left, or share, and somebody closed."""
        command = [sys.executable, "-c", TAKEN_UP, str(path), str(opened), str(has_closed_first)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (done.stdout.split(), done.stderr) == (["True"] * 4, "")
        own = list(path.parent.glob("*.own*"))
        assert [file.stat().st_size for file in own] == [0] * opened
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            jobs = 2 if has_closed_first else 3
            assert database.execute("SELECT count(*) FROM job").fetchone() == (jobs,)

    def test_opened_at_once(self, path: Path) -> None:
        """Connections that threads open at the same time are each known by their own."""
        JobQueue(path).close()
        command = [sys.executable, "-c", AT_ONCE, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (done.stdout.split(), done.stderr) == (["True"] * 8, "")


class TestFile:
    """What a connection needs of its file."""

    def test_missing_folder(self, tmp_path: Path) -> None:
        """A connection to a file in no folder is refused by name."""
        path = tmp_path / "none" / "gigq.db"
        with pytest.raises(StoreError, match=f"{path} cannot be opened"):
            connect(path)

    def test_closing_twice(self, path: Path) -> None:
        """To close a store again is harmless."""
        store = SqliteStore(path)
        store.close()
        store.close()

    def test_strange_names(self, tmp_path: Path) -> None:
        """The name of a database may hold any character that a file's name may."""
        for name in ("a b.db", "50%.db", "x?mode=memory", "file:y.db", "ü#'.db", "-.db"):
            with JobQueue(tmp_path / name) as queue:
                queue.submit(Job("job", print))
            assert (tmp_path / name).stat().st_size > 0
            assert Path(f"{tmp_path / name}.d").is_dir()


class TestLength:
    """The length of the log is looked at after each commit."""

    @pytest.mark.parametrize("size", [0, 5_000, 1 << 24, 3 << 30])
    def test_as_it_grows(self, tmp_path: Path, size: int) -> None:
        """It is the file's, whatever it is."""
        path = tmp_path / "gigq.db-wal"
        path.touch()
        log = LogFile(str(path), tmp_path)
        assert log.length() == 0
        os.truncate(path, size)
        assert log.length() == size
        log.close()

    def test_another_file_in_its_place(self, tmp_path: Path) -> None:
        """Where a job has put a file in the place of the log, its position is not moved."""
        path = tmp_path / "gigq.db-wal"
        path.write_bytes(b"log")
        log = LogFile(str(path), tmp_path)
        log.length()
        taken = log._file.number
        with (tmp_path / "other").open("w+") as other:
            other.write("0123456789")
            other.seek(3)
            os.dup2(other.fileno(), taken)
            assert log.length() == 7
            assert other.read() == "3456789"
        assert 3 in (log.length() for _ in range(100))  # it is noticed
        os.close(taken)

    def test_closed_by_a_job(self, tmp_path: Path) -> None:
        """Where a job has closed it, and no other descriptor is left, its length is known."""
        path = tmp_path / "gigq.db-wal"
        path.write_bytes(b"log")
        log = LogFile(str(path), tmp_path)
        log.length()
        os.close(log._file.number)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        try:
            assert {log.length() for _ in range(200)} == {3}
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    def test_missing(self, tmp_path: Path) -> None:
        """There may be none: nothing was written yet."""
        with pytest.raises(FileNotFoundError):
            LogFile(str(tmp_path / "gigq.db-wal"), tmp_path).length()

    def test_nothing_stays_open(self, tmp_path: Path) -> None:
        """Neither of a store that nobody has closed, nor where its folder was deleted before."""
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for number in range(5):
            folder = tmp_path / str(number)
            folder.mkdir()
            store = SqliteStore(folder / "gigq.db", durable=False)
            store.register("worker", own_identity())
            store.sync()
            if number % 2:
                shutil.rmtree(folder)
                store.close()
            del store
            gc.collect()
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


class TestWritingOut:
    """What was committed and not synced goes its way to the disk while work goes on."""

    def test_while_commits_follow(self, tmp_path: Path) -> None:
        """The most of the log is on its disk long before the kernel would write it by itself."""
        path = tmp_path / "gigq.db"
        with closing(SqliteStore(path, durable=False)) as store:
            for number in range(200):
                store.register(f"worker {number}", own_identity())
            fresh = tmp_path / "fresh"
            fresh.write_bytes(bytes(MEGABYTE))
            if not _dirty_bytes(fresh):
                pytest.skip("of this file system it is not known what waits to be written")
            log = Path(f"{path}-wal")
            until(lambda: _dirty_bytes(log) < log.stat().st_size / 2, seconds=WRITTEN_WITHIN)

    def test_without_descriptors(self, tmp_path: Path) -> None:
        """Where it cannot be done, nothing is lost but time."""
        with closing(SqliteStore(tmp_path / "gigq.db", durable=False)) as store:
            who = own_identity()
            store.register("worker", who)
            before = resource.getrlimit(resource.RLIMIT_NOFILE)
            os.close(store._connection._log.file._file.number)
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
            try:
                with patch.object(LogFile, "write_out", autospec=True) as sent:
                    sent.side_effect = WRITE_OUT
                    for number in range(100):
                        store.register(f"worker {number}", who)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            assert sent.called
            assert len(store.open_workers()) == 101

    @pytest.mark.parametrize(
        ("code", "is_lost"), [(errno.EIO, True), (errno.ENOSPC, True), (errno.ENOSYS, False)]
    )
    def test_failure(self, tmp_path: Path, code: int, *, is_lost: bool) -> None:
        """What the disk has refused is written once more before it is synced."""

        def refused(*_: object) -> int:
            ctypes.set_errno(code)
            return -1

        with closing(SqliteStore(tmp_path / "gigq.db", durable=False)) as store:
            store.register("worker", own_identity())
            log = store._connection._log.file
            with patch.object(log_file, "_write_out", refused):
                log.write_out()
            assert log.is_doubtful is is_lost
            store.sync()
            assert not log.is_doubtful


def _dirty_bytes(path: Path) -> int:
    """Ask the page cache (cachestat(2), Linux 6.5) how much of a file waits to be written."""
    # The question is offset and length; of the five numbers of the answer it is the second.
    question, answer = (ctypes.c_uint64 * 2)(0, 0), (ctypes.c_uint64 * 5)()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None).syscall(_CACHESTAT, descriptor, question, answer, 0):
            pytest.skip("this kernel does not tell what waits to be written")
    finally:
        os.close(descriptor)
    return answer[1] * resource.getpagesize()


def test_checkpoint_after_a_failed_sync(path: Path) -> None:
    """The log goes into the database only when it was written again and synced."""
    done: list[str] = []
    fdatasync, pwrite = os.fdatasync, os.pwrite
    fails = iter([True])

    def synced(descriptor: int) -> None:
        done.append("sync")
        if next(fails, False):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fdatasync(descriptor)

    def written(descriptor: int, chunk: bytes, offset: int) -> int:
        done.append("write")
        return pwrite(descriptor, chunk, offset)

    with closing(SqliteStore(path, durable=False, checkpoint_bytes=1)) as store:
        done.clear()
        with patch.object(os, "fdatasync", synced), patch.object(os, "pwrite", written):
            for _ in range(3):
                store._connection._log._too_long_above = 0
                store.register("worker", own_identity())
    assert done == ["sync", "write", "sync", "sync"]
