"""One service for one database: a lock file beside it, held by `gigqd` for its whole life.

The lock is the truth; the text in the file is for people and for `gigqd status`. The file is never
unlinked: whoever deleted and made it anew would lock another one.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gigq.queue.companions import Companions

_LONGEST = 4096
_LOOKS_LAST = 0.5  # seconds


class ServiceLock:
    """The lock, held until it is closed or the process ends."""

    def __init__(self, companions: Companions) -> None:
        """Take the lock. Raises BlockingIOError when another process holds it."""
        self._descriptor = companions.open_lock(companions.service_lock)
        try:
            self._take()
        except BaseException:
            os.close(self._descriptor)
            raise

    def _take(self) -> None:
        give_up = time.monotonic() + _LOOKS_LAST
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # perhaps only somebody who looks, for an instant
                if time.monotonic() > give_up:
                    raise
            else:
                return
            time.sleep(random.uniform(0.001, 0.005))  # noqa: S311

    def describe(self, holder: dict[str, Any]) -> None:
        """Write down who holds it."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(holder).encode(), 0)

    def close(self) -> None:
        """Let go of it."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def service_holder(companions: Companions) -> dict[str, Any] | None:
    """Tell who serves this database: what it wrote down; None for nobody.

    {} while it starts, and where this user may not look.
    """
    try:
        descriptor = os.open(companions.service_lock, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        return {}
    except OSError:
        return None
    try:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        text = os.pread(descriptor, _LONGEST, 0)
    finally:
        os.close(descriptor)
    try:
        holder: dict[str, Any] = json.loads(text)
    except ValueError:
        return {}
    return holder
