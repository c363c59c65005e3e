"""What the service on the booted machine runs."""

from __future__ import annotations

import time
from pathlib import Path

RUNS = Path("/var/lib/gigq/runs")  # a line for each run: its key, and began or ended


def run(key: str, seconds: float = 0) -> None:
    """Note that it has begun, take so long, note that it has ended."""
    _note(f"{key} began")
    time.sleep(seconds)
    _note(f"{key} ended")


def first_time(key: str, seconds: float) -> None:
    """Take so long, but at the first run only."""
    before = RUNS.exists() and f"{key} began" in RUNS.read_text().splitlines()
    run(key, 0 if before else seconds)


def _note(line: str) -> None:
    with RUNS.open("a") as runs:
        runs.write(line + "\n")


def fail() -> None:
    """Fail with two lines."""
    message = "one line\nand another"
    raise ValueError(message)


def say(length: int) -> None:
    """Print one line of this length."""
    print("x" * length)
