"""`Workflow`: jobs that wait for each other, submitted together."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from gigq import Job, JobQueue, Workflow, task
from gigq.queue.errors import (
    CycleError,
    InvalidJobError,
    NotJsonError,
    UnknownDependencyError,
    WorkflowError,
)
from gigq.queue.workflow import parents_first

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@task(name="loaded", priority=2)
def load(path: str) -> str:
    """Be a task."""
    return path


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    """Give a queue on no file yet."""
    with JobQueue(tmp_path / "gigq.db") as queue:
        yield queue


def chain(count: int) -> tuple[Workflow, list[Job]]:
    """Make a workflow in which each job waits for the one before."""
    workflow = Workflow("chain")
    jobs: list[Job] = []
    for number in range(count):
        jobs.append(workflow.add_job(Job(f"job {number}", print), depends_on=jobs[-1:]))
    return workflow, jobs


class TestBuilding:
    """Adding jobs."""

    def test_jobs_and_map(self) -> None:
        """The jobs are kept in the order of adding, and by id; add_job gives the job."""
        workflow, jobs = chain(3)
        assert workflow.name == "chain"
        assert workflow.jobs == jobs
        assert workflow.job_map == {job.id: job for job in jobs}

    def test_dependencies(self) -> None:
        """`depends_on` takes any iterable of jobs, or one, and adds to what a job has."""
        workflow = Workflow("w")
        first, second = workflow.add_job(Job("1", print)), workflow.add_job(Job("2", print))
        own = Job("own", print, dependencies=["elsewhere"])
        workflow.add_job(own, depends_on=iter((first, second, first)))
        assert own.dependencies == ["elsewhere", first.id, second.id]
        assert workflow.add_job(Job("3", print), depends_on=second).dependencies == [second.id]
        assert workflow.add_job(Job("4", print), depends_on=None).dependencies == []

    def test_tasks(self) -> None:
        """add_task makes the task's job, with its options and what is given."""
        workflow = Workflow("w")
        parent = workflow.add_task(load, {"path": "a.csv"})
        child = workflow.add_task(load, depends_on=[parent], pass_parent_results=False)
        assert (parent.name, parent.priority, parent.params) == ("loaded", 2, {"path": "a.csv"})
        assert (child.params, child.dependencies) == ({}, [parent.id])
        assert (parent.pass_parent_results, child.pass_parent_results) == (None, False)
        assert workflow.jobs == [parent, child]

    def test_undecorated_function(self) -> None:
        """add_task refuses a function without @task."""
        with pytest.raises(TypeError, match="decorated with @task, not <built-in function print>"):
            Workflow("w").add_task(print)  # type: ignore[arg-type]

    @pytest.mark.parametrize("parents", ["a", ["a"], 1, [None], load, {1: 2}])
    def test_what_is_no_job(self, parents: Any) -> None:  # noqa: ANN401
        """It is refused, and named; nothing is added."""
        flow = Workflow("flow")
        with pytest.raises(WorkflowError, match="depends_on takes a Job or several, not "):
            flow.add_job(Job("job", print), parents)
        with pytest.raises(WorkflowError, match="add_job takes a Job, not "):
            flow.add_job(parents)
        with pytest.raises(WorkflowError, match="submit_all takes a JobQueue, not "):
            flow.submit_all(parents)
        assert flow.jobs == []

    def test_job_in_two_workflows(self) -> None:
        """A job belongs to one workflow, and stands in it once."""
        first, second = Workflow("first"), Workflow("second")
        job = first.add_job(Job("load", print))
        with pytest.raises(WorkflowError, match="'load' is in another workflow already"):
            second.add_job(job)
        with pytest.raises(WorkflowError, match="'load' is in this workflow already"):
            first.add_job(job)
        assert (first.jobs, second.jobs) == ([job], [])


