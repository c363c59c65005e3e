"""A workflow: jobs that wait for each other, submitted together."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from graphlib import CycleError as GraphCycle
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from gigq.queue import values
from gigq.queue.errors import CycleError, DuplicateJobError, WorkflowError
from gigq.queue.handle import JobHandle
from gigq.queue.job import Job
from gigq.queue.records import NewWorkflow
from gigq.queue.shown import shown
from gigq.queue.task import TaskWrapper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gigq.queue.job_queue import JobQueue


class Workflow:
    """Jobs and what each waits for.

    Attributes:
        name: What people call it.
        jobs: Its jobs, in the order of adding.
        job_map: The same by id.

    """

    def __init__(self, name: str) -> None:
        """Begin an empty workflow. Raises InvalidJobError for a name that is no text."""
        self.name = values.text(name, "name")
        self.id = str(uuid.uuid4())
        self.jobs: list[Job] = []
        self.job_map: dict[str, Job] = {}
        self._submitted: dict[str, set[str]] = {}  # database: ids

    def add_job(self, job: Job, depends_on: Iterable[Job] | Job | None = None) -> Job:
        """Add a job that waits until all of `depends_on` are completed; gives the job.

        Raises WorkflowError for a job that is in a workflow already, and for what is no Job.
        """
        _require_job("add_job takes a Job", job)
        parents = _parents(depends_on)
        if job._workflow is not None:  # noqa: SLF001 (the two classes are one room)
            which = "this" if job.id in self.job_map else "another"
            message = f"job {job.name!r} is in {which} workflow already; make a new Job for it"
            raise WorkflowError(message)
        for parent in parents:
            if parent.id not in job.dependencies:
                job.dependencies.append(parent.id)
        job._workflow = self.id  # noqa: SLF001
        self.jobs.append(job)
        self.job_map[job.id] = job
        return job

    def add_task(
        self,
        task: TaskWrapper[..., Any] | None = None,
        params: dict[str, Any] | None = None,
        depends_on: Iterable[Job] | Job | None = None,
        pass_parent_results: bool | None = None,  # noqa: FBT001 (GigQ's signature)
        *,
        decorated_fn: TaskWrapper[..., Any] | None = None,
    ) -> Job:
        """Add a job for a function decorated with `@task`; gives the job.

        `decorated_fn` is GigQ 0.5.1's name of `task`. Raises TypeError for a function that is not
        decorated.
        """
        task = decorated_fn if task is None else task
        if not isinstance(task, TaskWrapper):
            message = f"add_task takes a function decorated with @task, not {shown(task)}"
            raise TypeError(message)
        job = task.to_job(**(params or {}))
        job.pass_parent_results = values.switch(pass_parent_results, "pass_parent_results")
        return self.add_job(job, depends_on)

    def submit_all(self, queue: JobQueue) -> list[JobHandle]:
        """Submit, all or nothing, the jobs not submitted to `queue` before; the ids of all.

        Raises CycleError, UnknownDependencyError, InvalidJobError; nothing was written then.
        """
        if isinstance(queue, str | os.PathLike) or not hasattr(queue, "submit_workflow"):
            message = f"submit_all takes a JobQueue, not {shown(queue)}"
            raise WorkflowError(message)
        done = self._submitted.setdefault(queue.db_path, set())
        new = [job for job in self.jobs if job.id not in done]
        queue.submit_workflow(new, NewWorkflow(self.id, self.name))
        done.update(job.id for job in new)
        return [JobHandle.of(job.id, queue) for job in self.jobs]


def _parents(value: Any) -> tuple[Job, ...]:  # noqa: ANN401 (whatever somebody gives)
    what = "depends_on takes a Job or several"
    if value is None or isinstance(value, Job):
        return () if value is None else (value,)
    if isinstance(value, str) or not isinstance(value, Iterable):
        _require_job(what, value)
    parents = tuple(value)
    for each in parents:
        _require_job(what, each)
    return parents


def _require_job(what: str, value: Any) -> None:  # noqa: ANN401
    if not isinstance(value, Job):
        message = f"{what}, not {shown(value)}; make one by Job(name, function)"
        raise WorkflowError(message)


def parents_first(jobs: Sequence[Job]) -> list[Job]:
    """Order jobs so that each stands after those of the same list that it waits for.

    Raises CycleError, naming the circle, and DuplicateJobError.
    """
    if len(jobs) == 1 and not jobs[0].dependencies:
        return list(jobs)
    by_id = {job.id: job for job in jobs}
    if len(by_id) < len(jobs):
        raise DuplicateJobError
    place = {key: index for index, key in enumerate(by_id)}
    if all(place.get(parent, -1) < place[job.id] for job in jobs for parent in job.dependencies):
        return list(jobs)  # as written down: their order is their age
    graph = TopologicalSorter(
        {job.id: [parent for parent in job.dependencies if parent in by_id] for job in jobs}
    )
    try:
        return [by_id[key] for key in graph.static_order()]
    except GraphCycle as error:
        circle = " waits for ".join(repr(by_id[key].name) for key in reversed(error.args[1]))
        message = f"these jobs wait for each other: {circle}"
        raise CycleError(message) from None
