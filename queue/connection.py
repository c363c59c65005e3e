"""One private SQLite connection: fair waiting for the lock, care for the log, refusal after a fork.

- The write lock is awaited by a jittered retry around BEGIN IMMEDIATE; SQLite's own busy handler
  backs off so far that a submitter starves beside busy workers.
- A commit after which the log is too long moves it into the database (gigq.queue.write_ahead_log).
- The database file is never opened beside SQLite: closing such a descriptor would drop the locks
  that this process holds (fcntl(2), "Record locks").
- Whoever has closed SQLite's descriptors gets an error, before anything is written by them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Literal, Self

from gigq.queue import clock, forks
from gigq.queue.database_descriptors import DatabaseDescriptors
from gigq.queue.errors import (
    DescriptorsLostError,
    StoreBusyError,
    StoreError,
    StoreUnusableError,
)
from gigq.queue.new_database import create_for_group
from gigq.queue.opening import connect
from gigq.queue.sqlite_errors import is_busy, is_full, trouble
from gigq.queue.write_ahead_log import CHECKPOINT_BYTES, WriteAheadLog, leave_to_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

    from gigq.queue.companions import Companions

Synchronous = Literal["NORMAL", "FULL"]

CRASH_AT = "GIGQ_CRASH_AT"  # in the environment: see gigq.queue.crash_points
LOCK_PATIENCE = 30.0  # seconds before a client gives up on the write lock
PAGE_BYTES = 2048
_YIELDING = 0.0004  # seconds for which the lock is tried without a pause
_RETRY_SHORTEST = 0.00005  # seconds of pause
_RETRY_LONGEST = 0.0005


class Connection:
    """A connection and its write transaction; used by one thread at a time.

    As a context manager it is one write transaction: `with connection: connection.run(...)`.
    """

    def __init__(
        self,
        path: Path,
        companions: Companions,
        *,
        synchronous: Synchronous,
        patience: float = LOCK_PATIENCE,
        checkpoint_bytes: int = CHECKPOINT_BYTES,
    ) -> None:
        """Open the file, creating it when it is missing. Raises StoreError.

        A commit after which the log is longer than `checkpoint_bytes` moves it into the database;
        a small one may leave that to one of the next seven.
        """
        self._path = path
        self.patience = patience  # seconds to wait for the write lock
        self._forks = forks.count
        self.waits = 0  # how often the write lock was not had at once
        self._is_full = False  # the disk
        self._log = WriteAheadLog(path, companions, checkpoint_bytes)
        self.synchronous = synchronous
        self._sqlite = self._open()

    def _open(self) -> sqlite3.Connection:
        with _opening:  # one at a time, to know whose descriptors are new
            return self._open_alone()

    def _open_alone(self) -> sqlite3.Connection:
        create_for_group(self._path)
        descriptors = DatabaseDescriptors(self._path)
        if descriptors.are_lost():
            raise self._descriptors_lost()
        connection = connect(self._path)
        try:
            for setting in (
                "wal_autocheckpoint = 0",
                # What is begun anew keeps its blocks: to write where there are some takes half as
                # long to sync as to let the file grow.
                f"journal_size_limit = {self._log.checkpoint_bytes}",
                f"synchronous = {self.synchronous}",
                # Each key that is written was read in the same transaction, and what is deleted
                # takes along what belongs to it. To look all of it up again would be more pages to
                # read in each claim, and a tenth of a submit.
                "foreign_keys = OFF",
            ):
                # Patiently: the file may be locked as a whole while somebody sets it up.
                self._patiently(connection, f"PRAGMA {setting}")
            self._patiently(connection, "PRAGMA schema_version")  # opens what is not yet open
        except BaseException:
            connection.close()
            raise
        if not descriptors.mark_opened():
            leave_to_parent(connection)
            raise self._descriptors_lost()
        self._descriptors = descriptors
        self._cursor = connection.cursor()  # one for all: each is read to its end at once
        return connection

    # Statements

    def run(self, statement: str, values: Sequence[object] = ()) -> int:
        """Run one change and give how many rows it changed."""
        try:
            return self._cursor.execute(statement, values).rowcount
        except sqlite3.DatabaseError as error:
            raise self._trouble(error) from error

    def run_many(self, statement: str, rows: Iterable[Sequence[object]]) -> int:
        """Run one change for each row of values and give how many rows all of them changed."""
        try:
            return self._cursor.executemany(statement, rows).rowcount
        except sqlite3.DatabaseError as error:
            raise self._trouble(error) from error

    def insert(self, statement: str, values: Sequence[object] = ()) -> int:
        """Insert one row and give its key."""
        key = self._run(statement, values).lastrowid
        if key is None:
            raise AssertionError(statement)
        return key

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        """Give all rows: no cursor stays open to pin the write-ahead log."""
        if self._forks != forks.count:
            self._leave_to_parent()
        if self._sqlite.in_transaction:
            try:
                return self._cursor.execute(statement, values).fetchall()
            except sqlite3.DatabaseError as error:
                raise self._trouble(error) from error
        self._make_sure_of_files()
        return self._patiently(self._sqlite, statement, values)

    def rows_until(
        self, statement: str, values: Sequence[object], is_enough: Callable[[Any], bool]
    ) -> list[Any]:
        """Give the rows before the first that is enough; what comes behind it is not read."""
        self._make_sure_of_files()
        found = []
        try:
            with closing(self._sqlite.execute(statement, values)) as cursor:
                for row in cursor:
                    if is_enough(row):
                        break
                    found.append(row)
        except sqlite3.DatabaseError as error:
            raise self._trouble(error) from error
        return found

    def row(self, statement: str, values: Sequence[object] = ()) -> Any:  # noqa: ANN401
        """Give the first row, None where there is none."""
        found = self.rows(statement, values)
        return found[0] if found else None

    def _run(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        try:
            return self._cursor.execute(statement, values)
        except sqlite3.DatabaseError as error:
            raise self._trouble(error) from error

    def _trouble(self, error: sqlite3.DatabaseError) -> Exception:
        self._is_full |= is_full(error)
        return trouble(self._path, error)

    def _patiently(
        self, connection: sqlite3.Connection, statement: str, values: Sequence[object] = ()
    ) -> list[Any]:
        give_up = time.monotonic() + self.patience
        while True:
            try:
                return connection.execute(statement, values).fetchall()
            except sqlite3.DatabaseError as error:
                if not is_busy(error):
                    raise self._trouble(error) from error
                self._pause(give_up)

    # The write transaction

    def __enter__(self) -> Self:
        """Begin. Raises StoreBusyError when the write lock is not had in time."""
        self.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Commit, or undo all of it when the block raised or the commit fails."""
        if kind is None:
            self.commit()
        else:
            self.roll_back()

    def begin(self) -> None:
        """Take the write lock. Raises StoreBusyError when it is not had in time."""
        self._make_sure_of_files()
        _begun[threading.get_ident()] = self  # before it is taken: see roll_back_interrupted
        if self._sqlite.in_transaction:
            self._roll_back()
        if not self._begins(self._cursor):
            self.waits += 1
            self._begin_patiently(self._cursor, self.patience)

    def commit(self, *, is_small: bool = False) -> None:
        """Commit; undo all of it when that fails. Raises StoreUnusableError then.

        `is_small`: a few pages are written, as for a job that follows another one.
        """
        try:
            self._run("COMMIT")
        except BaseException:
            self.roll_back()
            raise
        is_synced = self.synchronous == "FULL"
        if self._log.note_commit(is_synced=is_synced, is_small=is_small):
            self._checkpoint_in_passing()
        _begun.pop(threading.get_ident(), None)

    def roll_back(self) -> None:
        """Undo all of it."""
        self._roll_back()
        if self._is_full:
            # Perhaps with the log, which a reader kept from being begun anew. No commit comes any
            # more after which it would be looked at.
            self._is_full = False
            self._checkpoint_in_passing()
        _begun.pop(threading.get_ident(), None)

    def _roll_back(self) -> None:
        # After a full disk or an I/O error SQLite may have rolled back by itself.
        with suppress(sqlite3.Error):
            if self._sqlite.in_transaction:
                self._sqlite.execute("ROLLBACK")

    def roll_back_interrupted(self) -> None:
        """Let go of the write lock, where whoever held it was interrupted."""
        if self._forks == forks.count:
            self._roll_back()
            self._log.let_writers_in()

    def _begins(self, cursor: sqlite3.Cursor | sqlite3.Connection) -> bool:
        try:
            cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.DatabaseError as error:
            if not is_busy(error):
                raise self._trouble(error) from error
            return False
        return True

    def _begin_patiently(
        self, cursor: sqlite3.Cursor | sqlite3.Connection, patience: float
    ) -> None:
        begun = time.monotonic()
        while True:
            # Another one's transaction is mostly over sooner than this process would wake up.
            if time.monotonic() - begun < _YIELDING:
                os.sched_yield()
            else:
                self._pause(begun + patience)
            if self._begins(cursor):
                return

    def _pause(self, give_up: float) -> None:
        if time.monotonic() >= give_up:
            message = (
                f"{self._path} has been locked by another process for {self.patience:g} s; "
                f"close what holds it (fuser {self._path} lists them) and try again"
            )
            raise StoreBusyError(message)
        time.sleep(clock.jitter(_RETRY_SHORTEST, _RETRY_LONGEST))

    def set_synchronous(self, synchronous: Synchronous) -> None:
        """Choose what the next commits wait for; between transactions only."""
        if synchronous != self.synchronous:
            self._sqlite.execute(f"PRAGMA synchronous = {synchronous}")
            self.synchronous = synchronous

    def vacuum(self, pages: int) -> None:
        """Give so many free pages back, in a transaction of its own."""
        give_up = time.monotonic() + self.patience
        while True:
            try:
                # Each page is a step of the statement, and `execute` would take but one.
                self._sqlite.executescript(f"PRAGMA incremental_vacuum({pages:d})")
                break
            except sqlite3.DatabaseError as error:
                if not is_busy(error):
                    raise self._trouble(error) from error
                self._pause(give_up)
        if self._log.is_too_long():
            self._checkpoint_in_passing()

    # The write-ahead log

    def use_write_ahead_log(self) -> None:
        """Prepare an empty file; these choices stay with it."""
        # Each commit writes whole pages of six b-trees into the log: with pages half the usual size
        # a claim and completion took a quarter less time (benchmarks/claims.py).
        self._patiently(self._sqlite, f"PRAGMA page_size = {PAGE_BYTES}")
        self._patiently(self._sqlite, "PRAGMA auto_vacuum = INCREMENTAL")
        self._patiently(self._sqlite, "PRAGMA journal_mode = WAL")
        self._patiently(self._sqlite, "PRAGMA schema_version")
        if not self._descriptors.mark_opened():
            raise self._descriptors_lost()

    def require_write_ahead_log(self) -> None:
        """See that it has one: a copy by VACUUM INTO, or another program, may have changed that.

        Raises StoreError.
        """
        ((mode,),) = self._patiently(self._sqlite, "PRAGMA journal_mode")
        if mode != "wal":
            self._patiently(self._sqlite, "PRAGMA journal_mode = WAL")

    def _checkpoint_in_passing(self) -> None:
        # What was to be committed is: no trouble here must make it look as if it were not.
        with suppress(sqlite3.Error, OSError, StoreError):
            self._checkpoint()

    def _checkpoint(self) -> None:
        """Move the log into the database."""
        self._log.move(self._sqlite, self._begin_patiently)

    def sync(self) -> None:
        """Let what was committed outlast a loss of power.

        Raises StoreUnusableError, or StoreBusyError.
        """
        try:
            if self._log.file.is_doubtful:
                self._write_log_again()
            self._log.sync()
        except OSError as error:
            message = f"{self._path}-wal cannot be synced: {error.strerror}; look at its disk"
            raise StoreUnusableError(message) from error

    def _write_log_again(self) -> None:
        """Write the log once more: the next sync would not do what the one that failed did not."""
        self.begin()
        try:
            self._log.file.write_again()
        finally:
            self.roll_back()

    # The files behind it

    def _make_sure_of_files(self) -> None:
        """Use neither what was inherited over a fork, nor what somebody has closed.

        Raises DescriptorsLostError. It cannot be opened anew: SQLite keeps for the whole process
        what it has open and locked.
        """
        if self._forks != forks.count:
            self._leave_to_parent()
        if not self._descriptors.are_there():
            raise self._descriptors_lost()

    def _descriptors_lost(self) -> DescriptorsLostError:
        message = (
            f"this program has closed descriptors on which {self._path} was open (as "
            "os.closerange does, or closing one twice); nothing was written since, and this "
            "process cannot use the database any more: start it anew"
        )
        return DescriptorsLostError(message)

    # The end

    def close(self) -> None:
        """Close it; in a process that inherited it over a fork, leave it to the parent."""
        if self._forks != forks.count or not self._descriptors.are_there():
            self._leave_to_parent(reopen=False)
            return
        self._descriptors.forget()
        self._log.close()
        self._sqlite.close()

    def _leave_to_parent(self, *, reopen: bool = True) -> None:
        """Put aside what was inherited over a fork: even closing it would harm the parent's."""
        leave_to_parent(self._sqlite)
        self._log.leave_to_parent()
        if reopen:
            self._sqlite = self._open()
        self._forks = forks.count  # not before: what is inherited must never be used


_opening = threading.RLock()


def _forget_who_opened() -> None:
    global _opening  # noqa: PLW0603 (another thread of the parent may have held it)
    _opening = threading.RLock()


os.register_at_fork(after_in_child=_forget_who_opened)

_begun: dict[int, Connection] = {}  # by thread: whose write transaction is under way


def roll_back_interrupted() -> None:
    """Roll back what this thread was in the middle of when an exception cut it short.

    To be called where a job has been interrupted. An exception that a signal handler raises may
    come between any two steps, also where `with` has taken the lock and not yet begun its block:
    then nothing would ever give it back.
    """
    connection = _begun.pop(threading.get_ident(), None)
    if connection is not None:
        connection.roll_back_interrupted()


def connection_class() -> type[Connection]:
    """Give the class of connection that a store uses."""
    if CRASH_AT not in os.environ:
        return Connection
    from gigq.queue.crash_points import CrashingConnection  # noqa: PLC0415 (for tests only)

    return CrashingConnection
