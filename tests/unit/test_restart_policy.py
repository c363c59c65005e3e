"""When a worker process is started again."""

from __future__ import annotations

import pytest

from gigq.supervisor.restart_policy import LONGEST_DELAY, restart_delay


def test_at_once_after_a_ready_one() -> None:
    """A worker that had become ready is replaced without delay."""
    assert restart_delay(0) == 0


@pytest.mark.parametrize(
    ("failures", "full"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60)]
)
def test_doubles_up_to_a_minute(failures: int, full: float) -> None:
    """Each failed start doubles the delay, which is shortened by at most half."""
    delays = [restart_delay(failures) for _ in range(200)]
    assert full / 2 <= min(delays) <= max(delays) <= full
    assert max(delays) - min(delays) > full / 4


@pytest.mark.parametrize("failures", [11, 64, 1100, 10**9])
def test_any_number_of_failures(failures: int) -> None:
    """However often it failed, the delay is at most the longest."""
    assert LONGEST_DELAY / 2 <= restart_delay(failures) <= LONGEST_DELAY


def test_not_in_step() -> None:
    """Workers that fail for one reason are not all tried again at the same moment."""
    assert len({restart_delay(3) for _ in range(50)}) > 40
