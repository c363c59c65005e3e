"""Reading what a job prints while it runs, from attempt to attempt.

A worker's jobs print into one file, one after another, and the next begins only after the end of
the last one is stored. So what the file holds *before* a look that finds the execution unended
belongs to that execution.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gigq.cli.show.style import note
from gigq.cli.show.words import one_line, printable
from gigq.queue.output import read_output
from gigq.queue.states import FINAL, HELD, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gigq.queue.records import ExecutionRow, JobRow
    from gigq.queue.sqlite_store import SqliteStore

_PAUSE = 0.1  # seconds between looks
_STUCK = 2.0  # seconds before the first attempt, after which the reason is said


class Follower:
    """One job's output, as it comes."""

    def __init__(
        self,
        store: SqliteStore,
        row: JobRow,
        sink: Callable[[bytes], object],
        say_why: Callable[[SqliteStore, str], None],
    ) -> None:
        """Follow the job in `row`; `say_why` is called when it does not begin for a while."""
        self._store = store
        self._job = row.job
        self._uuid = row.uuid
        self._sink = sink
        self._say_why = say_why

    def follow_job(self, *, from_first: bool = False) -> None:
        """Give the output of the last attempt, or of all, and of those to come, until it ended."""
        before = [] if from_first else self._store.executions(self._job)
        seen = {each.execution for each in before[:-1]}
        stuck_at = time.monotonic() + _STUCK
        while True:
            # In this order: an attempt that begins between the two is found by the next turn.
            state = self._state()
            new = [each for each in self._store.executions(self._job) if each.execution not in seen]
            for execution in new:
                if seen:
                    note(f"attempt {execution.attempt}")
                self.follow_attempt(execution)
                seen.add(execution.execution)
            if not new and state in FINAL:
                return
            if not new and state not in HELD and time.monotonic() >= stuck_at:
                stuck_at = float("inf")
                self._say_why(self._store, self._uuid)
            if not new:
                time.sleep(_PAUSE)

    def follow_attempt(self, execution: ExecutionRow) -> None:
        """Give one attempt's output until it has ended."""
        position = execution.output_start or 0
        path = self._path(execution)
        while True:
            size = _size(path)
            execution = self._again(execution)
            ended = execution.verdict is not None
            end = (execution.output_end or position) if ended else size
            if path is not None and end > position:
                for piece in read_output(path, position, end):
                    self._sink(piece)
                position = end
            if ended:
                tell_end(execution)
                return
            time.sleep(_PAUSE)

    def _state(self) -> str:
        return self._store.states([self._uuid]).get(self._uuid, "cancelled")

    def _path(self, execution: ExecutionRow) -> Path | None:
        log = execution.output_log
        return None if log is None else self._store.companions.output / log

    def _again(self, execution: ExecutionRow) -> ExecutionRow:
        """Look at it anew; one that was cleared away or given back has ended."""
        for each in self._store.executions(self._job):
            if each.execution == execution.execution:
                return each
        return execution._replace(verdict=Verdict.RELEASED)


def _size(path: Path | None) -> int:
    try:
        return 0 if path is None else path.stat().st_size
    except FileNotFoundError:
        return 0


def tell_end(execution: ExecutionRow) -> None:
    """Say how an attempt went wrong, if it did: its error is not among what it printed."""
    if execution.verdict in (None, Verdict.COMPLETED, Verdict.RELEASED):
        return
    trace = execution.traceback or execution.stacks
    error = one_line(execution.error or "")
    text = f"attempt {execution.attempt} ended as {execution.verdict}: {error}"
    note(f"{text}\n{printable(trace.rstrip())}" if trace else text)
