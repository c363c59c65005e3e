"""Time: integer microseconds UTC inside, naive local ISO text for the API that moved from GigQ."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

MICROSECONDS = 1_000_000
NEVER = 1 << 62  # nanoseconds: later, or longer, than all that is ever waited for


def now() -> int:
    """Microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def jitter(low: float, high: float) -> float:
    """Give a number in between, another one for each process and call.

    To import `random` would take a twentieth of a worker's start.
    """
    mixed = (time.monotonic_ns() ^ (os.getpid() << 7)) * 2_654_435_761
    return low + (high - low) * ((mixed >> 8) & 0xFFFF) / 0xFFFF


def local_text(at: int | None) -> str | None:
    """Give `at` (microseconds UTC) as naive local ISO text, to be compared with datetime.now()."""
    if at is None:
        return None
    return datetime.fromtimestamp(at / MICROSECONDS).isoformat()  # noqa: DTZ006 (naive by contract)


def from_text(at: str | datetime) -> int:
    """Give ISO text or a datetime, local where it is naive, as microseconds UTC.

    Raises ValueError for text that is no time.
    """
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return round(moment.timestamp() * MICROSECONDS)


def offset_text(at: int | None) -> str | None:
    """Give `at` (microseconds UTC) as ISO text with its offset."""
    if at is None:
        return None
    return datetime.fromtimestamp(at / MICROSECONDS, UTC).isoformat()


def duration(seconds: float | None) -> int | None:
    """Seconds, fractions allowed, as microseconds."""
    return None if seconds is None else round(seconds * MICROSECONDS)
