"""Whether it was the kernel that killed a worker, because memory ran out.

The kernel counts such kills per control group (cgroup v2 `memory.events`, v1
`memory.oom_control`), and for the whole machine in /proc/vmstat, in lines `oom_kill N`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_LINE = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
_ANY_PROCESS = Path("/proc/vmstat")
_GROUPS = Path("/sys/fs/cgroup")


class OutOfMemoryWatch:
    """Tells of kills in the last moments; `refresh` is for twice a second, while jobs run."""

    def __init__(self) -> None:
        """Take note of the count so far."""
        self._file = _counter()
        self._is_ours = self._file != _ANY_PROCESS  # about processes of ours, not of anybody
        self._before = self._now = self._read()

    def refresh(self) -> None:
        """Forget kills from before the last refresh."""
        self._before, self._now = self._now, self._read()

    def blame(self) -> str:
        """Say in words that the kernel killed a process for memory just now; empty: it did not."""
        if self._read() <= self._before:  # as of the refresh before the last
            return ""
        if self._is_ours:
            return " by the kernel, out of memory"
        return ", probably by the kernel, out of memory"

    def _read(self) -> int:
        with suppress(OSError):
            found = _LINE.search(self._file.read_text())
            return int(found[1]) if found else 0
        return 0


def _counter() -> Path:
    """Find the most exact counter that this process may read."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            for file in _candidates(number, controllers, path.lstrip("/")):
                with suppress(OSError):
                    if _LINE.search(file.read_text()):
                        return file
    return _ANY_PROCESS


def _candidates(number: str, controllers: str, path: str) -> list[Path]:
    if number == "0":
        return [root / path / "memory.events" for root in (_GROUPS, _GROUPS / "unified")]
    if "memory" in controllers.split(","):
        return [_GROUPS / "memory" / path / "memory.oom_control"]
    return []
