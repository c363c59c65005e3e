"""A service with nothing to do: the processor time and the memory of all its processes.

    python benchmarks/idle.py [--seconds 60] [--workers 4]

Memory is the proportional set size: what several processes share is divided among them. A Python
that only sleeps is measured beside it. Exits 1 when all of it takes more than 0.3 % of a core.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from harness import COMPILED, Service, until

CPU = 0.3  # percent of a core


def main() -> None:
    """Start a service, leave it alone, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--workers", type=int, default=4)
    arguments = parser.parse_args()
    configuration = f"[workers]\ncount = {arguments.workers}\n"
    sleeper = [sys.executable, "-c", "import time; time.sleep(1000)"]
    with (
        tempfile.TemporaryDirectory() as name,
        subprocess.Popen(sleeper) as bare,
        Service(Path(name), configuration=configuration, environment=COMPILED) as service,
    ):
        service.wait_ready(arguments.workers)
        processes = {"gigqd": service.process.pid, **service.worker_pids()}
        settled = time.monotonic() + 2
        until(lambda: time.monotonic() > settled)
        used = measure(processes, arguments.seconds)
        for process, pid in processes.items():
            tell(process, pid, used[process])
        tell("python that sleeps", bare.pid, 0.0)
        bare.kill()
    total = sum(used.values())
    print(f"{'all of the service':<24} {total:6.3f} % of a core, over {arguments.seconds:g} s")
    sys.exit(f"more than {CPU} %" if total > CPU else 0)


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


def tell(name: str, pid: int, percent: float) -> None:
    """Print one line."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    memory = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
    private = memory["Private_Clean"] + memory["Private_Dirty"]
    print(
        f"{name:<24} {percent:6.3f} %   PSS {memory['Pss'] / 1024:5.1f} MiB   "
        f"RSS {memory['Rss'] / 1024:5.1f} MiB   private {private / 1024:5.1f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
