"""What a job uses: processor time and memory, of its process and of all that it started.

A worker counts for itself, exactly, with getrusage(2). Its supervisor samples the memory of the
whole tree from outside, and counts for a worker that was killed.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gigq.worker.process_tree import descendants

_MICROSECONDS = 1_000_000
_KIBIBYTE = 1024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_NOTICEABLE = 1.02  # growth beyond which the exact look is worth its price


class Meter:
    """A worker's own count, from one job's begin to its end."""

    def start(self) -> int:
        """Begin to count; gives the processor time used before, in microseconds."""
        own = resource.getrusage(resource.RUSAGE_SELF)
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._own_peak, self._children_peak = own.ru_maxrss, children.ru_maxrss
        self._cpu_time = cpu_time(own) + cpu_time(children)
        return self._cpu_time

    def stop(self) -> tuple[int, int]:
        """Give microseconds of processor time, and bytes of peak memory, 0 where not known.

        The kernel keeps a process's highest mark for its whole life, so the peak of a job is known
        only when it is the highest so far. Call it when all children are reaped.
        """
        own = resource.getrusage(resource.RUSAGE_SELF)
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        peaks = [
            after
            for before, after in (
                (self._own_peak, own.ru_maxrss),
                (self._children_peak, children.ru_maxrss),
            )
            if after > before
        ]
        cpu = cpu_time(own) + cpu_time(children) - self._cpu_time
        return cpu, max(peaks, default=0) * _KIBIBYTE


def cpu_time(usage: resource.struct_rusage) -> int:
    """Give user and system time together, in microseconds."""
    return int((usage.ru_utime + usage.ru_stime) * _MICROSECONDS)


class Sample(NamedTuple):
    """A look at a process and all that it started."""

    memory: int  # bytes
    cpu_of_others: int  # microseconds, of its living descendants


class TreeGauge:
    """The peak memory of one process and its descendants, sampled from outside."""

    def __init__(self, pid: int) -> None:
        """Begin with nothing seen."""
        self.peak = 0
        self._pid = pid
        self._resident_peak = 0.0

    def restart(self) -> None:
        """Begin anew, for the next job."""
        self.peak = 0
        self._resident_peak = 0.0

    def sample(self) -> Sample:
        """Look now.

        Pages that several processes share count once: where the resident sizes sum up to more than
        was seen so far, the proportional ones are asked for, which costs a walk over the pages.
        """
        others = descendants(self._pid)
        memory = sum(map(resident, (self._pid, *others)))
        if others and memory > self._resident_peak * _NOTICEABLE:
            self._resident_peak = memory
            memory = sum(map(_proportional, (self._pid, *others)))
        elif others:
            memory = min(memory, self.peak)
        self.peak = max(self.peak, memory)
        return Sample(memory, sum(map(_cpu_time_of, others)))


def resident(pid: int | str) -> int:
    """Give a process's resident memory in bytes (proc(5), statm); 0 when it is gone."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    return 0


def _proportional(pid: int) -> int:
    """Give memory in bytes in which a page shared by n processes counts as an nth."""
    with suppress(OSError, IndexError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * _KIBIBYTE
    return resident(pid)


def _cpu_time_of(pid: int) -> int:
    with suppress(OSError, IndexError, ValueError):
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, stat[11:15])) * _MICROSECONDS // _TICKS  # with its reaped children
    return 0
