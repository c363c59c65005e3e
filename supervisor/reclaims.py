"""Taking back what the dead held, and finding what is told through the database only.

The database is asked in the store thread, and only about workers that are seen dead with all that
they had started.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gigq.queue.doorbell import Bell
from gigq.queue.events import ENDED
from gigq.worker.reclaim import end_cancelled_orphans, reclaim_dead, retire_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gigq.queue.sqlite_store import SqliteStore
    from gigq.supervisor.log import Log
    from gigq.supervisor.store_thread import StoreThread
    from gigq.worker.child import Child
    from gigq.worker.reclaim import Reclaimed

_SURVEY = 500_000_000  # nanoseconds between looks into the database


class Reclaims:
    """What comes back from dead workers."""

    def __init__(
        self,
        store: StoreThread,
        log: Log,
        doorbell: Path,
        cancel: Callable[[list[int]], None],
    ) -> None:
        """Reclaim through `store`; `cancel` interrupts executions that somebody wants to end."""
        self._store = store
        self._log = log
        self._bell = Bell(doorbell)
        self._cancel = cancel
        self._next_survey = 0
        self._surveying = False

    def of_child(self, child: Child) -> None:
        """Take back what a dead child held; nothing that it started lives any more."""

        def done(reclaimed: list[Reclaimed]) -> None:
            self._tell(reclaimed, child.name)
            self._bell.ring()  # the ring of a job that came may have died with it
            child.close()

        self._store.do(lambda store: retire_process(store, child.identity, child.judge), done)

    def survey(self) -> bool:
        """Look around if it is time to; gives whether it is.

        For workers of this machine that died while nobody watched them, and for executions that
        somebody wants to end.
        """
        now = time.monotonic_ns()
        if now < self._next_survey or self._surveying:
            return False
        self._next_survey = now + _SURVEY
        self._surveying = True
        self._store.do(_look_around, self._surveyed)
        return True

    def _surveyed(self, found: tuple[list[Reclaimed], list[int]]) -> None:
        self._surveying = False
        reclaimed, to_end = found
        self._tell(reclaimed, None)
        if to_end:
            self._cancel(to_end)

    def _tell(self, reclaimed: list[Reclaimed], worker: str | None) -> None:
        for held, outcome in reclaimed:
            self._log.event(
                ENDED[outcome.verdict],
                job_id=held.uuid,
                job_name=held.name,
                execution=held.execution,
                attempt=held.attempt,
                max_attempts=held.max_attempts,
                worker=worker,
                error=outcome.error or "it had not begun",
                cpu_time=None if outcome.cpu_time is None else outcome.cpu_time / 1e6,
                peak_memory=outcome.peak_memory,
            )
        if reclaimed:
            self._bell.ring()


def _look_around(store: SqliteStore) -> tuple[list[Reclaimed], list[int]]:
    """Take back what the dead held, and give the executions that somebody wants to end."""
    end_cancelled_orphans(store)
    return reclaim_dead(store), store.to_end()
