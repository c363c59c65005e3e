"""Named crash points: a process that kills itself right before or right after a commit.

For those who develop gigqd; docs/explanation/storms.md shows how they are used. Two variables of
the environment say where, and are read once, when a store is opened; without them the store uses
the plain connection.

    GIGQ_CRASH_AT    NAME:before or NAME:after, and how many times it has come there: NAME:after:3
    GIGQ_CRASH_MARK  a file: only the process that creates it kills itself, all others go on
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from gigq.queue import statements as sql
from gigq.queue.connection import CRASH_AT, Connection
from gigq.queue.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

CRASH_MARK = "GIGQ_CRASH_MARK"
SIDES = ("before", "after")
_VERSION = "PRAGMA user_version = "
_CHECKPOINT = "checkpoint"


class CrashPoint(NamedTuple):
    """A kind of transaction: what commits there, and by which statement it is known."""

    meaning: str
    statement: str
    beside: str = ""  # another one that must have run, too
    without: tuple[str, ...] = ()  # others that must not


CRASH_POINTS = {
    "set_up": CrashPoint("the tables of a fresh database", _VERSION),
    "submit": CrashPoint("jobs that are submitted", sql.ADD_NEXT_JOB),
    "cancel": CrashPoint("a pending job is cancelled", sql.CANCEL),
    "cancel_running": CrashPoint("a running job is asked to end", sql.ASK_TO_END),
    "requeue": CrashPoint("a job is pending again", sql.REQUEUE),
    "clear": CrashPoint("finished jobs are deleted", sql.DROP_JOBS),
    "register": CrashPoint("a worker's life begins", sql.REGISTER),
    "claim": CrashPoint(
        "a job is claimed, and nothing else",
        sql.ADD_EXECUTION,
        without=(sql.END_JOB, sql.COMPLETE_JOB),
    ),
    "begin": CrashPoint("the claim of a job that may run once is synced", sql.BEGIN_EXECUTION),
    "complete": CrashPoint("a job is completed, and mostly the next claimed", sql.COMPLETE_JOB),
    "settle": CrashPoint("another outcome is stored", sql.END_JOB, without=(sql.RETIRE,)),
    "promote": CrashPoint("jobs that are due are made ready", sql.PROMOTE),
    "tell": CrashPoint("more children are told", sql.DROP_FANOUT, without=(sql.REQUEUE,)),
    "progress": CrashPoint("a job says how far it is", sql.SET_PROGRESS),
    "retire": CrashPoint(
        "the life of a worker that held nothing ends", sql.RETIRE, without=(sql.END_JOB,)
    ),
    "reclaim": CrashPoint("what a dead worker held is taken back", sql.RETIRE, sql.END_JOB),
    _CHECKPOINT: CrashPoint("the write-ahead log is moved into the database", ""),
}


class CrashingConnection(Connection):
    """A connection whose process kills itself at a crash point."""

    _ran: frozenset[str] = frozenset()  # in this transaction
    _times = 0

    def _open(self) -> sqlite3.Connection:
        self._name, self._side, self._at = _where(os.environ[CRASH_AT])
        return super()._open()

    def _run(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        if statement != "COMMIT":
            self._ran |= {statement}
            return super()._run(statement, values)
        here, self._ran = self._is_here(), frozenset()
        if here:
            self._pass("before")
        done = super()._run(statement, values)
        if here:
            self._pass("after")
        return done

    def run(self, statement: str, values: Sequence[object] = ()) -> int:
        """Run one change."""
        self._ran |= {statement}
        return super().run(statement, values)

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        """Give all rows; also a change may give some."""
        if self._sqlite.in_transaction:
            self._ran |= {statement}
        return super().rows(statement, values)

    def run_many(self, statement: str, rows: Iterable[Sequence[object]]) -> int:
        """Run one change for each row of values."""
        self._ran |= {statement}
        return super().run_many(statement, rows)

    def _roll_back(self) -> None:
        self._ran = frozenset()
        super()._roll_back()

    def _checkpoint(self) -> None:
        here = self._name == _CHECKPOINT
        if here:
            self._pass("before")
        super()._checkpoint()
        if here:
            self._pass("after")

    def _is_here(self) -> bool:
        point = CRASH_POINTS[self._name]
        if not point.statement or any(map(self._has_run, point.without)):
            return False
        return self._has_run(point.statement) and self._has_run(point.beside)

    def _has_run(self, beginning: str) -> bool:
        return any(statement.startswith(beginning) for statement in self._ran)

    def _pass(self, side: str) -> None:
        if side != self._side:  # after it comes only what did not fail
            return
        self._times += 1
        if self._times == self._at and _is_first():
            os.kill(os.getpid(), signal.SIGKILL)


def _where(text: str) -> tuple[str, str, int]:
    name, _, rest = text.partition(":")
    side, _, times = rest.partition(":")
    if name not in CRASH_POINTS or side not in SIDES or not (times or "1").isdecimal():
        points = ", ".join(CRASH_POINTS)
        message = f"{CRASH_AT}={text}: write NAME:before or NAME:after:N, with a NAME of {points}"
        raise StoreError(message)
    return name, side, int(times or 1)


def _is_first() -> bool:
    mark = os.environ.get(CRASH_MARK)
    if mark is None:
        return True
    try:
        descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return False
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return True
