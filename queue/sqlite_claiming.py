"""Choosing ready jobs and taking them, inside a write transaction on SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gigq.queue import statements as sql
from gigq.queue.records import Claim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gigq.queue.connection import Connection
    from gigq.queue.look_ahead import LookAhead
    from gigq.queue.outlook import Outlook
    from gigq.queue.records import Output

_NEVER_CHANGES = Claim._fields.index("uuid")  # what comes from there on


class Claiming:
    """Finds what one store is to run next, in the order of priority and age."""

    def __init__(self, connection: Connection, outlook: Outlook, look_ahead: LookAhead) -> None:
        """Prepare it; the outlook tells whether several queues have to be looked into."""
        self._connection = connection
        self._outlook = outlook
        self._look_ahead = look_ahead

    def choose(self, most: int) -> list[Claim]:
        """Choose the next ready jobs. One that may be begun only once is taken alone."""
        if most > 1:
            return self._choose_several(most)
        picked = self.choose_one()
        return [] if picked is None else [Claim(*picked[0], *picked[1])]

    def choose_one(self) -> tuple[tuple[Any, ...], tuple[Any, ...]] | None:
        """Choose the next ready job: the two parts of its claim. The second may be known before."""
        only_queue, ahead = self._outlook.only_queue, self._look_ahead
        if only_queue is None:
            rows = self._connection.rows(sql.PICK)
        elif ahead.known:
            rows = self._connection.rows(sql.PICK_IN_QUEUE, (only_queue,))
        else:
            rows = self._connection.rows(sql.PICK_WITH_SPECS, (only_queue, 1))
            return (rows[0][:_NEVER_CHANGES], rows[0][_NEVER_CHANGES:]) if rows else None
        if not rows:
            return None
        (held,) = rows
        job = held[1]
        return held, ahead.take(job) or self._connection.row(sql.SPEC, (job,))

    def _choose_several(self, most: int) -> list[Claim]:
        only_queue = self._outlook.only_queue
        if only_queue is None:
            queues = [queue for (queue,) in self._connection.rows(sql.OPEN_QUEUES)]
        else:
            queues = [only_queue]
        picked = [
            Claim(*row)
            for queue in queues
            for row in self._connection.rows(sql.PICK_WITH_SPECS, (queue, most))
        ]
        if len(queues) > 1:
            picked = sorted(picked, key=_urgency)[:most]
        alone = next((n for n, each in enumerate(picked) if each.max_attempts == 1), most)
        return picked[: max(alone, 1)]

    def hold(self, claims: Sequence[Claim], worker: int, output: Output | None, now: int) -> None:
        """Charge an attempt of each and begin its execution; `output` is of the first."""
        log, start, _ = output or (None, None, None)
        begun = []
        for claim in claims:
            begun.append((claim.execution, claim.job, claim.attempt, worker, now, log, start))
            log = start = None  # those after the first begin later
        self._connection.run_many(sql.ADD_EXECUTION, begun)
        held = [(claim.execution, now, 0, claim.job) for claim in claims]
        self._connection.run_many(sql.HOLD_JOB, held)


def _urgency(claim: Claim) -> tuple[int, int]:
    return -claim.priority, claim.job
