"""The queue as its users see it: submit jobs, look at them, cancel and requeue them."""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from gigq.queue import clock, values
from gigq.queue.doorbell import Bell
from gigq.queue.errors import EmptyDatabaseError, GigqError, InvalidJobError, UnknownJobError
from gigq.queue.handle import JobHandle
from gigq.queue.job import Job
from gigq.queue.main_guard import refuse_while_loading
from gigq.queue.records import JobFilter
from gigq.queue.serialize import decode
from gigq.queue.shown import shortened, shown
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import STATES_OF, STATUS, JobStatus, Verdict
from gigq.queue.store import MOST_JOBS_AT_ONCE
from gigq.queue.workflow import parents_first

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from gigq.queue.records import ExecutionRow, JobRow, NewWorkflow


class JobQueue:
    """Jobs in one database file; may be shared by threads.

    Args:
        db_path: The file. It is created by the first submit; a mere look creates nothing. None:
            the one that the commands use, $GIGQ_DB, else the configuration's, else ./gigq.db.
        initialize: False to refuse a database that is not there yet.

    Raises:
        StoreError: From every method, when the file cannot be used; the message says what to do.

    Example:
        >>> queue = JobQueue("gigq.db")
        >>> queue.stats()["total"]
        0
        >>> queue.close()

    """

    def __init__(
        self,
        db_path: str | os.PathLike[str] | None = None,
        initialize: bool = True,  # noqa: FBT001, FBT002 (GigQ's signature)
    ) -> None:
        """Name the database; nothing is opened yet."""
        self.db_path = str(_database(db_path))
        self._initialize = initialize
        self._store: SqliteStore | None = None
        self._bell: Bell | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        """Use it in a with block, which closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _opened(self) -> SqliteStore:
        """Give the store, creating the database if need be; with the lock in hand."""
        return self._store or self._use(SqliteStore(self.db_path, create=self._initialize))

    def _use(self, store: SqliteStore) -> SqliteStore:
        self._store = store
        _open_queues.add(self)
        return store

    def _ring(self, store: SqliteStore) -> None:
        """Wake a waiting worker; with the lock in hand."""
        if self._bell is None:
            self._bell = Bell(store.companions.doorbell)
        self._bell.ring()

    @contextmanager
    def _look(self) -> Iterator[SqliteStore | None]:
        """Hold the store; None where there is no database yet, and one may be made."""
        with self._lock:
            if self._store is None and not self._initialize:
                self._use(SqliteStore(self.db_path, create=False))
            elif self._store is None:
                with suppress(EmptyDatabaseError):
                    self._use(SqliteStore(self.db_path, create=False))
            yield self._store

    # Submitting

    def submit(self, job: Job) -> JobHandle:
        """Submit one job; its id, which can be asked about the job.

        It is durable when this returns.

        Raises InvalidJobError (UnknownDependencyError, NotJsonError, FunctionReferenceError and
        others of its kind); nothing was written then.
        """
        self.submit_workflow([job])
        return JobHandle.of(job.id, self)

    def submit_many(self, jobs: Iterable[Job]) -> list[JobHandle]:
        """Submit up to 100,000 jobs, all or nothing; their ids. Raises as `submit` does."""
        if isinstance(jobs, Job):
            message = "submit_many takes several jobs; this is one, for `submit`"
            raise InvalidJobError(message)
        listed = list(jobs)
        self.submit_workflow(listed)
        return [JobHandle.of(job.id, self) for job in listed]

    def submit_chunks(self, jobs: Iterable[Job], size: int = 1000) -> int:
        """Submit any number of jobs, `size` at a time, with no more than these in memory.

        Each chunk is written as by `submit_many`, all or nothing, and durable when the next job is
        asked for. Parents come before their children, or in the same chunk.

        Returns how many were submitted. Raises as `submit` does; the chunks before stay, and a
        note on the error says how many jobs these are. Raises ValueError for a size below 1 or
        above 100,000.
        """
        if not 1 <= size <= MOST_JOBS_AT_ONCE:
            message = f"size is {size}, and has to be from 1 to {MOST_JOBS_AT_ONCE:,}"
            raise ValueError(message)
        submitted = 0
        remaining = iter(jobs)
        while chunk := list(islice(remaining, size)):
            try:
                self.submit_workflow(chunk)
            except GigqError as error:
                error.add_note(f"{submitted:,} jobs had been submitted before this chunk")
                raise
            submitted += len(chunk)
        return submitted

    def submit_workflow(self, jobs: Sequence[Job], workflow: NewWorkflow | None = None) -> None:
        """Submit jobs, all or nothing, as members of a workflow; see `Workflow.submit_all`."""
        refuse_while_loading("submit")
        if not jobs:
            return
        _check(jobs)
        now = clock.now()
        directory = values.current_directory()
        records = [job.to_record(now, directory) for job in parents_first(jobs)]
        with self._lock:
            store = self._opened()
            store.submit(records, workflow)
            self._ring(store)

    # Changing

    def cancel(self, job_id: str, *, running: bool = False) -> bool:
        """Cancel a pending job. False when there is none: it runs, has ended, or is unknown.

        With `running`, a running job is ended as at its deadline, within about half a second and
        `kill_grace`; its attempt ends as cancelled and is not repeated. One in a `Worker` of a
        program, which nobody can kill, ends as cancelled when its function returns.
        """
        with self._look() as store:
            if store is None or not store.cancel(_id(job_id), running=running):
                return False
            self._ring(store)  # a child may run all the same
        return True

    def requeue_job(self, job_id: str) -> bool:
        """Make a failed, timed out or cancelled job pending again, with all its attempts.

        Its `run_at` or `delay` counts no more. What was cancelled because of it comes back too.
        False when there is no such job. Raises WorkflowError when a parent that it needs has
        failed: requeue that one.
        """
        with self._look() as store:
            if store is None or not store.requeue(_id(job_id)):
                return False
            self._ring(store)
        return True

    def clear_completed(self, before_timestamp: str | datetime | None = None) -> int:
        """Delete completed and cancelled jobs, those that ended before a time if one is given.

        Args:
            before_timestamp: A datetime or its ISO text; naive is local.

        Returns how many were deleted. Parents of unfinished jobs stay. Raises InvalidJobError for
        what is no time.

        """
        try:
            before = None if before_timestamp is None else clock.from_text(before_timestamp)
        except (ValueError, AttributeError, OverflowError):
            given = shown(before_timestamp)
            message = f"before_timestamp has to be a datetime or its ISO text; this is {given}"
            raise InvalidJobError(message) from None
        with self._look() as store:
            return 0 if store is None else store.clear(before)

    # Looking

    def statuses(self, job_ids: Sequence[str]) -> dict[str, JobStatus]:
        """Tell the status of each of these jobs that there is; cheap."""
        if isinstance(job_ids, str):
            message = f"statuses takes several ids; this is one: {shown(job_ids)}"
            raise InvalidJobError(message)
        with self._look() as store:
            found = {} if store is None else store.states([_id(job_id) for job_id in job_ids])
        return {job_id: STATUS[state] for job_id, state in found.items()}

    def get_status(self, job_id: str) -> dict[str, Any]:
        """Tell all about a job; {"exists": False} for an unknown id.

        `params`, `dependencies` and `result` are decoded; times are naive local ISO text;
        `timeout` and `retry_delay` are seconds; `executions` lists its attempts, oldest first.
        """
        with self._look() as store:
            row = None if store is None else store.job(_id(job_id))
            if store is None or row is None:
                return {"exists": False}
            status = _job_dict(row, [uuid for uuid, _, _ in store.parents(row.job)])
            executions = [_execution_dict(job_id, each) for each in store.executions(row.job)]
        return {"exists": True, **status, "executions": executions}

    def get_result(self, job_id: str) -> Any:  # noqa: ANN401 (any JSON value)
        """Give what a job's function returned; None while it has not completed.

        Raises UnknownJobError, a KeyError, for an unknown id.
        """
        with self._look() as store:
            row = None if store is None else store.job(_id(job_id))
        if row is None:
            message = f"no job {shortened(_id(job_id)) or shown(job_id)} in {self.db_path}"
            raise UnknownJobError(message)
        return decode(row.result)

    def list_jobs(
        self, status: JobStatus | str | None = None, limit: int | None = 100
    ) -> list[dict[str, Any]]:
        """List jobs of a status (all: None), newest first, at most `limit` (all: None).

        Raises InvalidJobError for a word that is no status, and a limit that is no number.
        """
        if limit is not None:
            values.integer(limit, "limit", 0)
        states = None if status is None else STATES_OF[_status(status)]
        with self._look() as store:
            rows = [] if store is None else store.jobs(JobFilter(states=states, limit=limit))
            return [
                _job_dict(row, [uuid for uuid, _, _ in store.parents(row.job)] if store else [])
                for row in rows
            ]

    def stats(self) -> dict[str, int]:
        """Count the jobs of each status, and all of them as `total`."""
        counts = {status.value: 0 for status in JobStatus}
        with self._look() as store:
            for state, jobs in ({} if store is None else store.counts()).items():
                counts[STATUS[state].value] += jobs
        return {**counts, "total": sum(counts.values())}

    def close(self) -> None:
        """Close the database; the next call would open it again."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None
            if self._bell is not None:
                self._bell.close()


