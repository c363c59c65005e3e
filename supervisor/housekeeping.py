"""When the service keeps house: soon after its start, when the settings change, and now and then.

The steps are done in the store thread, among its other tasks: each takes a few milliseconds, and a
longer pause follows, so that neither a reclaim nor a claim waits for long.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from gigq.queue import clock
from gigq.queue.errors import ForeignDatabaseError, StoreDamagedError, StoreError
from gigq.queue.housekeeping import Kept, keep_house

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gigq.queue.settings import RetentionSettings
    from gigq.queue.sqlite_store import SqliteStore
    from gigq.supervisor.log import Log
    from gigq.supervisor.store_thread import StoreThread

_SECOND = 1_000_000_000
_FIRST = 5 * _SECOND  # after the start: the workers come first
_SOON = _SECOND
_SELDOM = 3600 * _SECOND
_OFTEN = 60 * _SECOND
_SHORTEST_PAUSE = _SECOND // 200
_PAUSE = 20  # times as long as the step took
_DAY = 86_400


class Housekeeping:
    """Decides when the next step is due. Times are nanoseconds of the monotonic clock."""

    def __init__(
        self,
        store: StoreThread,
        log: Log,
        retention: RetentionSettings,
        in_use: Callable[[], list[str]],
    ) -> None:
        """Begin a while from now; `in_use` names output files that are to stay."""
        self._in_use = in_use
        self._store = store
        self._log = log
        self._retention = retention
        self._steps: Iterator[Kept] | None = None  # of the pass that is under way
        self._under_way = False  # a step is being done
        self._renewed = False  # other settings have come
        self._next = time.monotonic_ns() + _FIRST
        self._began = 0
        self._logs: list[str] = []
        self._jobs = self._freed = self._longest = 0

    def use(self, retention: RetentionSettings) -> None:
        """Go by these settings; when they are other ones, soon."""
        if retention != self._retention:
            self._retention = retention
            self._renewed = True
            self._next = time.monotonic_ns() + _SOON

    def next_look(self) -> int:
        """When `advance` has something to do."""
        return clock.NEVER if self._under_way else self._next

    def advance(self) -> None:
        """Have the next step done when it is due."""
        if self._under_way or time.monotonic_ns() < self._next:
            return
        if self._renewed:
            self._renewed, self._steps = False, None
        self._began = self._began or time.monotonic_ns()
        self._under_way = True
        if self._steps is None:
            self._logs = self._in_use()
        self._store.do(self._step, self._stepped)

    def finish(self) -> None:
        """Tell what was done, for nothing more will be."""
        if self._jobs or self._freed:
            seconds = (time.monotonic_ns() - self._began) / _SECOND
            self._log.event(
                "jobs_deleted",
                count=self._jobs,
                freed=self._freed,
                seconds=round(seconds, 3),
                longest_step=round(self._longest / _SECOND, 6),
            )
        self._began = self._jobs = self._freed = self._longest = 0

    def _ages(self) -> dict[str, int]:
        """Give the ages in microseconds, by state."""
        ages = msgspec.structs.asdict(self._retention)
        return {
            state: int(days * _DAY * clock.MICROSECONDS)
            for state, days in ages.items()
            if days != "never"
        }

    def _step(self, store: SqliteStore) -> tuple[Kept | None, int]:
        """Do one step, in the store thread; None at the end of the pass."""
        began = time.monotonic_ns()
        if self._steps is None:
            self._steps = keep_house(store, self._ages(), self._logs)
        try:
            kept = next(self._steps, None)
        except (StoreDamagedError, ForeignDatabaseError):
            raise
        except (StoreError, OSError):
            kept = None  # busy or full: whoever has something to store says so; until the next pass
        return kept, time.monotonic_ns() - began

    def _stepped(self, done: tuple[Kept | None, int]) -> None:
        kept, spent = done
        self._longest = max(self._longest, spent)
        self._under_way = False
        now = time.monotonic_ns()
        if kept is None and not self._renewed:
            self.finish()
            self._steps = None
            self._next = now + self._interval()
            return
        if kept is not None:
            self._jobs += kept.jobs
            self._freed += kept.freed
        self._next = now + max(_SHORTEST_PAUSE, _PAUSE * spent)

    def _interval(self) -> int:
        """Give the time between passes: each hour, more often where jobs are kept for hours."""
        parts = [age * 1000 // 24 for age in self._ages().values()]
        return max(_OFTEN, min([_SELDOM, *parts]))
