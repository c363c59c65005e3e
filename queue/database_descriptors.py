"""Whether the descriptors that SQLite uses are still those that it opened.

A program may close descriptors that it did not open: all of them, as daemons do, or one twice. The
next file that it opens takes their numbers, and SQLite would write the database's pages into that
file (sqlite.org/howtocorrupt.html, "Continuing to use a file descriptor after it has been
closed").
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from gigq.queue.descriptor_marks import DescriptorMarks, mark_of
from gigq.queue.file_status import FileStatuses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OF_ONE_CONNECTION = ("", "-wal")
_SHARED = "-shm"  # by all connections of a process


class DatabaseDescriptors(DescriptorMarks):
    """Those of one SQLite connection. What cannot be told apart, or marked, is not watched."""

    def __init__(self, path: Path) -> None:
        """Take note of what is open already; before the connection is made."""
        super().__init__()
        self._path = os.path.realpath(path)
        self._others = {number for number, _ in self._open_now()}

    def mark_opened(self) -> None:
        """Mark those that were opened since; once the connection has read something."""
        found: dict[str, list[int]] = {}
        for number, suffix in self._open_now():
            if suffix == _SHARED or number not in self._others:
                found.setdefault(suffix, []).append(number)
        if all(len(found.get(suffix, ())) == 1 for suffix in (*_OF_ONE_CONNECTION, _SHARED)):
            with suppress(OSError):  # a kernel that knows no marks
                self.mark({n: mark_of(FileStatuses().of(n).inode) for (n,) in found.values()})

    def _open_now(self) -> Iterator[tuple[int, str]]:
        """Give the numbers of all that are open on the database, with what its file's name adds."""
        with suppress(OSError):  # no /proc, or too few descriptors to read it
            for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 (numbers, no paths)
                with suppress(OSError):  # that of the list itself
                    target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
                    suffix = target.removeprefix(self._path)
                    if suffix != target and suffix in (*_OF_ONE_CONNECTION, _SHARED):
                        yield int(name), suffix
