"""How much of the ideal two workers reach with jobs that take 1, 10 and 100 ms.

    python benchmarks/ideal.py

The jobs sleep. The ideal is two divided by the duration; beside it, two processes that sleep in a
loop show what sleeping itself costs, for the kernel wakes nobody early.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from common.databases import counter, ends, submit_noops
from common.rates import service, wait_for
from common.report import ROUNDS, Report, Size, interleaved, medians, options, parsed, shown

from gigq import JobQueue

BARS = {1: 85.0, 10: 95.0, 100: 98.0}  # milliseconds: percent of the ideal
_WORKERS = 2
_WARM_UP = 10  # jobs
_SLEEPER = """
import sys, time
duration, times = float(sys.argv[1]), int(sys.argv[2])
begun = time.monotonic()
for _ in range(times):
    time.sleep(duration)
print(times / (time.monotonic() - begun))
"""


def jobs_of(milliseconds: int, seconds: float) -> int:
    """Give how many jobs keep two workers busy for so long."""
    return max(2 * _WARM_UP, round(_WORKERS * seconds * 1000 / milliseconds))


def by_service(milliseconds: int, seconds: float) -> float:
    """Let gigqd run them; percent of the ideal."""
    jobs = jobs_of(milliseconds, seconds)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "gigq.db")
        text = f"import time\ndef noop(number):\n    time.sleep({milliseconds / 1000})\n"
        path.with_name("jobs.py").write_text(text)
        with JobQueue(path) as queue:
            submit_noops(queue, path.parent, jobs)
        with service(path) as process:
            wait_for(counter(path), jobs, [process])
        return share(ends(path), milliseconds)


def share(all_ends: list[tuple[int, int]], milliseconds: int) -> float:
    """Give the percentage of the ideal from the ends of the jobs, start and end of a run left out.

    Between its first job and its last, each worker should have ended one each `milliseconds`.
    """
    timed = all_ends[_WARM_UP:]
    rate = 0.0
    for worker in {worker for _, worker in timed}:
        own = [time for time, by in timed if by == worker]
        rate += (len(own) - 1) / (own[-1] - own[0]) * 1e6
    return 100 * rate / (_WORKERS * 1000 / milliseconds)


def by_loops(milliseconds: int, seconds: float) -> float:
    """Let two processes sleep; percent of the ideal."""
    times = max(1, round(seconds * 1000 / milliseconds))
    command = [sys.executable, "-c", _SLEEPER, str(milliseconds / 1000), str(times)]
    loops = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(_WORKERS)]
    rate = sum(float(loop.communicate()[0]) for loop in loops)
    return 100 * rate / (_WORKERS * 1000 / milliseconds)


def main() -> None:
    """Measure, and print a table."""
    parser = options(
        __doc__, seconds=Size(5.0, 0.2, "seconds that each kind of jobs takes"), rounds=ROUNDS
    )
    found = parsed(parser)
    report = Report(found)
    contestants = {}
    for duration in BARS:
        contestants[f"gigqd, {duration} ms"] = lambda d=duration: by_service(d, found.seconds)
        contestants[f"sleep, {duration} ms"] = lambda d=duration: by_loops(d, found.seconds)
    shares = medians(interleaved(contestants, found.rounds))
    report.table(
        "Two workers, percent of the ideal throughput",
        ("", "ideal, jobs/s", "gigqd", "processes that only sleep"),
        [
            [
                f"{duration} ms",
                shown(_WORKERS * 1000 / duration),
                shown(shares[f"gigqd, {duration} ms"]),
                shown(shares[f"sleep, {duration} ms"]),
            ]
            for duration in BARS
        ],
    )
    for duration, least in BARS.items():
        what = f"jobs of {duration} ms, of the ideal"
        report.at_least(7, what, shares[f"gigqd, {duration} ms"], least, " %")
    report.end()


if __name__ == "__main__":
    main()
