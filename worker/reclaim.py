"""Taking back what dead workers held. Who is dead is seen by identity, never guessed by age."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gigq.queue.identity import Liveness, liveness
from gigq.worker.outcome import lost
from gigq.worker.process_tree import kill_tree

if TYPE_CHECKING:
    from collections.abc import Container

    from gigq.queue.records import OpenExecution, Outcome
    from gigq.queue.store import Store

Reclaimed = tuple["OpenExecution", "Outcome"]


def reclaim_dead(store: Store, spare: Container[str] = ()) -> list[Reclaimed]:
    """End the lives of workers whose processes are gone, but for names in `spare`.

    Before a job of one goes back, what it had started is killed. Gives what was recorded.
    """
    reclaimed: list[Reclaimed] = []
    for row in store.open_workers():
        if row.name not in spare and liveness(row.identity) is Liveness.DEAD:
            kill_tree(row.name)
            reclaimed += store.retire(row.worker, lambda held: lost(held, None))
    return reclaimed
