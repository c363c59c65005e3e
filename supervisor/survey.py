"""Looking at the database for what nobody has told: lost workers, wishes, jobs without a ring.

Each half second while something goes on. When nothing does, the supervisor rests: it looks every
five minutes, and the next commit of anybody ends the rest. A service with nothing to do costs next
to nothing, and yet misses nothing.
"""

from __future__ import annotations

import selectors
import time
from typing import TYPE_CHECKING, NamedTuple

from gigq.queue import clock
from gigq.queue.identity import Liveness, own_identity
from gigq.supervisor.commit_watch import CommitWatch
from gigq.worker.reclaim import end_cancelled_orphans, reclaim_dead

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gigq.queue.records import Glance
    from gigq.queue.sqlite_store import SqliteStore
    from gigq.supervisor.store_thread import StoreThread
    from gigq.worker.reclaim import Reclaimed

_SECOND = 1_000_000_000
_OFTEN = _SECOND // 2
_CALM = _SECOND  # without anything going on, before a rest
_SELDOM = 300 * _SECOND  # as seldom as a worker that nobody wakes
_BEFORE_SCHEDULED = 5 * _SECOND  # while jobs wait for a time: a clock may be set, a machine sleep


class _Found(NamedTuple):
    reclaimed: list[Reclaimed]
    to_end: list[int]  # executions that somebody wants to end
    others: bool  # workers are there that another process answers for, and that can be seen
    runs: bool  # a job is held, which its worker may not have said yet
    glance: Glance


class Survey:
    """When to look, and what to do with what is found. Times are monotonic nanoseconds."""

    def __init__(
        self,
        store: StoreThread,
        database: Path,
        tell: Callable[[list[Reclaimed]], None],
        cancel: Callable[[list[int]], None],
        wake: Callable[[], None],
    ) -> None:
        """Look through `store`.

        `tell` is called with what was taken back, `cancel` with executions that are to end, and
        `wake` when a job waits that perhaps nobody has rung for.
        """
        self._store = store
        self._tell = tell
        self._cancel = cancel
        self._wake = wake
        self._identity = own_identity()
        self._commits = CommitWatch(database)
        self._is_watched = False  # the next commit will be heard of
        self._is_looking = False
        self._next = self._stirred = time.monotonic_ns()
        self.rests = False  # nothing goes on, and whoever begins something will be heard

    def stir(self) -> None:
        """Note that something goes on."""
        self._stirred = time.monotonic_ns()
        self.rests = self._is_watched = False
        self._next = min(self._next, self._stirred + _OFTEN)

    def listen(self, selector: selectors.BaseSelector) -> None:
        """Let a commit end the rest; where the system cannot tell of it, there is none."""
        if self._commits.fileno() >= 0:
            selector.register(self._commits, selectors.EVENT_READ, self.heard_commit)

    def heard_commit(self) -> bool:
        """Take the word that somebody has written to the database, if it has come."""
        heard = self._commits.forget()
        if heard:
            self.stir()
        return heard

    def next_look(self) -> int:
        """When it is time to look."""
        return clock.NEVER if self._is_looking else self._next

    def advance(self) -> bool:
        """Look if it is time to; gives whether it is."""
        now = time.monotonic_ns()
        if now < self.next_look():
            return False
        # Watched before it is looked at: between the two nothing can be missed.
        self._is_watched = now >= self._stirred + _CALM and self._commits.arm()
        self.rests = False
        self._is_looking = True
        self._next = now + _OFTEN
        self._store.do(self._look_around, self._looked_around)
        return True

    def _look_around(self, store: SqliteStore) -> _Found:
        """Take back what the dead held, and find the rest; in the store thread."""
        end_cancelled_orphans(store)
        reclaimed = reclaim_dead(store)
        others = any(
            row.parent != self._identity and store.liveness(row) is not Liveness.ELSEWHERE
            for row in store.open_workers()
        )
        return _Found(
            reclaimed,
            store.to_end(),
            others,
            store.holds_any(),
            store.glance(),
        )

    def _looked_around(self, found: _Found) -> None:
        self._is_looking = False
        self._tell(found.reclaimed)
        if found.to_end:
            self._cancel(found.to_end)
        due_in = _due_in(found.glance)
        waits = found.glance.ready or due_in <= 0
        if waits:
            self._wake()
        if waits or found.runs or found.reclaimed or found.to_end or found.others:
            self.stir()
        elif self._is_watched:
            self.rests = True
            self._next = time.monotonic_ns() + _pause(due_in)

    def close(self) -> None:
        """Look no more."""
        self._commits.close()


def _due_in(glance: Glance) -> int:
    return clock.NEVER if glance.next_due is None else (glance.next_due - clock.now()) * 1000


def _pause(due_in: int) -> int:
    """Give how long to rest; beyond the time of the next job a while, for a worker comes first."""
    if due_in == clock.NEVER:
        return _SELDOM
    return min(due_in + _OFTEN, _BEFORE_SCHEDULED)
