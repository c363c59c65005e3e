"""Interrupting a job from inside its process.

In a worker process a SIGTERM from the supervisor raises in the main thread, where jobs run. In the
in-process `Worker`, which must not touch signals, an asynchronous exception is raised in the job's
thread; it arrives when that thread next runs Python code, so a long call into C holds it up.
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class JobInterrupted(BaseException):
    """Raised inside a job that is to end now. Not an Exception: a broad except would swallow it."""


class DeadlinePassed(JobInterrupted):
    """The job's time is up."""


class CancellationRequested(JobInterrupted):
    """Somebody asked for the job to be cancelled while it runs."""


class ShuttingDown(JobInterrupted):
    """The service stops, and the job did not end within the drain timeout."""


_set_async_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc


class ThreadTimeLimit:
    """Raise DeadlinePassed in this thread when the block takes longer than so many seconds.

    `passed` tells afterwards whether the time was up. None is no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        """Set the limit; it runs from entering the block."""
        self.passed = False
        self._ended = False
        self._lock = threading.Lock()
        self._thread = ctypes.c_ulong(threading.get_ident())
        self._timer = None if seconds is None else threading.Timer(seconds, self._raise)

    def __enter__(self) -> Self:
        """Begin to count."""
        if self._timer is not None:
            self._timer.daemon = True
            # The lock holds back an interruption whose time is up before the thread has started: in
            # the midst of `start` it would leave the locks of the threading module in disorder.
            with self._lock:
                self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Stop counting. An interruption that was under way ends here.

        One that Python delivers on the very last step may still leave: who uses this catches it.
        """
        while not self._ended:
            try:
                with self._lock:
                    self._ended = True
            except DeadlinePassed:
                continue
        if self._timer is not None:
            self._timer.cancel()
        if self.passed:
            # It may have been asked for and not yet delivered: take it back.
            _set_async_exception(self._thread, None)
        return isinstance(error, DeadlinePassed)

    def _raise(self) -> None:
        with self._lock:
            if not self._ended:
                self.passed = True
                _set_async_exception(self._thread, ctypes.py_object(DeadlinePassed))
