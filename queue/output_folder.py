"""The output folder, once jobs are deleted: what they printed is given back to the disk.

A file belongs to one worker process and holds what all its jobs printed. The part of a deleted job
becomes a hole, in which nothing has to be moved; a file to which no execution refers any more is
removed when its worker is gone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gigq.queue import clock
from gigq.queue.output import give_back

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from gigq.queue.records import Output, WorkerRow

SUFFIX = ".log"


class FreedParts:
    """Parts of output files that nobody refers to any more, neighbours joined."""

    def __init__(self) -> None:
        """Begin with none."""
        self._parts: dict[str, list[list[int]]] = {}

    def add(self, outputs: Iterable[Output]) -> None:
        """Note these; one whose end nobody saw is left for when the whole file goes."""
        for log, start, end in sorted(each for each in outputs if each.end is not None):
            parts = self._parts.setdefault(log, [])
            if parts and parts[-1][0] <= start <= parts[-1][1]:
                parts[-1][1] = max(parts[-1][1], end or 0)
            else:
                parts.append([start, end or 0])

    def give_back(self, folder: Path) -> Iterator[int]:
        """Make holes of them, a file at each step; gives how many bytes."""
        while self._parts:
            log, parts = self._parts.popitem()
            freed = 0
            with suppress(OSError):  # it is gone, or another user's
                freed = _make_holes(folder / log, parts)
            yield freed


def _make_holes(path: Path, parts: list[list[int]]) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        before = os.fstat(descriptor)
        freed = sum(give_back(descriptor, start, end) for start, end in parts)
        # When something was written last decides when the file goes.
        os.utime(descriptor, ns=(before.st_atime_ns, before.st_mtime_ns))
    finally:
        os.close(descriptor)
    return freed


def remove_forgotten(
    folder: Path, before: int, referred: Container[str], open_workers: Iterable[WorkerRow]
) -> Iterator[int]:
    """Remove files last written before (microseconds UTC), a file at each step; gives bytes.

    What executions refer to stays, and what a worker that has not said goodbye may write to.
    """
    # The mark of a worker's processes and the name of its file end with the same token.
    alive = tuple(
        f".{row.tree.rpartition('.')[2]}{SUFFIX}" for row in open_workers if row.tree is not None
    )
    for entry in list(os.scandir(folder)):
        if not entry.name.endswith(SUFFIX) or entry.name in referred or entry.name.endswith(alive):
            continue
        with suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            if status.st_mtime * clock.MICROSECONDS < before:
                Path(entry.path).unlink()
                yield status.st_blocks * 512
