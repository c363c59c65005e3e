"""Taking back what dead workers held. Who is dead is seen by identity, never guessed by age."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gigq.queue.identity import Liveness, liveness
from gigq.worker.outcome import lost_unseen
from gigq.worker.process_tree import kill_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from gigq.queue.identity import Identity
    from gigq.queue.records import OpenExecution, Outcome, WorkerRow
    from gigq.queue.store import Store

Reclaimed = tuple["OpenExecution", "Outcome"]


def reclaim_dead(store: Store) -> list[Reclaimed]:
    """End the lives of workers whose processes, and whose supervisors, are gone.

    A supervisor that lives takes back by itself, once it has seen the whole tree dead. Before a job
    goes back, what it had started is killed; while that cannot be done or seen, it does not go
    back. (What was started in another container ends with that.) Gives what was recorded.
    """
    reclaimed: list[Reclaimed] = []
    for row in store.open_workers():
        if _is_answered_for(row):
            continue
        seen = store.liveness(row)
        if seen is Liveness.DEAD:
            if row.tree is None or _ends(row.tree):
                reclaimed += store.retire(row.worker, lost_unseen)
        elif seen is Liveness.ALIVE and row.parent is not None:
            _let_go_on(row.identity)
    return reclaimed


def _is_answered_for(row: WorkerRow) -> bool:
    """Tell whether a supervisor of this container lives; of another, the worker's lock tells."""
    return row.parent is not None and liveness(row.parent) in (Liveness.ALIVE, Liveness.UNKNOWN)


def _ends(tree: str) -> bool:
    try:
        return kill_tree(tree) == 0
    except OSError:  # too few descriptors to see what lives
        return False


def _let_go_on(orphan: Identity) -> None:
    """Continue a worker that its supervisor had stopped when it died.

    A supervisor stops a worker for an instant before it kills it, to see which job that would hit.
    """
    with suppress(OSError):
        stat = Path(f"/proc/{orphan.pid}/stat").read_bytes()
        if stat.rpartition(b")")[2].split()[0] != b"T":  # that of a debugger is t
            return
        process = os.pidfd_open(orphan.pid)
        try:
            # Only now is it sure that the number still means this process, and will.
            if liveness(orphan) is Liveness.ALIVE:
                signal.pidfd_send_signal(process, signal.SIGCONT)
        finally:
            os.close(process)


def retire_process(
    store: Store, identity: Identity, judge: Callable[[OpenExecution], Outcome]
) -> list[Reclaimed]:
    """End the life of the worker that was this process, if it had begun one.

    Gives what was recorded.
    """
    reclaimed: list[Reclaimed] = []
    for row in store.open_workers():
        if row.identity == identity:
            reclaimed += store.retire(row.worker, judge)
    return reclaimed


def end_cancelled_orphans(store: Store) -> None:
    """Kill workers whose supervisor is gone and whose job somebody wants to end.

    Nobody else would do it. What they held is taken back once they are seen dead.
    """
    wanted = set(store.to_end())
    for row in store.open_workers() if wanted else ():
        orphaned = row.parent is not None and liveness(row.parent) is Liveness.DEAD
        alive = orphaned and liveness(row.identity) is Liveness.ALIVE
        held = {each.execution for each in store.claims_of(row.worker)} if alive else set()
        if row.tree is not None and wanted & held:
            kill_tree(row.tree)
