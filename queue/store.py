"""The contract of where jobs live: one method for each transition of `gigq.queue.states`.

Every method is one transaction: all of it happens, or none. A second store (several hosts) has to
keep the same promises; the tests of this contract are its conformance suite.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence

    from gigq.queue.identity import Identity, Liveness
    from gigq.queue.records import (
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

MOST_JOBS_AT_ONCE = 100_000


class Store(ABC):
    """Where jobs, their executions and their workers are kept."""

    # What clients do: durable when the method returns.

    @abstractmethod
    def submit(self, jobs: Sequence[NewJob], workflow: NewWorkflow | None = None) -> None:
        """Add all of the jobs, or none.

        A parent stands before its child in the same call, or is there already. A child of a
        parent that failed is born cancelled if it asks for that.

        Raises DuplicateJobError, UnknownDependencyError, StoreBusyError; InvalidJobError for more
        than `MOST_JOBS_AT_ONCE`.
        """

    @abstractmethod
    def cancel(self, uuid: str, *, running: bool = False) -> bool:
        """Cancel a pending job, and tell its children. False when it is not pending.

        With `running`, ask that a running one be ended; from then on its execution can only end as
        cancelled, by whatever supervises it or when its function returns.
        """

    @abstractmethod
    def requeue(self, uuid: str) -> bool:
        """Make an unsuccessful job pending again, its attempts at 0, its old result gone.

        What was cancelled because of it is pending again too. False when it is not unsuccessful.
        Raises WorkflowError when a parent that it needs has failed.
        """

    @abstractmethod
    def clear(self, before: int | None = None) -> int:
        """Delete completed and cancelled jobs that ended before; give how many.

        Parents of children that may still run, be it after a requeue, stay. More than one
        transaction, each for some of the jobs.
        """

    # What workers do.

    @abstractmethod
    def register(
        self,
        name: str,
        identity: Identity,
        *,
        tree: str | None = None,
        parent: Identity | None = None,
        life_lock: str | None = None,
    ) -> int:
        """Begin a worker's life; its key.

        `tree` marks all processes that it starts; `parent` is the supervisor that answers for it;
        `life_lock` is the mark of what is held as long as one of the two lives.
        """

    @abstractmethod
    def settle(
        self,
        worker: int,
        outcomes: Sequence[Outcome],
        claim: int = 0,
        output: Output | None = None,
    ) -> Settled:
        """End these executions, make their children ready, claim up to `claim` jobs; in this order.

        The fence: an outcome counts only while its execution holds its job. Otherwise that claim
        was lost, and the outcome is dropped; the rest stands. A claim charges one attempt; a
        release gives it back, and so does a stop when the job may run more than once. Who claims
        first promotes jobs that are due and goes on telling children of jobs that had many. A job
        that may be begun only once is claimed alone.

        `output` is where what the first of the claimed jobs prints will begin.
        """

    @abstractmethod
    def sync(self) -> None:
        """Let all that was done until now outlast a loss of power.

        Raises StoreUnusableError or StoreBusyError: all of it stands, and may not outlast one.
        """

    @abstractmethod
    def begin(self, execution: int) -> None:
        """Note that it begins now, and make sure that no power loss forgets this claim.

        To be called before a job that may run only once.
        """

    @abstractmethod
    def parent_results(self, job: int) -> dict[str, str | None]:
        """Give the results of a job's parents as JSON text by uuid; None where one has none."""

    @abstractmethod
    def set_progress(self, execution: int, progress: Progress) -> None:
        """Note how far a running job says that it is."""

    @abstractmethod
    def glance(self) -> Glance:
        """Look without any lock whether there is something to do, and when there will be."""

    @abstractmethod
    def holds_any(self) -> bool:
        """Look whether any job is claimed or runs, whoever holds it."""

    # What happens to those that died.

    @abstractmethod
    def open_workers(self) -> list[WorkerRow]:
        """List the workers that did not say goodbye."""

    @abstractmethod
    def liveness(self, worker: WorkerRow) -> Liveness:
        """Judge whether a worker lives: by its process where that can be seen, else by its lock.

        DEAD by its lock, its supervisor is dead as well. ELSEWHERE: neither tells anything here.
        """

    @abstractmethod
    def retire(
        self, worker: int, judge: Callable[[OpenExecution], Outcome]
    ) -> list[tuple[OpenExecution, Outcome]]:
        """End a worker's life, and with it what it held, as `judge` says of each execution.

        Call it only when the worker's process is seen dead. Gives what was recorded; an execution
        whose outcome was there already is not among them.
        """

    @abstractmethod
    def to_end(self) -> list[int]:
        """List the executions that somebody asked to end."""

    # Keeping it small. These give iterators, each step of which is short: what holds anybody up
    # does so for milliseconds, and whoever stops in between has done a part.

    @abstractmethod
    def prune(self, until: Mapping[str, int], *, whole_workflows: bool = True) -> Iterator[Pruned]:
        """Delete finished jobs that ended before `until` says for their state; never without.

        With `whole_workflows`, a job of a workflow goes only when every job of it is as old.
        Parents of children that may still run, be it after a requeue, stay. A deleted job's key is
        never given out again. A workflow without jobs goes with its last one.
        """

    @abstractmethod
    def left(self, before: int) -> Iterator[Left]:
        """Give what executions of jobs that were submitted before still refer to."""

    @abstractmethod
    def forget_workers(self, before: int, but: Container[int]) -> Iterator[int]:
        """Forget lives of workers that ended before, `but` these; gives how many.

        The caller knows from `left` that no execution refers to them.
        """

    @abstractmethod
    def try_out(self) -> None:
        """Write something that changes nothing, and see it on the disk. Raises StoreError."""

    @abstractmethod
    def shrink(self) -> Iterator[int]:
        """Give the room of what was deleted back to the disk; gives how many bytes.

        A tenth of the file stays free for what is to come.
        """

    # Looks: nothing is created or changed.

    @abstractmethod
    def find(self, prefix: str, limit: int = 2) -> list[str]:
        """Give ids that begin so."""

    @abstractmethod
    def job(self, uuid: str) -> JobRow | None:
        """Give a job as it stands."""

    @abstractmethod
    def states(self, uuids: Sequence[str]) -> dict[str, str]:
        """Give the state of each of these jobs that there is."""

    @abstractmethod
    def jobs(self, wanted: JobFilter) -> list[JobRow]:
        """List jobs, newest first."""

    @abstractmethod
    def workflows(self, name: str) -> list[WorkflowRow]:
        """List the workflows of this name, or whose id begins so, newest first."""

    @abstractmethod
    def workflow_counts(self, workflow: int) -> dict[str, int]:
        """Count a workflow's jobs in each state."""

    @abstractmethod
    def edges(self, workflow: int) -> list[tuple[str, str]]:
        """List (parent, child) ids of a workflow's jobs."""

    @abstractmethod
    def parents(self, job: int) -> list[tuple[str, str, str]]:
        """Give uuid, name and state of each parent."""

    @abstractmethod
    def standing(self, job: int, most: int) -> Standing | None:
        """Give what keeps a job where it is; counts up to `most` jobs before it."""

    @abstractmethod
    def wanted_functions(self, limit: int) -> list[WantedFunction]:
        """List the distinct functions of pending jobs, those of the oldest jobs first."""

    @abstractmethod
    def executions(self, job: int) -> list[ExecutionRow]:
        """List a job's attempts, oldest first."""

    @abstractmethod
    def progress(self, execution: int) -> Progress | None:
        """Give how far an execution said that it was, None when it said nothing."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Count the jobs in each state."""

    @abstractmethod
    def try_write(self) -> None:
        """See whether one may write now; unlike `try_out`, nothing reaches the disk.

        Raises StoreError.
        """

    @abstractmethod
    def queue_counts(self) -> list[tuple[str, str | None, int | None]]:
        """Count the jobs of each queue in each state; a queue without any has None."""

    @abstractmethod
    def metrics(self) -> list[Metric]:
        """Give what has happened so far, as `gigq.queue.figures` counts it.

        What a process has done in the last moments may be missing.
        """

    @property
    @abstractmethod
    def has_figures(self) -> bool:
        """Whether some of what this store has done waits for its next transaction to be counted."""

    @abstractmethod
    def oldest_ready(self) -> dict[str, int]:
        """Tell of each queue with jobs that could run since when the oldest of them waits.

        Jobs that are not due count as little as those of a queue that is paused.
        """

    @abstractmethod
    def claims_of(self, worker: int) -> list[OpenExecution]:
        """List what a worker holds."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""


__all__ = ["MOST_JOBS_AT_ONCE", "Store"]
