"""What a claim costs beside few jobs, many pending ones, and many finished ones.

    python benchmarks/claims.py [--jobs 200000] [--rounds 20]

Settles one execution and claims the next, as a worker does for each job, in interleaved rounds.
Prints microseconds: the median of all claims, and their mean with the checkpoints in it. Those
write each page once that was changed since the last, and beside few jobs there are few pages.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from gigq import Job, JobQueue
from gigq.queue.identity import own_identity
from gigq.queue.records import Outcome
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import Verdict

FEW = 100
CLAIMS = 90  # in one round: fewer than the few jobs there are
_CHUNK = 50_000


class Filled:
    """A database with so many pending and finished jobs."""

    def __init__(self, path: Path, pending: int, finished: int) -> None:
        """Fill it."""
        self._path = path
        self._queue = JobQueue(path)
        self._store = SqliteStore(path, durable=False)
        self._worker = self._store.register("benchmark", own_identity())
        for start in range(0, finished, _CHUNK):
            self._submit(min(_CHUNK, finished - start))
            self._finish_all()
        for start in range(0, pending, _CHUNK):
            self._submit(min(_CHUNK, pending - start))

    def _submit(self, jobs: int) -> None:
        self._queue.submit_many([Job("noop", print) for _ in range(jobs)])

    def _finish_all(self) -> None:
        claims = self._store.settle(self._worker, [], 500).claims
        while claims:
            claims = self._store.settle(self._worker, [_completed(c) for c in claims], 500).claims

    def newest(self) -> str:
        """Give the id of the job that was submitted last."""
        return str(self._queue.list_jobs(limit=1)[0]["id"])

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
        self._submit(CLAIMS + 1)
        return spent


def _completed(claim: object) -> Outcome:
    return Outcome(claim.execution, claim.job, claim.queue_id, Verdict.COMPLETED, "1")  # type: ignore[attr-defined]


def main() -> None:
    """Fill three databases and measure them in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            f"{FEW} pending": (FEW, 0),
            f"{arguments.jobs:,} pending": (arguments.jobs, 0),
            f"{FEW} pending, {arguments.jobs:,} finished": (FEW, arguments.jobs),
        }
        filled = {
            name: Filled(Path(folder) / f"{place}.db", *sizes)
            for place, (name, sizes) in enumerate(cases.items())
        }
        rounds: dict[str, list[float]] = {name: [] for name in filled}
        for _ in range(arguments.rounds):
            for name, database in filled.items():
                rounds[name] += database.round()
    first = statistics.median(next(iter(rounds.values())))
    for name, figures in rounds.items():
        median = statistics.median(figures)
        mean = statistics.fmean(figures)
        print(f"{name:<32} median {median:6.1f} µs (x {median / first:4.2f})   mean {mean:6.1f} µs")


if __name__ == "__main__":
    main()
