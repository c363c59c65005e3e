"""Submitting jobs inside one write transaction on SQLite: rows in bulk, each born in its state."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from gigq.queue import statements as sql
from gigq.queue.errors import DuplicateJobError, UnknownDependencyError
from gigq.queue.figures import SUBMITTED
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


class Submission:
    """The rows of one submit."""

    def __init__(self, connection: Connection, moves: Moves, queues: dict[str, int]) -> None:
        """Begin empty; `queues` remembers queues' keys from one submit to the next."""
        self._connection = connection
        self._moves = moves
        self._queues = queues
        self._known: dict[str, tuple[int, str]] = {}  # uuid: key and state, of this call
        self._edges: list[tuple[int, int, int]] = []

    def add(self, jobs: Sequence[NewJob], workflow: NewWorkflow | None, now: int) -> None:
        """Insert jobs, what they are and whom they wait for. Raises as `Store.submit` does."""
        workflow_key = None if workflow is None else self._workflow(workflow, now)
        (last,) = self._connection.row(sql.LAST_JOB)
        rows: list[tuple[object, ...]] = []
        specs: list[tuple[object, ...]] = []
        submitted: dict[int, int] = {}  # by queue
        for key, job in enumerate(jobs, last + 1):
            queue = self._queue(job.queue)
            birth = self._birth(job, key) if job.parents else self._orphan(job)
            self._known[job.uuid] = (key, birth.state)
            self._moves.moved(queue, None, birth.state)
            submitted[queue] = submitted.get(queue, 0) + 1
            rows.append(
                (
                    key,
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
            )
            specs.append(
                (
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
            )
        self._insert(rows, specs)
        self._moves.figures.happened += ((SUBMITTED, *each) for each in submitted.items())

    def _insert(self, rows: list[tuple[object, ...]], specs: list[tuple[object, ...]]) -> None:
        try:
            self._connection.run_many(sql.ADD_JOB, rows)
        except sqlite3.IntegrityError as error:
            if "job.uuid" not in str(error):
                raise
            message = "a job with one of these ids was submitted before; make a new Job for a rerun"
            raise DuplicateJobError(message) from None
        self._connection.run_many(sql.ADD_SPEC, specs)
        if self._edges:
            self._connection.run_many(sql.ADD_EDGE, self._edges)

    def _queue(self, name: str) -> int:
        key = self._queues.get(name)
        if key is None:
            found = self._connection.row(sql.QUEUE_ID, (name,))
            key = found[0] if found else self._connection.insert(sql.ADD_QUEUE, (name,))
            self._queues[name] = key
        return key

    def _workflow(self, workflow: NewWorkflow, now: int) -> int:
        self._connection.run(sql.ADD_WORKFLOW, (workflow.uuid, workflow.name, now))
        key: int = self._connection.row(sql.WORKFLOW_ID, (workflow.uuid,))[0]
        return key

    def _orphan(self, job: NewJob) -> _Birth:
        return _Birth(self._moves.awake_or_blocked(0, job.due_at))

    def _birth(self, job: NewJob, key: int) -> _Birth:
        """Look at the parents: unfinished, ended well, or failed before this job was born."""
        waiting_on, failed = 0, None
        for place, uuid in enumerate(dict.fromkeys(job.parents)):
            parent, state = self._parent(job, uuid)
            self._edges.append((parent, key, place))
            if state in UNSUCCESSFUL and job.on_parent_failure == "cancel":
                failed = failed or parent
            unfinished = state not in FINAL
            blocking = state in UNSUCCESSFUL and job.on_parent_failure == "block"
            waiting_on += unfinished or blocking
        if failed is not None:
            return _Birth(State.CANCELLED, waiting_on, "parent_failed", failed)
        return _Birth(self._moves.awake_or_blocked(waiting_on, job.due_at), waiting_on)

    def _parent(self, job: NewJob, uuid: str) -> tuple[int, str]:
        found: tuple[int, str] | None = self._known.get(uuid)
        found = found or self._connection.row(sql.PARENT, (uuid,))
        if found is None:
            message = (
                f"job {job.name!r} depends on {uuid}, which was not submitted to this database"
            )
            raise UnknownDependencyError(message)
        return found
