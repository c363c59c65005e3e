"""One pass of housekeeping: old jobs are deleted, then what they have left behind.

It is an iterator of short steps, so that whoever does it can pause between them, do something more
urgent, or stop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gigq.queue import clock
from gigq.queue.output_folder import FreedParts, remove_forgotten
from gigq.queue.states import State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from gigq.queue.sqlite_store import SqliteStore

_CLOCK_MARGIN = 86_400 * clock.MICROSECONDS


class Kept(NamedTuple):
    """What one step did."""

    jobs: int = 0  # deleted
    freed: int = 0  # bytes of the disk


def keep_house(
    store: SqliteStore, ages: Mapping[str, int], in_use: Collection[str] = ()
) -> Iterator[Kept]:
    """Delete finished jobs that ended longer ago than `ages` (microseconds) says for their state.

    A state that is not there is kept, and so are the output files named by `in_use`. Raises
    StoreError, and is over then.
    """
    now = clock.now()
    parts = FreedParts()
    until = {state: now - age for state, age in ages.items()}
    try:
        for pruned in store.prune(until) if until else ():
            parts.add(pruned.outputs)
            yield Kept(pruned.jobs)
    except BaseException:  # nobody will know of them any more
        for _ in parts.give_back(store.companions.output):
            pass
        raise
    for freed in parts.give_back(store.companions.output):
        yield Kept(freed=freed)
    if State.COMPLETED in ages:
        yield from _forget(store, now, ages[State.COMPLETED], in_use)
    for freed in store.shrink():
        yield Kept(freed=freed)


def _forget(store: SqliteStore, now: int, age: int, in_use: Collection[str]) -> Iterator[Kept]:
    """Forget workers, and remove output files, of which no execution is left."""
    workers: set[int] = set()
    logs: set[str] = set(in_use)
    for left in store.left(now - age):
        workers |= left.workers
        logs |= left.logs
        yield Kept()
    # What ended before that served older jobs only, unless the clock was set back in between.
    before = now - age - min(age, _CLOCK_MARGIN)
    for _ in store.forget_workers(before, workers):
        yield Kept()
    for freed in remove_forgotten(store.companions.output, before, logs, store.open_workers()):
        yield Kept(freed=freed)