_open_queues: WeakSet[JobQueue] = WeakSet()
_CLOSED_WITHIN = 1.0  # seconds at most for a thread that still uses the queue


def _forget_who_used() -> None:
    """Let a fork not wait for a thread of its parent, which is not there."""
    for queue in list(_open_queues):
        queue._lock = threading.RLock()  # noqa: SLF001 (of this module)


os.register_at_fork(after_in_child=_forget_who_used)


@atexit.register
def _close_all() -> None:
    """Close what a program has left open, so that none of its figures are missing."""
    for queue in list(_open_queues):
        if queue._lock.acquire(timeout=_CLOSED_WITHIN):  # noqa: SLF001 (of this module)
            try:
                queue.close()
            finally:
                queue._lock.release()  # noqa: SLF001


def _check(jobs: Sequence[object]) -> None:
    for job in jobs:
        if not isinstance(job, Job):
            message = f"submit takes a Job, not {shown(job)}; write Job(name, function, params)"
            raise InvalidJobError(message)


def _id(job_id: object) -> str:
    """Give text to look for; nothing else is the id of any job."""
    if isinstance(job_id, Job):
        message = f"the id of a job is wanted, not {shown(job_id)}; write job.id"
        raise InvalidJobError(message)
    return str.encode(job_id, errors="replace").decode() if isinstance(job_id, str) else ""


