"""Whether anything slows down with what is in the database; and workflows, beside GigQ.

    python benchmarks/growth.py [--peers]

Beside 1,000 to 1,000,000 pending and as many finished jobs, and beside 1,000,000 scheduled ones,
blocked ones, and those of 100,000 workflows: jobs a second that two workers drain, microseconds of
a completion with the next claim, and of a submit. Always as many jobs are drained; where fewer are
pending they are submitted anew as often as they are through. The rates come from the times in the
jobs' history, and no start-up is in them.

Then a fan-out and fan-in, and a chain, each as one workflow.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from claims import Claims
from common import peers
from common.databases import JOBS, copied, counter, ends, fill, submit_noops
from common.rates import service, wait_for
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
    tell,
)

from gigq import Job, JobQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.peers import Peers

SHARE = 85.0  # percent of the rate beside 1,000
TIMES_GIGQ = 5.0
LEAST = 1_000
_START, _END = 0.2, 0.05  # of a burst, which do not count
_WARM_UP = 0.25  # of what is drained
_SUBMITS = 100
_JOBS_OF_WORKFLOW = 10
GRAPHS = {
    "fan-out and fan-in": """
root = add(0, None)
add({jobs} + 1, [add(number, [root]) for number in range(1, {jobs} + 1)])
""",
    "chain": """
last = add(0, None)
for number in range(1, {jobs}):
    last = add(number, [last])
""",
}


class Found(NamedTuple):
    """What one round found."""

    drain: float  # jobs a second
    claim: float  # microseconds
    submit: float


class Case:
    """A filled database, of which each round uses a copy."""

    def __init__(self, place: Path, drained: int, kind: str, jobs: int) -> None:
        """Fill it with so many jobs of a kind, and enough to drain."""
        self.name = f"{jobs:,} {kind}"
        self._pending = jobs if kind == "pending" else round(drained * (1 + 2 * _WARM_UP))
        self._drained = drained
        self._place = place
        folder = place / self.name.replace(" ", "-")
        folder.mkdir()
        counts = {"pending": self._pending, kind: jobs}
        if kind == "of workflows":
            counts = {"pending": self._pending, "workflows": jobs // _JOBS_OF_WORKFLOW}
        self._original = fill(folder / "gigq.db", **counts)
        tell(f"filled: {self.name}, {self._original.stat().st_size / 1e6:,.0f} MB")

    def measure(self) -> Found:
        """Have one round."""
        with tempfile.TemporaryDirectory(dir=self._place) as folder:
            path = copied(self._original, Path(folder))
            with contextlib.closing(Claims(path)) as claims:
                claim = statistics.median(claims.round() + claims.round())
            submit = statistics.median(submits(path))
            return Found(self._drain(path), claim, submit)

    def _drain(self, path: Path) -> float:
        warm_up = round(self._drained * _WARM_UP)
        if self._pending >= self._drained + warm_up:
            begun, done = time.time_ns() // 1000, counter(path)
            wanted = done() + warm_up + self._drained
            with service(path) as process:
                wait_for(done, wanted, [process])
            times = [time for time, _ in ends(path, begun)]
            return speed([times[warm_up : warm_up + self._drained]])
        size, bursts = self._pending, -(-self._drained // self._pending)
        begun = in_bursts(path, size, bursts)
        times = [time for time, _ in ends(path, begun)]
        parts = [times[size * number : size * (number + 1)] for number in range(bursts)]
        return speed([part[round(_START * size) : -round(_END * size)] for part in parts])


def in_bursts(path: Path, size: int, bursts: int) -> int:
    """Let a service drain, and then `size` new jobs at a time; when these began."""
    done = counter(path)
    wanted = done() + counter(path, "ready")()
    with service(path) as process, JobQueue(path) as queue:
        wait_for(done, wanted, [process])
        begun = time.time_ns() // 1000
        for _ in range(bursts):
            submit_noops(queue, path.parent, size)
            wanted += size
            wait_for(done, wanted, [process])
    return begun


def speed(parts: list[list[int]]) -> float:
    """Give jobs a second from the ends of jobs in a row, microseconds."""
    return sum(len(part) - 1 for part in parts) / sum(part[-1] - part[0] for part in parts) * 1e6


def submits(path: Path) -> list[float]:
    """Microseconds of submits, one by one."""
    found = []
    with contextlib.chdir(path.parent), JobQueue(path) as queue:
        for _ in range(_SUBMITS):
            begun = time.perf_counter()
            queue.submit(Job("noop", "jobs.noop", {"number": 0}))
            found.append((time.perf_counter() - begun) * 1e6)
    return found


def cases(place: Path, drained: int, most: int) -> list[Case]:
    """Fill all databases: powers of ten of what is claimed and of what has ended, then the rest."""
    sizes = []
    size = LEAST
    while size <= most:
        sizes.append(size)
        size *= 10
    kinds = [(kind, size) for kind in ("pending", "finished") for size in sizes]
    kinds += [(kind, sizes[-1]) for kind in ("scheduled", "blocked", "of workflows")]
    return [Case(place, drained, kind, size) for kind, size in kinds]


def tell_growth(report: Report, found: dict[str, list[Found]], most: int) -> None:
    """Print and judge."""
    middle = {
        name: Found(*(statistics.median(each) for each in zip(*rounds, strict=True)))
        for name, rounds in found.items()
    }
    first = next(iter(middle.values()))
    report.table(
        "Beside so many jobs",
        ("", "drain, jobs/s", "rounds", "of the first", "completion and claim, µs", "submit, µs"),
        [
            [
                name,
                shown(each.drain),
                spread([one.drain for one in found[name]]),
                f"{100 * each.drain / first.drain:.0f} %",
                shown(each.claim),
                shown(each.submit),
            ]
            for name, each in middle.items()
        ],
    )
    report.plot("Drain, jobs/s", {name: each.drain for name, each in middle.items()})
    for kind in ("pending", "finished"):
        share = middle[f"{most:,} {kind}"].drain / middle[f"{LEAST:,} {kind}"].drain
        what = f"drain beside {most:,} {kind}, of that beside {LEAST:,}"
        report.at_least(6, what, 100 * share, SHARE, " %")


# Workflows


def script(graph: str, jobs: int) -> str:
    """Give a program that submits the workflow; both GigQ's and ours understand it."""
    return f"""
import sys
from gigq import Job, JobQueue, Workflow
from jobs import noop
workflow = Workflow("graph")
def add(number, parents):
    return workflow.add_job(Job(name="noop", function=noop, params={{"number": number}}), parents)
{GRAPHS[graph].format(jobs=jobs)}
workflow.submit_all(JobQueue(sys.argv[1]))
"""


