"""What jobs print: where it is kept, how much of it, and reading it again.

A worker process's standard output and error go into one file of the output folder; an execution's
part is (file, start, end). Of a long part only head and tail are kept: the middle is given back to
the file system while the job still prints (fallocate(2), FALLOC_FL_PUNCH_HOLE), so that no offset
moves and nothing has to be copied.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = 1 << 20  # bytes kept of the beginning
TAIL = 1 << 20  # and of the end
_SLACK = 1 << 20  # beyond head and tail before anything is given back
_BLOCK = 4096
_PUNCH_HOLE_KEEP_SIZE = 0x03
_AT_ONCE = 1 << 16


@cache
def _fallocate() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(None, use_errno=True).fallocate64
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return function


def give_back(descriptor: int, start: int, end: int) -> int:
    """Give what lies between back to the file system, as far as it fills blocks; how much.

    The rest of the file stays where it is. A file system that cannot do it keeps everything.
    """
    first = -(-start // _BLOCK) * _BLOCK
    last = end // _BLOCK * _BLOCK
    if last <= first or _fallocate()(descriptor, _PUNCH_HOLE_KEEP_SIZE, first, last - first) != 0:
        return 0
    return last - first


def give_back_middle(descriptor: int, start: int, end: int) -> None:
    """Keep head and tail of the part from `start` to `end`, if it is long.

    A file system that cannot do it keeps everything.
    """
    if end - start <= HEAD + TAIL + _SLACK:
        return
    give_back(descriptor, start + HEAD, end - TAIL)


def read_output(path: Path, start: int, end: int) -> Iterator[bytes]:
    """Give the part of the file, piece by piece; a line says where a middle is missing.

    Raises FileNotFoundError when the file was cleared away.
    """
    with path.open("rb") as file:
        descriptor = file.fileno()
        position = start
        while position < end:
            try:
                data = os.lseek(descriptor, position, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but a hole up to the end of the file
                data = end
            if data > position:
                yield f"\n… {min(data, end) - position:,} bytes were not kept …\n".encode()
            position = data
            if position >= end:
                return
            hole = min(os.lseek(descriptor, position, os.SEEK_HOLE), end)
            while position < hole:
                piece = os.pread(descriptor, min(_AT_ONCE, hole - position), position)
                if not piece:
                    return
                yield piece
                position += len(piece)
