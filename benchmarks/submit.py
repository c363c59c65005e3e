"""How many jobs a second are submitted, beside bare inserts of the same rows.

    python benchmarks/submit.py

One by one: `JobQueue.submit` of a fresh Job, durable each, beside a transaction of its own for each
(synchronous = FULL) that inserts the same rows. Both begin with as many as fill their log once,
which are not counted: where a log has blocks, as beside a service that has run for a while, a write
is synced in half the time. In bulk: `submit_many`, a workflow and
`submit_chunks`, beside one transaction of the same rows. The bare loops make a uuid and encode the
parameters for each job, and nothing else. Last, the memory of a process that submits many jobs in
chunks, after the first tenth and at the end.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from common.bare_drain import begin, connected
from common.databases import JOBS, tidy
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
)

from gigq import Job, JobQueue, Workflow

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

ONE, BARE_ONE = "submit, one by one", "bare insert, one a transaction"
MANY, WORKFLOW, CHUNKS = "submit_many", "Workflow.submit_all", "submit_chunks(…, 1000)"
BARE_MANY = "bare insert, all in one transaction"
FLAT = 1.1  # memory at the end beside that after the first tenth
COUNT = "UPDATE tally SET jobs = jobs + ? WHERE queue_id = 1 AND state = 'ready'"

# Memory after the first tenth, and at the end: a process of its own, for what one has had it keeps.
_CHUNKED = """
import sys
from gigq import Job, JobQueue
jobs = int(sys.argv[1])
def peak():
    status = open("/proc/self/status").read()  # getrusage would begin with the parent's
    return int(status.partition("VmHWM:")[2].split()[0])
with JobQueue("gigq.db") as queue:
    for share in (0.1, 0.9):
        queue.submit_chunks(
            Job("noop", "jobs.noop", {"number": n}) for n in range(round(share * jobs)))
        print(peak() / 1024)
"""


class Rows:
    """What a submit writes, learnt from one: a row of `job` and one of `job_spec`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Read the only job that there is."""
        self._connection = connection
        self.add_job, self._job, job = self._model("job")
        self.add_spec, self._spec, spec = self._model("job_spec")
        self._id, self._uuid = job.index("id"), job.index("uuid")
        self._times = job.index("created_at"), job.index("updated_at")
        self._job_id, self._params = spec.index("job_id"), spec.index("params")

    def _model(self, table: str) -> tuple[str, list[Any], list[str]]:
        """Give the statement that adds such a row, the row and its columns."""
        names = [row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")]
        columns = ", ".join(names)
        (row,) = self._connection.execute(f"SELECT {columns} FROM {table}")  # noqa: S608
        marks = ", ".join("?" * len(names))
        return f"INSERT INTO {table} ({columns}) VALUES ({marks})", list(row), names  # noqa: S608

    def job(self, key: int, now: int) -> list[Any]:
        """Give a fresh job's row."""
        row = self._job.copy()
        row[self._id], row[self._uuid] = key, str(uuid4())
        for place in self._times:
            row[place] = now
        return row

    def spec(self, key: int) -> list[Any]:
        """Give its other row."""
        row = self._spec.copy()
        row[self._job_id], row[self._params] = key, json.dumps({"number": key})
        return row


