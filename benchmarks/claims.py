"""What a claim costs beside few jobs, many pending ones, and many finished ones.

    python benchmarks/claims.py

Settles one execution and claims the next, as a worker does for each job, in interleaved rounds.
Prints microseconds: the median of all claims, and their mean with the checkpoints in it. Those
write each page once that was changed since the last, and beside few jobs there are few pages.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from common.databases import fill, submit_noops
from common.report import Report, Size, options, parsed, shown

from gigq import JobQueue
from gigq.queue.identity import own_identity
from gigq.queue.records import Outcome
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import Verdict

FEW = 100
CLAIMS = 90  # in one round: fewer than the few jobs there are


class Claims:
    """Claims one job after the other from a database, as a worker does."""

    def __init__(self, path: Path) -> None:
        """Register as a worker."""
        self._path = path
        self._queue = JobQueue(path)
        self._store = SqliteStore(path, durable=False)
        self._worker = self._store.register("benchmark", own_identity())

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()
        self._queue.close()

    def round(self) -> list[float]:
        """Microseconds of each completion and claim; afterwards as many jobs wait as before."""
        (claim,) = self._store.settle(self._worker, [], 1).claims
        spent = []
        for _ in range(CLAIMS):
            start = time.perf_counter()
            (claim,) = self._store.settle(self._worker, [_completed(claim)], 1).claims
            spent.append((time.perf_counter() - start) * 1e6)
        self._store.settle(self._worker, [_completed(claim)])
        submit_noops(self._queue, self._path.parent, CLAIMS + 1)
        return spent


def _completed(claim: object) -> Outcome:
    return Outcome(claim.execution, claim.job, claim.queue_id, Verdict.COMPLETED, "1")  # type: ignore[attr-defined]


def main() -> None:
    """Fill three databases and measure them in turn."""
    parser = options(
        __doc__,
        jobs=Size(200_000, 1_000, "pending jobs, and finished ones"),
        rounds=Size(20, 2, "rounds, which are interleaved"),
    )
    found = parsed(parser)
    report = Report(found)
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            f"{FEW} pending": {"pending": FEW},
            f"{found.jobs:,} pending": {"pending": found.jobs},
            f"{FEW} pending, {found.jobs:,} finished": {"pending": FEW, "finished": found.jobs},
        }
        claims = {
            name: Claims(fill(Path(folder) / f"{place}.db", **counts))
            for place, (name, counts) in enumerate(cases.items())
        }
        rounds: dict[str, list[float]] = {name: [] for name in claims}
        for _ in range(found.rounds):
            for name, each in claims.items():
                rounds[name] += each.round()
    first = statistics.median(next(iter(rounds.values())))
    rows = []
    for name, figures in rounds.items():
        median, mean = statistics.median(figures), statistics.fmean(figures)
        rows.append([name, shown(median), f"{median / first:.2f}", shown(mean)])
    report.table("A completion and claim, µs", ("", "median", "times the first", "mean"), rows)
    report.end()


if __name__ == "__main__":
    main()
