"""What a running service does when it is asked through the control socket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gigq.queue import clock
from gigq.queue.errors import GigqError
from gigq.queue.states import STATUS, JobStatus
from gigq.supervisor.control import Pending

if TYPE_CHECKING:
    from collections.abc import Callable

    from gigq.queue.sqlite_store import SqliteStore
    from gigq.supervisor.pool import Pool
    from gigq.supervisor.store_thread import StoreThread

_COUNTS_WITHIN = 0.3  # seconds; beyond, the last known figures are given
_MOST_WORKERS = 1000
_NOT_AT_THE_END = ("scale", "drain", "resume")  # they would begin again what is being ended


class Commands:
    """The orders: each gives its answer, or a Pending that gives it once the effect is there."""

    def __init__(
        self,
        pool: Pool,
        store: StoreThread,
        reload: Callable[[], None],
        facts: Callable[[], dict[str, Any]],
    ) -> None:
        """Act on `pool`; `reload` raises SettingsError; `facts` tells who this service is."""
        self._pool = pool
        self._store = store
        self._reload = reload
        self._facts = facts
        self._counts: dict[str, int] = {}  # by public status
        self._counted_at: int | None = None
        self._counting = False

    def handle(self, order: str, fields: dict[str, Any]) -> dict[str, Any] | Pending:
        """Do what is asked. Raises GigqError for what cannot be done."""
        orders: dict[str, Callable[[dict[str, Any]], dict[str, Any] | Pending]] = {
            "status": self._status,
            "health": self._health,
            "reload": self._do_reload,
            "scale": self._scale,
            "drain": self._drain,
            "resume": self._resume,
        }
        if order not in orders:
            message = f"this service knows no order {order!r}; is its version the same?"
            raise GigqError(message)
        if order in _NOT_AT_THE_END and self._facts()["state"] == "draining":
            message = f"the service is stopping: there is nothing to {order} any more"
            raise GigqError(message)
        return orders[order](fields)

    def _status(self, _: dict[str, Any]) -> Pending:
        asked = time.monotonic()
        if not self._counting:  # while the database cannot be used, one question is enough
            self._counting = True
            self._store.do(_count, self._note_counts)
        before = self._counted_at

        def done() -> dict[str, Any] | None:
            fresh = self._counted_at != before
            if not fresh and time.monotonic() < asked + _COUNTS_WITHIN:
                return None
            return {
                **self._facts(),
                "wanted": self._pool.wanted,
                "paused": self._pool.paused,
                "workers": self._pool.describe(),
                "restarts": dict(self._pool.restarts),
                "jobs": self._counts,
                "jobs_as_of": clock.offset_text(self._counted_at),
            }

        return Pending(done)

    def _health(self, _: dict[str, Any]) -> dict[str, Any]:
        """Tell at once, from memory, what health checks and metrics are made of."""
        return {
            **self._facts(),
            "wanted": self._pool.wanted,
            "paused": self._pool.paused,
            "start_trouble": self._pool.start_trouble,
            "workers": self._pool.describe(),
            "restarts": dict(self._pool.restarts),
        }

    def _note_counts(self, counts: dict[str, int]) -> None:
        self._counting = False
        self._counts = dict.fromkeys((status.value for status in JobStatus), 0)
        for state, jobs in counts.items():
            self._counts[STATUS[state].value] += jobs
        self._counted_at = clock.now()

    def _do_reload(self, _: dict[str, Any]) -> Pending:
        before = self._pool.wanted
        self._reload()
        return self._settled(lambda: {"before": before, "workers": self._pool.wanted})

    def _scale(self, fields: dict[str, Any]) -> Pending:
        count = fields.get("count")
        if not isinstance(count, int) or not 0 <= count <= _MOST_WORKERS:
            message = f"a number of workers from 0 to {_MOST_WORKERS} is wanted, not {count!r}"
            raise GigqError(message)
        before = self._pool.wanted
        self._pool.scale(count)
        return self._settled(lambda: {"before": before, "workers": self._pool.wanted})

    def _drain(self, _: dict[str, Any]) -> Pending:
        self._pool.pause()

        def done() -> dict[str, Any] | None:
            if not self._pool.paused:
                return {"error": "somebody has resumed the service before it was drained"}
            return None if self._pool.mortal else {"workers": 0}

        return Pending(done)

    def _resume(self, _: dict[str, Any]) -> Pending:
        self._pool.resume()
        return self._settled(lambda: {"workers": self._pool.wanted})

    def _settled(self, answer: Callable[[], dict[str, Any]]) -> Pending:
        def done() -> dict[str, Any] | None:
            if self._pool.is_settled:
                return answer()
            trouble = self._pool.start_trouble
            return None if trouble is None else {"error": f"workers do not start: {trouble}"}

        return Pending(done)


def _count(store: SqliteStore) -> dict[str, int]:
    return store.counts()
