"""The files that a running service follows: its configuration, and the code that workers loaded."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from gigq.queue import clock
from gigq.supervisor.file_watch import FileWatch
from gigq.worker.import_roots import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from gigq.supervisor.log import Log

_SECOND = 1_000_000_000
_LOOK = 30 * _SECOND  # the net under watchdog; in a rest only where that does not work
_QUIET = _SECOND // 10  # a file that is being written is not read: half of it may be valid, too


class CodeChange(NamedTuple):
    """A file that has changed, and the names of the workers that had loaded it."""

    path: str
    workers: set[str]


class FollowedFiles:
    """Knows what has changed. Times are nanoseconds of the monotonic clock."""

    def __init__(self, configuration: Path | None, wake: Callable[[], None], log: Log) -> None:
        """Follow a configuration; `wake` is called from a thread when something changes."""
        self._configuration = configuration
        self._wake = wake
        self._log = log
        self._watch = FileWatch(self._note)
        self._hears = configuration is None or _is_reached_directly(configuration)
        self._changed: deque[str] = deque()
        self._loaded: dict[str, set[str]] = {}  # by worker
        self._digest = self._read()
        self._next_look = time.monotonic_ns() + _LOOK
        self._quiet_at: int | None = None  # when the configuration may be read

    def start(self) -> None:
        """Begin to watch."""
        if self._configuration is not None:
            self._watch_all([str(self._configuration)])

    def loaded(self, worker: str, stamps: dict[str, list[int] | None]) -> None:
        """Follow files that a worker has loaded; one may have changed since its stamp."""
        self._loaded.setdefault(worker, set()).update(stamps)
        self._watch_all(stamps)
        for path, loaded_from in stamps.items():
            now = stamp(path)
            if now is not None and list(now) != loaded_from:
                self._changed.append(path)

    def forget(self, worker: str) -> None:
        """Follow no longer what only this worker had loaded."""
        self._loaded.pop(worker, None)

    def _watch_all(self, paths: Iterable[str]) -> None:
        try:
            self._watch.watch(paths)
        except (OSError, RuntimeError) as error:  # no watch, no descriptor, or no thread is left
            self._hears = False
            self._log.event("watch_failed", error=str(error))

    def _note(self, path: str) -> None:
        """Note a change; called from watchdog's thread."""
        self._changed.append(path)
        self._wake()

    # What has changed

    def take_code_changes(self) -> list[CodeChange]:
        """Give the files of code that have changed since the last time."""
        changed = set()
        while self._changed:
            changed.add(self._changed.popleft())
        if str(self._configuration) in changed:
            changed.discard(str(self._configuration))
            self._quiet_at = time.monotonic_ns() + _QUIET
        return [
            CodeChange(path, {name for name, files in self._loaded.items() if path in files})
            for path in sorted(changed)
        ]

    def take_configuration_change(self) -> bool:
        """Tell whether the configuration says something else than when it was last read."""
        now = time.monotonic_ns()
        if now >= self._next_look:
            self._next_look = now + _LOOK
            self._quiet_at = self._quiet_at or now
        if self._quiet_at is None or now < self._quiet_at:
            return False
        self._quiet_at = None
        return self._read() not in (self._digest, b"")

    def next_look(self) -> int:
        """When there is something to look at; for the net nobody has to wake up that hears."""
        return self._quiet_at or (clock.NEVER if self._hears else self._next_look)

    def was_read(self) -> None:
        """Note that the configuration is being read as it is now."""
        self._digest = self._read()

    def _read(self) -> bytes:
        if self._configuration is None:
            return b""
        try:
            return hashlib.sha256(self._configuration.read_bytes()).digest()
        except OSError:
            return b""

    def close(self) -> None:
        """Watch no longer."""
        self._watch.close()


def _is_reached_directly(path: Path) -> bool:
    """Tell whether no link leads there: its folder does not hear what is changed behind one."""
    return os.path.realpath(path) == os.path.abspath(path)  # noqa: PTH100
