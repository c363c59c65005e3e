"""How long people wait for a look: process start included, beside many finished jobs.

    python benchmarks/looks.py [--jobs 1000000] [--rounds 5]

Prints the median of whole processes in milliseconds: `gigq --help`, each look, and what importing
the library adds to a bare Python.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from claims import Filled

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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rounds = arguments.rounds
    bare = milliseconds([sys.executable, "-c", "pass"], rounds)
    for code in ("import gigq", "from gigq import Job, JobQueue, Workflow"):
        added = milliseconds([sys.executable, "-c", code], rounds) - bare
        print(f"{code:<44} {added:8.1f} ms over bare Python")
    print(f"{'gigq --help':<44} {milliseconds([*GIGQ, '--help'], rounds):8.1f} ms")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.db"
        filled = Filled(path, 100, arguments.jobs)
        job = filled.newest()
        for look in (
            ["list"],
            ["list", "--status", "completed"],
            ["list", "--status", "failed"],
            ["list", "--status", "pending", "-o", "json"],
            ["list", "--since", "1h", "-o", "csv"],
            ["status", job[:8]],
            ["why", job],
            ["stats"],
            ["workflow", "list"],
        ):
            spent = milliseconds([*GIGQ, "--db", str(path), *look], rounds)
            shown = " ".join(look).replace(job, "ID").replace(job[:8], "ID")
            print(f"{'gigq ' + shown:<44} {spent:8.1f} ms beside {arguments.jobs:,} finished jobs")


if __name__ == "__main__":
    main()
