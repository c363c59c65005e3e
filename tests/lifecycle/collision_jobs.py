"""Jobs for `lifecycle.collisions`; copied into the service's folder.

Each run notes its begin and end in a file of its job's own, one whole line per write, so that what
happened can be told without the database.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from gigq import current_job

RUNS = Path(__file__).with_name("runs")
_SPIN = 0.003  # seconds before the end: a sleep would miss it


def _ticks(pid: int) -> int | None:
    """When a process was started, in kernel ticks; None where it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _note(key: str, event: str, **facts: object) -> None:
    pid = os.getpid()
    line = {"event": event, "at": time.monotonic(), "pid": pid, "ticks": _ticks(pid), **facts}
    descriptor = os.open(RUNS / key, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, json.dumps(line).encode() + b"\n")
    os.close(descriptor)


def _begin(key: str) -> None:
    """Note the begin, and the processes of earlier runs that live and have not ended."""
    unfinished: dict[tuple[int, int], bool] = {}
    if (RUNS / key).exists():
        for each in map(json.loads, (RUNS / key).read_text().splitlines()):
            unfinished[each["pid"], each["ticks"]] = each["event"] == "begin"
    alive = [pid for (pid, ticks), open_ in unfinished.items() if open_ and _ticks(pid) == ticks]
    _note(key, "begin", alive=alive)


def collide(key: str, offsets: list[float]) -> int:
    """End so many milliseconds after the deadline, by the attempt; the worker's pid."""
    job = current_job()
    assert job is not None
    assert job.deadline is not None
    deadline = time.monotonic() + (job.deadline - datetime.now(UTC)).total_seconds()
    _begin(key)
    end = deadline + offsets[job.attempt - 1] / 1000
    time.sleep(max(0, end - _SPIN - time.monotonic()))
    while time.monotonic() < end:
        pass
    _note(key, "end", late=(time.monotonic() - deadline) * 1000)
    return os.getpid()


def quick(key: str, seconds: float) -> int:
    """Take so long; the worker's pid."""
    _begin(key)
    time.sleep(seconds)
    _note(key, "end")
    return os.getpid()
