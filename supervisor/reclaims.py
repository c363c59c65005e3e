"""Taking back what the dead held.

The database is asked in the store thread, and only about workers that are seen dead with all that
they had started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gigq.queue.doorbell import Bell
from gigq.queue.events import ENDED
from gigq.worker.reclaim import retire_process

if TYPE_CHECKING:
    from pathlib import Path

    from gigq.supervisor.log import Log
    from gigq.supervisor.store_thread import StoreThread
    from gigq.worker.child import Child
    from gigq.worker.reclaim import Reclaimed


class Reclaims:
    """What comes back from dead workers."""

    def __init__(self, store: StoreThread, log: Log, doorbell: Path) -> None:
        """Reclaim through `store`."""
        self._store = store
        self._log = log
        self._bell = Bell(doorbell)

    def of_child(self, child: Child) -> None:
        """Take back what a dead child held; nothing that it started lives any more."""

        def done(reclaimed: list[Reclaimed]) -> None:
            self.tell(reclaimed, child.name)
            self._bell.ring()  # the ring of a job that came may have died with it
            child.close()

        self._store.do(lambda store: retire_process(store, child.identity, child.judge), done)

    def tell(self, reclaimed: list[Reclaimed], worker: str | None = None) -> None:
        """Log what was taken back, and let somebody run it."""
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
