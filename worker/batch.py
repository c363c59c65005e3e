"""Several claims at a time: what of them has not begun, and what has ended and is not stored yet.

Worth it for many short jobs, each of which may run again. The worker takes as many as recent jobs
suggest it will run in a blink, and stores their outcomes together with its next claims. Should a
job turn out long, a thread stores meanwhile what has ended, and gives back what has not begun.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from gigq.queue.errors import StoreError
from gigq.worker.outcome import released

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gigq.queue.records import Claim, Outcome
    from gigq.queue.sqlite_store import SqliteStore

_MILLISECOND = 1_000_000  # in nanoseconds, as all times here
_WHOLE = 20 * _MILLISECOND  # that the jobs of one batch are to take together
_HELD_AT_MOST = 25 * _MILLISECOND  # then the thread steps in; with its look and its transaction: 50
_LOOK = 0.0125  # seconds between two looks of the thread
_WEIGHT = 0.2  # of the last duration in their moving average


class Batch:
    """What a worker holds at a time. The thread begins with the first batch of more than one."""

    def __init__(
        self, most: int, open_store: Callable[[], SqliteStore], on_release: Callable[[], None]
    ) -> None:
        """Hold at most `most` claims; `on_release` is called after some were given back."""
        self._most = most
        self._open_store = open_store
        self._on_release = on_release
        self._size = 1
        self._duration = 0.0  # of recent jobs
        self._lock = threading.Lock()  # of all below
        self._unbegun: deque[Claim] = deque()
        self._ended: list[Outcome] = []
        self._dropped: list[Outcome] = []
        self._begun_at = 0
        self._oldest_end = 0
        self._is_held = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def size(self) -> int:
        """How many jobs to claim next."""
        return self._size

    def run(
        self, worker: int, claims: Sequence[Claim], process: Callable[[Claim], Outcome]
    ) -> tuple[list[Outcome], list[Outcome]]:
        """Process the claims one after another.

        Gives the outcomes that are still to be stored, and those that the thread could not store,
        for their claims had been lost.
        """
        with self._lock:
            self._unbegun.extend(claims)
        if len(claims) > 1:
            self._let_thread_look(worker)
        begun_at = time.monotonic_ns()
        while (claim := self._next(begun_at)) is not None:
            outcome = process(claim)
            ended_at = time.monotonic_ns()
            self._learn(ended_at - begun_at)
            with self._lock:
                if not self._ended:
                    self._oldest_end = ended_at
                self._ended.append(outcome)
            begun_at = ended_at
        self._is_held.clear()
        self._resize()
        with self._lock:
            ended, self._ended = self._ended, []
            dropped, self._dropped = self._dropped, []
        return ended, dropped

    def _next(self, now: int) -> Claim | None:
        with self._lock:
            self._begun_at = now
            return self._unbegun.popleft() if self._unbegun else None

    def _learn(self, duration: int) -> None:
        before = self._duration or duration
        self._duration = before + _WEIGHT * (duration - before)

    def _resize(self) -> None:
        """Take as many next time as recent jobs suggest, and at most twice as many as this time."""
        fitting = int(_WHOLE / max(self._duration, 1))
        self._size = max(1, min(self._most, 2 * self._size, fitting))

    # The thread

    def _let_thread_look(self, worker: int) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._look_after, args=(worker,), name="gigq-batch", daemon=True
            )
            self._thread.start()
        self._is_held.set()

    def _look_after(self, worker: int) -> None:
        store = None
        while True:
            self._is_held.wait()
            time.sleep(_LOOK)
            # Whatever is in the way of storing, the worker will meet it as well, and tells. A job
            # may have taken all descriptors: OSError.
            with self._lock, suppress(StoreError, OSError):
                since = time.monotonic_ns() - _HELD_AT_MOST
                is_long = bool(self._unbegun) and self._begun_at <= since
                if is_long or (self._ended and self._oldest_end <= since):
                    store = store or self._open_store()
                    self._hand_over(store, worker, unbegun=is_long)

    def _hand_over(self, store: SqliteStore, worker: int, *, unbegun: bool) -> None:
        """Store what has ended; give back what has not begun."""
        back = [released(claim) for claim in self._unbegun] if unbegun else []
        settled = store.settle(worker, [*self._ended, *back])
        self._dropped += (each for each in settled.dropped if each in self._ended)
        self._ended.clear()
        if back:
            self._unbegun.clear()
            self._is_held.clear()  # the worker itself will store what is left
        if back or settled.more:
            self._on_release()
