"""Whether old jobs can be deleted beside work: pickup latency with and without a pass of retention.

    python benchmarks/retention.py [--jobs 1000000] [--delete 100000] [--filled FILE]

Fills a database with finished jobs, of which the first --delete are old; starts a service with idle
workers; measures from the return of `submit` to the first line of the function, undisturbed and
then while the service deletes the old ones. Prints medians and p99 of both, how long the deletion
took, and its longest step: the write lock was held for less than that at once. A file that an
earlier run has --filled saves the minutes of filling one: a copy of it is used.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from claims import Filled

from gigq import Job, JobQueue

GIGQD = [sys.executable, "-m", "gigq.supervisor"]
_PAUSE = 0.02  # seconds between two submits
_OLD = 60 * 86_400 * 1_000_000  # microseconds
_AGE = 30  # days
_SETTLED = 3.0  # seconds for the service to come to rest
_JOBS = """
import os, time

def first_line(pipe):
    now = time.monotonic_ns()
    descriptor = os.open(pipe, os.O_WRONLY)
    os.write(descriptor, now.to_bytes(8, "big"))
    os.close(descriptor)
"""


class Pickup:
    """Submits one job after the other, and notes when each begins."""

    def __init__(self, folder: Path) -> None:
        """Use the service's database in `folder`."""
        (folder / "jobs.py").write_text(_JOBS)
        self._queue = JobQueue(folder / "gigq.db")
        self._pipe = folder / "begun"
        os.mkfifo(self._pipe)
        self._reader = os.open(self._pipe, os.O_RDWR)
        sys.path.insert(0, str(folder))

    def milliseconds(self) -> float:
        """Time from the return of submit to the function's first line."""
        self._queue.submit(Job("pickup", "jobs.first_line", {"pipe": str(self._pipe)}))
        returned = time.monotonic_ns()
        begun = int.from_bytes(os.read(self._reader, 8), "big")
        time.sleep(_PAUSE)
        return max(0, begun - returned) / 1e6


def grow_old(path: Path, jobs: int) -> None:
    """Let the first jobs have ended long ago."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(
            "UPDATE job SET created_at = created_at - ?1, updated_at = updated_at - ?1"
            " WHERE id <= ?2",
            (_OLD, jobs),
        )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def fill(path: Path, arguments: argparse.Namespace) -> None:
    """Make the database, or copy the one that is there."""
    if arguments.filled is None or not arguments.filled.exists():
        Filled(path, 0, arguments.jobs).close()
        grow_old(path, arguments.delete)
        if arguments.filled is not None:
            shutil.copy(path, arguments.filled)
    else:
        shutil.copy(arguments.filled, path)


def configure(folder: Path, days: str) -> None:
    """Say how long completed jobs stay."""
    text = f"[workers]\ncount = 2\nreload = false\n[retention]\ncompleted = {days}\n"
    beside = folder / "new.toml"
    beside.write_text(text)
    beside.replace(folder / "gigqd.toml")


def deleted(log: Path) -> dict[str, object] | None:
    """Give the event that says that the pass is over."""
    found = re.findall(r'^\{.*"jobs_deleted".*\}$', log.read_text(), re.MULTILINE)
    return json.loads(found[-1]) if found else None


def described(figures: list[float]) -> str:
    """Give median and p99."""
    p99 = statistics.quantiles(figures, n=100)[98]
    return (
        f"median {statistics.median(figures):6.2f} ms   p99 {p99:6.2f} ms   "
        f"most {max(figures):6.2f} ms   of {len(figures):,}"
    )


def main() -> None:
    """Fill, serve, measure, delete, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--delete", type=int, default=100_000)
    parser.add_argument("--filled", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, log = folder / "gigq.db", folder / "events.jsonl"
        fill(path, arguments)
        print(f"{arguments.jobs:,} finished jobs, {path.stat().st_size / 1e6:,.0f} MB")
        configure(folder, '"never"')
        pickup = Pickup(folder)
        with log.open("w") as events:
            service = subprocess.Popen(
                [*GIGQD, "start", str(path)], cwd=folder, stdout=events, stderr=events
            )
        try:
            measure(folder, log, pickup)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait()


def measure(folder: Path, log: Path, pickup: Pickup) -> None:
    """Print what a running service shows."""
    for _ in range(50):
        pickup.milliseconds()
    time.sleep(_SETTLED)
    calm = [pickup.milliseconds() for _ in range(600)]
    print(f"pickup, undisturbed       {described(calm)}")
    configure(folder, str(_AGE))
    busy = []
    while (done := deleted(log)) is None:
        busy.append(pickup.milliseconds())
    print(f"pickup, while deleting    {described(busy)}")
    ratio = statistics.median(busy) / statistics.median(calm)
    tails = [statistics.quantiles(figures, n=100)[98] for figures in (busy, calm)]
    print(f"ratio of medians {ratio:.2f}, of p99 {tails[0] / tails[1]:.2f}")
    freed = int(str(done["freed"])) / 1e6
    print(f"deleted {done['count']:,} jobs in {done['seconds']} s, {freed:,.0f} MB given back")
    print(f"longest step {float(str(done['longest_step'])) * 1e3:.1f} ms")
    again = [pickup.milliseconds() for _ in range(600)]
    print(f"pickup, undisturbed again {described(again)}")


if __name__ == "__main__":
    main()
