"""From the blow to its effect, while the other worker is busy.

    python benchmarks/blows.py [--times 200]

Prints median, 99th percentile and maximum in milliseconds of: deadline (kill_grace = 0) to the last
process of the job gone, in all and by the way it hangs; SIGKILL of a worker to its job running
elsewhere; a changed `count` to that many workers (a tenth as often). Exits 1 when the first takes
more than 100 ms or the second more than 300 (99th percentile), or when a job ran beside an earlier
run of itself.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from common.harness import COMPILED, Service, until, write_jobs

from gigq import Job

TIMEOUT = 0.5
JOBS = """
import ctypes, os, signal, subprocess, sys, time

def note(path):
    with open(path + ".new", "w") as file:
        file.write(f"{time.monotonic()} {os.getpid()}")
    os.rename(path + ".new", path)

def spin(path):
    note(path)
    while True:
        pass

def sleep(path):
    note(path)
    time.sleep(1000)

def gil(path):
    note(path)
    ctypes.PyDLL(None).sleep(1000)

def ignore(path):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep(path)

def child(path):
    subprocess.Popen(["sleep", "1000"])
    sleep(path)

def grandchild(path):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    sleep(path)

def busy():
    while True:
        pass
"""
HANGS = ("spin", "sleep", "gil", "ignore", "child", "grandchild")


DEADLINE_P99 = 100  # milliseconds
DEATH_P99 = 300


def started(path: Path) -> tuple[float, int]:
    """Wait for a job's note; its time and pid."""
    text = until(lambda: path.exists() and path.read_text(), what=str(path), pause=0.0005)
    moment, pid = text.split()
    return float(moment), int(pid)


def deadlines(service: Service, jobs: object, kind: str, times: int) -> list[float]:
    """Milliseconds from the deadline to the last process gone."""
    found: list[float] = []
    for number in range(times):
        path = service.folder / f"{kind}-{number}"
        function = getattr(jobs, kind)
        job = service.queue.submit(
            Job(kind, function, {"path": str(path)}, timeout=TIMEOUT, max_attempts=1)
        )
        begun, pid = started(path)
        time.sleep(TIMEOUT / 2)  # it has started what it starts
        worker = psutil.Process(pid)
        processes = worker.children(recursive=True)
        until(lambda: not any(alive(each) for each in processes), pause=0.0005)  # noqa: B023
        # What sleeps in C may come back at the first signal, and its worker live on.
        until(lambda: not alive(worker) or ended(service, job), pause=0.0005)  # noqa: B023
        found.append((time.monotonic() - begun - TIMEOUT) * 1000)
    return found


def ended(service: Service, job: str) -> bool:
    """Tell whether a job's outcome is recorded."""
    return service.queue.get_status(job)["status"] == "timeout"


def alive(process: psutil.Process) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def deaths(service: Service, jobs: object, times: int) -> list[float]:
    """Milliseconds from SIGKILL of a worker to its job running in another one."""
    found = []
    path = service.folder / "killed"
    job = service.queue.submit(
        Job("killed", jobs.sleep, {"path": str(path)}, timeout=None, max_attempts=times + 1)  # type: ignore[attr-defined]
    )
    for _ in range(times):
        _, pid = started(path)
        worker = psutil.Process(pid)
        path.unlink()
        blow = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        begun, other = started(path)
        found.append((begun - blow) * 1000)
        if alive(worker) or other == pid:
            sys.exit(f"the job runs in {other}, and its earlier run in {pid} lives")
    ready = len(service.events("worker_ready"))
    service.queue.cancel(job, running=True)  # which costs its worker its life
    until(lambda: len(service.events("worker_ready")) > ready)
    return found


def scalings(service: Service, times: int) -> list[float]:
    """Milliseconds from a changed count to that many workers."""
    found = []
    for number in range(times):
        ready = len(service.events("worker_ready"))
        gone = len(service.events("worker_exited"))
        more = number % 2 == 0
        new = service.configuration.with_suffix(".new")
        new.write_text(configuration(4 if more else 2))
        blow = time.monotonic()
        new.rename(service.configuration)
        if more:
            until(lambda: len(service.events("worker_ready")) == ready + 2)  # noqa: B023
        else:
            until(lambda: len(service.events("worker_exited")) == gone + 2)  # noqa: B023
        found.append((time.monotonic() - blow) * 1000)
    return found


def configuration(count: int) -> str:
    """Give the service's configuration."""
    return f"[workers]\ncount = {count}\nkill_grace = 0\n"


def show(what: str, figures: list[float]) -> float:
    """Print one line; the 99th percentile."""
    ordered = sorted(figures)
    high = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(
        f"{what:<34} median {statistics.median(ordered):7.1f} ms   p99 {high:7.1f}   "
        f"max {ordered[-1]:7.1f}   n {len(ordered)}",
        flush=True,
    )
    return high


def main() -> None:
    """Run a service and hit it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=200)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_jobs(folder, JOBS)
        sys.path.insert(0, name)
        import jobs  # noqa: PLC0415

        with Service(folder, configuration=configuration(2), environment=COMPILED) as service:
            service.wait_ready(2)
            service.queue.submit(Job("busy", jobs.busy, timeout=None))
            late = {kind: deadlines(service, jobs, kind, -(-times // len(HANGS))) for kind in HANGS}
            high = show("deadline to all gone", [each for kind in HANGS for each in late[kind]])
            for kind in HANGS:
                show(f"  {kind}", late[kind])
            again = show("SIGKILL to running elsewhere", deaths(service, jobs, times))
            show("count 2, 4, 2 … followed", scalings(service, max(2, times // 10)))
    if high > DEADLINE_P99 or again > DEATH_P99:
        sys.exit(f"too slow: {DEADLINE_P99} and {DEATH_P99} ms are allowed")


if __name__ == "__main__":
    main()
