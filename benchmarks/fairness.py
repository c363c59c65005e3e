"""Whether a submitter is served while two workers drain at full speed, and what that costs them.

    python benchmarks/fairness.py

Two workers drain no-op jobs of which there are more than they can do; in each second round a
submitter beside them submits one job after the other, with a pause between two. The latency is that
of `JobQueue.submit`, durable when it returns.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from pathlib import Path

from common.databases import copied, counter, fill
from common.rates import service, wait_for
from common.report import ROUNDS, Report, Size, options, parsed, percentile, shown, spread, tell

from gigq import Job, JobQueue

MEDIAN, P99 = 3.0, 25.0  # milliseconds
SHARE = 60.0  # percent of the drain
_THINK = 0.01  # seconds between two submits
_WARM_UP = 500  # jobs


def drain_alone(seconds: float) -> list[float]:
    """Let them drain undisturbed."""
    time.sleep(seconds)
    return []


def submit_beside(path: Path, seconds: float) -> list[float]:
    """Submit meanwhile; milliseconds of each."""
    found = []
    end = time.monotonic() + seconds
    with contextlib.chdir(path.parent), JobQueue(path) as queue:
        queue.stats()  # opens it
        while time.monotonic() < end:
            time.sleep(_THINK)
            begun = time.perf_counter()
            queue.submit(Job("noop", "jobs.noop", {"number": 0}))
            found.append((time.perf_counter() - begun) * 1e3)
    return found


def measure(original: Path, place: Path, seconds: float, *, beside: bool) -> tuple[float, list]:
    """Give jobs a second of the drain, and the latencies of who submitted beside it."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        path = copied(original, Path(folder))
        with service(path) as process:
            done, ready = counter(path), counter(path, "ready")
            wait_for(done, _WARM_UP, [process])
            before, begun = done(), time.monotonic()
            found = submit_beside(path, seconds) if beside else drain_alone(seconds)
            rate = (done() - before) / (time.monotonic() - begun)
            assert ready() > 0, "there were too few --jobs for so many --seconds"
    return rate, found


def main() -> None:
    """Measure, and print a table."""
    parser = options(
        __doc__,
        jobs=Size(200_000, 20_000, "jobs to drain, more than can be done"),
        seconds=Size(4.0, 0.4, "seconds of each measurement"),
        rounds=ROUNDS,
    )
    found = parsed(parser)
    report = Report(found)
    rates: dict[bool, list[float]] = {False: [], True: []}
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "filled").mkdir()
        original = fill(place / "filled" / "gigq.db", pending=found.jobs)
        for number in range(found.rounds):
            for beside, measured in rates.items():
                rate, latencies = measure(original, place, found.seconds, beside=beside)
                measured.append(rate)
                tell(f"round {number + 1} of {found.rounds}: {rate:,.0f} jobs/s")
            rounds.append(latencies)
    tell_all(report, rates, rounds)
    report.end()


def tell_all(report: Report, rates: dict[bool, list[float]], rounds: list[list[float]]) -> None:
    """Print and judge."""
    report.table(
        "Drain by two workers, jobs/s",
        ("", "median", "rounds"),
        [
            [name, shown(statistics.median(rates[beside])), spread(rates[beside])]
            for name, beside in (("undisturbed", False), ("with a submitter", True))
        ],
    )
    figures = [
        (statistics.median(each), percentile(each, 99), max(each), len(each)) for each in rounds
    ]
    report.table(
        "Submit meanwhile, milliseconds",
        ("", "median", "p99", "most", "submits"),
        [
            [f"round {number}", shown(median), shown(p99), shown(most), f"{count:,}"]
            for number, (median, p99, most, count) in enumerate(figures, 1)
        ],
    )
    median, p99, *_ = (statistics.median(each) for each in zip(*figures, strict=True))
    report.at_most(4, "submit beside a drain, median", median, MEDIAN, " ms")
    report.at_most(4, "submit beside a drain, p99", p99, P99, " ms")
    share = 100 * statistics.median(rates[True]) / statistics.median(rates[False])
    report.at_least(4, "rate that the drain keeps", share, SHARE, " %")


if __name__ == "__main__":
    main()
