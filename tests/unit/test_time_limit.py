"""Interrupting a block in its own thread, and nothing after it."""

from __future__ import annotations

import random
import select
import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from harness import until

from gigq.worker.time_limit import DeadlinePassed, JobInterrupted, ShuttingDown, ThreadTimeLimit

if TYPE_CHECKING:
    from collections.abc import Iterator


def spin(seconds: float) -> int:
    """Run Python code for so long."""
    end = time.monotonic() + seconds
    turns = 0
    while time.monotonic() < end:
        turns += 1
    return turns


def limited(limit: ThreadTimeLimit, seconds: float) -> bool:
    """Run a block as a worker does; whether it came to its end."""
    ended = False
    try:
        with limit:
            spin(seconds)
            ended = True
    except DeadlinePassed:  # on the last step out of the block
        pass
    return ended


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Let the timer's thread run as soon as its time is up; by default it waits 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class TestInterruption:
    """A block that takes too long."""

    def test_endless_block(self) -> None:
        """An endless loop of Python code ends soon after its time."""
        limit = ThreadTimeLimit(0.05)
        start = time.monotonic()
        assert not limited(limit, 60)
        assert limit.passed
        assert 0.05 <= time.monotonic() - start < 5

    def test_wait_in_c(self) -> None:
        """A call into C is not cut short; the block ends when it returns."""
        reached = False
        with ThreadTimeLimit(0.02) as limit:
            select.select([], [], [], 0.1)
            reached = True
        assert limit.passed
        assert not reached

    def test_c_code_that_holds_the_interpreter(self) -> None:
        """A block that C code kept beyond its time has passed it, though nobody could interrupt."""
        limit = ThreadTimeLimit(0.02)
        start = time.monotonic()
        with suppress(DeadlinePassed), limit:
            sum(range(8_000_000))
        assert time.monotonic() - start > 0.04
        assert limit.passed

    def test_swallowed(self) -> None:
        """A block that catches everything ends as it likes, and is told to have passed its time."""
        swallowed = False
        with ThreadTimeLimit(0.02) as limit:
            try:
                spin(60)
            except BaseException:  # noqa: BLE001 (the case in question)
                swallowed = True
        assert swallowed
        assert limit.passed

    def test_a_broad_except_does_not_catch_it(self) -> None:
        """`except Exception` in a job does not swallow the interruption."""
        with ThreadTimeLimit(0.02) as limit:
            while not limit.passed:
                with suppress(Exception):
                    spin(60)
            pytest.fail("swallowed")
        assert not issubclass(JobInterrupted, Exception)
        assert issubclass(DeadlinePassed, JobInterrupted)
        assert issubclass(ShuttingDown, JobInterrupted)

    def test_raised_once(self) -> None:
        """Clean-up code that runs after the interruption is not interrupted again."""
        cleaned = 0
        with ThreadTimeLimit(0.02):
            try:
                spin(60)
            finally:
                cleaned = spin(0.1)
        assert cleaned > 0

    def test_only_its_own_thread(self) -> None:
        """Blocks of several threads are interrupted each for itself."""
        ends: dict[float, bool] = {}

        def run(seconds: float) -> None:
            ends[seconds] = limited(ThreadTimeLimit(seconds), 0.3)

        threads = [threading.Thread(target=run, args=(each,)) for each in (0.02, 0.05, 30.0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ends == {0.02: False, 0.05: False, 30.0: True}


class TestEnd:
    """A block that ends in time."""

    @pytest.mark.parametrize("seconds", [None, 60, 0.05])
    def test_in_time(self, seconds: float | None) -> None:
        """A block within its limit is left alone, and so is what comes after it."""
        limit = ThreadTimeLimit(seconds)
        with limit:
            pass
        assert not limit.passed
        spin(0.1)
        assert not limit.passed

    def test_own_error_passes(self) -> None:
        """What the block itself raises goes on its way."""
        with pytest.raises(ZeroDivisionError), ThreadTimeLimit(60):
            _ = 1 / 0

    def test_no_thread_is_left(self) -> None:
        """The timer of a block that ended in time ends too."""
        before = threading.active_count()
        for _ in range(20):
            with ThreadTimeLimit(3600):
                pass
        until(lambda: threading.active_count() <= before)

    def test_the_timer_keeps_no_process_alive(self) -> None:
        """The timer is a daemon thread: a program may end while a block runs."""
        before = set(threading.enumerate())
        with ThreadTimeLimit(3600):
            assert all(thread.daemon for thread in set(threading.enumerate()) - before)

    @pytest.mark.usefixtures("eager_threads")
    def test_time_up_at_once(self) -> None:
        """A limit that is over as it begins interrupts the block, never the start of its timer."""
        for _ in range(2000):
            try:
                with ThreadTimeLimit(0):
                    pass
            except DeadlinePassed as error:
                frames = traceback.extract_tb(error.__traceback__)
                assert threading.__file__ not in {frame.filename for frame in frames}

    @pytest.mark.usefixtures("eager_threads")
    def test_racing_ends(self) -> None:
        """Of 2,000 blocks that end about at their limit, none lets an interruption out later."""
        dice = random.Random(5)
        passed = 0
        for _ in range(2000):
            limit = ThreadTimeLimit(dice.uniform(0.00005, 0.0004))
            ended = limited(limit, dice.uniform(0, 0.0004))
            # Any interruption still on its way would arrive in here.
            spin(0.00005)
            assert ended or limit.passed
            passed += limit.passed
        spin(0.02)
        assert 0 < passed < 2000

    def test_nothing_leaves_the_block(self) -> None:
        """Once the block has begun, an interruption goes no further than the block's end."""
        dice = random.Random(6)
        begun = False
        leaked = 0
        for _ in range(2000):
            begun = False
            try:
                with ThreadTimeLimit(dice.uniform(0.0001, 0.0004)):
                    begun = True
                    spin(dice.uniform(0, 0.0004))
            except DeadlinePassed:
                leaked += begun
        spin(0.02)
        assert leaked == 0
