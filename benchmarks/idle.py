"""A service with nothing to do: the processor time and the memory of all its processes.

    python benchmarks/idle.py

Memory is the proportional set size: what several processes share is divided among them. A Python
that only sleeps is measured beside it. Exits 1 when all of it takes more than 0.3 % of a core.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common.harness import COMPILED, Service, until
from common.report import Report, Size, options, parsed

CPU = 0.3  # percent of a core


def main() -> None:
    """Start a service, leave it alone, and tell."""
    parser = options(
        __doc__,
        seconds=Size(60.0, 1.0, "seconds to look on"),
        workers=Size(4, 2, "workers that wait"),
    )
    found = parsed(parser)
    report = Report(found)
    configuration = f"[workers]\ncount = {found.workers}\n"
    sleeper = [sys.executable, "-c", "import time; time.sleep(1000)"]
    with (
        tempfile.TemporaryDirectory() as name,
        subprocess.Popen(sleeper) as bare,
        Service(Path(name), configuration=configuration, environment=COMPILED) as service,
    ):
        service.wait_ready(found.workers)
        pids = service.worker_pids().values()
        processes = {f"worker {number}": pid for number, pid in enumerate(pids, 1)}
        processes = {"gigqd": service.process.pid, **processes}
        settled = time.monotonic() + 2
        until(lambda: time.monotonic() > settled)
        used = measure(processes, found.seconds)
        rows = [row(process, pid, used[process]) for process, pid in processes.items()]
        rows.append(row("python that sleeps", bare.pid, 0.0))
        bare.kill()
    title = f"An idle service, over {found.seconds:g} s"
    report.table(title, ("", "% of a core", "PSS, MiB", "RSS, MiB", "private, MiB"), rows)
    report.at_most(5, "processor time when idle, of a core", sum(used.values()), CPU, " %")
    report.end()


def measure(processes: dict[str, int], seconds: float) -> dict[str, float]:
    """Give the percentage of a core that each process takes."""
    before = {name: processor_time(pid) for name, pid in processes.items()}
    time.sleep(seconds)
    after = {name: processor_time(pid) for name, pid in processes.items()}
    return {name: (after[name] - before[name]) / seconds * 100 for name in processes}


def processor_time(pid: int) -> float:
    """Give the seconds that all threads of a process have run."""
    return sum(
        int((thread / "schedstat").read_text().split()[0]) / 1e9
        for thread in Path(f"/proc/{pid}/task").iterdir()
    )


def row(name: str, pid: int, percent: float) -> list[str]:
    """Give a row of the table."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    memory = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
    private = memory["Private_Clean"] + memory["Private_Dirty"]
    sizes = (memory["Pss"], memory["Rss"], private)
    return [name, f"{percent:.3f}", *(f"{size / 1024:.1f}" for size in sizes)]


if __name__ == "__main__":
    main()
