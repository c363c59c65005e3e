"""The memory of the job that a worker runs, with all that it started, watched from outside.

The worker's own count, from inside, is in `gigq.worker.usage`.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gigq.worker.process_tree import descendants
from gigq.worker.usage import KIBIBYTE, MICROSECONDS, resident

if TYPE_CHECKING:
    from gigq.worker.slot import Slot, Status

_EACH = 500_000_000  # nanoseconds between two looks
_OFTEN = 100_000_000  # where there is a limit to be kept
_LONG = 250_000_000  # nanoseconds that a job without one has run before it is looked at
_NOTICEABLE = 1.02  # growth beyond which the exact look is worth its price
_TICKS = os.sysconf("SC_CLK_TCK")


class MemoryWatch:
    """Samples one worker's process tree. Times are nanoseconds of the monotonic clock."""

    def __init__(self, pid: int, slot: Slot) -> None:
        """Watch the worker `pid`, and tell it in its slot what it was seen to use."""
        self._next = 0
        self._pid = pid
        self._slot = slot
        self._begin(0)

    def _begin(self, execution: int) -> None:
        self._execution = execution
        self._memory = self._peak = self._resident_peak = 0
        self._cpu_of_others = 0

    def next_look(self, status: Status) -> int:
        """When it is time to look at the job that runs; short ones are not worth it."""
        return self._next if status.max_memory else max(self._next, status.begun_at + _LONG)

    def finds_too_much(self, status: Status) -> bool:
        """Look if it is time to, and tell whether the job that runs is beyond its limit."""
        now = time.monotonic_ns()
        if now < self.next_look(status):
            return False
        self._next = now + (_OFTEN if status.max_memory else _EACH)
        self.look(status.execution)
        return 0 < status.max_memory < self._memory

    def look(self, execution: int) -> None:
        """Look now.

        Pages that several processes share count once: where the resident sizes sum up to more than
        was seen so far, the proportional ones are asked for, which costs a walk over the pages.
        """
        if execution != self._execution:
            self._begin(execution)
        others = descendants(self._pid)
        memory = sum(map(resident, (self._pid, *others)))
        if others and memory > self._resident_peak * _NOTICEABLE:
            self._resident_peak = memory
            memory = sum(map(_proportional, (self._pid, *others)))
        elif others:
            memory = min(memory, self._peak)
        self._memory = memory
        self._peak = max(self._peak, memory)
        self._cpu_of_others = sum(map(_cpu_time_of, others))
        self._slot.note_peak_memory(execution, self._peak)

    def peak_of(self, execution: int) -> int | None:
        """Give the most memory in bytes that an execution was seen to use, the last one only."""
        return self._peak or None if execution == self._execution else None

    def cpu_of_others(self, execution: int) -> int:
        """Give microseconds that its living descendants had used, as of the last look."""
        return self._cpu_of_others if execution == self._execution else 0


def _proportional(pid: int) -> int:
    """Give memory in bytes in which a page shared by n processes counts as an nth."""
    with suppress(OSError, IndexError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * KIBIBYTE
    return resident(pid)


def _cpu_time_of(pid: int) -> int:
    with suppress(OSError, IndexError, ValueError):
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, stat[11:15])) * MICROSECONDS // _TICKS  # with its reaped children
    return 0
