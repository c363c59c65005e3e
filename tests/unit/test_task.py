"""`@task`: functions that know how they want to be run."""

from __future__ import annotations

import functools
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

import gigq.decorators
from gigq import Job, JobQueue, Worker, task
from gigq.decorators import TaskWrapper
from gigq.queue.errors import InvalidJobError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@task
def double(number: int) -> int:
    """Give twice the number."""
    return 2 * number


@task(
    name="tripled",
    priority=4,
    max_attempts=1,
    timeout=2.5,
    description="three times",
    retry_delay=3,
)
def triple(number: int) -> int:
    """Give three times the number."""
    return 3 * number


@task
def shadow(self: int, queue: str, params: str) -> list[Any]:
    """Take parameters that are called like those of a method."""
    return [self, queue, params]


def plain() -> None:
    """Do nothing."""


def numbers() -> Any:  # noqa: ANN401
    """Generate."""
    yield 1


async def later() -> None:
    """Be asynchronous."""


async def stream() -> Any:  # noqa: ANN401
    """Generate asynchronously."""
    yield 1


class Holder:
    """A class with methods."""

    def method(self) -> None:
        """Need an object."""

    @classmethod
    def of_class(cls) -> None:
        """Need the class."""

    @staticmethod
    def static() -> None:
        """Need nothing."""


class TestFunction:
    """What a decorated function is."""

    def test_stays_callable(self) -> None:
        """The function is called as before."""
        assert double(4) == double(number=4) == 8
        assert triple(3) == 9

    def test_wraps(self) -> None:
        """The function itself, its name, module and docstring can be seen."""
        assert isinstance(double, TaskWrapper)
        assert double.__wrapped__(5) == 10
        assert not isinstance(double.__wrapped__, TaskWrapper)
        assert (double.__name__, double.__qualname__) == ("double", "double")
        assert double.__module__ == __name__
        assert double.__doc__ == "Give twice the number."
        assert repr(double) == f"<task {__name__}.double>"

    def test_old_import(self) -> None:
        """`gigq.decorators.task` is the same."""
        assert gigq.decorators.task is task


class TestJobs:
    """What becomes a job."""

    def test_defaults(self) -> None:
        """Without options the job has the function's name, and Job's defaults."""
        job, bare = double.to_job(number=1), Job("double", plain)
        assert job.name == "double"
        assert job.params == {"number": 1}
        assert job.function is double.__wrapped__
        for name in ("priority", "max_attempts", "timeout", "description", "retry_delay"):
            assert getattr(job, name) == getattr(bare, name)

    def test_options(self) -> None:
        """Options are those of the job."""
        job = triple.to_job(number=1)
        assert (job.name, job.priority, job.max_attempts) == ("tripled", 4, 1)
        assert (job.timeout, job.description, job.retry_delay) == (2.5, "three times", 3)

    def test_each_is_new(self) -> None:
        """Every call makes another job."""
        assert double.to_job(number=1).id != double.to_job(number=1).id

    def test_submit(self, tmp_path: Path) -> None:
        """A submitted task runs with its parameters and gives its result."""
        with JobQueue(tmp_path / "gigq.db") as queue:
            job_id = double.submit(queue, number=21)
            assert isinstance(job_id, str)
            with closing(Worker(queue.db_path)) as worker:
                assert worker.process_one()
            assert queue.get_result(job_id) == 42

    def test_any_parameters_name(self, tmp_path: Path) -> None:
        """Parameters may be called like those of the methods that take them."""
        with JobQueue(tmp_path / "gigq.db") as queue:
            job_id = shadow.submit(queue, self=1, queue="q", params="p")
            assert queue.get_status(job_id)["params"] == {"self": 1, "queue": "q", "params": "p"}

    def test_task_as_a_jobs_function(self, tmp_path: Path) -> None:
        """A decorated function can be given to Job like any other."""
        with JobQueue(tmp_path / "gigq.db") as queue:
            job_id = queue.submit(Job("job", double, {"number": 2}))
            with closing(Worker(queue.db_path)) as worker:
                assert worker.process_one()
            assert queue.get_result(job_id) == 4


class TestRefusals:
    """What cannot be a task is refused when it is decorated, with the reason."""

    def test_unknown_option(self) -> None:
        """An unknown option is named, with those that there are."""
        with pytest.raises(TypeError, match=r"no option 'retries'; it has name, priority, max_"):
            task(retries=3)

    def test_second_decoration(self) -> None:
        """A task cannot be decorated again."""
        for decorate in (task, task(priority=1)):
            with pytest.raises(TypeError, match="double is a task already; decorate it once"):
                decorate(double)  # type: ignore[operator]

    @pytest.mark.parametrize(
        ("function", "said"),
        [
            (lambda: None, "is a lambda"),
            (numbers, "numbers is a generator"),
            (later, "later is asynchronous"),
            (stream, "stream is asynchronous"),
            (Holder.method, "Holder.method is a method"),
            (Holder().method, "Holder.method is a method"),
            (Holder.of_class, "Holder.of_class is a method"),
            (Holder.static, "Holder.static is a method"),
            (functools.partial(plain), "decorates a function, not a partial"),
            (3, "decorates a function, not a int"),
            ("plain", "decorates a function, not a str"),
        ],
        ids=lambda each: each if isinstance(each, str) else getattr(each, "__qualname__", ""),
    )
    def test_function(self, function: Callable[..., object], said: str) -> None:
        """What no worker could find or keep is refused, and why."""
        for decorate in (task, task(max_attempts=1)):
            with pytest.raises(TypeError, match=said):
                decorate(function)  # type: ignore[operator]

    def test_closure(self) -> None:
        """A function defined in another one is refused."""
        value = 1

        def nested() -> int:
            return value

        with pytest.raises(TypeError, match="nested is defined inside another function"):
            task(nested)

    @pytest.mark.parametrize(
        ("options", "said"),
        [({"timeout": 0}, "timeout has to be"), ({"max_attempts": 0}, "max_attempts has to be")],
    )
    def test_values(self, options: dict[str, Any], said: str) -> None:
        """Options are looked at when the function is decorated, not at the first job."""
        with pytest.raises(InvalidJobError, match=said):
            task(**options)(plain)
