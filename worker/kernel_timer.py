"""A timer of the kernel's that ends this process, even while C code holds the interpreter.

It is the last resort: it acts when no supervisor is left to enforce a deadline. User code cannot
reach it by accident, as it would with alarm(2) or setitimer(2).
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal

_CLOCK_MONOTONIC = 1
_SIGEV_SIGNAL = 0
_NANOSECONDS = 1_000_000_000


class _Sigevent(ctypes.Structure):
    # sigevent(3): a pointer-sized value, two ints, padded to 64 bytes.
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("padding", ctypes.c_byte * 48),
    )


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class KernelTimer:
    """One timer that sends one signal to this process. It survives neither fork nor exec."""

    def __init__(self, number: signal.Signals) -> None:
        """Create it, not running. Raises OSError."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._timer = ctypes.c_void_p()
        event = _Sigevent(None, number, _SIGEV_SIGNAL)
        if libc.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(self._timer)):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), "timer_create")
        self._settime = libc.timer_settime
        self._after = 0  # nanoseconds: what stands in `_when`
        self._when, never = _Itimerspec(), _Itimerspec()
        self._to_start, self._to_stop = ctypes.byref(self._when), ctypes.byref(never)

    def start(self, nanoseconds: int) -> None:
        """Let it go off after so long; replaces what was set before."""
        after = max(nanoseconds, 1)  # 0 would stop it
        if after != self._after:
            self._after = after
            value = self._when.value
            value.seconds, value.nanoseconds = divmod(after, _NANOSECONDS)
        self._settime(self._timer, 0, self._to_start, None)

    def stop(self) -> None:
        """Let it not go off."""
        self._settime(self._timer, 0, self._to_stop, None)
