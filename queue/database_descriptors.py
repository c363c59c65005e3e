"""Whether the descriptors that SQLite uses are still those that it opened.

A program may close descriptors that it did not open: all of them, as daemons do, or one twice. The
next file that it opens takes their numbers, and SQLite would write the database's pages into that
file (sqlite.org/howtocorrupt.html, "Continuing to use a file descriptor after it has been
closed"). So each gets a mark: the signal that the kernel would send for the file, had anybody asked
for such signals (F_SETSIG in fcntl(2)). It goes with the open file, not with the number, and to
read it takes 0.15 µs; to ask which file it is, five times as much.
"""

from __future__ import annotations

import os
from contextlib import suppress
from fcntl import F_GETSIG, F_SETSIG, fcntl
from typing import TYPE_CHECKING

from gigq.queue.file_status import FileStatuses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MARKS = 64  # signals are 1 to 64
_OF_ONE_CONNECTION = ("", "-wal")
_SHARED = "-shm"  # by all connections of a process


class DatabaseDescriptors:
    """Those of one SQLite connection. What cannot be told apart, or marked, is not watched."""

    def __init__(self, path: Path) -> None:
        """Take note of what is open already; before the connection is made."""
        self._path = os.path.realpath(path)
        self._others = {number for number, _ in self._open_now()}
        self._marks: tuple[tuple[int, int], ...] = ()  # by number

    def mark(self) -> None:
        """Mark those that were opened since; once the connection has read something."""
        found: dict[str, list[int]] = {}
        for number, suffix in self._open_now():
            if suffix == _SHARED or number not in self._others:
                found.setdefault(suffix, []).append(number)
        if all(len(found.get(suffix, ())) == 1 for suffix in (*_OF_ONE_CONNECTION, _SHARED)):
            with suppress(OSError):  # a kernel that knows no marks
                self._marks = tuple((number, _mark(number)) for (number,) in found.values())

    def are_there(self) -> bool:
        """Tell whether each that was marked is still what it was."""
        try:
            for number, mark in self._marks:
                if fcntl(number, F_GETSIG) != mark:
                    return False
        except OSError:
            return False
        return True

    def _open_now(self) -> Iterator[tuple[int, str]]:
        """Give the numbers of all that are open on the database, with what its file's name adds."""
        with suppress(OSError):  # no /proc, or too few descriptors to read it
            for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 (numbers, no paths)
                with suppress(OSError):  # that of the list itself
                    target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
                    suffix = target.removeprefix(self._path)
                    if suffix != target and suffix in (*_OF_ONE_CONNECTION, _SHARED):
                        yield int(name), suffix


def _mark(number: int) -> int:
    # By the file, so that another file of another database, marked as well, is not taken for it.
    mark = 1 + FileStatuses().of(number).inode % _MARKS
    fcntl(number, F_SETSIG, mark)
    return mark
