"""The usual settle of a busy worker: its job has completed, and it claims the next one.

Nearly all transactions are this one while short jobs are drained, and all other workers wait for
it: so it goes straight, does before and after what needs no lock, and leaves to `Moves` all that is
seldom: other verdicts, children to be told, wishes, several queues, jobs that are due.

Its moves are not counted in the table of counters, which would be one page more to read and to
write: the job that is claimed carries how many there were, and who ends that job in another way
counts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gigq.queue import clock
from gigq.queue import statements as sql
from gigq.queue.figures import WAIT, attempt
from gigq.queue.records import Claim, Settled
from gigq.queue.seldom import Seldom
from gigq.queue.states import Verdict

if TYPE_CHECKING:
    from gigq.queue.connection import Connection
    from gigq.queue.figures import Figures
    from gigq.queue.outlook import Outlook
    from gigq.queue.records import Outcome, Output
    from gigq.queue.sqlite_claiming import Claiming

_COMPLETION = Verdict.COMPLETED  # to ask its class for it takes time
_NO_OUTPUT = (None, None, None)
_SHORT = 4_096  # characters of a result


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
        # The execution that it claimed last, and how many moves its job carries: a guess that
        # spares a look at the job's row, which decides.
        self._held = 0
        self._uncounted = 0

    def settle(self, worker: int, ended: Outcome, output: Output | None) -> Settled | None:
        """Do all of it; or nothing, and give None: something is not as usual."""
        start, end, queue = ended.started_at, ended.ended_at, ended.queue_id
        outlook = self._outlook
        if (
            ended.verdict is not _COMPLETION
            or start is None
            or end is None
            or not outlook.is_only(queue, clock.now())
            or not self._tries.is_time()
        ):
            return None
        connection, figures = self._connection, self._figures
        run, job, execution = connection.run, ended.job, ended.execution
        uncounted = self._uncounted if execution == self._held else 0
        completed = completed_values(ended, start, end)
        log, log_start, _ = output or _NO_OUTPUT
        figures.begin()
        figures.happened.append(attempt(ended, start, end))
        connection.begin()
        try:
            now = clock.now()
            is_usual = not outlook.look(connection, now) or outlook.is_only(queue, now)
            picked = self._claiming.choose_one() if is_usual else None
            if picked is None or not run(sql.COMPLETE_CHILDLESS, (now, job, execution, uncounted)):
                connection.roll_back()
                self._tries.failed()
                return None
            held, spec = picked
            execution, job, number, ready_since = held
            run(sql.ADD_EXECUTION, (execution, job, number, worker, now, log, log_start))
            run(sql.HOLD_JOB, (execution, now, uncounted + 1, job))
            run(sql.COMPLETE_EXECUTION, completed)
            figures.happened.append((WAIT, queue, now - ready_since))
            wrote = figures.write_in_time(connection)
            connection.commit(is_small=len(ended.result or "") < _SHORT)
        except BaseException:
            connection.roll_back()
            raise
        self._held, self._uncounted = execution, uncounted + 1
        figures.end(connection, wrote=wrote)
        self._tries.worked()
        return Settled([Claim._make(held + spec)], [], more=False)


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
