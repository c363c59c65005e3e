"""How long people wait for a look: process start included, beside many finished jobs.

    python benchmarks/looks.py

Prints the median of whole processes in milliseconds: `gigq --help`, each look, and what importing
the library adds to a bare Python.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common.databases import fill
from common.report import Report, Size, options, parsed, shown

from gigq import JobQueue

GIGQ = [sys.executable, "-m", "gigq"]


def milliseconds(command: list[str], rounds: int) -> float:
    """Time whole processes; the median."""
    spent = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(command, check=False, capture_output=True)
        spent.append((time.perf_counter() - start) * 1000)
    return statistics.median(spent)


def main() -> None:
    """Fill a database and look at it."""
    parser = options(
        __doc__,
        jobs=Size(1_000_000, 1_000, "finished jobs"),
        rounds=Size(5, 1, "times each"),
    )
    found = parsed(parser)
    report = Report(found)
    bare = milliseconds([sys.executable, "-c", "pass"], found.rounds)
    rows = [["bare Python", shown(bare)]]
    for code in ("import gigq", "from gigq import Job, JobQueue, Workflow"):
        added = milliseconds([sys.executable, "-c", code], found.rounds) - bare
        rows.append([code, f"+ {shown(added)}"])
    rows.append(["gigq --help", shown(milliseconds([*GIGQ, "--help"], found.rounds))])
    report.table("Whole processes, milliseconds", ("", "median"), rows)
    with tempfile.TemporaryDirectory() as folder:
        path = fill(Path(folder) / "many.db", finished=found.jobs, pending=100)
        with JobQueue(path) as queue:
            job = str(queue.list_jobs(limit=1)[0]["id"])
        rows = []
        for look in looks(job):
            spent = milliseconds([*GIGQ, "--db", str(path), *look], found.rounds)
            words = " ".join(look).replace(job, "ID").replace(job[:8], "ID")
            rows.append([f"gigq {words}", shown(spent)])
    report.table(f"Beside {found.jobs:,} finished jobs", ("", "median"), rows)
    report.end()


def looks(job: str) -> tuple[list[str], ...]:
    """Give the commands that look at something."""
    return (
        ["list"],
        ["list", "--status", "completed"],
        ["list", "--status", "failed"],
        ["list", "--status", "pending", "-o", "json"],
        ["list", "--since", "1h", "-o", "csv"],
        ["status", job[:8]],
        ["why", job],
        ["stats"],
        ["workflow", "list"],
    )


if __name__ == "__main__":
    main()
