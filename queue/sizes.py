"""Amounts of memory as people write them: 512M, 1.5 GiB."""

from __future__ import annotations

import re

from gigq.queue.shown import shown

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# As in systemd's units: K, M, G and T are powers of 1024, whatever follows them.
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_WHOLE = 10  # of a unit, from which on tenths are not shown
MOST = 1 << 50  # bytes: beyond it a size is a mistake, not a wish
FORM = "a number of bytes, or one with K, M, G or T"
PATTERN = r"\A\s*(|\d+(\.\d+)?\s*[KkMmGgTt]?([Ii]?[Bb])?)\s*\Z"


def size_in_bytes(value: int | str) -> int:
    """Give bytes of a number or of text like 512M. Raises ValueError for anything else.

    More than 0 and at most `MOST`.
    """
    size: float = 0
    if isinstance(value, str):
        found = _SIZE.fullmatch(value.strip())
        size = float(found[1]) * _UNITS[found[2].upper()] if found else 0
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    if not 1 <= size <= MOST:
        message = f"{FORM}, is wanted; this is {shown(value)}"
        raise ValueError(message)
    return int(size)


def size_text(size: int) -> str:
    """Say an amount of bytes in its largest unit: 512 MiB, 1.5 GiB."""
    for unit in "TGMK":
        number = size / _UNITS[unit]
        if number >= 1:
            return f"{number:.{0 if number >= _WHOLE else 1}f}".removesuffix(".0") + f" {unit}iB"
    return f"{size} B"
