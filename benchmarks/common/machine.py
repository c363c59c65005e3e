"""What a machine is, as far as figures depend on it: no names and no paths."""

from __future__ import annotations

import mmap
import os
import platform
import sqlite3
import statistics
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.peers import Peers

_SYNCS = 50
_PAGES = 4000


def described(folder: Path, others: Peers | None) -> dict[str, str]:
    """Describe it; `folder` lies on the disk that is used."""
    found = {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / (1 << 20):.0f} GiB",
        "kernel": platform.release(),
        "file system": _file_system(folder),
        "fsync": f"{_sync(folder):.2f} ms at the median",
        "a page of memory": "{:.2f} µs to touch, {:.2f} after it rested for a second".format(
            *touched()
        ),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
    }
    if others is not None:
        found["peers"] = f"GigQ {_version(others, 'gigq')}, huey {_version(others, 'huey')}"
    return found


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _file_system(folder: Path) -> str:
    """Give the kind of the file system: the mount that lies deepest above the folder."""
    deepest, kind = "", ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted_on, found, *_ = line.split()
        if folder.resolve().is_relative_to(mounted_on) and len(mounted_on) >= len(deepest):
            deepest, kind = mounted_on, found
    return kind


def _sync(folder: Path) -> float:
    """Milliseconds of an fsync after a page was written."""
    spent = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(b"x" * 4096)
            begun = time.perf_counter()
            os.fsync(file.fileno())
            spent.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(spent)


def touched() -> tuple[float, float]:
    """Microseconds to touch a page of memory: at once again, and after a second.

    Where the second takes much longer, the machine or its host looks which memory is used: all that
    waits or sleeps is slow there when it goes on, and costs processor time.
    """
    with mmap.mmap(-1, _PAGES * mmap.PAGESIZE) as memory:

        def touch() -> float:
            begun = time.perf_counter()
            for place in range(0, len(memory), mmap.PAGESIZE):
                memory[place] = 1
            return (time.perf_counter() - begun) / _PAGES * 1e6

        touch()
        at_once = touch()
        time.sleep(1)
        return at_once, touch()


def _version(others: Peers, package: str) -> str:
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    command = [str(others.python), "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
