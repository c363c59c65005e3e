"""What deleted jobs have left on SQLite: lives of workers that nobody refers to, and free pages."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from gigq.queue import statements as sql
from gigq.queue.connection import PAGE_BYTES
from gigq.queue.records import Left
from gigq.queue.sqlite_prune import Pace

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from gigq.queue.connection import Connection

_READ_AT_ONCE = 500
_MOST_PAGES = 2000  # in one transaction
_SPARE = 10  # one page in so many stays free: the next jobs would only ask for it again
_SPARE_AT_LEAST = (1 << 20) // PAGE_BYTES
_ATTEMPT_BITS = 24  # of an execution's key; the rest is its job's


def left(connection: Connection, before: int) -> Iterator[Left]:
    """Read the executions of all jobs with lower keys than the first one that is as young."""
    end = _first_since(connection, before) << _ATTEMPT_BITS
    after = 0
    while rows := connection.rows(sql.LEFT_EXECUTIONS, (after, end, _READ_AT_ONCE)):
        after = rows[-1][0]
        yield Left({worker for _, worker, _ in rows}, {log for _, _, log in rows if log})


def _first_since(connection: Connection, moment: int) -> int:
    """Find the first job that was submitted since: keys are in that order, so halve and halve."""
    low, (high,) = 1, connection.row(sql.LAST_JOB_THERE)
    high = (high or 0) + 1
    while low < high:
        middle = (low + high) // 2
        found = connection.row(sql.FIRST_JOB_FROM, (middle,))
        if found is None or found[1] >= moment:
            high = middle
        else:
            low = found[0] + 1
    return low


def forget_workers(connection: Connection, before: int, but: Container[int]) -> Iterator[int]:
    """Delete their rows, some in each transaction."""
    after = 0
    while rows := connection.rows(sql.ENDED_WORKERS, (after, before, _READ_AT_ONCE)):
        after = rows[-1][0]
        gone = [worker for (worker,) in rows if worker not in but]
        # That nothing refers to them is not looked up: no index leads from a worker to its
        # executions, for each claim would have to write it.
        with connection:
            connection.run(sql.DROP_WORKERS, (json.dumps(gone),))
        yield len(gone)


def shrink(connection: Connection) -> Iterator[int]:
    """Move pages from the end of the file into its free ones, some in each transaction."""
    pace = Pace(50, _MOST_PAGES)
    while True:
        (free,) = connection.row("PRAGMA freelist_count")
        (pages,) = connection.row("PRAGMA page_count")
        surplus = free - max(pages // _SPARE, _SPARE_AT_LEAST)
        if surplus <= 0:
            return
        amount = min(surplus, pace.portion)
        began = time.perf_counter()
        connection.vacuum(amount)
        pace.took(time.perf_counter() - began, amount)
        (fewer,) = connection.row("PRAGMA page_count")
        if fewer >= pages:  # a file that was made otherwise
            return
        yield (pages - fewer) * PAGE_BYTES
