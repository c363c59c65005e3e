"""How soon an idle service begins a job: from the return of submit to the function's first line.

    python benchmarks/pickup.py

Four workers wait; jobs are submitted one by one, with pauses of random length between them. The
job writes CLOCK_MONOTONIC as its first line. Each round has a service of its own.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from pathlib import Path

from common.first_line import FirstLines
from common.harness import COMPILED, Service
from common.report import ROUNDS, Report, Size, options, parsed, percentile, shown, tell

MEDIAN, P99 = 1.5, 6.0  # milliseconds
_WORKERS = 4
_PAUSE = (0.005, 0.05)  # seconds
_WARM_UP = 2 * _WORKERS  # each worker imports the job's code once


def pickups(folder: Path, times: int) -> list[float]:
    """Milliseconds of so many pickups of an idle service."""
    configuration = f"[workers]\ncount = {_WORKERS}\n"
    with Service(folder, configuration=configuration, environment=COMPILED) as service:
        service.wait_ready(_WORKERS)
        lines = FirstLines(service.database)
        found = []
        for number in range(_WARM_UP + times):
            time.sleep(random.uniform(*_PAUSE))
            milliseconds = lines.pickup()
            if number >= _WARM_UP:
                found.append(milliseconds)
        lines.close()
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = options(__doc__, times=Size(500, 20, "jobs in a round"), rounds=ROUNDS)
    found = parsed(parser)
    report = Report(found)
    rounds = []
    for number in range(found.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(pickups(Path(folder), found.times))
        tell(f"round {number + 1} of {found.rounds}: median {statistics.median(rounds[-1]):.2f} ms")
    rows = [
        [f"round {number}", *map(shown, described(figures))]
        for number, figures in enumerate(rounds, 1)
    ]
    title = f"Pickup by an idle service with {_WORKERS} workers, {found.times} times, milliseconds"
    report.table(title, ("", "median", "p99", "most"), rows)
    medians, high = zip(*(described(figures)[:2] for figures in rounds), strict=True)
    report.at_most(5, "pickup, median", statistics.median(medians), MEDIAN, " ms")
    report.at_most(5, "pickup, p99", statistics.median(high), P99, " ms")
    report.end()


def described(figures: list[float]) -> tuple[float, float, float]:
    """Give median, p99 and the most."""
    return statistics.median(figures), percentile(figures, 99), max(figures)


if __name__ == "__main__":
    main()
