"""Plants the bug that GIGQ_PLANTED names into each Python process of a service or client.

The checker's own tests put this folder on the PYTHONPATH; the interpreter imports this when it
starts.
"""

# ruff: noqa: ANN401, PLC0415 (each bug imports only what it changes)

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

AGE = 500_000  # microseconds after which a job is taken from its worker


def fence_removed() -> None:
    """Let an outcome count whether or not its execution still holds the job."""
    from gigq.queue import statements

    statements.END_JOB = statements.END_JOB.replace("execution_id = ?", "? IS NOT NULL")


def fence_on_attempt() -> None:
    """Compare attempts, which a release hands out twice, instead of executions."""
    from gigq.queue import statements

    statements.END_JOB = statements.END_JOB.replace(
        "execution_id = ?", "attempts = (SELECT attempt FROM execution WHERE id = ?)"
    )


def reclaim_by_age() -> None:
    """Take back what has run for long, as if its worker were dead."""
    from gigq.queue import clock
    from gigq.worker import outcome, reclaim

    def reclaim_old(store: Any) -> list[Any]:
        reclaimed = []
        for row in store.open_workers():
            if any(clock.now() - held.started_at > AGE for held in store.claims_of(row.worker)):
                reclaimed += store.retire(row.worker, lambda held: outcome.lost(held, None))
        return reclaimed

    reclaim.reclaim_dead = reclaim_old


def submit_in_several_commits() -> None:
    """Submit the jobs of a workflow one after the other."""
    from gigq.queue.job_queue import JobQueue

    whole = JobQueue.submit_workflow

    def one_by_one(self: Any, jobs: Any, workflow: Any = None) -> None:
        for job in jobs:
            whole(self, [job], workflow)

    JobQueue.submit_workflow = one_by_one


def counter_off_by_one() -> None:
    """Count one unfinished parent less than there are."""
    from gigq.queue.sqlite_moves import Moves

    right = Moves._tell_child

    def wrong(self: Any, parent: int, state: str, child: tuple) -> bool:
        key, child_state, waiting_on, *rest = child
        return right(self, parent, state, (key, child_state, waiting_on - 1, *rest))

    Moves._tell_child = wrong


def grandchildren_spared() -> None:
    """Kill worker processes, and not what their jobs have started."""
    from gigq.worker import process_tree

    process_tree.kill_children = lambda *_: 0
    process_tree.kill_all_children = lambda *_: 0


def outcome_before_kill() -> None:
    """Store that a job has timed out, and kill it a moment later."""
    from gigq.queue.companions import Companions
    from gigq.queue.doorbell import Bell
    from gigq.queue.sqlite_store import SqliteStore
    from gigq.worker.child import Child
    from gigq.worker.reclaim import retire_process

    hold = Child._hold

    def store_first(self: Any, now: int) -> None:
        store = SqliteStore(self.orders.database, durable=False, create=False)
        retire_process(store, self.identity, self.judge)
        store.close()
        Bell(Companions(Path(self.orders.database)).doorbell).ring()
        time.sleep(1)
        hold(self, now)

    Child._hold = store_first


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        fence_removed,
        fence_on_attempt,
        reclaim_by_age,
        submit_in_several_commits,
        counter_off_by_one,
        grandchildren_spared,
        outcome_before_kill,
    )
}

if "GIGQ_PLANTED" in os.environ:
    BUGS[os.environ["GIGQ_PLANTED"]]()