def _database(db_path: str | os.PathLike[str] | None) -> Path:
    if db_path is not None:
        return Path(db_path).absolute()
    from gigq.queue.settings import find_configuration, find_database  # noqa: PLC0415 (slow)

    return find_database(None, find_configuration(None))


def _status(status: JobStatus | str) -> JobStatus:
    try:
        return JobStatus(status if isinstance(status, (str, JobStatus)) else "")
    except ValueError:
        words = ", ".join(each.value for each in JobStatus)
        message = f"{shown(status)} is no status; there are {words}"
        raise InvalidJobError(message) from None


def _seconds(duration: int | None) -> float | None:
    """Microseconds as seconds, whole ones as an int: users compare them with what they gave."""
    if duration is None:
        return None
    whole, rest = divmod(duration, clock.MICROSECONDS)
    return duration / clock.MICROSECONDS if rest else whole


def _job_dict(row: JobRow, parents: list[str]) -> dict[str, Any]:
    status = STATUS[row.state]
    ended = status not in (JobStatus.PENDING, JobStatus.RUNNING)
    begun = row.verdict != Verdict.RELEASED  # the last execution
    passes = row.pass_parent_results
    return {
        "id": row.uuid,
        "name": row.name,
        "function_name": row.function_name,
        "function_module": row.function_module,
        "params": decode(row.params),
        "priority": row.priority,
        "dependencies": parents,
        "max_attempts": row.max_attempts,
        "timeout": _seconds(row.timeout),
        "max_memory": row.max_memory,
        "description": row.description,
        "status": status.value,
        "created_at": clock.local_text(row.created_at),
        "updated_at": clock.local_text(row.updated_at),
        "attempts": row.attempts,
        "result": decode(row.result),
        "error": row.error,
        "started_at": clock.local_text(row.started_at) if begun else None,
        "completed_at": clock.local_text(row.updated_at) if ended else None,
        "worker_id": row.worker_name if begun else None,
        "pass_parent_results": None if passes is None else bool(passes),
        "retry_delay": _seconds(row.retry_delay),
        "retry_after": clock.local_text(row.due_at),
        "queue": row.queue,
        "workflow": row.workflow,
        "state": row.state,
        "cause": row.cause,
        "cpu_time": _seconds(row.cpu_time),
        "peak_memory": row.peak_memory,
    }


_EXECUTION_STATUS: dict[str | None, JobStatus] = {
    None: JobStatus.RUNNING,
    Verdict.COMPLETED: JobStatus.COMPLETED,
    Verdict.FAILED: JobStatus.FAILED,
    Verdict.LOST: JobStatus.FAILED,
    Verdict.TIMEOUT: JobStatus.TIMEOUT,
    Verdict.CANCELLED: JobStatus.CANCELLED,
    Verdict.STOPPED: JobStatus.CANCELLED,
}


def _execution_dict(job_id: str, row: ExecutionRow) -> dict[str, Any]:
    return {
        "id": str(row.execution),
        "job_id": job_id,
        "worker_id": row.worker_name,
        "status": _EXECUTION_STATUS[row.verdict].value,
        "started_at": clock.local_text(row.started_at),
        "completed_at": clock.local_text(row.ended_at),
        "result": decode(row.result),
        "error": row.error,
        "attempt": row.attempt,
        "verdict": row.verdict,
        "cause": row.cause,
        "traceback": row.traceback,
        "stacks": row.stacks,
        "cpu_time": _seconds(row.cpu_time),
        "peak_memory": row.peak_memory,
    }
