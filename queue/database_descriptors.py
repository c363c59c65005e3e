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
from weakref import WeakSet

from gigq.queue.descriptor_marks import DescriptorMarks, mark_of
from gigq.queue.file_status import FileStatuses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DATABASE = ""
_LOG = "-wal"
_SHARED = "-shm"  # by all connections of a process
_DELETED = " (deleted)"  # what proc(5) adds


class DatabaseDescriptors(DescriptorMarks):
    """Those of one SQLite connection. What cannot be told apart, or marked, is not watched."""

    def __init__(self, path: Path) -> None:
        """Take note of what is open already; before the connection is made."""
        super().__init__()
        self._path = os.path.realpath(path)
        self._before = {number for number, _ in self._open_now()}
        self._own: dict[str, int] = {}  # by what its file's name adds
        _alive.add(self)

    def are_lost(self) -> bool:
        """Tell whether somebody has closed those of another connection to the same file.

        A new one would use them, too: SQLite shares some among all connections of a process.
        """
        same = [each for each in _alive if each._path == self._path]  # noqa: SLF001
        return not all(each.are_there() for each in same)

    def mark_opened(self) -> bool:
        """Mark those that were opened since, once the connection has read something.

        False where it uses what somebody has closed.
        """
        found: dict[str, list[int]] = {}
        for number, suffix in self._open_now():
            found.setdefault(suffix, []).append(number)
        for suffix, numbers in found.items():
            own = self._of_this_connection(suffix, numbers)
            if own is not None:
                self._own.setdefault(suffix, own)
        with suppress(OSError):  # a kernel that knows no marks
            self.mark({n: mark_of(FileStatuses().of(n).inode) for n in self._own.values()})
        return _LOG not in self._own or {_DATABASE, _SHARED} <= found.keys()

    def _of_this_connection(self, suffix: str, numbers: list[int]) -> int | None:
        if suffix != _SHARED:
            others: set[int | None] = set()
            others.update(each._own.get(suffix) for each in _alive if each is not self)  # noqa: SLF001
            left = [number for number in numbers if number not in others]
            # Mostly it is new; or else it was left by a connection that was closed before.
            numbers = [number for number in left if number not in self._before] or left
        return numbers[0] if len(numbers) == 1 else None

    def forget(self) -> None:
        """Leave them, because the connection is closed."""
        self._own.clear()
        self.mark({})

    def _open_now(self) -> Iterator[tuple[int, str]]:
        """Give the numbers of all that are open on the database, with what its file's name adds."""
        with suppress(OSError):  # no /proc, or too few descriptors to read it
            for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 (numbers, no paths)
                with suppress(OSError):  # that of the list itself
                    target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
                    suffix = target.removesuffix(_DELETED).removeprefix(self._path)
                    if target.startswith(self._path) and suffix in (_DATABASE, _LOG, _SHARED):
                        yield int(name), suffix


_alive: WeakSet[DatabaseDescriptors] = WeakSet()
