"""The kernel's timer: when it goes off, and when it is left as it is set."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from harness import until

from gigq.worker.kernel_timer import KernelTimer

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND = 1_000_000_000


@pytest.fixture
def rings() -> Iterator[list[int]]:
    """Collect when the signal comes."""
    found: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: found.append(time.monotonic_ns()))
    yield found
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def timer(rings: list[int]) -> Iterator[KernelTimer]:  # noqa: ARG001 (its handler first)
    """Give a timer that sends that signal."""
    timer = KernelTimer(signal.SIGUSR1)
    yield timer
    timer.stop()


def test_it_goes_off_once(timer: KernelTimer, rings: list[int]) -> None:
    """After so long, and no second time."""
    start = time.monotonic_ns()
    timer.start(SECOND // 20)
    until(lambda: rings)
    assert rings[0] - start >= SECOND // 20
    timer.start_about(time.monotonic_ns() + SECOND // 20)
    until(lambda: len(rings) == 2)


def test_sooner(timer: KernelTimer, rings: list[int]) -> None:
    """A sooner end replaces a later one, and a much later one a sooner one."""
    now = time.monotonic_ns()
    timer.start_about(now + 100 * SECOND)
    timer.start_about(now + SECOND // 10)
    timer.start_about(now + 2 * SECOND)
    timer.start_about(now + SECOND // 5)
    until(lambda: rings)
    assert SECOND // 5 <= rings[0] - now < 2 * SECOND


def test_about(timer: KernelTimer, rings: list[int]) -> None:
    """One that is set to a little sooner stays as it is set."""
    now = time.monotonic_ns()
    timer.start_about(now + 3 * SECOND // 10)
    timer.start_about(now + 7 * SECOND // 10)
    until(lambda: rings)
    assert 3 * SECOND // 10 <= rings[0] - now < 7 * SECOND // 10


def test_stop(timer: KernelTimer, rings: list[int]) -> None:
    """One that was stopped does not go off; one with more than a minute left goes on."""
    timer.start(SECOND // 20)
    timer.stop_if_soon(time.monotonic_ns())
    now = time.monotonic_ns()
    timer.start_about(now + 62 * SECOND)
    timer.stop_if_soon(now)
    time.sleep(0.1)  # it would have gone off by then
    assert rings == []
    timer.stop_if_soon(now + 62 * SECOND - SECOND // 10)
    assert rings == []
