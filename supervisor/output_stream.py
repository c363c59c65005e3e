"""Following what jobs print, for whoever watches the service in the foreground.

Output goes from a job's file descriptors straight into its worker's log file; nothing waits for
this reader. It reads what is new, finds out which job printed it, and gives whole lines.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from gigq.worker.child import ChildState
from gigq.worker.slot import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gigq.worker.child import Child

_MOST_AT_ONCE = 1 << 16  # bytes read of one worker in one look
_TOO_FAR_BEHIND = 1 << 20  # bytes: the rest is in the job's output, not on the screen


class OutputStream:
    """The output of one worker process, line by line."""

    def __init__(self, child: Child) -> None:
        """Follow its log from the start."""
        self._child = child
        self._descriptor: int | None = None
        self._position = 0
        self._rest = b""
        self._waited_at = -1
        self._ended: list[tuple[int, int, str]] = []  # start, end, name of jobs that have ended

    def ended(self, start: int, end: int, name: str) -> None:
        """Learn which job printed the part from `start` to `end`."""
        self._ended.append((start, end, name))

    def lines(self) -> Iterator[tuple[str, str]]:
        """Give the job's name and the line, for new lines; not more than some at once."""
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self._child.log.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return  # too few descriptors, perhaps; the output is kept all the same
        with suppress(OSError):  # of a disk that fails
            yield from self._new_lines(self._descriptor)

    def _new_lines(self, descriptor: int) -> Iterator[tuple[str, str]]:
        size = os.fstat(descriptor).st_size
        if size - self._position > _TOO_FAR_BEHIND:
            skipped = size - self._position - _MOST_AT_ONCE
            yield self._name(size), f"… {skipped:,} bytes are not shown here …"
            self._position += skipped
            self._rest = b""
        stop = min(size, self._position + _MOST_AT_ONCE)
        while self._position < stop:
            name, end = self._part(size)
            if self._will_be_known(name):
                return
            read = os.pread(descriptor, min(_MOST_AT_ONCE, end - self._position), self._position)
            if not read:
                return
            self._position += len(read)
            *whole, self._rest = (self._rest + read).split(b"\n")
            for line in whole:
                yield name, line.decode(errors="replace")
            if self._rest and self._position == end and self._ended:
                yield name, self._rest.decode(errors="replace")
                self._rest = b""
            if self._ended and self._position >= self._ended[0][1]:
                self._ended.pop(0)

    def _will_be_known(self, name: str) -> bool:
        """Tell, once for each place, whether to wait: a job may just have ended, unheard as yet."""
        waits = (
            name == self._child.name
            and self._position != self._waited_at
            and self._child.state is not ChildState.EXITED
        )
        if waits:
            self._waited_at = self._position
        return waits

    def _part(self, size: int) -> tuple[str, int]:
        """Give who printed at the position, and how far that goes."""
        while self._ended and self._ended[0][1] <= self._position:
            self._ended.pop(0)
        if self._ended:
            start, end, name = self._ended[0]
            return (name, end) if start <= self._position else (self._child.name, start)
        return self._name(self._position), size

    def _name(self, position: int) -> str:
        status = self._child.status()
        runs = status.phase is Phase.RUNNING and status.output_start <= position
        return status.name if runs else self._child.name

    def close(self) -> None:
        """Stop following."""
        if self._descriptor is not None:
            os.close(self._descriptor)