def bare_one_by_one(path: Path, before: int, jobs: int) -> float:
    """Insert each in a transaction of its own; how many a second after the first ones."""
    with closing(connected(str(path), "FULL")) as connection:
        rows, run, start = Rows(connection), connection.execute, 0.0
        for key in range(2, before + jobs + 2):
            if key == before + 2:
                start = time.perf_counter()
            job, spec = rows.job(key, time.time_ns() // 1000), rows.spec(key)
            begin(connection)
            run(rows.add_job, job)
            run(rows.add_spec, spec)
            run(COUNT, (1,))
            run("COMMIT")
        return jobs / (time.perf_counter() - start)


def bare_at_once(path: Path, jobs: int) -> float:
    """Insert all in one transaction; a second's."""
    with closing(connected(str(path), "FULL")) as connection:
        rows = Rows(connection)
        start = time.perf_counter()
        now, keys = time.time_ns() // 1000, range(2, jobs + 2)
        begin(connection)
        connection.executemany(rows.add_job, (rows.job(key, now) for key in keys))
        connection.executemany(rows.add_spec, (rows.spec(key) for key in keys))
        connection.execute(COUNT, (jobs,))
        connection.execute("COMMIT")
        return jobs / (time.perf_counter() - start)


def one_by_one(path: Path, before: int, jobs: int) -> float:
    """Submit each by itself, and make it: how many a second after the first ones."""
    with JobQueue(path) as queue:
        start = 0.0
        for number in range(before + jobs):
            if number == before:
                start = time.perf_counter()
            queue.submit(Job("noop", "jobs.noop", {"number": number}))
        return jobs / (time.perf_counter() - start)


def workflow(queue: JobQueue, jobs: Iterator[Job]) -> None:
    """Submit them as the members of one workflow."""
    whole = Workflow("many")
    for job in jobs:
        whole.add_job(job)
    whole.submit_all(queue)


def at_once(path: Path, jobs: int, submit: Callable[[JobQueue, Iterator[Job]], object]) -> float:
    """Submit so many in bulk; a second's, with the making of each Job."""
    with JobQueue(path) as queue:
        queue.stats()  # opens it
        start = time.perf_counter()
        submit(queue, (Job("noop", "jobs.noop", {"number": n}) for n in range(jobs)))
        return jobs / (time.perf_counter() - start)


def fresh(place: Path, insert: Callable[[Path], float], jobs: int) -> float:
    """Measure on a database with one job, and see that all have come."""
    with tempfile.TemporaryDirectory(dir=place) as name, contextlib.chdir(name):
        Path("jobs.py").write_text(JOBS)
        path = Path(name, "gigq.db")
        with JobQueue(path) as queue:
            queue.submit(Job("noop", "jobs.noop", {"number": 0}))
        tidy(path)
        os.sync()
        gc.collect()
        found = insert(path)
        with JobQueue(path) as queue:
            assert queue.stats()["pending"] == jobs + 1
        return found


def contestants(
    place: Path, before: int, singles: int, bulk: int
) -> dict[str, Callable[[], float]]:
    """Give who submits; each call gives jobs a second."""

    def singly(insert: Callable[[Path, int, int], float]) -> float:
        return fresh(place, lambda path: insert(path, before, singles), before + singles)

    def many(submit: Callable[[JobQueue, Iterator[Job]], object]) -> float:
        return fresh(place, lambda path: at_once(path, bulk, submit), bulk)

    return {
        ONE: lambda: singly(one_by_one),
        BARE_ONE: lambda: singly(bare_one_by_one),
        MANY: lambda: many(JobQueue.submit_many),
        BARE_MANY: lambda: fresh(place, lambda path: bare_at_once(path, bulk), bulk),
        WORKFLOW: lambda: many(workflow),
        CHUNKS: lambda: many(JobQueue.submit_chunks),
    }


def memory(place: Path, jobs: int) -> tuple[float, float]:
    """MiB that a process has used at most: after a tenth of the jobs, and after all."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        Path(folder, "jobs.py").write_text(JOBS)
        command = [sys.executable, "-c", _CHUNKED, str(jobs)]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    early, late = map(float, done.stdout.split())
    return early, late


def main() -> None:
    """Measure, and print a table."""
    parser = options(
        __doc__,
        before=Size(2_000, 10, "jobs submitted one by one before those that are measured"),
        singles=Size(3_000, 100, "jobs submitted one by one"),
        bulk=Size(100_000, 1_000, "jobs submitted at once"),
        chunked=Size(1_000_000, 20_000, "jobs submitted in chunks, for their memory"),
        rounds=ROUNDS,
    )
    found = parsed(parser)
    report = Report(found)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        measured = interleaved(
            contestants(place, found.before, found.singles, found.bulk), found.rounds
        )
        early, late = memory(place, found.chunked)
    rates = medians(measured)
    bare = {ONE: BARE_ONE, BARE_ONE: BARE_ONE}
    rows = [
        [
            name,
            shown(median),
            spread(measured[name]),
            f"{100 * median / rates[bare.get(name, BARE_MANY)]:.0f} %",
        ]
        for name, median in rates.items()
    ]
    title = f"Submit: {found.singles:,} one by one, {found.bulk:,} in bulk, durable"
    report.table(title, ("", "jobs/s", "rounds", "of the bare insert"), rows)
    share = 100 * rates[ONE] / rates[BARE_ONE]
    report.at_least(3, "submit one by one / bare insert", share, 70, " %")
    share = 100 * rates[MANY] / rates[BARE_MANY]
    report.at_least(3, "submit_many / bare insert", share, 60, " %")
    report.table(
        f"Peak memory of a process that submits {found.chunked:,} jobs in chunks, MiB",
        ("after a tenth", "after all"),
        [[shown(early), shown(late)]],
    )
    what = f"submit_chunks of {found.chunked:,}: peak memory, of that after a tenth"
    report.at_most(3, what, late / early, FLAT, " times")
    report.end()


if __name__ == "__main__":
    main()
