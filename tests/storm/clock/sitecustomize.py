"""Lets a process of a storm see another wall clock, which may jump while it runs.

Its folder is on the PYTHONPATH of all processes of a storm; the interpreter imports it when it
starts. The file that GIGQ_STORM_CLOCK names holds the hours. The monotonic clock stays what it is.

libfaketime was tried and is not used: version 0.9.10 also moves what a process sleeps until on the
monotonic clock, so that each `time.sleep` of Python fails or lasts for hours.
"""

from __future__ import annotations

import os
import time


def _move(path: str) -> None:
    seconds, nanoseconds = time.time, time.time_ns

    def hours() -> float:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            return float(os.read(descriptor, 20) or 0)
        finally:
            os.close(descriptor)

    time.time = lambda: seconds() + hours() * 3600
    time.time_ns = lambda: nanoseconds() + int(hours() * 3600) * 1_000_000_000


if "GIGQ_STORM_CLOCK" in os.environ:
    _move(os.environ["GIGQ_STORM_CLOCK"])
