"""Values as people read them: times, ages, durations, and text of strangers."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime

from gigq.queue import clock
from gigq.queue.sizes import size_text

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_AGES = ((2 * _DAY, _DAY, "d"), (2 * _HOUR, _HOUR, "h"), (2 * _MINUTE, _MINUTE, "m"))
_FEW = 10  # seconds below which tenths are shown

# Escape sequences of a job's name could rewrite the screen, and a bidirectional override its order.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def local_time(at: int | None) -> str:
    """Give a point of time as local text to the second, - for none."""
    if at is None:
        return "-"
    moment = datetime.fromtimestamp(at / clock.MICROSECONDS)  # noqa: DTZ006 (for people here)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def seconds(duration: int | None) -> float | None:
    """Give microseconds as seconds; whole ones as an int, which reads better."""
    if duration is None:
        return None
    whole, rest = divmod(duration, clock.MICROSECONDS)
    return duration / clock.MICROSECONDS if rest else whole


def age(duration: int) -> str:
    """Say in one unit how long ago: 14s, 3m, 2h, 5d."""
    passed = max(0, duration) // clock.MICROSECONDS
    for least, size, unit in _AGES:
        if passed >= least:
            return f"{passed // size}{unit}"
    return f"{passed}s"


def span(duration: int | None) -> str:
    """Say how long something took: 50ms, 12s, 3m20s, 2h05m; - for nothing."""
    if duration is None:
        return "-"
    passed = max(0, duration) / clock.MICROSECONDS
    if passed < 1:
        return f"{passed * 1000:.0f}ms"
    if passed < _FEW:
        return f"{passed:.1f}s"
    whole = int(passed)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02d}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02d}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02d}h"


def memory(size: int | None) -> str:
    """Say an amount of memory; - for what nobody saw."""
    return "-" if size is None else size_text(size)


def printable(text: str) -> str:
    """Give text whose control characters are shown instead of obeyed; lines stay lines."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Give text for a cell: printable, in one line."""
    return printable(" ".join(text.split()))


def width(text: str) -> int:
    """Count the columns that text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )


def plural(count: int, noun: str) -> str:
    """Say how many there are."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
