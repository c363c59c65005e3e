"""What goes into the store and what comes out: plain values, no behaviour.

Times are microseconds, UTC since the epoch where they are points. Keys named `job`, `execution`
and `worker` are the store's integers; `uuid` is the job's public id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gigq.queue.identity import Identity
    from gigq.queue.states import Verdict


class NewWorkflow(NamedTuple):
    """A workflow to be known from its first submitted job on."""

    uuid: str
    name: str


class NewJob(NamedTuple):
    """A job to be submitted."""

    uuid: str
    name: str
    queue: str
    priority: int
    max_attempts: int
    due_at: int | None
    on_parent_failure: str
    created_at: int
    kind: str
    function_module: str
    function_name: str
    script: str | None
    import_root: str
    directory: str
    job_directory: str | None
    python: str
    params: str
    timeout: int | None
    max_memory: int | None
    retry_delay: int
    pass_parent_results: bool | None
    description: str
    parents: tuple[str, ...]


class Claim(NamedTuple):
    """One execution that a worker holds, with all it needs to run it."""

    execution: int
    job: int
    attempt: int
    ready_since: int
    # What never changes in the life of the job.
    uuid: str
    name: str
    params: str
    # What is mostly the same for jobs that follow each other.
    max_attempts: int
    queue_id: int
    priority: int
    kind: str
    function_module: str
    function_name: str
    script: str | None
    import_root: str
    directory: str
    job_directory: str | None
    python: str
    timeout: int | None
    max_memory: int | None
    pass_parent_results: bool | None
    parents: int


class Output(NamedTuple):
    """Where an execution's output stands: a file of the output folder, and the part of it."""

    log: str
    start: int
    end: int | None = None  # it still runs: up to the file's end


class Outcome(NamedTuple):
    """How one execution ended; what `Store.settle` records."""

    execution: int
    job: int
    queue_id: int
    verdict: Verdict
    result: str | None = None
    error: str | None = None
    cause: str | None = None
    traceback: str | None = None
    stacks: str | None = None
    output: Output | None = None
    cpu_time: int | None = None  # microseconds, of the job with its processes
    peak_memory: int | None = None  # bytes, likewise; None: too short to be seen
    retry: bool = True  # False: never again, whatever attempts are left
    started_at: int | None = None  # None: with its claim
    ended_at: int | None = None  # None: when it is stored

    def measured(
        self,
        output: Output | None,
        cpu_time: int,
        peak_memory: int | None,
        started_at: int,
        ended_at: int,
    ) -> Outcome:
        """Give the same with what was measured."""
        # Each job comes by here, and `_replace` takes three times as long.
        return Outcome(*self[:9], output, cpu_time, peak_memory, self.retry, started_at, ended_at)


class Settled(NamedTuple):
    """What a settle did."""

    claims: list[Claim]
    dropped: list[Outcome]  # these claims had been lost: what they say was not recorded
    more: bool  # there is something for another worker: wake one


class Pruned(NamedTuple):
    """What one step of deleting finished jobs did."""

    jobs: int
    outputs: tuple[Output, ...]  # what these jobs had printed: to be given back


class Left(NamedTuple):
    """What the executions of jobs that were submitted before some time refer to."""

    workers: set[int]
    logs: set[str]


class Glance(NamedTuple):
    """What a worker that has nothing to do wants to know."""

    ready: bool  # a claim would find a job, or children to tell
    next_due: int | None

    @property
    def is_for_another(self) -> bool:
        """Whether one who goes to work should wake another: to work, too, or to wait for a time."""
        return self.ready or self.next_due is not None


class WorkerRow(NamedTuple):
    """One registered life of a worker that has not been ended."""

    worker: int
    name: str
    identity: Identity
    tree: str | None  # marks, in their environment, all processes that it starts
    parent: Identity | None  # the supervisor that answers for it
    life_lock: str | None  # the mark of its lock, held while it or that supervisor lives


class Progress(NamedTuple):
    """How far a running job says that it is."""

    done: float
    total: float | None
    text: str
    updated_at: int


class Metric(NamedTuple):
    """One figure of `gigq.queue.figures` as it stands."""

    queue: str  # '': of the whole database
    name: str
    label: str
    value: float


class OpenExecution(NamedTuple):
    """An execution without an outcome."""

    execution: int
    job: int
    queue_id: int
    uuid: str
    name: str
    attempt: int
    max_attempts: int
    timeout: int | None
    started_at: int


class Ancestor(NamedTuple):
    """A job that another one waits for, or would have."""

    uuid: str
    name: str
    state: str


class Standing(NamedTuple):
    """What keeps a job where it is, beyond its own row."""

    on_parent_failure: str
    queue_paused: bool
    ready_before: int  # jobs that are taken before it, counted up to a bound
    blamed: Ancestor | None  # whose end cancelled it, through others or at once


class WantedFunction(NamedTuple):
    """A function that pending jobs are to run, and from where."""

    module: str
    name: str
    script: str | None
    import_root: str
    directory: str  # where it was submitted
    job_directory: str | None
    python: str
    jobs: int


class JobFilter(NamedTuple):
    """Which jobs to list; None is all."""

    states: tuple[str, ...] | None = None
    name: str | None = None  # a glob pattern
    queue: str | None = None
    workflow: int | None = None  # its key
    since: int | None = None  # submitted then or later
    limit: int | None = 100


class WorkflowRow(NamedTuple):
    """A workflow."""

    workflow: int
    uuid: str
    name: str
    created_at: int


class JobRow(NamedTuple):
    """A job as it stands."""

    job: int
    uuid: str
    name: str
    function_name: str
    function_module: str
    script: str | None
    params: str
    priority: int
    max_attempts: int
    timeout: int | None
    max_memory: int | None
    description: str
    state: str
    created_at: int
    updated_at: int
    attempts: int
    pass_parent_results: int | None
    retry_delay: int
    due_at: int | None
    cause: str | None
    queue: str
    workflow: str | None
    execution_id: int | None
    worker_name: str | None
    started_at: int | None
    ended_at: int | None
    verdict: str | None
    result: str | None
    error: str | None
    traceback: str | None
    cpu_time: int | None
    peak_memory: int | None
    directory: str  # in which it was submitted
    job_directory: str | None  # that it asks for
    import_root: str | None
    python: str | None  # that submitted it
    on_parent_failure: str


class ExecutionRow(NamedTuple):
    """One attempt of a job, as it stands."""

    execution: int
    attempt: int
    worker_name: str
    started_at: int
    ended_at: int | None
    verdict: str | None
    cause: str | None
    result: str | None
    error: str | None
    traceback: str | None
    stacks: str | None
    output_log: str | None
    output_start: int | None
    output_end: int | None
    cpu_time: int | None
    peak_memory: int | None
