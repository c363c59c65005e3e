"""Marks by which descriptors are known again: whether somebody has closed or replaced one since.

A mark is the signal that the kernel would send for an open file, had anybody asked for such signals
(F_SETSIG in fcntl(2)). It goes with the open file, not with the number. To look at it takes a third
of what it takes to ask which file a descriptor is open on (fstat(2)).

1 to 3 are those of a worker's own files, the others those of databases.
"""

from __future__ import annotations

from fcntl import F_GETSIG, F_SETSIG, fcntl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

INPUT, OUTPUT, STACKS = 1, 2, 3
_FIRST_OF_FILES = 4
_OF_FILES = 61  # the highest signal is 64


def mark_of(inode: int) -> int:
    """Give a mark for a file, so that another one, marked as well, is not taken for it."""
    return _FIRST_OF_FILES + inode % _OF_FILES


class DescriptorMarks:
    """Some descriptors and the marks of what they are open on."""

    def __init__(self) -> None:
        """Begin with none."""
        self._marks: tuple[tuple[int, int], ...] = ()

    def mark(self, marks: Mapping[int, int]) -> None:
        """Mark these instead of what was marked before; an OSError leaves none."""
        self._marks = ()
        for number, mark in marks.items():
            fcntl(number, F_SETSIG, mark)
        self._marks = tuple((number, fcntl(number, F_GETSIG)) for number in marks)

    def are_there(self) -> bool:
        """Tell whether each is still open on what it was when it was marked."""
        try:
            for number, mark in self._marks:
                if fcntl(number, F_GETSIG) != mark:
                    return False
        except OSError:
            return False
        return True
