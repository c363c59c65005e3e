"""A small program that does all that a client can: `client.py DATABASE LIFE [--keep] [--much]`.

Begun again after a crash it goes on where its own notes end: what was acknowledged is not repeated.
With `--keep` it clears nothing; with `--much` its jobs fill the write-ahead log several times.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jobs import work
from notes import NOTES, Book, parse

from gigq import Job, JobQueue, JobStatus, Workflow

if TYPE_CHECKING:
    from collections.abc import Callable

FINAL = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.TIMEOUT)


class Client:
    """Does its steps in order, each once acknowledged."""

    def __init__(self, database: str, life: str) -> None:
        """Read what earlier lives have done."""
        lines = [
            line for path in NOTES.glob("submitter-*.jsonl") for line in parse(path.read_text())
        ]
        self._done = {line["step"]: line for line in lines if line["what"] == "acknowledged"}
        self._queue = JobQueue(database)
        self._book = Book(NOTES / f"submitter-{life}.jsonl")
        self._number = 0

    def run(self) -> None:
        """Do all of it."""
        self._submit("early", lambda: [job("return")])
        self._submit("plain", lambda: [job("return", max_attempts=1 + n % 2) for n in range(6)])
        big = 400 if "--much" in sys.argv else 40  # a result of 150 kB each
        self._submit("big", lambda: [job("big") for _ in range(big)])
        self._submit("talk", lambda: [job("progress"), job("flaky", good=2, retry_delay=0.05)])
        self._submit("deadline", lambda: [_limited("family"), _limited("deaf")])
        self._submit("flow", _flow)
        self._submit("wide", _wide)
        (late,) = self._submit("late", lambda: [job("return", delay=300)])
        self._ask("cancel", late, lambda: self._queue.cancel(late))
        (long,) = self._submit("long", lambda: [job("sleep", max_attempts=9, timeout=60)])
        self._wait(long, JobStatus.RUNNING, *FINAL)
        self._ask("cancel_running", long, lambda: self._queue.cancel(long, running=True))
        (broken,) = self._submit("broken", lambda: [job("fail", max_attempts=1)])
        self._wait(broken, *FINAL)
        self._ask("requeue", broken, lambda: self._queue.requeue_job(broken))
        (early,) = self._done["early"]["jobs"]
        self._wait(early, *FINAL)
        if "--keep" not in sys.argv:
            self._clear()

    def _submit(self, step: str, make: Callable[[], list[Job]]) -> list[str]:
        if step not in self._done:
            jobs = make()
            self._number += 1
            ids = self._book.offer(self._number, jobs)
            self._queue.submit_many(jobs)
            self._acknowledge(step, ids)
        return self._done[step]["jobs"]

    def _acknowledge(self, step: str, jobs: list[str]) -> None:
        self._book.note("acknowledged", number=self._number, step=step, jobs=jobs)
        self._done[step] = {"jobs": jobs}

    def _ask(self, what: str, asked: str, ask: Callable[[], bool]) -> None:
        if what not in self._done:
            self._number += 1
            self._book.note(what, number=self._number, job=asked)
            self._book.note("answer", number=self._number, answer=ask())
            self._done[what] = {}

    def _wait(self, awaited: str, *statuses: JobStatus) -> None:
        # One that is not there any more was cleared in an earlier life.
        while self._queue.statuses([awaited]).get(awaited, FINAL[0]) not in statuses:
            time.sleep(0.01)

    def _clear(self) -> None:
        """Delete what has ended by now, and say before what that may be."""
        now = datetime.now(UTC)
        ended = [
            each["id"]
            for status in ("completed", "cancelled")
            for each in self._queue.list_jobs(status, None)
        ]
        Book(NOTES / "driver.jsonl").note("clear", clearable=ended)
        self._queue.clear_completed(now)


def job(do: str, *, good: int | None = None, **options: Any) -> Job:  # noqa: ANN401 (of Job)
    """Make a job with its notes."""
    more = {} if good is None else {"good": good}
    made = Job(do, work, {"do": do, **more}, **options)
    made.params["key"] = made.id
    return made


def _limited(do: str) -> Job:
    return job(do, timeout=0.1, max_attempts=1)


def _flow() -> list[Job]:
    flow = Workflow("flow")
    first = flow.add_job(job("return"))
    bad = flow.add_job(job("fail", max_attempts=1))
    middle = [flow.add_job(job("busy", on_parent_failure="cancel"), first) for _ in range(3)]
    for each in middle:
        each.params["seconds"] = 0.002
    flow.add_job(job("return"), middle)
    flow.add_job(job("return"), bad)
    flow.add_job(job("return", on_parent_failure="run"), [bad, first])
    return flow.jobs


def _wide() -> list[Job]:
    """More children than one transaction tells."""
    flow = Workflow("wide")
    first = flow.add_job(job("fail", max_attempts=1))
    for _ in range(600):
        flow.add_job(job("return"), first)
    return flow.jobs


if __name__ == "__main__":
    Client(sys.argv[1], sys.argv[2]).run()
