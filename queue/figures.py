"""What a store has done, for monitoring: counters and histograms of each queue, in table `metric`.

They are gathered in memory, for a statement for each job would slow the claim, and written inside a
transaction that is made anyway: at the earliest 50 ms after the last time, or 10 ms where nothing
else is to be done. What a process that was killed had not yet written is missing for good.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from gigq.queue import statements as sql
from gigq.queue.clock import MICROSECONDS
from gigq.queue.states import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gigq.queue.connection import Connection

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

BUSY_EVERY = 0.05  # seconds between two writes of one process
IDLE_EVERY = 0.01
AT_ONCE = 0.0

_Sums = Counter[tuple[int, str, str]]  # by queue, name, label


class Figures:
    """The figures of one store that are not yet written. Lengths of time are microseconds.

    The moves of a transaction add to the lists; a roll-back takes that away again.
    """

    def __init__(self) -> None:
        """Begin with nothing; the first transaction writes."""
        self.submitted: list[tuple[int, int]] = []  # queue, how many jobs
        self.claimed: list[tuple[int, int]] = []  # queue, how long the job was ready
        self.ended: list[tuple[int, Verdict, int, int | None]] = []  # queue, …, lasted, memory
        self.reclaimed: list[int] = []  # queues
        self.begun: dict[int, int] = {}  # executions that were claimed by this store, and when
        self.every = BUSY_EVERY  # seconds since the last write after which this one writes
        self._waits = 0  # of the connection, that are written
        self._written_at = float("-inf")
        self._before = (0, 0, 0, 0)

    def begin(self) -> None:
        """Remember what was there before a transaction."""
        self.every = BUSY_EVERY
        self._before = self._lengths()

    def roll_back(self) -> None:
        """Take away what the transaction added."""
        for gathered, length in zip(self._lists(), self._before, strict=True):
            del gathered[length:]

    def write_in_time(self, connection: Connection) -> bool:
        """Write all of it if it is time to, as part of the transaction; True where it was."""
        due = time.monotonic() - self._written_at >= self.every
        if not (due and any(self._lengths())):
            return False
        sums = self._sums()
        if connection.waits > self._waits:
            sums[NO_QUEUE, BUSY, ""] = connection.waits - self._waits
        connection.run_many(sql.ADD_TO_METRIC, ((*key, value) for key, value in sums.items()))
        return True

    def written(self, connection: Connection) -> None:
        """Forget what was written: it is committed."""
        for gathered in self._lists():
            gathered.clear()
        self._waits = connection.waits
        self._written_at = time.monotonic()

    def _lists(self) -> tuple[list[tuple[int, ...]], ...]:
        return self.submitted, self.claimed, self.ended, self.reclaimed  # type: ignore[return-value]

    def _lengths(self) -> tuple[int, int, int, int]:
        return len(self.submitted), len(self.claimed), len(self.ended), len(self.reclaimed)

    def _sums(self) -> _Sums:
        sums: _Sums = Counter()
        for queue, jobs in self.submitted:
            sums[queue, SUBMITTED, ""] += jobs
        for queue, count in Counter(self.reclaimed).items():
            sums[queue, RECLAIMED, ""] += count
        attempts = [each for each in self.ended if each[1] is not Verdict.RELEASED]
        for (queue, verdict), count in Counter(each[:2] for each in attempts).items():
            sums[queue, ATTEMPTS, verdict.value] += count
        _observe(sums, WAIT, self.claimed, MICROSECONDS)
        _observe(sums, DURATION, ((each[0], each[2]) for each in attempts), MICROSECONDS)
        memory = ((each[0], each[3]) for each in attempts if each[3] is not None)
        _observe(sums, PEAK_MEMORY, memory, 1)
        return sums


def label(bound: float) -> str:
    """Give the label of the bucket with this upper bound."""
    return f"{bound:.12g}"


def _observe(sums: _Sums, name: str, values: Iterable[tuple[int, int]], unit: int) -> None:
    """Add values (queue, in so many parts of the unit) to the buckets and the sum."""
    bounds = BUCKETS[name]
    labels = [label(bound) for bound in (*bounds, float("inf"))]
    for queue, parts in values:
        value = max(0, parts) / unit  # the wall clock may have been set back
        sums[queue, name, labels[bisect_left(bounds, value)]] += 1
        sums[queue, name, SUM] += value  # type: ignore[assignment]
