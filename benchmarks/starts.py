"""How long until a job begins: after `gigqd start`, after a worker died, and with a warm spare.

    python benchmarks/starts.py

`gigqd start`: from the call of the command to the first line of a job that waits in the database.
Replacement: the only worker, idle, gets SIGKILL, and at once a job is submitted; from the signal to
the job's first line, so that the submit is in it. Spare: the same with `[workers] spare = 1`. The
jobs import nothing, and all code has been compiled before, as where it is installed.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from common.databases import tidy
from common.first_line import FirstLines
from common.harness import COMPILED, Service, until
from common.report import Report, Size, options, parsed, percentile, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

START, REPLACEMENT, SPARE = 350.0, 120.0, 10.0  # milliseconds
_SETTLED = 0.1  # seconds for a service to come to rest


def starts(times: int) -> list[float]:
    """Milliseconds from the start of a service to its first job, each with the same database."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = FirstLines(folder / "gigq.db")
        for _ in range(times + 1):  # the first compiles
            lines.submit()
            lines.queue.close()
            tidy(folder / "gigq.db")
            called = time.monotonic_ns()
            with Service(folder, environment=COMPILED) as service:
                found.append((lines.begun() - called) / 1e6)
                until(lambda: lines.queue.stats()["pending"] + lines.queue.stats()["running"] == 0)
                service.stop()
        lines.close()
    return found[1:]


@contextmanager
def one_worker(spares: int) -> Iterator[tuple[Service, FirstLines]]:
    """Run a service with one worker that has run a job before."""
    configuration = f"[workers]\ncount = 1\nspare = {spares}\n"
    with (
        tempfile.TemporaryDirectory() as name,
        Service(Path(name), configuration=configuration, environment=COMPILED) as service,
    ):
        service.wait_ready(1 + spares)
        lines = FirstLines(service.database)
        lines.pickup()
        yield service, lines
        lines.close()


def replacements(times: int, spares: int) -> list[float]:
    """Milliseconds from SIGKILL of an idle worker to the next job in the one after it."""
    found = []
    with one_worker(spares) as (service, lines):
        for _ in range(times):
            victim = until(lambda: idle_worker(service, spares))
            time.sleep(_SETTLED)
            blow = time.monotonic_ns()
            os.kill(victim, signal.SIGKILL)
            lines.submit()
            found.append((lines.begun() - blow) / 1e6)
        deaths = len(until(lambda: died(service, times)))
        assert deaths == times, f"{deaths} workers died of {times} signals"
    return found


def idle_worker(service: Service, spares: int) -> int | None:
    """Give the pid of the worker that waits, once as many stand by as are wanted."""
    pids: dict[str, list[int]] = {"idle": [], "standby": []}
    for worker in service.workers():
        pids.setdefault(worker["state"], []).append(worker["pid"])
    return pids["idle"][0] if pids["idle"] and len(pids["standby"]) == spares else None


def died(service: Service, times: int) -> list[dict[str, object]] | None:
    """Give the events of workers that died, once there are so many."""
    found = service.events("worker_lost")
    return found if len(found) >= times else None


def main() -> None:
    """Measure, and print a table."""
    parser = options(__doc__, times=Size(30, 2, "times each"))
    found = parsed(parser)
    report = Report(found)
    figures = {
        "gigqd start to its first job": starts(found.times),
        "SIGKILL of an idle worker to a job": replacements(found.times, 0),
        "the same with a warm spare": replacements(found.times, 1),
    }
    report.table(
        f"Starts, {found.times} times each, milliseconds",
        ("", "median", "p99", "most"),
        [
            [name, shown(statistics.median(each)), shown(percentile(each, 99)), shown(max(each))]
            for name, each in figures.items()
        ],
    )
    for (name, each), most in zip(figures.items(), (START, REPLACEMENT, SPARE), strict=True):
        report.at_most(8, f"{name}, median", statistics.median(each), most, " ms")
    report.end()


if __name__ == "__main__":
    main()
