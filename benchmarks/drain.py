"""How many jobs a second two workers finish, beside what the file allows and beside others.

    python benchmarks/drain.py [--jobs 50000] [--rounds 3] [--peers]

No-op jobs whose results are stored. `bare loop` is two processes that only end one job and claim
the next, in one transaction of the same statements on the same tables, without running anything:
what this file can do at most. With --peers, GigQ 0.5.1 and huey (on SQLite) are installed into an
environment of their own and drain as well. Rounds are interleaved; medians are printed, and ratios
within this run.

Counted is from the first tenth of the jobs to the last twentieth, so that no start-up is in it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gigq import Job, JobQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOBS = "def noop(number):\n    return number\n"
FULL = 'durability = "full"\n'
LONGEST = 300  # seconds
SLOW_SHARE = 10  # GigQ and huey get fewer jobs, so that a round does not take minutes

BARE_LOOP = """
import random, sqlite3, sys, time
from gigq.queue import statements as sql
from gigq.queue.identity import own_identity
from gigq.queue.sqlite_store import SqliteStore
path, synchronous, go = sys.argv[1:]
store = SqliteStore(path, durable=False, create=False)
worker = store.register("bare", own_identity())
store.close()
connection = sqlite3.connect(path, timeout=0, isolation_level=None, cached_statements=256)
for setting in ("wal_autocheckpoint = 0", "foreign_keys = ON", f"synchronous = {synchronous}"):
    connection.execute(f"PRAGMA {setting}").fetchall()
