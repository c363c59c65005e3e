"""What a store on SQLite tells: each method of the contract that only reads.

None of them takes the write lock. Each statement sees the file as one commit has left it; between
two of them others go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gigq.queue import clock
from gigq.queue import statements as sql
from gigq.queue.identity import Identity, Liveness, is_here, liveness
from gigq.queue.life_lock import liveness_by
from gigq.queue.records import (
    Ancestor,
    ExecutionRow,
    Glance,
    JobFilter,
    JobRow,
    Metric,
    OpenExecution,
    Progress,
    Standing,
    WantedFunction,
    WorkerRow,
    WorkflowRow,
)
from gigq.queue.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gigq.queue.companions import Companions
    from gigq.queue.connection import Connection

_AT_ONCE = 500  # values in one statement
_MOST_LEVELS = 1000  # of priority, in all queues, that are looked at for old jobs
_MOST_HEADS = 100  # jobs of each
_MOST_DUE = 1000


class SqliteLooks(Store):
    """The half of a store that changes nothing."""

    companions: Companions
    _connection: Connection

    # For workers

    def glance(self) -> Glance:
        """Look without any lock whether there is something to do."""
        ready, next_due = self._connection.row(sql.GLANCE)
        return Glance(bool(ready), next_due)

    def holds_any(self) -> bool:
        """Look whether any job is claimed or runs, whoever holds it."""
        return bool(self._connection.row(sql.HOLDS_ANY)[0])

    def parent_results(self, job: int) -> dict[str, str | None]:
        """Give the results of a job's parents."""
        return dict(self._connection.rows(sql.PARENT_RESULTS, (job,)))

    # Who lives, and what he holds

    def open_workers(self) -> list[WorkerRow]:
        """List the workers that did not say goodbye."""
        return [_worker_row(*row) for row in self._connection.rows(sql.OPEN_WORKERS)]

    def liveness(self, worker: WorkerRow) -> Liveness:
        """Judge whether a worker lives: by its process where that can be seen, else by its lock."""
        if worker.life_lock is not None and not is_here(worker.identity):
            # Also where only the boot is another: some containers are given one of their own.
            seen = liveness_by(worker.life_lock, self.companions)
            if seen in (Liveness.ALIVE, Liveness.DEAD):
                return seen
        return liveness(worker.identity)

    def claims_of(self, worker: int) -> list[OpenExecution]:
        """List what a worker holds."""
        return [
            OpenExecution(*row) for row in self._connection.rows(sql.OPEN_EXECUTIONS, (worker,))
        ]

    def to_end(self) -> list[int]:
        """List the executions that somebody asked to end."""
        return [execution for (execution,) in self._connection.rows(sql.TO_END)]

    # For people

    def find(self, prefix: str, limit: int = 2) -> list[str]:
        """Give ids that begin so."""
        return [uuid for (uuid,) in self._connection.rows(sql.FIND, (prefix, limit))]

    def job(self, uuid: str) -> JobRow | None:
        """Give a job as it stands."""
        found = self._connection.row(sql.JOB, (uuid,))
        return None if found is None else JobRow(*found)

    def states(self, uuids: Sequence[str]) -> dict[str, str]:
        """Give the state of each of these jobs that there is."""
        found: dict[str, str] = {}
        for start in range(0, len(uuids), _AT_ONCE):
            part = uuids[start : start + _AT_ONCE]
            found |= self._connection.rows(sql.STATES.format(_marks(part)), part)
        return found

    def jobs(self, wanted: JobFilter) -> list[JobRow]:
        """List jobs, newest first."""
        conditions: dict[str, Sequence[object]] = {sql.ANY_JOB: ()}
        if wanted.states is not None:
            conditions[sql.JOB_STATE_IN.format(_marks(wanted.states))] = wanted.states
        for condition, value in (
            (sql.JOB_NAME_LIKE, wanted.name),
            (sql.JOB_IN_QUEUE, wanted.queue),
            (sql.JOB_IN_WORKFLOW, wanted.workflow),
            (sql.JOB_SINCE, wanted.since),
        ):
            if value is not None:
                conditions[condition] = (value,)
        values = [value for each in conditions.values() for value in each]
        most = -1 if wanted.limit is None else wanted.limit
        rows = self._connection.rows(sql.JOBS.format(" AND ".join(conditions)), (*values, most))
        return [JobRow(*row) for row in rows]

    def workflows(self, name: str) -> list[WorkflowRow]:
        """List the workflows of this name, or whose id begins so, newest first."""
        return [WorkflowRow(*row) for row in self._connection.rows(sql.WORKFLOWS, (name,))]

    def workflow_counts(self, workflow: int) -> dict[str, int]:
        """Count a workflow's jobs in each state."""
        return dict(self._connection.rows(sql.WORKFLOW_COUNTS, (workflow,)))

    def edges(self, workflow: int) -> list[tuple[str, str]]:
        """List (parent, child) ids of a workflow's jobs."""
        return self._connection.rows(sql.EDGES, (workflow,))

    def parents(self, job: int) -> list[tuple[str, str, str]]:
        """Give uuid, name and state of each parent."""
        return self._connection.rows(sql.PARENTS, (job,))

    def standing(self, job: int, most: int) -> Standing | None:
        """Give what keeps a job where it is."""
        found = self._connection.row(sql.STANDING, (job, most))
        if found is None:
            return None
        policy, paused, more_urgent, older = found
        blamed = self._connection.row(sql.BLAMED, (job,))
        return Standing(
            policy,
            bool(paused),
            min(more_urgent + older, most),
            None if blamed is None else Ancestor(*blamed),
        )

    def wanted_functions(self, limit: int) -> list[WantedFunction]:
        """List the distinct functions of pending jobs."""
        rows = self._connection.rows(sql.WANTED_FUNCTIONS, (limit,))
        return [WantedFunction(*row) for row in rows]

    def executions(self, job: int) -> list[ExecutionRow]:
        """List a job's attempts, oldest first."""
        return [ExecutionRow(*row) for row in self._connection.rows(sql.EXECUTIONS, (job,))]

    def progress(self, execution: int) -> Progress | None:
        """Give how far an execution said that it was."""
        found = self._connection.row(sql.PROGRESS, (execution,))
        return None if found is None else Progress(*found)

    def counts(self) -> dict[str, int]:
        """Count the jobs in each state."""
        return dict(self._connection.rows(sql.COUNTS))

    # For monitoring

    def queue_counts(self) -> list[tuple[str, str | None, int | None]]:
        """Count the jobs of each queue in each state; a queue without any has None."""
        return self._connection.rows(sql.QUEUE_COUNTS)

    def metrics(self) -> list[Metric]:
        """Give what has happened so far."""
        return [Metric(*row) for row in self._connection.rows(sql.METRICS)]

    def oldest_ready(self) -> dict[str, int]:
        """Tell of each queue with jobs that could run since when the oldest of them waits."""
        found = dict(self._connection.rows(sql.OLDEST_READY, (_MOST_LEVELS, _MOST_HEADS)))
        for queue, since in self._connection.rows(sql.OLDEST_DUE, (clock.now(), _MOST_DUE)):
            found[queue] = min(since, found.get(queue, since))
        return found


def _worker_row(
    worker: int,
    name: str,
    machine_id: str,
    boot_id: str,
    pid_namespace: int,
    pid: int,
    start_ticks: int,
    tree: str | None,
    parent_pid: int | None,
    parent_ticks: int | None,
    life_lock: str | None,
) -> WorkerRow:
    here = machine_id, boot_id, pid_namespace
    parent = None
    if parent_pid is not None and parent_ticks is not None:
        parent = Identity(*here, parent_pid, parent_ticks)
    return WorkerRow(worker, name, Identity(*here, pid, start_ticks), tree, parent, life_lock)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
