"""How many jobs a second two workers finish, beside what the file allows and beside others.

    python benchmarks/drain.py [--peers]

No-op jobs whose results are stored. `bare loop` is two processes that only end one job and claim
the next, in one transaction of plain statements on the same tables, without running anything
(common/bare_drain.py); `counters carried` keeps the counters of states as a worker does, which is
what this file can do at most. What is durable gets half of the jobs. GigQ is slower where more jobs
wait: beside one drain of all of them, which takes minutes, it has rounds with a tenth of them.

Counted is from the first tenth of the jobs to the last twentieth, so that no start-up is in it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from common import peers
from common.databases import copied, fill
from common.rates import FULL, drained_by_bare_loop, drained_by_service
from common.report import (
    ROUNDS,
    Report,
    Size,
    interleaved,
    medians,
    options,
    parsed,
    shown,
    spread,
)

if TYPE_CHECKING:
    from collections.abc import Callable

OURS, BATCHES, DURABLE = "gigqd", "gigqd, batch = 16", 'gigqd, durability = "full"'
BARE, BARE_FULL = "bare loop", "bare loop, FULL"
CARRIED = "bare loop, counters carried"
GIGQ, GIGQ_TENTH, HUEY = "GigQ 0.5.1", "GigQ 0.5.1, a tenth of the jobs", "huey"


def filled(folder: Path, jobs: int) -> Path:
    """Make a database of which contestants get copies."""
    folder.mkdir()
    return fill(folder / "gigq.db", pending=jobs)


def by_other(place: Path, drain: Callable[[Path, int], float], jobs: int) -> float:
    """Let another queue drain; jobs a second."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        return drain(Path(folder), jobs)


def contestants(
    place: Path, jobs: int, others: peers.Peers | None
) -> dict[str, Callable[[], float]]:
    """Give who drains in each round: each call makes a fresh database, and gives jobs a second."""
    whole, half = filled(place / "whole", jobs), filled(place / "half", jobs // 2)

    def drained(
        drain: Callable[[Path, int, str], float], how: str, original: Path = whole
    ) -> float:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            count = jobs if original is whole else jobs // 2
            return drain(copied(original, Path(folder)), count, how)

    found: dict[str, Callable[[], float]] = {
        OURS: lambda: drained(drained_by_service, ""),
        BARE: lambda: drained(drained_by_bare_loop, "NORMAL"),
        CARRIED: lambda: drained(drained_by_bare_loop, "NORMAL carried"),
        BATCHES: lambda: drained(drained_by_service, "[workers]\nbatch = 16\n"),
        DURABLE: lambda: drained(drained_by_service, FULL, half),
        BARE_FULL: lambda: drained(drained_by_bare_loop, "FULL", half),
    }
    if others is not None:
        found[GIGQ_TENTH] = lambda: by_other(place, others.drain_gigq, max(jobs // 10, 100))
        found[HUEY] = lambda: by_other(place, others.drain_huey, jobs)
    return found


def judge(report: Report, rates: dict[str, float]) -> None:
    """Hold the medians against what was promised."""
    for line, ours, other, least in (
        (1, OURS, GIGQ, 10),
        (1, OURS, GIGQ_TENTH, 10),
        (1, OURS, HUEY, 5),
        (1, BATCHES, GIGQ, 20),
        (1, BATCHES, GIGQ_TENTH, 20),
        (1, BATCHES, HUEY, 10),
    ):
        if other in rates:
            what = f"drain: {ours} / {other}"
            report.at_least(line, what, rates[ours] / rates[other], least, " times")
    report.at_least(1, f"drain: {OURS} / {BARE}", 100 * rates[OURS] / rates[BARE], 50, " %")
    share = 100 * rates[DURABLE] / rates[BARE_FULL]
    report.at_least(2, f"drain: {DURABLE} / {BARE_FULL}", share, 60, " %")


def main() -> None:
    """Measure, and print a table."""
    parser = options(__doc__, jobs=Size(50_000, 1_000, "no-op jobs"), rounds=ROUNDS)
    peers.add_options(parser)
    found = parsed(parser)
    report = Report(found)
    with tempfile.TemporaryDirectory() as place:
        others = peers.chosen(found, Path(place))
        measured = interleaved(contestants(Path(place), found.jobs, others), found.rounds)
        if others is not None:
            measured[GIGQ] = [by_other(Path(place), others.drain_gigq, found.jobs)]
    rates = medians(measured)
    rows = [
        [name, shown(median), spread(measured[name]), shown(rates[OURS] / median)]
        for name, median in rates.items()
    ]
    title = f"Drain of {found.jobs:,} no-op jobs by two workers"
    report.table(title, ("", "jobs/s", "rounds", "gigqd is … times as fast"), rows)
    report.plot("Drain, jobs/s", rates)
    judge(report, rates)
    report.end()


if __name__ == "__main__":
    main()
