"""What a job uses: processor time and memory, of its process and of all that it started.

A worker counts for itself, exactly, with getrusage(2). Its supervisor samples the memory of the
whole tree from outside (`gigq.worker.memory_watch`), and counts for a worker that was killed.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

MICROSECONDS = 1_000_000
KIBIBYTE = 1024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Meter:
    """A worker's own count, from one job's begin to its end."""

    def __init__(self) -> None:
        """Begin with what the children so far have used."""
        self._children = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._children_time = cpu_time(self._children)

    def start(self) -> int:
        """Begin to count; gives the processor time used before, in microseconds."""
        own = resource.getrusage(resource.RUSAGE_SELF)
        self._own_peak = own.ru_maxrss
        # No child has been reaped since `stop`: all of the last job were.
        self._cpu_time = cpu_time(own) + self._children_time
        return self._cpu_time

    def stop(self) -> tuple[int, int]:
        """Give microseconds of processor time, and bytes of peak memory, 0 where not known.

        The kernel keeps a process's highest mark for its whole life, so the peak of a job is known
        only when it is the highest so far. Call it when all children are reaped.
        """
        own = resource.getrusage(resource.RUSAGE_SELF)
        before, children = self._children, resource.getrusage(resource.RUSAGE_CHILDREN)
        self._children, self._children_time = children, cpu_time(children)
        peak = own.ru_maxrss if own.ru_maxrss > self._own_peak else 0
        if children.ru_maxrss > before.ru_maxrss:
            peak = max(peak, children.ru_maxrss)
        cpu = cpu_time(own) + self._children_time - self._cpu_time
        return cpu, peak * KIBIBYTE


def cpu_time(usage: resource.struct_rusage) -> int:
    """Give user and system time together, in microseconds."""
    return int((usage.ru_utime + usage.ru_stime) * MICROSECONDS)


def resident(pid: int | str) -> int:
    """Give a process's resident memory in bytes (proc(5), statm); 0 when it is gone."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    return 0
