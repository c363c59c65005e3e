"""A timer of the kernel's: goes off once, when it should, and not after it was stopped."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own with one thread: the signal must find it blocked everywhere.
BEGIN = """
import signal
from gigq.worker.kernel_timer import KernelTimer

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
timer = KernelTimer(signal.SIGUSR2)
MILLISECOND = 1_000_000

def goes_off(seconds=10):
    return signal.sigtimedwait({signal.SIGUSR2}, seconds) is not None

"""
CASES = {
    "soon": """
for after in (0, -5, 1, MILLISECOND, MILLISECOND):
    timer.start(after)
    assert goes_off(), after
    assert not goes_off(0.01), after
""",
    "stopped": """
timer.start(500 * MILLISECOND)
timer.stop()
assert not goes_off(0.8)
timer.start(500 * MILLISECOND)
assert goes_off()
""",
    "replaced": """
timer.start(500 * MILLISECOND)
timer.start(60_000 * MILLISECOND)
assert not goes_off(0.8)
timer.start(MILLISECOND)
assert goes_off()
""",
}


@pytest.mark.parametrize("case", CASES)
def test_timer(case: str) -> None:
    """What is due already goes off at once; what is stopped or replaced does not."""
    subprocess.run([sys.executable, "-c", BEGIN + CASES[case]], check=True, timeout=60)
