"""`@task`: a function that knows how it wants to be run as a job."""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from gigq.queue.function_reference import why_not_a_job
from gigq.queue.job import Job
from gigq.queue.shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from gigq.queue.handle import JobHandle
    from gigq.queue.job_queue import JobQueue

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS = (
    "name",
    "priority",
    "max_attempts",
    "timeout",
    "description",
    "retry_delay",
    "max_memory",
)


class TaskWrapper(Generic[P, R]):
    """A decorated function: callable as before, and able to become a job."""

    __wrapped__: Callable[P, R]
    __name__: str
    __qualname__: str

    def __init__(self, function: Callable[P, R], options: dict[str, Any]) -> None:
        """Wrap `function`; `options` are keyword arguments of Job."""
        _check(function, options)
        update_wrapper(self, function)
        self.__wrapped_task__ = function
        self._options = {"name": function.__name__, **options}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now."""
        return self.__wrapped__(*args, **kwargs)

    def __repr__(self) -> str:
        """Show what is wrapped."""
        return f"<task {self.__module__}.{self.__qualname__}>"

    def to_job(self, /, **params: Any) -> Job:  # noqa: ANN401 (any JSON value)
        """Make a job that calls the function with `params`."""
        return Job(function=self.__wrapped__, params=params, **self._options)

    def submit(self, queue: JobQueue, /, **params: Any) -> JobHandle:  # noqa: ANN401
        """Submit a job that calls the function with `params`; its id."""
        return queue.submit(self.to_job(**params))


@overload
def task(function: Callable[P, R], /) -> TaskWrapper[P, R]: ...
@overload
def task(
    **options: Any,  # noqa: ANN401 (values of many types)
) -> Callable[[Callable[P, R]], TaskWrapper[P, R]]: ...
def task(
    function: Callable[P, R] | None = None,
    /,
    **options: Any,
) -> TaskWrapper[P, R] | Callable[[Callable[P, R]], TaskWrapper[P, R]]:
    """Make a function a task, with the options of Job: name, priority, max_attempts, timeout,
    description, retry_delay, max_memory.

    Raises TypeError for an unknown option and for what no worker could find or keep: a lambda, a
    nested function, a method, a generator, a second decoration.

    Example:
        >>> @task(timeout=60)
        ... def load(path: str) -> int: ...
        >>> load.submit(queue, path="data.csv")  # doctest: +SKIP

    """  # noqa: D205 (a list of options is no summary)
    if function is not None:
        return TaskWrapper(function, {})
    _check_options(options)
    return lambda decorated: TaskWrapper(decorated, options)


def _check(function: Any, options: dict[str, Any]) -> None:  # noqa: ANN401 (it is what it checks)
    _check_options(options)
    if isinstance(function, TaskWrapper):
        message = f"{function.__name__} is a task already; decorate it once"
        raise TypeError(message)
    if not callable(function) or not hasattr(function, "__qualname__"):
        message = f"@task decorates a function, not a {type(function).__name__}"
        raise TypeError(message)
    reason = why_not_a_job(function)
    if reason is None and "." in function.__qualname__:
        reason = "is a method; tasks are functions at the top level of their module"
    if reason is not None:
        message = f"{function.__qualname__} {reason}"
        raise TypeError(message)
    Job(function=function, **{"name": function.__name__, **options})


def _check_options(options: dict[str, Any]) -> None:
    unknown = [option for option in options if option not in _OPTIONS]
    if unknown:
        message = f"@task knows no option {shown(unknown[0])}; it has {', '.join(_OPTIONS)}"
        raise TypeError(message)
