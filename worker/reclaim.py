"""Taking back what dead workers held. Who is dead is seen by identity, never guessed by age."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gigq.queue.identity import Liveness, liveness
from gigq.worker.outcome import lost
from gigq.worker.process_tree import kill_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from gigq.queue.records import OpenExecution, Outcome
    from gigq.queue.store import Store

Reclaimed = tuple["OpenExecution", "Outcome"]


def reclaim_dead(store: Store) -> list[Reclaimed]:
    """End the lives of workers whose processes, and whose supervisors, are gone.

    A supervisor that lives takes back by itself, once it has seen the whole tree dead. Before a job
    goes back, what it had started is killed. Gives what was recorded.
    """
    reclaimed: list[Reclaimed] = []
    for row in store.open_workers():
        answered_for = row.parent is not None and liveness(row.parent) is not Liveness.DEAD
        if not answered_for and liveness(row.identity) is Liveness.DEAD:
            kill_tree(row.name)
            reclaimed += store.retire(row.worker, lambda held: lost(held, None))
    return reclaimed


def retire_named(
    store: Store, name: str, judge: Callable[[OpenExecution], Outcome]
) -> list[Reclaimed]:
    """End the life of the worker of this name, if it had begun one; gives what was recorded."""
    reclaimed: list[Reclaimed] = []
    for row in store.open_workers():
        if row.name == name:
            reclaimed += store.retire(row.worker, judge)
    return reclaimed
