"""How much of the ideal two workers reach with jobs that take 1, 10 and 100 ms.

    python benchmarks/ideal.py

The ideal is two divided by the duration. Jobs that compute leave no core idle; jobs that sleep are
woken late by the kernel, a millisecond lasts 1.1, and find the processor's caches cold: beside
them, two processes that compute or sleep in a loop, and do nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from common.databases import counter, ends, submit_noops
from common.rates import service, wait_for
from common.report import ROUNDS, Report, Size, interleaved, medians, options, parsed, shown

from gigq import JobQueue

BARS = {1: 85.0, 10: 95.0, 100: 98.0}  # milliseconds: percent of the ideal
_WORKERS = 2
_WARM_UP = 10  # jobs
_LOOK = 1.0  # seconds; the loops beside which this is measured are not looked at, either
KINDS = {  # what a job does for `seconds`
    "computes": """
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
""",
    "sleeps": """
    time.sleep(seconds)
""",
}
_FUNCTION = """
import time
def noop(number, seconds={seconds}):
{body}
"""
_LOOP = """
import sys, time
from jobs import noop
times = int(sys.argv[1])
begun = time.monotonic()
for number in range(times):
    noop(number)
print(times / (time.monotonic() - begun))
"""


def jobs_of(milliseconds: int, seconds: float) -> int:
    """Give how many jobs keep two workers busy for so long."""
    return max(2 * _WARM_UP, round(_WORKERS * seconds * 1000 / milliseconds))


def write_jobs(folder: Path, kind: str, milliseconds: int) -> None:
    """Write the module with the function."""
    text = _FUNCTION.format(seconds=milliseconds / 1000, body=KINDS[kind])
    (folder / "jobs.py").write_text(text)


def by_service(kind: str, milliseconds: int, seconds: float) -> float:
    """Let gigqd run them; percent of the ideal."""
    jobs = jobs_of(milliseconds, seconds)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "gigq.db")
        write_jobs(path.parent, kind, milliseconds)
        with JobQueue(path) as queue:
            submit_noops(queue, path.parent, jobs)
        with service(path) as process:
            wait_for(counter(path), jobs, [process], pause=_LOOK)
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


def by_loops(kind: str, milliseconds: int, seconds: float) -> float:
    """Let two processes do the same in a loop; percent of the ideal."""
    times = max(1, round(seconds * 1000 / milliseconds))
    with tempfile.TemporaryDirectory() as folder:
        write_jobs(Path(folder), kind, milliseconds)
        command = [sys.executable, "-c", _LOOP, str(times)]
        loops = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
            for _ in range(_WORKERS)
        ]
        rate = sum(float(loop.communicate()[0]) for loop in loops)
    return 100 * rate / (_WORKERS * 1000 / milliseconds)


def of_loops(shares: dict[str, float], kind: str, milliseconds: int) -> float:
    """Give what gigqd reaches as a percentage of what the loops do."""
    what = f"{kind} {milliseconds} ms"
    return 100 * shares[f"gigqd, {what}"] / shares[f"loops, {what}"]


def main() -> None:
    """Measure, and print a table."""
    parser = options(
        __doc__, seconds=Size(5.0, 0.2, "seconds that each kind of jobs takes"), rounds=ROUNDS
    )
    found = parsed(parser)
    report = Report(found)
    contestants = {}
    cases = [(duration, kind) for duration in BARS for kind in KINDS]
    for duration, kind in cases:
        one = partial(by_service, kind, duration, found.seconds)
        contestants[f"gigqd, {kind} {duration} ms"] = one
        contestants[f"loops, {kind} {duration} ms"] = partial(
            by_loops, kind, duration, found.seconds
        )
    shares = medians(interleaved(contestants, found.rounds))
    report.table(
        "Two workers, percent of the ideal throughput",
        ("a job", "ideal, jobs/s", "gigqd", "loops that do nothing else", "gigqd, of these loops"),
        [
            [
                f"{kind} {duration} ms",
                shown(_WORKERS * 1000 / duration),
                shown(shares[f"gigqd, {kind} {duration} ms"]),
                shown(shares[f"loops, {kind} {duration} ms"]),
                shown(of_loops(shares, kind, duration)),
            ]
            for duration, kind in cases
        ],
    )
    for duration, kind in cases:
        what = f"a job {kind} {duration} ms: of the ideal"
        report.at_least(7, what, shares[f"gigqd, {kind} {duration} ms"], BARS[duration], " %")
    report.end()


if __name__ == "__main__":
    main()
