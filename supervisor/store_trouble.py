"""What the service does while the database cannot be written: it claims nothing, and says so once.

A full disk, a failing one, or a lock that somebody holds: workers and the store thread each find
out by themselves and keep what they have to store. Here it becomes one trouble of the service, with
one event at its begin and one at its end. It is over when everybody has stored what was kept, and
there is room to go on. A worker that cannot, though the store thread can, keeps nobody waiting for
long: what is wrong is wrong in its process alone, and it is given up.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING, Any

from gigq.queue import clock
from gigq.queue.errors import StoreUnusableError
from gigq.queue.write_ahead_log import CHECKPOINT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gigq.queue.sqlite_store import SqliteStore
    from gigq.supervisor.log import Log
    from gigq.supervisor.store_thread import StoreThread

_SECOND = 1_000_000_000
_SHORTEST = 1 * _SECOND  # from the begin to the first try
_LONGEST = 60 * _SECOND
_APART = 60 * _SECOND  # troubles that come sooner after each other are one that lasts
_ALONE = 10 * _SECOND  # a worker tries each second
_STORE_THREAD = ""  # where workers have the names of their trees


class StoreTrouble:
    """Who cannot use the database, and since when. Times are nanoseconds of the monotonic clock."""

    def __init__(
        self,
        log: Log,
        store: StoreThread,
        hold_claims: Callable[[bool], None],
        give_up: Callable[[str], None],
    ) -> None:
        """Begin without trouble.

        `hold_claims` is called with True at its begin; `give_up` with the tree of a worker that is
        the only one in trouble.
        """
        self.error: str | None = None  # what is wrong now
        self._log = log
        self._store = store
        self._hold_claims = hold_claims
        self._give_up = give_up
        self._troubled: dict[str, int] = {}  # who, and since when
        self._works_since = 0  # the store thread's tries; 0: the last one did not
        self._since = self._next = self._ended = self._asked = 0
        self._patience = _SHORTEST
        self._trying = False
        store.on_trouble = lambda error: self.begins(_STORE_THREAD, error)
        store.on_recovery = lambda: self.ends(_STORE_THREAD)

    def begins(self, who: str, error: str) -> None:
        """Note that somebody cannot store what is to be stored."""
        now = time.monotonic_ns()
        self._troubled.setdefault(who, now)
        if who == _STORE_THREAD:
            self._works_since = 0
        if self.error is not None:
            return
        soon = self._ended and now < self._ended + _APART
        self._patience = min(self._patience * 2, _LONGEST) if soon else _SHORTEST
        self._since, self._next = now, now + self._patience
        self.error = error
        self._log.event("store_waiting", error=error)
        self._hold_claims(True)  # noqa: FBT003

    def ends(self, who: str) -> None:
        """Note that somebody has stored all that was kept, or is gone."""
        self._troubled.pop(who, None)

    def next_look(self) -> int:
        """When `advance` has something to do."""
        return clock.NEVER if self.error is None or self._trying else self._next

    def advance(self) -> None:
        """Try whether it is over."""
        now = time.monotonic_ns()
        if now >= self.next_look():
            self._trying, self._asked = True, now
            self._store.do(_make_sure_of_room, self._tried)

    def _tried(self, _: None) -> None:
        self._trying = False
        now = time.monotonic_ns()
        self._next = now + _SHORTEST
        if self.error is None:
            return
        if self._troubled:
            self._give_up_who_is_alone(now)
            return
        self.error = None
        self._works_since = 0
        self._ended = now
        self._log.event("store_recovered", seconds=round((now - self._since) / _SECOND, 3))
        self._hold_claims(False)  # noqa: FBT003

    def _give_up_who_is_alone(self, now: int) -> None:
        if now - self._asked > _SHORTEST:  # it had to wait, and so has whoever tried since
            self._works_since = 0
        self._works_since = self._works_since or now
        for who, since in list(self._troubled.items()):
            if now - max(since, self._works_since) >= _ALONE:
                self._give_up(who)

    def describe(self) -> dict[str, Any] | None:
        """Tell what is wrong, and for how many seconds; None when nothing is."""
        if self.error is None:
            return None
        seconds = (time.monotonic_ns() - self._since) / _SECOND
        return {"error": self.error, "seconds": round(seconds, 3)}


def _make_sure_of_room(store: SqliteStore) -> None:
    """Write, and see that the log could grow as it does between two checkpoints.

    Else one job would be claimed, and the next one would find the disk full again. Raises
    StoreUnusableError.
    """
    folder = store.companions.output
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, CHECKPOINT_BYTES)
    except FileNotFoundError:  # it was moved with the database, which says nothing of the disk
        pass
    except OSError as error:
        message = f"{folder}: no room for {CHECKPOINT_BYTES >> 20} MiB: {error.strerror}"
        raise StoreUnusableError(message) from None
    store.try_out()
