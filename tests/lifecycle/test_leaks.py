"""The blow: workers go and come, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lifecycle.leaks import Restarts, leaks

if TYPE_CHECKING:
    from pathlib import Path

WARM_UP = 30  # restarts, so that each way to go was taken
MEMORY = 1024  # KiB; 1,800 restarts took less (benchmarks/leaks.py)


def test_restarts_leak_nothing(tmp_path: Path) -> None:
    """However workers go, the supervisor holds as many descriptors, threads and files as before."""
    with Restarts(tmp_path) as restarts:
        restarts.restart(WARM_UP)
        before = restarts.figures()
        restarts.restart(2 * WARM_UP)
        after = restarts.figures()
    assert after.restarts >= before.restarts + 2 * WARM_UP
    assert after.outputs > before.outputs, "what jobs printed is kept"
    assert not leaks(before, after, MEMORY)