run = connection.execute
held = None
while True:
    while True:
        try:
            run("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError:
            time.sleep(random.uniform(0.0001, 0.0006))
    now = time.time_ns() // 1000
    if held is not None:
        execution, job = held
        run(sql.END_JOB, ("completed", 0, None, None, now, job, execution))
        run(sql.END_EXECUTION, ("completed", now, None, "1", *[None] * 8, execution))
        run(sql.COUNT, (1, "completed", 1))
    picked = run(sql.PICK).fetchone()
    held = None
    if picked is not None:
        held = picked[:2]
        run(sql.ADD_EXECUTION, (*held, 1, worker, now, "log", 0))
        run(sql.HOLD_JOB, (held[0], now, held[1]))
        run(sql.COUNT, (1, "ready", -1))
    run("COMMIT")
    if held is None:
        break
"""

GIGQ = """
from gigq import Job, JobQueue
from jobs import noop
queue = JobQueue("peer.db")
for number in range({jobs}):
    queue.submit(Job(name="noop", function=noop, params={{"number": number}}))
"""

HUEY = """
from huey import SqliteHuey
huey = SqliteHuey(filename="peer.db")

@huey.task()
def noop(number):
    return number

if __name__ == "__main__":
    for number in range({jobs}):
        noop(number)
"""


def rate(done: Callable[[], int], jobs: int) -> float:
    """Watch how many are done; jobs a second between the first tenth and the last twentieth."""
    at_begin = wait_for(done, jobs // 10)
    begin = time.monotonic()
    at_end = wait_for(done, jobs - jobs // 20)
    return (at_end - at_begin) / (time.monotonic() - begin)


def wait_for(done: Callable[[], int], count: int) -> int:
    """Wait until so many are done, and give how many are."""
    give_up = time.monotonic() + LONGEST
    while (now := done()) < count:
        if time.monotonic() > give_up:
            sys.exit(f"only {now} of {count} jobs were done after {LONGEST} s")
        time.sleep(0.01)
    return now


@contextmanager
def ended(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    """End processes, however the block ends."""
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()


def filled(folder: Path, jobs: int) -> Path:
    """Make a database with so many ready jobs."""
    (folder / "jobs.py").write_text(JOBS)
    path = folder / "gigq.db"
    os.chdir(folder)  # where the jobs' code is
    with JobQueue(path) as queue:
        queue.submit_many([Job("noop", "jobs.noop", {"number": n}) for n in range(jobs)])
    return path


def completed(path: Path) -> Callable[[], int]:
    """Give a look at how many jobs of a database of ours are completed."""
    connection = sqlite3.connect(path)
    query = "SELECT coalesce(sum(jobs), 0) FROM tally WHERE state = 'completed'"
    return lambda: int(connection.execute(query).fetchone()[0])


def service(folder: Path, jobs: int, *, configuration: str = "") -> float:
    """Let gigqd drain."""
    path = filled(folder, jobs)
    (folder / "gigqd.toml").write_text(configuration + "[workers]\ncount = 2\n")
    command = [sys.executable, "-m", "gigq.supervisor", "start", str(path)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log)
    with ended(process):
        return rate(completed(path), jobs)


def bare_loop(folder: Path, jobs: int, *, synchronous: str = "NORMAL") -> float:
    """Let two processes do nothing but end and claim."""
    path = filled(folder, jobs)
    command = [sys.executable, "-c", BARE_LOOP, str(path), synchronous, ""]
    with ended(*(subprocess.Popen(command) for _ in range(2))):
        return rate(completed(path), jobs)


def install_peers(folder: Path) -> Path:
    """Install the peers; their python."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "gigq==0.5.1"], check=True)
    subprocess.run([*install, "huey"], check=True)
    return python


def peer(
    folder: Path, jobs: int, *, script: str, workers: list[list[str]], query: str, remaining: bool
) -> float:
    """Let another one drain; `query` counts what is done, or what remains."""
    (folder / "jobs.py").write_text(JOBS)
    (folder / "submit.py").write_text(script.format(jobs=jobs))
    python = workers[0][0]
    subprocess.run([python, "submit.py"], cwd=folder, check=True)
    with (folder / "log").open("wb") as log:
        surroundings = {"cwd": folder, "env": {**os.environ, "PYTHONPATH": str(folder)}}
        processes = [
            subprocess.Popen(each, stdout=log, stderr=log, **surroundings) for each in workers
        ]
    with ended(*processes), closing(sqlite3.connect(folder / "peer.db", timeout=30)) as connection:

        def done() -> int:
            count = int(connection.execute(query).fetchone()[0])
            return jobs - count if remaining else count

        return rate(done, jobs)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    contestants: dict[str, Callable[[Path, int], float]] = {
        "gigqd": service,
        "bare loop": bare_loop,
        'gigqd, durability = "full"': lambda f, n: service(f, n // 2, configuration=FULL),
        "bare loop, FULL": lambda f, n: bare_loop(f, n // 2, synchronous="FULL"),
    }
    with tempfile.TemporaryDirectory() as place:
        if options.peers:
            python = install_peers(Path(place, "peers"))
            gigq, huey = python.with_name("gigq"), python.with_name("huey_consumer")
            count = "SELECT count(*) FROM jobs WHERE status = 'completed'"
            contestants["GigQ 0.5.1"] = lambda f, n: peer(
                f,
                n // SLOW_SHARE,
                script=GIGQ,
                workers=[[str(python), str(gigq), "--db", "peer.db", "worker"]] * 2,
                query=count,
                remaining=False,
            )
            contestants["huey"] = lambda f, n: peer(
                f,
                n // SLOW_SHARE,
                script=HUEY,
                workers=[[str(python), str(huey), "submit.huey", "-w", "2", "-k", "process"]],
                query="SELECT count(*) FROM task",
                remaining=True,
            )
        rates: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(options.rounds):
            for name, measure in contestants.items():
                with tempfile.TemporaryDirectory(dir=place) as folder:
                    rates[name].append(measure(Path(folder), options.jobs))
                    os.chdir("/")
    ours = statistics.median(rates["gigqd"])
    print(f"{'':<28} jobs/s  gigqd is")
    for name, found in rates.items():
        median = statistics.median(found)
        print(f"{name:<28} {median:>6,.0f}  {ours / median:>6.2f} times")


if __name__ == "__main__":
    main()
