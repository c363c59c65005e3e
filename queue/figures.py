"""What a store has done, for monitoring: counters and histograms of each queue, in table `metric`.

They are gathered in memory, for a statement for each job would slow the claim, summed up many at a
time while nobody waits for it, and written inside a transaction that is made anyway: at the
earliest 250 ms after the last time, or 5 ms where nothing else is to be done; the rest when the
store is closed. What a process that was killed had not yet written is missing for good.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Any

from gigq.queue import forks
from gigq.queue import statements as sql
from gigq.queue.clock import MICROSECONDS
from gigq.queue.states import Verdict

if TYPE_CHECKING:
    from gigq.queue.connection import Connection
    from gigq.queue.records import Outcome

SUBMITTED = "submitted"
ATTEMPTS = "attempts"  # by outcome
RECLAIMED = "reclaimed"
WAIT = "wait_seconds"
DURATION = "duration_seconds"
PEAK_MEMORY = "peak_memory_bytes"
BUSY = "busy"
SUM = "sum"  # the label beside a histogram's buckets
NO_QUEUE = 0  # of the whole database

_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 21_600, 86_400)
_BYTES = tuple(float(1 << power) for power in range(24, 37))  # 16 MiB to 64 GiB
BUCKETS: dict[str, tuple[float, ...]] = {WAIT: _SECONDS, DURATION: _SECONDS, PEAK_MEMORY: _BYTES}

BUSY_EVERY = 0.25  # seconds between two writes of one process
IDLE_EVERY = 0.005
AT_ONCE = 0.0
_SUMMED_TOGETHER = 64  # what happened in these many transactions or so


def label(bound: float) -> str:
    """Give the label of the bucket with this upper bound."""
    return f"{bound:.12g}"


_BUCKETS = {
    name: (bounds, tuple(label(bound) for bound in (*bounds, float("inf"))))
    for name, bounds in BUCKETS.items()
}
_Sums = Counter[tuple[int, str, str]]  # by queue, name, label


def attempt(outcome: Outcome, started_at: int, ended_at: int) -> tuple[Any, ...]:
    """Give what an attempt adds: its verdict, how long it lasted, and the most memory or None."""
    lasted = ended_at - started_at
    return ATTEMPTS, outcome.queue_id, outcome.verdict, lasted, outcome.peak_memory


class Figures:
    """The figures of one store that are not yet written. Lengths of time are microseconds."""

    def __init__(self) -> None:
        """Begin with nothing; the first transaction writes."""
        # What the transaction under way adds. Each begins with its name and queue: SUBMITTED and
        # how many jobs; WAIT and how long the job was ready; `attempt`; RECLAIMED.
        self.happened: list[tuple[Any, ...]] = []
        self.every = BUSY_EVERY  # seconds since the last write after which this one writes
        self._recent: list[tuple[Any, ...]] = []  # of transactions before, not yet summed up
        self._committed: _Sums = Counter()  # of those before these
        self._waits = 0  # of the connection, that are written
        self._written_at = float("-inf")
        self._forks = forks.count

    def begin(self) -> None:
        """Begin a transaction; forget one that was undone."""
        self.every = BUSY_EVERY
        self.happened.clear()
        if self._forks != forks.count:  # a parent's, over a fork, who writes them itself
            self._recent.clear()
            self._committed.clear()
            self._forks = forks.count
        if time.monotonic() - self._written_at >= BUSY_EVERY:
            self._sum_up()  # now, and not with the write lock in hand

    @property
    def are_left(self) -> bool:
        """Tell whether any are not yet written."""
        return self._forks == forks.count and bool(self._recent or self._committed)

    def write_in_time(self, connection: Connection) -> bool:
        """Write all of it if it is time to, as part of the transaction; True where it was."""
        if time.monotonic() - self._written_at < self.every:
            return False
        if not (self.happened or self._recent or self._committed):
            return False
        sums = self._committed.copy()
        _add(sums, self._recent)
        _add(sums, self.happened)
        if connection.waits > self._waits:
            sums[NO_QUEUE, BUSY, ""] = connection.waits - self._waits
        connection.run_many(sql.ADD_TO_METRIC, ((*key, value) for key, value in sums.items()))
        return True

    def end(self, connection: Connection, *, wrote: bool) -> None:
        """Take note of a commit, after which nobody waits for this."""
        if wrote:
            self._recent.clear()
            self._committed.clear()
            self._waits = connection.waits
            self._written_at = time.monotonic()
        else:
            self._recent += self.happened
            if len(self._recent) >= _SUMMED_TOGETHER:
                self._sum_up()
        self.happened.clear()

    def _sum_up(self) -> None:
        _add(self._committed, self._recent)
        self._recent.clear()


def _add(sums: _Sums, happened: list[tuple[Any, ...]]) -> None:
    for name, queue, *more in happened:
        if name == WAIT:
            _observe(sums, WAIT, queue, more[0] / MICROSECONDS)
        elif name == ATTEMPTS:
            _add_attempt(sums, queue, *more)
        elif name == SUBMITTED:
            sums[queue, SUBMITTED, ""] += more[0]
        else:
            sums[queue, name, ""] += 1


def _add_attempt(
    sums: _Sums, queue: int, verdict: Verdict, lasted: int, memory: int | None
) -> None:
    if verdict is not Verdict.RELEASED:
        sums[queue, ATTEMPTS, verdict.value] += 1
        _observe(sums, DURATION, queue, lasted / MICROSECONDS)
        if memory is not None:
            _observe(sums, PEAK_MEMORY, queue, memory)


def _observe(sums: _Sums, name: str, queue: int, value: float) -> None:
    """Add a value to its bucket and to the sum."""
    value = max(0, value)  # the wall clock may have been set back
    bounds, labels = _BUCKETS[name]
    sums[queue, name, labels[bisect_left(bounds, value)]] += 1
    sums[queue, name, SUM] += value  # type: ignore[assignment]
