"""The usual settle of a busy worker: its job has completed, and it claims the next one.

Nearly all transactions are this one while short jobs are drained, and all other workers wait for
it: so it goes straight, prepares what it can before it takes the lock, and leaves to `Moves` all
that is seldom: other verdicts, children to be told, wishes, several queues, jobs that are due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gigq.queue import clock
from gigq.queue import statements as sql
from gigq.queue.figures import WAIT, attempt
from gigq.queue.records import Settled
from gigq.queue.seldom import Seldom
from gigq.queue.states import State, Verdict

if TYPE_CHECKING:
    from gigq.queue.connection import Connection
    from gigq.queue.figures import Figures
    from gigq.queue.outlook import Outlook
    from gigq.queue.records import Outcome, Output
    from gigq.queue.sqlite_claiming import Claiming

# To ask their classes for them takes time.
_COMPLETED, _READY, _COMPLETION = str(State.COMPLETED), str(State.READY), Verdict.COMPLETED
_NO_OUTPUT = (None, None, None)


class Relay:
    """Completes a job without children and claims the next one, in one transaction."""

    def __init__(
        self, connection: Connection, figures: Figures, outlook: Outlook, claiming: Claiming
    ) -> None:
        """Prepare it for one store."""
        self._connection = connection
        self._figures = figures
        self._outlook = outlook
        self._claiming = claiming
        self._tries = Seldom()

    def settle(self, worker: int, ended: Outcome, output: Output | None) -> Settled | None:
        """Do all of it; or nothing, and give None: something is not as usual."""
        start, end, queue = ended.started_at, ended.ended_at, ended.queue_id
        if (
            ended.verdict is not _COMPLETION
            or start is None
            or end is None
            or not self._outlook.is_only(queue, clock.now())
            or not self._tries.is_time()
        ):
            return None
        job, execution = ended.job, ended.execution
        values = completed_values(ended, start, end)
        connection, figures, outlook = self._connection, self._figures, self._outlook
        figures.begin()
        connection.begin()
        try:
            now = clock.now()
            is_usual = not outlook.look(connection, now) or outlook.is_only(queue, now)
            claim = self._claiming.choose_one() if is_usual else None
            if claim is None or not connection.run(sql.COMPLETE_CHILDLESS, (now, job, execution)):
                connection.roll_back()
                self._tries.failed()
                return None
            self._claiming.hold((claim,), worker, output, now)
            connection.run(sql.COMPLETE_EXECUTION, values)
            connection.run(sql.COUNT_PAIR, (queue, _COMPLETED, 1, queue, _READY, -1))
            figures.happened += attempt(ended, start, end), (WAIT, queue, now - claim.ready_since)
            wrote = figures.write_in_time(connection)
            connection.commit()
        except BaseException:
            connection.roll_back()
            raise
        figures.end(connection, wrote=wrote)
        self._tries.worked()
        return Settled([claim], [], more=False)


def completed_values(outcome: Outcome, started_at: int, ended_at: int) -> tuple[Any, ...]:
    """Give the values of COMPLETE_EXECUTION."""
    return (
        started_at,
        ended_at,
        outcome.result,
        outcome.cpu_time,
        outcome.peak_memory,
        *(outcome.output or _NO_OUTPUT),
        outcome.execution,
    )
