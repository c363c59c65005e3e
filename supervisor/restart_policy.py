"""When to start a worker process again."""

from __future__ import annotations

import random

LONGEST_DELAY = 60.0  # seconds


def restart_delay(failed_starts: int) -> float:
    """Seconds to wait after so many starts in a row that did not become ready.

    None: at once. Then 1, 2, 4 … 60, each shortened by up to half, so that many workers that fail
    for one reason do not try in step.
    """
    if failed_starts == 0:
        return 0.0
    full = min(LONGEST_DELAY, 2.0 ** min(failed_starts - 1, 10))
    return full * random.uniform(0.5, 1)  # noqa: S311
