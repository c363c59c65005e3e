"""Free memory in whole pieces, as a machine has it after its start.

A machine that has run for days hands out memory in single pages from all over the place. Where a
host lends it in pieces of 2 MiB, and takes back for a while what rests, each page of a process then
lies in a piece of its own, and waits for that: a hundred microseconds and more.
"""

from __future__ import annotations

import mmap
import os
import re
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CACHES = Path("/proc/sys/vm/drop_caches")  # these two in proc_sys_vm(5)
_COMPACT = Path("/proc/sys/vm/compact_memory")
_PIECES = Path("/proc/pagetypeinfo")
# What programs are given first; a count beyond 100,000 is written as `>100000`.
_FREE = re.compile(r"zone +Normal, type +Movable +([>\d].*)")
_WHOLE = 9  # powers of two of pages: 2 MiB
_FEW = 500  # pages that may be left
_TIMES = 10


class NotAllowedError(Exception):
    """Only root may do this, and not in every container."""


@contextmanager
def whole_memory() -> Iterator[int]:
    """Put free memory together, and hold what stays in smaller pieces; gives the pages still left.

    Files that programs are made of are forgotten, so that they are read into whole pieces, too.
    Raises NotAllowedError.
    """
    with ExitStack() as held:
        try:
            os.sync()
            _CACHES.write_text("3")
            _COMPACT.write_text("1")
            for _ in range(_TIMES):
                pages = in_pieces(_PIECES.read_text())
                if pages < _FEW:
                    break
                held.enter_context(_taken(pages))
            _CACHES.write_text("3")
            left = in_pieces(_PIECES.read_text())
        except OSError as error:
            where = error.filename or "memory"
            message = f"{where}: {error.strerror}; be root, and in no container"
            raise NotAllowedError(message) from None
        yield left


def in_pieces(text: str) -> int:
    """Count the pages for programs' memory that are free in pieces of less than 2 MiB."""
    lines = [counts.split()[:_WHOLE] for counts in _FREE.findall(text)]
    return sum(int(n.lstrip(">")) << order for line in lines for order, n in enumerate(line))


@contextmanager
def _taken(pages: int) -> Iterator[None]:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, pages * mmap.PAGESIZE, flags=flags) as memory:
        with suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        for place in range(0, len(memory), mmap.PAGESIZE):
            memory[place] = 1
        yield
