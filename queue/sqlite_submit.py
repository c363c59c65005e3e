"""Submitting jobs inside one write transaction on SQLite: rows in bulk, each born in its state."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from gigq.queue import statements as sql
from gigq.queue.errors import DuplicateJobError, UnknownDependencyError
from gigq.queue.states import FINAL, UNSUCCESSFUL, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gigq.queue.connection import Connection
    from gigq.queue.records import NewJob, NewWorkflow
    from gigq.queue.sqlite_moves import Moves


class _Birth(NamedTuple):
    """The state that a job is born in."""

    state: State
    waiting_on: int = 0
    cause: str | None = None
    cancelled_by: int | None = None


_BORN = {state: _Birth(state) for state in (State.READY, State.SCHEDULED)}  # without parents
_Parent = tuple[int, str]  # key and state


class Submission:
    """The rows of one submit."""

    def __init__(self, connection: Connection, moves: Moves, queues: dict[str, int]) -> None:
        """Begin empty; `queues` remembers queues' keys from one submit to the next."""
        self._connection = connection
        self._moves = moves
        self._queues = queues
        self._known: dict[str, _Parent] = {}  # by uuid, of this call

    def add(self, jobs: Sequence[NewJob], workflow: NewWorkflow | None, now: int) -> None:
        """Insert jobs, what they are and whom they wait for. Raises as `Store.submit` does."""
        workflow_key = None if workflow is None else self._workflow(workflow, now)
        rows: list[tuple[object, ...]] = []  # but for the first, which tells the others' keys
        specs: list[tuple[object, ...]] = []
        edges: list[tuple[int, int, int]] = []
        born: dict[tuple[int, State], int] = {}  # jobs by queue and state
        has_parents = any(job.parents for job in jobs)
        key = 0  # of the job before
        for job in jobs:
            queue = self._queues.get(job.queue) or self._queue(job.queue)
            parents = self._parents(job) if job.parents else []
            birth = self._birth(job, parents) if parents else self._orphan(job)
            born[queue, birth.state] = born.get((queue, birth.state), 0) + 1
            row = (
                job.uuid,
                job.name,
                queue,
                workflow_key,
                birth.state,
                job.priority,
                job.max_attempts,
                birth.waiting_on,
                job.due_at,
                job.on_parent_failure,
                birth.cause,
                birth.cancelled_by,
                job.created_at,
                now,
            )
            if key:
                key += 1
                rows.append((key, *row))
            else:
                key = self._insert_first(row)
            specs.append(_spec(key, job))
            if has_parents:
                self._known[job.uuid] = (key, birth.state)
                edges += ((parent, key, place) for place, (parent, _) in enumerate(parents))
        self._insert_others(rows)
        self._connection.run_many(sql.ADD_SPEC, specs)
        if edges:
            self._connection.run_many(sql.ADD_EDGE, edges)
        for (queue, state), count in born.items():
            self._moves.born(queue, state, count)

    def _insert_first(self, row: tuple[object, ...]) -> int:
        """Insert a job behind all that ever were; gives its key."""
        try:
            return self._connection.insert(sql.ADD_NEXT_JOB, row)
        except sqlite3.IntegrityError as error:
            raise _refusal(error) from None

    def _insert_others(self, rows: list[tuple[object, ...]]) -> None:
        try:
            if rows:
                self._connection.run_many(sql.ADD_JOB, rows)
        except sqlite3.IntegrityError as error:
            raise _refusal(error) from None

    def _queue(self, name: str) -> int:
        found = self._connection.row(sql.QUEUE_ID, (name,))
        key = found[0] if found else self._connection.insert(sql.ADD_QUEUE, (name,))
        self._queues[name] = key
        return key

    def _workflow(self, workflow: NewWorkflow, now: int) -> int:
        self._connection.run(sql.ADD_WORKFLOW, (workflow.uuid, workflow.name, now))
        key: int = self._connection.row(sql.WORKFLOW_ID, (workflow.uuid,))[0]
        return key

    def _orphan(self, job: NewJob) -> _Birth:
        due_at = job.due_at
        return _BORN[State.READY if due_at is None else self._moves.awake_or_blocked(0, due_at)]

    def _birth(self, job: NewJob, parents: list[_Parent]) -> _Birth:
        """Look at the parents: unfinished, ended well, or failed before this job was born."""
        waiting_on, failed = 0, None
        for parent, state in parents:
            if state in UNSUCCESSFUL and job.on_parent_failure == "cancel":
                failed = failed or parent
            unfinished = state not in FINAL
            blocking = state in UNSUCCESSFUL and job.on_parent_failure == "block"
            waiting_on += unfinished or blocking
        if failed is not None:
            return _Birth(State.CANCELLED, waiting_on, "parent_failed", failed)
        return _Birth(self._moves.awake_or_blocked(waiting_on, job.due_at), waiting_on)

    def _parents(self, job: NewJob) -> list[_Parent]:
        return [self._parent(job, uuid) for uuid in dict.fromkeys(job.parents)]

    def _parent(self, job: NewJob, uuid: str) -> _Parent:
        found: _Parent | None = self._known.get(uuid)
        found = found or self._connection.row(sql.PARENT, (uuid,))
        if found is None:
            message = (
                f"job {job.name!r} depends on {uuid}, which was not submitted to this database"
            )
            raise UnknownDependencyError(message)
        return found


def _spec(key: int, job: NewJob) -> tuple[object, ...]:
    """Give the row of what the job is, which never changes."""
    return (
        key,
        job.kind,
        job.function_module,
        job.function_name,
        job.script,
        job.import_root,
        job.directory,
        job.job_directory,
        job.python,
        job.params,
        job.timeout,
        job.max_memory,
        job.retry_delay,
        job.pass_parent_results,
        len(job.parents),
        job.description,
    )


def _refusal(error: sqlite3.IntegrityError) -> Exception:
    if "job.uuid" not in str(error):
        return error
    message = "a job with one of these ids was submitted before; make a new Job for a rerun"
    return DuplicateJobError(message)
