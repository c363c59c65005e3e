"""The moves of jobs in one write transaction on SQLite, and the counters that go with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from gigq.queue import clock
from gigq.queue import statements as sql
from gigq.queue.errors import StoreError
from gigq.queue.figures import IDLE_EVERY, SUBMITTED, WAIT, attempt
from gigq.queue.records import Settled
from gigq.queue.sqlite_relay import completed_values
from gigq.queue.states import FINAL, UNSUCCESSFUL, State, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gigq.queue.connection import Connection
    from gigq.queue.figures import Figures
    from gigq.queue.outlook import Outlook
    from gigq.queue.records import Claim, Outcome, Output
    from gigq.queue.sqlite_claiming import Claiming

CHILDREN_AT_ONCE = 500  # told in one transaction: a few milliseconds of the write lock
_DUE_AT_ONCE = 200
_PAIR = 2
_STOPPED_FOR_GOOD = "stopped by shutdown"
_OF_A_JOB = 0xFFFFFF  # the part of an execution's key that counts those of its job
_MOST_BEGUN = _OF_A_JOB - 15  # a few are left for whoever requeues it
_BEGUN_TOO_OFTEN = "it has been begun 16 million times, and can be no more: submit it anew"
# Each job counts through these several times; Python 3.11 takes 75 ns to find one in its class.
_READY, _SCHEDULED, _RUNNING = State.READY, State.SCHEDULED, State.RUNNING


class Moves:
    """One write transaction that moves jobs, at one time; as a context manager.

    Its counters and figures are written last, and forgotten when it is undone.
    """

    def __init__(
        self, connection: Connection, figures: Figures, outlook: Outlook, claiming: Claiming
    ) -> None:
        """Prepare it; what is done is added to `figures`."""
        self.figures = figures
        self._outlook = outlook
        self._claiming = claiming
        self._connection = connection
        self._now = 0  # microseconds UTC
        self._tally: dict[tuple[int, str], int] = {}
        self._completed: list[tuple[object, ...]] = []  # executions: values of COMPLETE_EXECUTION
        self._budget = CHILDREN_AT_ONCE
        self._readied = 0  # jobs
        self._has_scheduled = False

    def __enter__(self) -> Self:
        """Take the write lock. Raises StoreBusyError when it is not had in time."""
        self.figures.begin()
        self._connection.begin()
        self._now = clock.now()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Commit, or undo all of it when the block raised or the commit fails."""
        if kind is not None:
            self._undo()
            return
        try:
            self._write_together()
            wrote = self.figures.write_in_time(self._connection)
            self._connection.commit()
        except BaseException:
            self._undo()
            raise
        self.figures.end(self._connection, wrote=wrote)

    def _undo(self) -> None:
        self._outlook.forget()
        self._connection.roll_back()

    # Counters

    def moved(self, queue: int, origin: str | None, target: str | None) -> None:
        """Count a job of `queue` out of one state and into another."""
        tally = self._tally
        if origin is not None:
            tally[queue, origin] = tally.get((queue, origin), 0) - 1
        if target is not None:
            tally[queue, target] = tally.get((queue, target), 0) + 1
            if target == _READY:
                self._readied += 1
            elif target == _SCHEDULED:
                self._has_scheduled = True
                self._outlook.forget()

    def born(self, queue: int, state: State, jobs: int) -> None:
        """Count new jobs of `queue`."""
        self._tally[queue, state] = self._tally.get((queue, state), 0) + jobs
        if state is State.SCHEDULED:
            self._outlook.forget()
        self.figures.happened.append((SUBMITTED, queue, jobs))

    def _count(self, queue: int, uncounted: int) -> None:
        """Count what an ended job has carried: ends and claims of its worker before it."""
        if uncounted:
            for state, jobs in ((State.COMPLETED, uncounted), (_READY, -uncounted)):
                self._tally[queue, state] = self._tally.get((queue, state), 0) + jobs

    def _write_together(self) -> None:
        """Write what is written last, in as few statements as can be."""
        if self._completed:
            self._connection.run_many(sql.COMPLETE_EXECUTION, self._completed)
        changed = [(queue, str(state), n) for (queue, state), n in self._tally.items() if n]
        if len(changed) == _PAIR:
            self._connection.run(sql.COUNT_PAIR, (*changed[0], *changed[1]))
        elif changed:
            self._connection.run_many(sql.COUNT, changed)

    # Claiming

    def settle(
        self, worker: int, outcomes: Sequence[Outcome], claim: int, output: Output | None = None
    ) -> Settled:
        """End, ready, claim: the order matters, so that a chain's next link is claimed at once."""
        dropped = [outcome for outcome in outcomes if not self.end(outcome)]
        claims = self._find(claim) if claim else []
        if claims:
            # Whoever held something until now lives, for its claims end with its life.
            self._take(claims, worker, output, lives=len(dropped) < len(outcomes))
        else:
            self.figures.every = IDLE_EVERY
        # For others: not the one job that became ready and is claimed here, as in a chain.
        more = self._readied > len(claims) or self._has_scheduled or self._outlook.is_telling
        return Settled(claims, dropped, more)

    def _find(self, most: int) -> list[Claim]:
        """Make ready what can be, and choose the next jobs."""
        outlook = self._outlook
        has_looked = outlook.look(self._connection, self._now)
        while True:
            if outlook.next_due is not None and outlook.next_due <= self._now:
                self._promote()
            if outlook.is_telling:
                self._go_on_telling()
            claims = self._claiming.choose(most)
            if claims or has_looked:
                return claims
            outlook.forget()
            has_looked = outlook.look(self._connection, self._now)

    def _promote(self) -> None:
        """Make ready what is due."""
        for (queue,) in self._connection.rows(sql.PROMOTE, (self._now, _DUE_AT_ONCE)):
            self.moved(queue, State.SCHEDULED, State.READY)
        self._outlook.forget()

    def _take(
        self, claims: list[Claim], worker: int, output: Output | None, *, lives: bool
    ) -> None:
        """Charge an attempt of each of these ready jobs and begin its execution."""
        if not lives and self._connection.row(sql.WORKER_LIVES, (worker,)) is None:
            message = f"worker {worker} has ended and cannot claim; register again"
            raise StoreError(message)
        for claim in claims:
            self.moved(claim.queue_id, _READY, _RUNNING)
            self.figures.happened.append((WAIT, claim.queue_id, self._now - claim.ready_since))
        self._claiming.hold(claims, worker, output, self._now)

    # Ending

    def end(self, outcome: Outcome) -> bool:
        """Record how an execution ended and move its job on; False when the claim was lost."""
        target, fence = State.COMPLETED, (outcome.job, outcome.execution)
        if outcome.verdict is not Verdict.COMPLETED or not self._connection.run(
            sql.COMPLETE_JOB, (self._now, *fence)
        ):
            outcome = self._as_wished(outcome)
            target, due_at, refund, outcome = self._judge(outcome)
            carried = self._connection.row(sql.CARRIED, (outcome.job,))
            if not self._connection.run(
                sql.END_JOB, (str(target), refund, due_at, outcome.cause, self._now, *fence)
            ):
                return False
            self._count(outcome.queue_id, *carried)
        self._record(outcome, target)
        if target in FINAL:
            self.tell_children(outcome.job, target)
        return True

    def _record(self, outcome: Outcome, target: State) -> None:
        """Say in the history how it ended, and count it."""
        started_at = outcome.started_at
        if started_at is None:
            (started_at,) = self._connection.row(sql.STARTED_AT, (outcome.execution,))
        ended_at = outcome.ended_at or self._now
        self._end_execution(outcome, started_at, ended_at)
        self.moved(outcome.queue_id, _RUNNING, target)
        self.figures.happened.append(attempt(outcome, started_at, ended_at))

    def _end_execution(self, outcome: Outcome, started_at: int, ended_at: int) -> None:
        if outcome.verdict is Verdict.COMPLETED:
            self._completed.append(completed_values(outcome, started_at, ended_at))
            return
        self._connection.run(
            sql.END_EXECUTION,
            (
                outcome.verdict,
                started_at,
                ended_at,
                outcome.cause,
                outcome.result,
                outcome.error,
                outcome.traceback,
                outcome.stacks,
                *(outcome.output or (None, None, None)),
                outcome.cpu_time,
                outcome.peak_memory,
                outcome.execution,
            ),
        )

    def _as_wished(self, outcome: Outcome) -> Outcome:
        """Let an execution that somebody asked to end be cancelled, however it ended."""
        execution = outcome.execution
        if self._connection.row(sql.IS_TO_END, (execution,)) is None:
            return outcome
        self._connection.run(sql.NO_LONGER_TO_END, (execution,))
        return outcome._replace(
            verdict=Verdict.CANCELLED,
            result=None,
            error="cancelled while it ran",
            cause="cancelled",
        )

    def _judge(self, outcome: Outcome) -> tuple[State, int | None, int, Outcome]:
        """Decide the job's next state, when it is due, and how many attempts to give back."""
        verdict = outcome.verdict
        if verdict is Verdict.COMPLETED:
            return State.COMPLETED, None, 0, outcome
        if verdict is Verdict.CANCELLED:
            return State.CANCELLED, None, 0, outcome
        if outcome.execution & _OF_A_JOB >= _MOST_BEGUN:
            return State.FAILED, None, 0, outcome._replace(error=_BEGUN_TOO_OFTEN)
        if verdict is Verdict.RELEASED:
            return State.READY, None, 1, outcome
        found = self._connection.row(sql.ATTEMPTS, (outcome.job,))
        attempts, max_attempts, retry_delay = found or (0, 0, 0)
        if verdict is Verdict.STOPPED:
            if max_attempts > 1:
                return State.READY, None, 1, outcome
            return State.FAILED, None, 0, outcome._replace(error=_STOPPED_FOR_GOOD)
        if outcome.retry and attempts < max_attempts:
            if retry_delay:
                return State.SCHEDULED, self._now + retry_delay, 0, outcome
            return State.READY, None, 0, outcome
        return State.TIMEOUT if verdict is Verdict.TIMEOUT else State.FAILED, None, 0, outcome

    # Children

    def tell_children(self, parent: int, state: str) -> None:
        """Say to the children of an ended job how it ended; what is too many is left for later."""
        if self._connection.rows(sql.HAS_CHILDREN, (parent,)):
            self._tell(parent, state, 0, None)

    def _go_on_telling(self) -> None:
        """Tell children that earlier transactions left."""
        while self._budget > 0:
            left = self._connection.row(sql.FANOUT)
            if left is None:
                self._outlook.is_telling = False
                return
            parent, after, last, state = left
            self._connection.run(sql.DROP_FANOUT, (parent,))
            self._tell(parent, state, after, last)

    def _tell(self, parent: int, state: str, after: int, last: int | None) -> None:
        """Tell the children after `after`, and the children of those that this cancels."""
        cancelled = [(parent, state, after, last)]
        while cancelled:
            parent, state, after, last = cancelled.pop()
            limit = max(self._budget, 0) + 1  # one more, to learn whether some are left
            children = self._connection.rows(
                sql.CHILDREN, (parent, after, _NO_LAST if last is None else last, limit)
            )
            if len(children) == limit:
                children.pop()
                self._leave(parent, children[-1][0] if children else after, last)
            self._budget -= len(children)
            cancelled.extend(
                (child[0], State.CANCELLED, 0, None)
                for child in children
                if self._tell_child(parent, state, child)
            )

    def _leave(self, parent: int, after: int, last: int | None) -> None:
        if last is None:
            (last,) = self._connection.row(sql.LAST_CHILD, (parent,))
        self._connection.run(sql.ADD_FANOUT, (parent, after, last))
        self._outlook.is_telling = True

    def _tell_child(self, parent: int, state: str, child: tuple[Any, ...]) -> bool:
        """Move one child on; True when that cancelled it."""
        key, child_state, waiting_on, due_at, policy, queue = child
        if child_state != State.BLOCKED:
            return False
        if state in UNSUCCESSFUL and policy == "block":
            return False
        if state in UNSUCCESSFUL and policy == "cancel":
            self._connection.run(sql.ABANDON, (parent, self._now, key))
            self.moved(queue, State.BLOCKED, State.CANCELLED)
            return True
        target = self.awake_or_blocked(waiting_on - 1, due_at)
        self._connection.run(sql.WAIT_FOR, (target, waiting_on - 1, self._now, key))
        if target is not State.BLOCKED:
            self.moved(queue, State.BLOCKED, target)
        return False

    def awake_or_blocked(self, waiting_on: int, due_at: int | None) -> State:
        """Give the state of a pending job with so many unfinished parents."""
        if waiting_on > 0:
            return State.BLOCKED
        return State.SCHEDULED if due_at is not None and due_at > self._now else State.READY

    # Cancelling and requeueing

    def cancel(self, job: int, state: str, queue: int) -> None:
        """Cancel a pending job and tell its children."""
        self._connection.run(sql.CANCEL, (self._now, job))
        self.moved(queue, state, State.CANCELLED)
        self.tell_children(job, State.CANCELLED)

    def requeue(self, job: int, state: str, queue: int) -> None:
        """Make an unsuccessful job pending again, and whatever was cancelled because of it."""
        self._connection.run(sql.DROP_FANOUT, (job,))
        target, waiting_on = self._recount(job, None)
        self._connection.run(sql.REQUEUE, (target, waiting_on, self._now, job))
        self.moved(queue, state, target)
        revived, done = [job], []
        while revived:
            parent = revived.pop()
            done.append(parent)
            for child, child_queue, due_at in self._connection.rows(sql.CANCELLED_BY, (parent,)):
                failed = self._connection.row(sql.UNSUCCESSFUL_PARENT, (child,))
                if failed is not None:
                    self._connection.run(sql.BLAME, (failed[0], child))
                    continue
                self._connection.run(sql.DROP_FANOUT, (child,))
                target, waiting_on = self._recount(child, due_at)
                self._connection.run(sql.REVIVE, (target, waiting_on, self._now, child))
                self.moved(child_queue, State.CANCELLED, target)
                revived.append(child)
        self._connection.run(sql.RECOUNT_CHILDREN, (json.dumps(done),))

    def _recount(self, job: int, due_at: int | None) -> tuple[State, int]:
        (waiting_on,) = self._connection.row(sql.UNFINISHED_PARENTS, (job,))
        return self.awake_or_blocked(waiting_on, due_at), waiting_on


_NO_LAST = (1 << 63) - 1
