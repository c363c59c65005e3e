"""Notes outside the database: JSON lines, synced to the disk, that nobody takes back.

Copied into a storm's folder beside the jobs, for jobs and submitters write them. Whatever the
database says later, these say what was promised and what ran.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gigq import Job

NOTES = Path(__file__).with_name("notes")


def ticks(pid: int) -> int | None:
    """When a process was started, in kernel ticks; None where it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


_OWN: dict[int, int] = {}  # a forked child has a time of its own


def own_ticks() -> int:
    """When this process was started."""
    pid = os.getpid()
    if pid not in _OWN:
        _OWN[pid] = ticks(pid) or 0
    return _OWN[pid]


class Book:
    """One file of notes, open from the first note on: a later one needs no descriptor."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises OSError."""
        own_ticks()
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def note(self, what: str, **facts: object) -> None:
        """Append one line, whole or not at all, with the time and who says so."""
        line = {"what": what, "at": time.monotonic(), "pid": os.getpid(), "ticks": own_ticks()}
        os.write(self._descriptor, json.dumps({**line, **facts}).encode() + b"\n")
        with suppress(OSError):  # a storm lets fsync fail; the line is written for all processes
            os.fsync(self._descriptor)

    def offer(self, number: int, jobs: Iterable[Job]) -> list[str]:
        """Note what is about to be submitted; the ids."""
        offered = {
            job.id: {
                "do": job.params["do"],
                "parents": job.dependencies,
                "policy": job.on_parent_failure,
                "max_attempts": job.max_attempts,
                "timeout": job.timeout,
            }
            for job in jobs
        }
        self.note("offer", number=number, jobs=offered)
        return list(offered)

    def lines(self) -> list[dict]:
        """Read all lines."""
        size = os.fstat(self._descriptor).st_size
        return parse(os.pread(self._descriptor, size, 0).decode())

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


def parse(text: str) -> list[dict]:
    """Give the lines of a text; a last one without an end was not written whole."""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]
