"""When a job's function begins: it writes the time into a FIFO, as its first line."""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING

from gigq import Job, JobQueue

if TYPE_CHECKING:
    from pathlib import Path

_MARK = """
import os, time

def first_line(pipe):
    now = time.monotonic_ns()
    descriptor = os.open(pipe, os.O_WRONLY)
    os.write(descriptor, now.to_bytes(8, "big"))
    os.close(descriptor)
"""
_LONGEST = 60.0  # seconds for a job to begin


class FirstLines:
    """Submits jobs and knows when each begins. Times are nanoseconds of CLOCK_MONOTONIC."""

    def __init__(self, path: Path) -> None:
        """Use a database; the jobs' code is written beside it."""
        self._folder = path.parent
        (self._folder / "mark.py").write_text(_MARK)
        self._pipe = self._folder / "begun"
        os.mkfifo(self._pipe)
        self._reader = os.open(self._pipe, os.O_RDWR)
        self.queue = JobQueue(path)

    def submit(self) -> int:
        """Submit a job; when that returned."""
        with contextlib.chdir(self._folder):
            self.queue.submit(Job("mark", "mark.first_line", {"pipe": str(self._pipe)}))
            return time.monotonic_ns()

    def begun(self) -> int:
        """Wait for the next job to begin; when it did. Raises TimeoutError."""
        if not select.select([self._reader], [], [], _LONGEST)[0]:
            message = f"no job began within {_LONGEST:g} s"
            raise TimeoutError(message)
        return int.from_bytes(os.read(self._reader, 8), "big")

    def pickup(self) -> float:
        """Submit a job; milliseconds from the return of submit to the function's first line."""
        returned = self.submit()
        return max(0, self.begun() - returned) / 1e6

    def latency(self) -> float:
        """Submit a job; milliseconds from the call of submit to the function's first line.

        The ring at the end of a submit may let the worker run before it returns: `pickup` is 0
        then, and says nothing of how long the job took to begin.
        """
        called = time.monotonic_ns()
        self.submit()
        return (self.begun() - called) / 1e6

    def close(self) -> None:
        """Let go of the database and the FIFO."""
        self.queue.close()
        os.close(self._reader)
