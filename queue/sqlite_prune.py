"""Deleting finished jobs on SQLite, in transactions that hold the write lock for milliseconds.

What is to go is looked for without the lock, some hundred rows at a time; the transaction that
deletes looks once more. Keys of jobs are in the order of their submission, so a walk ends at the
first job that is too young to have ended long ago, and needs no index.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple

from gigq.queue import clock
from gigq.queue import statements as sql
from gigq.queue.records import Output, Pruned
from gigq.queue.states import UNSUCCESSFUL, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from gigq.queue.connection import Connection
    from gigq.queue.sqlite_moves import Moves

HOLD = 0.001  # seconds of the write lock that a transaction should take
_READ_AT_ONCE = 500
_MOST_JOBS = 500  # in one transaction
_MOST_EDGES = 1000
_CLOCK_TOLERANCE = 60 * clock.MICROSECONDS
_NEVER = 0
_BEYOND = 1 << 62  # any key of a job
# The unsuccessful first: they keep their parents.
_ORDER = (State.FAILED, State.TIMEOUT, State.CANCELLED, State.COMPLETED)


class Pace:
    """How much fits into one transaction, learnt from how long the last ones took."""

    def __init__(self, first: int, most: int) -> None:
        """Begin with a small portion."""
        self.portion = first
        self._most = most

    def took(self, seconds: float, amount: int) -> None:
        """Learn; a fast one lets the next be larger by half at most."""
        if amount >= self.portion or seconds > HOLD:
            fitting = int(amount * HOLD / max(seconds, 1e-6))
            self.portion = max(1, min(fitting, self.portion * 3 // 2 + 1, self._most))


class _Found(NamedTuple):
    """A row that a walk looks at."""

    job: int
    state: str
    workflow: int | None
    created_at: int
    updated_at: int


class Prune:
    """One walk over all finished jobs."""

    def __init__(
        self,
        connection: Connection,
        transaction: Callable[[], AbstractContextManager[Moves]],
        until: Mapping[str, int],
        *,
        whole_workflows: bool,
    ) -> None:
        """Delete what ended before `until` (microseconds UTC, by state; never where it lacks)."""
        self._connection = connection
        self._transaction = transaction
        self._until = {state: max(until.get(state, _NEVER), _NEVER) for state in _ORDER}
        self._ends = (
            self._until[State.COMPLETED],
            self._until[State.FAILED],
            self._until[State.TIMEOUT],
            self._until[State.CANCELLED],
        )
        self._whole = whole_workflows
        self._seen: set[int] = set()  # workflows that need no second look
        self._pace = Pace(50, _MOST_JOBS)

    def steps(self) -> Iterator[Pruned]:
        """Do it; a short step each time."""
        for state in _ORDER:
            goes_on = self._until[state] > _NEVER
            while goes_on:
                deleted = 0
                for step in self._walk(state):
                    deleted += step.jobs
                    yield step
                # A cancelled one is kept by a cancelled child, which may have gone only now.
                goes_on = state is State.CANCELLED and deleted > 0

    def _walk(self, state: State) -> Iterator[Pruned]:
        after = 0
        while rows := self._look(state, after):
            after = rows[-1].job
            until = self._until[state]
            young = next((place for place, row in enumerate(rows) if _is_young(row, until)), None)
            over = [row for row in rows[:young] if row.state == state and row.updated_at < until]
            alone = [row.job for row in over if row.workflow is None or not self._whole]
            yield from self._delete(alone)
            for workflow in dict.fromkeys(row.workflow for row in over):
                if workflow is not None and self._whole and workflow not in self._seen:
                    self._seen.add(workflow)
                    yield from self._delete_workflow(workflow)
            if young is not None:
                return
            yield Pruned(0, ())

    def _look(self, state: State, after: int) -> list[_Found]:
        if state in UNSUCCESSFUL:
            rows = self._connection.rows(sql.UNSUCCESSFUL_AFTER, (state, after, _READ_AT_ONCE))
        else:
            rows = self._connection.rows(sql.JOBS_AFTER, (after, _READ_AT_ONCE))
        return [_Found(*row) for row in rows]

    def _delete_workflow(self, workflow: int) -> Iterator[Pruned]:
        """Delete all of it, if all of it is over: children before the parents that they need."""
        before = _BEYOND
        while not self._is_young(workflow):
            found = self._connection.rows(sql.WORKFLOW_BEFORE, (workflow, before, _READ_AT_ONCE))
            if not found:
                return
            before = found[-1][0]
            yield from self._delete([job for (job,) in found])

    def _is_young(self, workflow: int) -> bool:
        young = self._connection.row(sql.YOUNG_IN_WORKFLOW, (workflow, *self._ends))
        return young is not None

    def _delete(self, jobs: Sequence[int]) -> Iterator[Pruned]:
        """Delete those of these jobs that nobody needs any more."""
        left = [job for job, _, _, _ in self._free(jobs)]
        edges = dict(self._connection.rows(sql.EDGES_AMONG, (json.dumps(left),))) if left else {}
        while left:
            portion = _portion(left, edges, self._pace.portion)
            left = left[len(portion) :]
            if edges[portion[0]] > _MOST_EDGES:
                yield from self._cut_loose(portion[0])
            yield self._delete_now(portion)

    def _free(self, jobs: Sequence[int]) -> list[tuple[int, str, int, int | None]]:
        """Give those that are over and protected by no child, the youngest first."""
        if not jobs:
            return []
        among = json.dumps(jobs), *self._ends
        over = self._connection.rows(sql.OVER_AMONG, among)
        children: dict[int, list[int]] = {}
        for parent, child in self._connection.rows(sql.PROTECTED_AMONG, among):
            children.setdefault(parent, []).append(child)
        free: dict[int, tuple[int, str, int, int | None]] = {}
        for row in over:
            # A child is younger than its parent: whether it goes as well is known already.
            if all(child in free for child in children.get(row[0], ())):
                free[row[0]] = row
        return list(free.values())

    def _delete_now(self, jobs: Sequence[int]) -> Pruned:
        with self._transaction() as moves:
            began = time.perf_counter()
            free = self._free(jobs)
            outputs = self._drop(free) if free else ()
            for _, state, queue, _ in free:
                moves.moved(queue, state, None)
            self._pace.took(time.perf_counter() - began, len(jobs))
        return Pruned(len(free), outputs)

    def _drop(self, jobs: list[tuple[int, str, int, int | None]]) -> tuple[Output, ...]:
        run = self._connection.run
        keys = json.dumps([job for job, _, _, _ in jobs])
        executions = self._connection.rows(sql.EXECUTIONS_AMONG, (keys,))
        run(sql.REMEMBER_LAST_JOB, (max(job for job, _, _, _ in jobs),))
        ended = json.dumps([each[0] for each in executions])
        for statement in (sql.DROP_PROGRESS, sql.DROP_WISHES, sql.DROP_EXECUTIONS):
            run(statement, (ended,))
        for job, state, _, _ in jobs:
            if state in UNSUCCESSFUL:
                run(sql.BLAME_ANOTHER, (job,))
        for statement in (
            sql.DROP_EDGES_BELOW,
            sql.DROP_EDGES_ABOVE,
            sql.DROP_FANOUTS,
            sql.DROP_SPECS,
            sql.DROP_JOBS,
        ):
            run(statement, (keys,))
        workflows = {workflow for _, _, _, workflow in jobs if workflow is not None}
        if workflows:
            run(sql.DROP_WORKFLOWS, (json.dumps(sorted(workflows)),))
        return tuple(Output(*each[1:]) for each in executions if each[1] is not None)

    def _cut_loose(self, job: int) -> Iterator[Pruned]:
        """Drop the edges of a job that has very many, some in each transaction."""
        for statement in (sql.DROP_SOME_EDGES_BELOW, sql.DROP_SOME_EDGES_ABOVE):
            while True:
                with self._transaction():
                    dropped = self._free([job]) and self._connection.run(
                        statement, (job, _MOST_EDGES)
                    )
                if not dropped:
                    break
                yield Pruned(0, ())


def _is_young(row: _Found, until: int) -> bool:
    """Tell whether all jobs from this one on are too young, for they were submitted later.

    One that comes from the future says nothing: the clock has been set back since.
    """
    return until <= row.created_at <= clock.now() + _CLOCK_TOLERANCE


def _portion(jobs: list[int], edges: Mapping[int, int], most: int) -> list[int]:
    """Give the first jobs, as many as are to go in one transaction; at least one."""
    sum_of_edges = 0
    for place, job in enumerate(jobs[:most]):
        sum_of_edges += edges[job]
        if place and sum_of_edges > _MOST_EDGES:
            return jobs[:place]
    return jobs[:most]