def graph_by_service(place: Path, text: str) -> float:
    """Let gigqd work off a workflow; jobs a second between the first and the last end."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        path = folder / "gigq.db"
        (folder / "jobs.py").write_text(JOBS)
        (folder / "submit.py").write_text(text)
        environment = {**os.environ, "PYTHONPATH": name}
        command = [sys.executable, "submit.py", path.name]
        subprocess.run(command, cwd=folder, env=environment, check=True)
        with JobQueue(path) as queue:
            jobs = queue.stats()["total"]
        with service(path) as process:
            wait_for(counter(path), jobs, [process])
        return speed([[time for time, _ in ends(path)]])


def graph_by_gigq(place: Path, text: str, others: Peers, seconds: float) -> float:
    """Let GigQ work it off, for so long at most."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        return others.gigq_graph(Path(folder), text, seconds)


def graphs(
    place: Path, sizes: dict[str, int], others: Peers | None, seconds: float
) -> dict[str, Callable[[], float]]:
    """Give who works off what."""
    found: dict[str, Callable[[], float]] = {}
    for graph, jobs in sizes.items():
        text = script(graph, jobs)
        found[f"{graph} of {jobs:,}, gigqd"] = partial(graph_by_service, place, text)
        if others is not None:
            by_gigq = partial(graph_by_gigq, place, text, others, seconds)
            found[f"{graph} of {jobs:,}, GigQ 0.5.1"] = by_gigq
    return found


def tell_graphs(report: Report, measured: dict[str, list[float]]) -> None:
    """Print and judge."""
    rates = medians(measured)
    report.table(
        "Workflows, two workers",
        ("", "jobs/s", "rounds"),
        [[name, shown(rate), spread(measured[name])] for name, rate in rates.items()],
    )
    for name, rate in rates.items():
        graph, _, who = name.rpartition(", ")
        if who != "gigqd":
            times = rates[f"{graph}, gigqd"] / rate
            report.at_least(6, f"{graph}: gigqd / {who}", times, TIMES_GIGQ, " times")


def main() -> None:
    """Measure, and print tables."""
    parser = options(
        __doc__,
        most=Size(1_000_000, 1_000, "pending jobs, and finished ones, at most; a power of ten"),
        drained=Size(20_000, 1_000, "jobs that are drained"),
        fan=Size(2_000, 50, "jobs of the fan-out"),
        chain=Size(1_000, 50, "jobs of the chain"),
        seconds=Size(20.0, 5.0, "seconds that GigQ has for each workflow"),
        rounds=ROUNDS,
    )
    peers.add_options(parser)
    found = parsed(parser)
    report = Report(found)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        others = peers.chosen(found, place)
        filled = cases(place, found.drained, found.most)
        beside: dict[str, list[Found]] = {case.name: [] for case in filled}
        for number in range(found.rounds):
            for case in filled:
                one = case.measure()
                beside[case.name].append(one)
                tell(f"round {number + 1} of {found.rounds}: {case.name}: {one.drain:,.0f} jobs/s")
        tell_growth(report, beside, found.most)
        sizes = {"fan-out and fan-in": found.fan, "chain": found.chain}
        measured = interleaved(graphs(place, sizes, others, found.seconds), found.rounds)
    tell_graphs(report, measured)
    report.end()


if __name__ == "__main__":
    main()
