"""A submitter of a storm: `python submitter.py DATABASE SEED NAME`, until it is killed.

It notes what it offers before, and what was acknowledged after. What it submits follows from the
seed; which jobs it cancels and requeues follows from what it finds.
"""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING, Any

from jobs import work
from notes import NOTES, Book

from gigq import GigqError, Job, JobQueue, Workflow

if TYPE_CHECKING:
    from collections.abc import Callable

BACKLOG = 150  # ready jobs; more would only be a longer calm
KINDS = {  # deed: weight, parameters, options
    "return": (60, {}, {}),
    "busy": (12, {"seconds": 0.003}, {}),
    "print": (6, {}, {}),
    "progress": (2, {}, {}),
    "big": (2, {}, {}),
    "submit": (2, {}, {}),
    "submit on": (0.15, {}, {"timeout": 0.15}),
    "tell": (0.3, {}, {"timeout": 0.15}),
    "flaky": (7, {"good": 2}, {}),
    "fail": (3, {}, {}),
    "leave": (0.6, {}, {}),
    "die": (0.5, {}, {}),
    "exit": (0.3, {}, {}),
    "spin": (0.25, {}, {"timeout": 0.15}),
    "sleep": (0.4, {}, {"timeout": 0.15}),
    "deaf": (0.25, {}, {"timeout": 0.15}),
    "swallow": (0.2, {}, {"timeout": 0.15}),
    "hold": (0.2, {}, {"timeout": 0.15}),
    "family": (0.3, {}, {"timeout": 0.15}),
}
ATTEMPTS = (1, 2, 3, 3, 5)
POLICIES = ("cancel", "cancel", "run", "block")


class Submitter:
    """Submits, cancels and requeues."""

    def __init__(self, database: str, seed: int, name: str) -> None:
        """Prepare."""
        self._random = random.Random(seed)
        self._queue = JobQueue(database)
        self._book = Book(NOTES / f"submitter-{name}.jsonl")
        self._number = 0
        self._known: list[str] = []

    def run(self) -> None:
        """Go on for ever."""
        deeds: dict[Callable[[], None], float] = {
            self._single: 30,
            self._several: 6,
            self._chain: 6,
            self._fan: 5,
            self._wide: 0.03,
            self._wait_for_known: 3,
            self._cancel: 5,
            self._cancel_running: 3,
            self._requeue: 5,
        }
        while True:
            try:
                if self._ready() > BACKLOG:
                    time.sleep(0.05)  # the pace of a storm, nothing is awaited
                    continue
                self._random.choices(list(deeds), list(deeds.values()))[0]()
            except (GigqError, OSError) as error:  # OSError: no descriptor for a module
                self._book.note("refused", kind=type(error).__name__, why=str(error)[:200])
                time.sleep(0.05)

    def _ready(self) -> int:
        with self._queue._look() as store:
            return 0 if store is None else store.counts().get("ready", 0)

    # Submitting

    def _job(self, **options: Any) -> Job:  # noqa: ANN401 (of Job)
        deed = self._random.choices(list(KINDS), [weight for weight, _, _ in KINDS.values()])[0]
        _, more, needed = KINDS[deed]
        if self._random.random() < 0.15:
            options["retry_delay"] = self._random.choice((0.02, 0.2))
        if self._random.random() < 0.05:
            options["delay"] = self._random.choice((0.05, 0.5))
        options.setdefault("max_attempts", self._random.choice(ATTEMPTS))
        options.setdefault("priority", self._random.choice((0, 0, 0, 1, -1)))
        options.setdefault("timeout", self._random.choice((None, 30, 60)))
        job = Job(deed, work, {"do": deed, **more}, **{**options, **needed})
        job.params["key"] = job.id
        return job

    def _single(self) -> None:
        self._submit([self._job()])

    def _several(self) -> None:
        self._submit([self._job() for _ in range(self._random.randint(2, 12))])

    def _chain(self) -> None:
        flow = Workflow("chain")
        last = None
        for _ in range(self._random.randint(2, 6)):
            last = flow.add_job(self._job(on_parent_failure=self._policy()), depends_on=last)
        self._submit(flow.jobs, flow)

    def _fan(self) -> None:
        flow = Workflow("fan")
        source = flow.add_job(self._job())
        leaves = [
            flow.add_job(self._job(on_parent_failure=self._policy()), depends_on=source)
            for _ in range(self._random.randint(2, 8))
        ]
        flow.add_job(self._job(on_parent_failure=self._policy()), depends_on=leaves)
        self._submit(flow.jobs, flow)

    def _wide(self) -> None:
        """Submit more children than one transaction tells, below a job that fails or not."""
        flow = Workflow("wide")
        source = flow.add_job(self._job())
        for _ in range(600):
            policy = self._random.choices(POLICIES, (9, 9, 1, 1))[0]
            flow.add_job(self._job(on_parent_failure=policy), depends_on=source)
        self._submit(flow.jobs, flow)

    def _wait_for_known(self) -> None:
        """Submit below jobs that may be in any state by now."""
        if self._known:
            parents = {self._random.choice(self._known) for _ in range(2)}
            self._submit([self._job(dependencies=parents, on_parent_failure=self._policy())])

    def _policy(self) -> Any:  # noqa: ANN401 (a literal)
        return self._random.choice(POLICIES)

    def _submit(self, jobs: list[Job], flow: Workflow | None = None) -> None:
        self._number += 1
        offered = self._book.offer(self._number, jobs)
        if flow is not None:
            flow.submit_all(self._queue)
        elif len(jobs) == 1:
            self._queue.submit(jobs[0])
        else:
            self._queue.submit_many(jobs)
        self._book.note("acknowledged", number=self._number)
        self._known = [*self._known[-40:], *offered]

    # Changing

    def _cancel(self) -> None:
        if self._known:
            job = self._random.choice(self._known[-10:])
            self._ask("cancel", job, lambda: self._queue.cancel(job))

    def _cancel_running(self) -> None:
        found = self._queue.list_jobs("running", 4)
        if found:
            job = self._random.choice(found)["id"]
            self._ask("cancel_running", job, lambda: self._queue.cancel(job, running=True))

    def _requeue(self) -> None:
        found = self._queue.list_jobs(self._random.choice(("failed", "timeout", "cancelled")), 20)
        if found:
            job = self._random.choice(found)["id"]
            self._ask("requeue", job, lambda: self._queue.requeue_job(job))

    def _ask(self, what: str, job: str, ask: Callable[[], bool]) -> None:
        self._number += 1
        number = self._number
        self._book.note(what, number=number, job=job)
        self._book.note("answer", number=number, answer=ask())


if __name__ == "__main__":
    Submitter(sys.argv[1], int(sys.argv[2]), sys.argv[3]).run()
