"""What a running job can learn about itself, and say about its progress."""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gigq.queue import clock
from gigq.queue.clock import MICROSECONDS
from gigq.queue.errors import StoreError
from gigq.queue.records import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from gigq.queue.records import Claim

_PER_SECOND = 10  # reports that are stored; a tight loop may report more
_LONGEST = 1000  # characters of a report


class CurrentJob:
    """The job that is running.

    Attributes:
        id: Its id.
        name: Its name.
        attempt: Which attempt this is, from 1.
        max_attempts: How many there may be.
        deadline: When this attempt will be stopped, with time zone; None for no limit.

    """

    def __init__(self, claim: Claim, note: Callable[[int, Progress], None], begun_at: int) -> None:
        """Describe a claim that began then; `note` stores progress for its execution."""
        self.id = claim.uuid
        self.name = claim.name
        self.attempt = claim.attempt
        self.max_attempts = claim.max_attempts
        self._ends_at = None if claim.timeout is None else begun_at + claim.timeout
        self._execution = claim.execution
        self._note = note
        self._second = 0
        self._noted = 0

    @property
    def deadline(self) -> datetime | None:
        """When this attempt will be stopped, with time zone; None for no limit."""
        ends_at = self._ends_at
        return None if ends_at is None else datetime.fromtimestamp(ends_at / MICROSECONDS, UTC)

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Say how far the job is: `done` of `total`, or a count if there is no total.

        At most ten reports a second are stored, from any thread; one that finds the database locked
        is left out. It never raises for that.
        """
        second = int(time.monotonic())
        with _reports:
            if second != self._second:
                self._second, self._noted = second, 0
            if self._noted >= _PER_SECOND:
                return
            self._noted += 1
            whole = None if total is None else _finite(total)
            shown = str(text)[:_LONGEST].encode(errors="backslashreplace").decode()
            with suppress(StoreError):
                self._note(
                    self._execution, Progress(_finite(done) or 0.0, whole, shown, clock.now())
                )


_reports = threading.Lock()  # of all threads of a job, and of one that an earlier job has left


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


_in_this_thread: ContextVar[running | None] = ContextVar("gigq_current_job", default=None)
_in_this_process: list[running] = []  # of a worker process; also for threads of the job


def current_job() -> CurrentJob | None:
    """Give the job that this code runs in; None outside of one.

    Example:
        >>> import gigq
        >>> gigq.current_job() is None
        True

    """
    found = _in_this_thread.get() or (_in_this_process[-1] if _in_this_process else None)
    return None if found is None else found.job()


class running:  # noqa: N801 (used like a function)
    """Let `current_job` tell of this claim; `alone`: all threads, for the process runs no other."""

    def __init__(self, claim: Claim, note: Callable[[int, Progress], None], *, alone: bool) -> None:
        """Prepare. Few jobs ask, so that what they would get is made for those that do."""
        self._claim, self._note, self._alone = claim, note, alone
        self._begun_at = clock.now()
        self._job: CurrentJob | None = None

    def job(self) -> CurrentJob:
        """Give what the job can learn about itself."""
        if self._job is None:
            self._job = CurrentJob(self._claim, self._note, self._begun_at)
        return self._job

    def __enter__(self) -> None:
        """Begin."""
        if self._alone:
            _in_this_process.append(self)
        else:
            self._token = _in_this_thread.set(self)

    def __exit__(self, *_: object) -> None:
        """End."""
        if self._alone:
            _in_this_process.remove(self)
        else:
            _in_this_thread.reset(self._token)
