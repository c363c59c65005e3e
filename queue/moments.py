"""Points and lengths of time as people read them. All are microseconds, points UTC."""

from __future__ import annotations

from datetime import datetime

from gigq.queue.clock import MICROSECONDS

_UNITS = (("days", 86_400), ("h", 3_600), ("min", 60))  # each from twice its size on
_TENTHS_BELOW = 10  # seconds


def moment(at: int, now: int) -> str:
    """Give the local time, with its date unless that is today's, and how far away it is."""
    local, today = _local(at), _local(now).date()
    text = f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M:%S}"
    return f"{text} ({distance(at, now)})"


def distance(at: int, now: int) -> str:
    """Say how far away a point of time is: `in 3 min`, `5 s ago`, `now`."""
    if abs(at - now) < MICROSECONDS // 2:
        return "now"
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"


def span(length: int) -> str:
    """Give a length of time in the unit that keeps it short: `3.2 s`, `45 s`, `3 min`, `2 days`."""
    seconds = max(length, 0) / MICROSECONDS
    if round(seconds, 1) < _TENTHS_BELOW:
        return f"{round(seconds, 1):g} s"
    for unit, size in _UNITS:
        if seconds >= 2 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds)} s"


def _local(at: int) -> datetime:
    return datetime.fromtimestamp(at / MICROSECONDS).astimezone()
