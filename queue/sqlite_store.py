"""The store on one SQLite file: each method of the contract as one transaction."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gigq.queue import clock
from gigq.queue import statements as sql
from gigq.queue.companions import Companions, real
from gigq.queue.connection import LOCK_PATIENCE, Synchronous, connection_class
from gigq.queue.errors import (
    EmptyDatabaseError,
    InvalidJobError,
    StoreBusyError,
    StoreError,
    WorkflowError,
)
from gigq.queue.figures import AT_ONCE, RECLAIMED, Figures
from gigq.queue.identity import Identity, Liveness, liveness
from gigq.queue.life_lock import liveness_by
from gigq.queue.look_ahead import LookAhead
from gigq.queue.migrations import is_ours, set_up
from gigq.queue.outlook import Outlook
from gigq.queue.records import (
    Ancestor,
    ExecutionRow,
    Glance,
    JobFilter,
    JobRow,
    Left,
    Metric,
    NewJob,
    NewWorkflow,
    OpenExecution,
    Outcome,
    Output,
    Progress,
    Pruned,
    Settled,
    Standing,
    WantedFunction,
    WorkerRow,
    WorkflowRow,
)
from gigq.queue.sqlite_claiming import Claiming
from gigq.queue.sqlite_moves import Moves
from gigq.queue.sqlite_relay import Relay
from gigq.queue.sqlite_submit import Submission
from gigq.queue.states import HELD, PENDING, TAKEN_BACK, UNSUCCESSFUL, State
from gigq.queue.store import MOST_JOBS_AT_ONCE, Store
from gigq.queue.write_ahead_log import CHECKPOINT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence


_LOOK_PATIENCE = 1.0  # seconds
_AT_ONCE = 500  # values in one statement
_MOST_LEVELS = 1000  # of priority, in all queues, that are looked at for old jobs
_MOST_HEADS = 100  # jobs of each
_MOST_DUE = 1000


class SqliteStore(Store):
    """Jobs in one SQLite file; for one thread at a time."""

    def __init__(
        self,
        path: Path | str,
        *,
        durable: bool = True,
        create: bool = True,
        patience: float = LOCK_PATIENCE,
        checkpoint_bytes: int = CHECKPOINT_BYTES,
    ) -> None:
        """Open the file; with `create`, set it up when it is missing or empty.

        `durable`: what a method did outlasts a loss of power (synchronous=FULL); otherwise only
        the death of processes. `patience`: seconds to wait for the write lock. `checkpoint_bytes`:
        how long the write-ahead log may be after a commit.

        Raises StoreError: missing, unusable, foreign or of another version.
        """
        self.path = real(Path(path))  # as SQLite does: its log stands beside the file itself
        self.companions = Companions(self.path)
        self._synchronous: Synchronous = "FULL" if durable else "NORMAL"
        self._queues: dict[str, int] = {}
        self._figures = Figures()
        self._outlook = Outlook()
        if not create and not exists(self.path):
            message = f"there is no database {self.path}; submit a job to it first"
            raise EmptyDatabaseError(message)
        self._connection = connection_class()(
            self.path,
            self.companions,
            synchronous=self._synchronous,
            patience=patience,
            checkpoint_bytes=checkpoint_bytes,
        )
        try:
            if create:
                set_up(self._connection, self.path)
                self.companions.create()
            elif not is_ours(self._connection, self.path):
                message = f"{self.path} is empty; submit a job to it first"
                raise EmptyDatabaseError(message)
            self._connection.require_write_ahead_log()
        except BaseException:
            self._connection.close()
            raise
        self._look_ahead = LookAhead()
        self._claiming = Claiming(self._connection, self._outlook, self._look_ahead)
        self._relay = Relay(self._connection, self._figures, self._outlook, self._claiming)

    def _moves(self) -> Moves:
        return Moves(self._connection, self._figures, self._outlook, self._claiming)

    # What clients do

    def submit(self, jobs: Sequence[NewJob], workflow: NewWorkflow | None = None) -> None:
        """Add all of the jobs, or none."""
        if len(jobs) > MOST_JOBS_AT_ONCE:
            message = (
                f"{len(jobs):,} jobs are too many for one transaction (at most "
                f"{MOST_JOBS_AT_ONCE:,}); submit them in parts"
            )
            raise InvalidJobError(message)
        queues = dict(self._queues)  # a roll-back must not leave keys of queues that are not there
        with self._moves() as moves:
            Submission(self._connection, moves, queues).add(jobs, workflow, clock.now())
        self._queues = queues

    def cancel(self, uuid: str, *, running: bool = False) -> bool:
        """Cancel a pending job, and tell its children; ask a running one to end."""
        with self._moves() as moves:
            found = self._connection.row(sql.JOB_FOR_CHANGE, (uuid,))
            if found is None:
                return False
            job, state, queue, _, execution = found
            if state in PENDING:
                moves.cancel(job, state, queue)
            elif state in HELD and running:
                self._connection.run(sql.ASK_TO_END, (execution, clock.now()))
                self._connection.run(sql.MARK_TO_END, (job,))
            else:
                return False
        return True

    def requeue(self, uuid: str) -> bool:
        """Make an unsuccessful job pending again."""
        with self._moves() as moves:
            found = self._connection.row(sql.JOB_FOR_CHANGE, (uuid,))
            if found is None or found[1] not in UNSUCCESSFUL:
                return False
            job, state, queue, policy, _ = found
            failed = self._connection.row(sql.UNSUCCESSFUL_PARENT, (job,))
            if failed is not None and policy != "run":
                _, name, parent, parent_state = failed
                message = (
                    f"its parent {name!r} ({parent}) is {parent_state}; "
                    f"requeue that one, and this job comes back with it"
                )
                raise WorkflowError(message)
            moves.requeue(job, state, queue)
        return True

    def clear(self, before: int | None = None) -> int:
        """Delete completed and cancelled jobs that ended before, some in each transaction."""
        until = clock.now() if before is None else before
        steps = self.prune({State.COMPLETED: until, State.CANCELLED: until}, whole_workflows=False)
        return sum(step.jobs for step in steps)

    # What workers do

    def register(
        self,
        name: str,
        identity: Identity,
        *,
        tree: str | None = None,
        parent: Identity | None = None,
        life_lock: str | None = None,
    ) -> int:
        """Begin a worker's life; its key."""
        answers = (None, None) if parent is None else (parent.pid, parent.start_ticks)
        with self._connection:
            return self._connection.insert(
                sql.REGISTER, (name, *identity, tree, *answers, life_lock, clock.now())
            )

    def settle(
        self,
        worker: int,
        outcomes: Sequence[Outcome],
        claim: int = 0,
        output: Output | None = None,
    ) -> Settled:
        """End these executions, make their children ready, claim up to `claim` jobs."""
        settled = None
        if claim == 1 and len(outcomes) == 1:
            settled = self._relay.settle(worker, outcomes[0], output)
        if settled is None:
            with self._moves() as moves:
                settled = moves.settle(worker, outcomes, claim, output)
        if claim == 1 and settled.claims:
            self._look_ahead.look(self._connection, settled.claims[0], clock.now())
        return settled

    def sync(self) -> None:
        """Wait for the disk, after a commit that did not."""
        self._connection.sync()

    def begin(self, execution: int) -> None:
        """Make sure that no power loss forgets this claim."""
        with self._durably():
            self._connection.run(sql.BEGIN_EXECUTION, (clock.now(), execution))

    @contextmanager
    def _durably(self) -> Iterator[None]:
        """Have one transaction that outlasts a loss of power."""
        self._connection.set_synchronous("FULL")
        try:
            with self._connection:
                yield
        finally:
            self._connection.set_synchronous(self._synchronous)

    def parent_results(self, job: int) -> dict[str, str | None]:
        """Give the results of a job's parents."""
        return dict(self._connection.rows(sql.PARENT_RESULTS, (job,)))

    def set_progress(self, execution: int, progress: Progress) -> None:
        """Note how far a running job says that it is."""
        with self._connection:
            self._connection.run(sql.SET_PROGRESS, (execution, *progress))

    def glance(self) -> Glance:
        """Look without any lock whether there is something to do."""
        ready, next_due = self._connection.row(sql.GLANCE)
        return Glance(bool(ready), next_due)

    def holds_any(self) -> bool:
        """Look whether any job is claimed or runs, whoever holds it."""
        return bool(self._connection.row(sql.HOLDS_ANY)[0])

    # What happens to those that died

    def open_workers(self) -> list[WorkerRow]:
        """List the workers that did not say goodbye."""
        return [_worker_row(*row) for row in self._connection.rows(sql.OPEN_WORKERS)]

    def liveness(self, worker: WorkerRow) -> Liveness:
        """Judge whether a worker lives: by its process where that can be seen, else by its lock."""
        seen = liveness(worker.identity)
        if seen is Liveness.ELSEWHERE and worker.life_lock is not None:
            return liveness_by(worker.life_lock, self.companions)
        return seen

    def retire(
        self, worker: int, judge: Callable[[OpenExecution], Outcome]
    ) -> list[tuple[OpenExecution, Outcome]]:
        """End a worker's life, and with it what it held."""
        with self._moves() as moves:
            judged = [(held, judge(held)) for held in self.claims_of(worker)]
            ended = [(held, outcome) for held, outcome in judged if moves.end(outcome)]
            moves.figures.happened += [
                (RECLAIMED, held.queue_id)
                for held, outcome in ended
                if outcome.verdict in TAKEN_BACK
            ]
            moves.figures.every = AT_ONCE
            self._connection.run(sql.RETIRE, (clock.now(), worker))
        return ended

    def claims_of(self, worker: int) -> list[OpenExecution]:
        """List what a worker holds."""
        return [
            OpenExecution(*row) for row in self._connection.rows(sql.OPEN_EXECUTIONS, (worker,))
        ]

    def to_end(self) -> list[int]:
        """List the executions that somebody asked to end."""
        return [execution for (execution,) in self._connection.rows(sql.TO_END)]

    # Keeping it small

    def prune(self, until: Mapping[str, int], *, whole_workflows: bool = True) -> Iterator[Pruned]:
        """Delete finished jobs that ended before `until` says for their state."""
        from gigq.queue.sqlite_prune import Prune  # noqa: PLC0415 (seldom used)

        walk = Prune(self._connection, self._moves, until, whole_workflows=whole_workflows)
        return walk.steps()

    def left(self, before: int) -> Iterator[Left]:
        """Give what executions of jobs that were submitted before still refer to."""
        from gigq.queue.sqlite_remains import left  # noqa: PLC0415 (seldom used)

        return left(self._connection, before)

    def forget_workers(self, before: int, but: Container[int]) -> Iterator[int]:
        """Forget lives of workers that ended before, `but` these."""
        from gigq.queue.sqlite_remains import forget_workers  # noqa: PLC0415 (seldom used)

        return forget_workers(self._connection, before, but)

    def try_out(self) -> None:
        """Write something that changes nothing."""
        with self._durably():
            self._connection.run(sql.TRY_ROW)
            self._connection.run(sql.DROP_TRY_ROW)

    def shrink(self) -> Iterator[int]:
        """Give the room of what was deleted back to the disk."""
        from gigq.queue.sqlite_remains import shrink  # noqa: PLC0415 (seldom used)

        return shrink(self._connection)

    # Looks

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

    def try_write(self) -> None:
        """See whether one may write now; nothing reaches the disk."""
        with self._connection:
            # The lock alone would be given for a file that may only be read, too.
            self._connection.run(sql.TRY_WRITE)

    def queue_counts(self) -> list[tuple[str, str | None, int | None]]:
        """Count the jobs of each queue in each state; a queue without any has None."""
        return self._connection.rows(sql.QUEUE_COUNTS)

    def metrics(self) -> list[Metric]:
        """Give what has happened so far."""
        return [Metric(*row) for row in self._connection.rows(sql.METRICS)]

    @property
    def has_figures(self) -> bool:
        """Whether some of what this store has done waits for its next transaction."""
        return self._figures.are_left

    def oldest_ready(self) -> dict[str, int]:
        """Tell of each queue with jobs that could run since when the oldest of them waits."""
        found = dict(self._connection.rows(sql.OLDEST_READY, (_MOST_LEVELS, _MOST_HEADS)))
        for queue, since in self._connection.rows(sql.OLDEST_DUE, (clock.now(), _MOST_DUE)):
            found[queue] = min(since, found.get(queue, since))
        return found

    def close(self) -> None:
        """Let go of the database."""
        if self._figures.are_left:
            self._connection.patience = min(self._connection.patience, _LOOK_PATIENCE)
            with suppress(StoreError), self._moves() as moves:
                moves.figures.every = AT_ONCE
        self._connection.close()


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


def exists(path: Path) -> bool:
    """Tell whether there is a file with something in it; never opens it."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def refuse_read_only(path: Path) -> None:
    """Raise StoreError where nothing can be written; a lock that somebody holds will pass."""
    connection = connection_class()(
        path, Companions(path), synchronous="NORMAL", patience=_LOOK_PATIENCE
    )
    try:
        # BEGIN IMMEDIATE alone only reads where a file cannot be written.
        with suppress(StoreBusyError), connection:
            connection.run(sql.WRITE_NOTHING)
    finally:
        connection.close()


__all__ = ["SqliteStore", "exists", "refuse_read_only"]
