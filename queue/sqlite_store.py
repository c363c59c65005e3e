"""The store on one SQLite file: each method that changes something as one transaction."""

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
from gigq.queue.look_ahead import LookAhead
from gigq.queue.migrations import is_ours, set_up
from gigq.queue.outlook import Outlook
from gigq.queue.sqlite_claiming import Claiming
from gigq.queue.sqlite_looks import SqliteLooks
from gigq.queue.sqlite_moves import Moves
from gigq.queue.sqlite_relay import Relay
from gigq.queue.sqlite_submit import Submission
from gigq.queue.states import HELD, PENDING, TAKEN_BACK, UNSUCCESSFUL, State
from gigq.queue.store import MOST_JOBS_AT_ONCE
from gigq.queue.write_ahead_log import CHECKPOINT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence

    from gigq.queue.identity import Identity
    from gigq.queue.records import (
        Left,
        NewJob,
        NewWorkflow,
        OpenExecution,
        Outcome,
        Output,
        Progress,
        Pruned,
        Settled,
    )

_LOOK_PATIENCE = 1.0  # seconds
_CLEARED: tuple[str, ...] = (State.COMPLETED, State.CANCELLED)


class SqliteStore(SqliteLooks):
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
                    f"requeue that one first; what was cancelled because of it comes back with it"
                )
                raise WorkflowError(message)
            moves.requeue(job, state, queue)
        return True

    def clear(self, before: int | None = None) -> int:
        """Delete completed and cancelled jobs that ended before, some in each transaction."""
        from gigq.queue.output_folder import FreedParts  # noqa: PLC0415 (seldom used)

        until = clock.now() if before is None else before
        jobs, parts = 0, FreedParts()
        try:
            for step in self.prune(dict.fromkeys(_CLEARED, until), whole_workflows=False):
                jobs += step.jobs
                parts.add(step.outputs)
        finally:
            for _ in parts.give_back(self.companions.output):
                pass
        return jobs

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

    def set_progress(self, execution: int, progress: Progress) -> None:
        """Note how far a running job says that it is."""
        with self._connection:
            self._connection.run(sql.SET_PROGRESS, (execution, *progress))

    # What happens to those that died

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

    # For monitoring

    def try_write(self) -> None:
        """See whether one may write now; nothing reaches the disk."""
        with self._connection:
            # The lock alone would be given for a file that may only be read, too.
            self._connection.run(sql.TRY_WRITE)

    @property
    def has_figures(self) -> bool:
        """Whether some of what this store has done waits for its next transaction."""
        return self._figures.are_left

    def close(self) -> None:
        """Let go of the database."""
        if self._figures.are_left:
            self._connection.patience = min(self._connection.patience, _LOOK_PATIENCE)
            with suppress(StoreError), self._moves() as moves:
                moves.figures.every = AT_ONCE
        self._connection.close()


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
