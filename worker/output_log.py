"""The file that a worker process and its jobs print into, as its supervisor sees it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from gigq.queue.output import HEAD, TAIL, give_back_middle
from gigq.queue.records import Output

if TYPE_CHECKING:
    from pathlib import Path

_LAST_WORDS = 4096  # bytes in which the last line is looked for


class OutputLog:
    """One worker's output file."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is created by `open`."""
        self.path = path

    def open(self) -> int:
        """Give a descriptor to print to. Raises OSError."""
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o660)

    def since(self, start: int) -> Output | None:
        """Give the part from `start` on; None where nothing was printed."""
        with suppress(OSError):
            end = self.path.stat().st_size
            if end > start:
                return Output(self.path.name, start, end)
        return None

    def limit(self, start: int) -> None:
        """Keep head and tail of what a job prints from `start` on, if that is much."""
        with suppress(OSError):
            end = self.path.stat().st_size
            if end - start > HEAD + TAIL:
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
                give_back_middle(descriptor, start, end)
                os.close(descriptor)

    def last_line(self) -> str:
        """Give the last line that was printed; empty where there is none."""
        try:
            with self.path.open("rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - _LAST_WORDS))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""

    def remove_if_empty(self) -> None:
        """Leave nothing of a worker that has printed nothing."""
        with suppress(OSError):
            if self.path.stat().st_size == 0:
                self.path.unlink()