class TestSubmitting:
    """All jobs at once."""

    def test_all(self, queue: JobQueue) -> None:
        """Ids come back in the order of adding; only what waits for nothing can begin."""
        workflow, jobs = chain(3)
        ids = workflow.submit_all(queue)
        assert ids == [job.id for job in jobs]
        assert all(isinstance(each, str) for each in ids)
        states = [queue.get_status(each)["state"] for each in ids]
        assert states == ["ready", "blocked", "blocked"]
        assert {queue.get_status(each)["workflow"] for each in ids} == {"chain"}

    def test_children_added_first(self, queue: JobQueue) -> None:
        """Jobs may be added in any order."""
        workflow = Workflow("w")
        parent = Job("parent", print)
        child = workflow.add_job(Job("child", print), depends_on=parent)
        workflow.add_job(parent)
        assert workflow.submit_all(queue) == [child.id, parent.id]
        assert queue.get_status(child.id)["state"] == "blocked"

    def test_again_submits_what_is_new(self, queue: JobQueue) -> None:
        """A second submit_all adds the jobs added since, in one transaction, and gives all ids."""
        workflow, jobs = chain(2)
        workflow.submit_all(queue)
        for number in range(3):
            jobs.append(workflow.add_job(Job(f"new {number}", print), depends_on=jobs[-1]))
        statements: list[str] = []
        assert queue._store is not None
        queue._store._connection._sqlite.set_trace_callback(statements.append)
        assert workflow.submit_all(queue) == [job.id for job in jobs]
        assert statements.count("BEGIN IMMEDIATE") == statements.count("COMMIT") == 1
        assert queue.stats()["total"] == 5
        statements.clear()
        assert workflow.submit_all(queue) == [job.id for job in jobs]
        assert statements == []
        (name,) = {queue.get_status(job.id)["workflow"] for job in jobs}
        assert name == "chain"

    def test_members_of_one_workflow(self, queue: JobQueue) -> None:
        """What is submitted later belongs to the same stored workflow."""
        workflow, _ = chain(1)
        workflow.submit_all(queue)
        workflow.add_job(Job("new", print))
        workflow.submit_all(queue)
        with closing(sqlite3.connect(queue.db_path)) as database:
            members = "SELECT count(DISTINCT workflow_id), count(workflow_id) FROM job"
            assert database.execute(members).fetchall() == [(1, 2)]

    def test_into_another_database(self, queue: JobQueue, tmp_path: Path) -> None:
        """Each database gets all of the jobs."""
        workflow, _ = chain(2)
        workflow.submit_all(queue)
        with JobQueue(tmp_path / "other.db") as other:
            workflow.submit_all(other)
            assert other.stats()["total"] == queue.stats()["total"] == 2

    def test_empty(self, queue: JobQueue, tmp_path: Path) -> None:
        """A workflow without jobs submits nothing, and makes no database."""
        assert Workflow("empty").submit_all(queue) == []
        assert list(tmp_path.iterdir()) == []

    def test_large(self, queue: JobQueue) -> None:
        """A workflow of some thousand jobs, children first, is ordered without deep recursion."""
        workflow = Workflow("large")
        jobs = [Job(f"job {number}", print) for number in range(2000)]
        for child, parent in pairwise(jobs):
            workflow.add_job(child, depends_on=parent)
        workflow.add_job(jobs[-1])
        workflow.submit_all(queue)
        assert queue.get_status(jobs[-1].id)["state"] == "ready"
        assert queue.get_status(jobs[0].id)["state"] == "blocked"


class TestRefusals:
    """Nothing is written when something is wrong."""

    def test_circle(self, queue: JobQueue, tmp_path: Path) -> None:
        """Jobs that wait for each other are refused, and the circle is named in its order."""
        workflow, jobs = chain(3)
        tail = workflow.add_job(Job("tail", print), depends_on=jobs[-1])
        jobs[0].dependencies.append(jobs[2].id)
        with pytest.raises(CycleError) as caught:
            workflow.submit_all(queue)
        text = str(caught.value)
        assert text.startswith("these jobs wait for each other: ")
        circle = text.partition(": ")[2].split(" waits for ")
        assert circle[0] == circle[-1]
        assert sorted(circle[1:]) == ["'job 0'", "'job 1'", "'job 2'"]
        names = {f"'job {number}'": f"'job {(number - 1) % 3}'" for number in range(3)}
        assert all(names[one] == other for one, other in pairwise(circle))
        assert tail.name not in text
        assert list(tmp_path.iterdir()) == []

    def test_job_that_waits_for_itself(self, queue: JobQueue) -> None:
        """The smallest circle is named too."""
        job = Job("narcissus", print)
        job.dependencies.append(job.id)
        with pytest.raises(CycleError, match="'narcissus' waits for 'narcissus'"):
            queue.submit(job)

    def test_unknown_dependency(self, queue: JobQueue) -> None:
        """A parent that was neither added nor submitted is named; no job is there."""
        workflow, jobs = chain(2)
        forgotten = Job("forgotten", print)
        workflow.add_job(Job("last", print), depends_on=[jobs[1], forgotten])
        with pytest.raises(UnknownDependencyError, match=f"'last' depends on {forgotten.id}"):
            workflow.submit_all(queue)
        assert queue.stats()["total"] == 0
        queue.submit(forgotten)
        assert len(workflow.submit_all(queue)) == 3
        assert queue.stats()["total"] == 4

    def test_bad_parameters_of_one(self, queue: JobQueue) -> None:
        """One job with parameters that are no JSON keeps all of them out."""
        workflow, jobs = chain(3)
        jobs[2].params["bad"] = object()
        with pytest.raises(NotJsonError, match=r"params\.bad"):
            workflow.submit_all(queue)
        assert queue.stats()["total"] == 0
        jobs[2].params.clear()
        workflow.submit_all(queue)
        assert queue.stats()["total"] == 3

    def test_errors_are_value_errors(self) -> None:
        """All of them are InvalidJobError, a ValueError."""
        for error in (CycleError, UnknownDependencyError, WorkflowError):
            assert issubclass(error, InvalidJobError)


class TestOrder:
    """The order in which jobs are submitted: their age."""

    def test_written_order_is_kept(self) -> None:
        """Jobs that stand after their parents already stay as they are."""
        _, jobs = chain(5)
        assert parents_first(jobs) == jobs

    def test_parents_first(self) -> None:
        """Otherwise each comes after all that it waits for, and all of them come once."""
        _, jobs = chain(6)
        shuffled = [jobs[number] for number in (5, 2, 0, 4, 1, 3)]
        assert parents_first(shuffled) == jobs
