"""A job: a function with its parameters and how it is to be run."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gigq.queue import clock
from gigq.queue.errors import InvalidJobError
from gigq.queue.function_reference import reference
from gigq.queue.records import NewJob
from gigq.queue.serialize import encode
from gigq.queue.sizes import size_in_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

OnParentFailure = Literal["cancel", "run", "block"]

DEFAULT_TIMEOUT = 300
_POLICIES = ("cancel", "run", "block")
_INTEGER_LIMIT = 1 << 63
_LONGEST = 100 * 366 * 86_400.0  # seconds: beyond it a time is a mistake, not a wish


class Job:
    """A function to be run by a worker, once it is submitted.

    Args:
        name: What people call it; need not be unique.
        function: A function of a module or script, or its dotted name as text.
        params: Keyword arguments of the function; JSON.
        priority: Higher runs first; among equals the older.
        dependencies: Ids of jobs that have to complete before.
        max_attempts: How often it may be begun, 1 or more; a crash of its worker counts.
        timeout: Seconds, fractions allowed, after which an attempt is stopped; None for no limit.
        description: Free text.
        pass_parent_results: Whether the function receives `parent_results`, a dict of parent id
            to result. None: if it asks for it.
        retry_delay: Seconds between a failed attempt and the next.
        queue: A name that groups jobs, in lists and figures.
        run_at: Not before this time; naive times are local.
        delay: Not before so many seconds (or a timedelta) after it is submitted.
        cwd: The directory to run in; None: as the service is set up, else where it was submitted.
        max_memory: How much the job may use with all that it started: bytes, or text like "512M";
            beyond it the attempt is stopped. None: as the service is set up.
        on_parent_failure: When a parent fails: "cancel" this job, "run" it all the same (clean-up;
            `parent_results` holds None for that parent), or "block" until the parent is requeued.

    Raises:
        InvalidJobError: A value is not usable; nothing was written.

    Example:
        >>> Job("hello", print, timeout=1.5).max_attempts
        3

    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any] | str,
        params: dict[str, Any] | None = None,
        priority: int = 0,
        dependencies: Iterable[str] | None = None,
        max_attempts: int = 3,
        timeout: float | None = DEFAULT_TIMEOUT,
        description: str = "",
        pass_parent_results: bool | None = None,  # noqa: FBT001 (GigQ's signature)
        retry_delay: float = 0,
        *,
        queue: str = "default",
        run_at: datetime | None = None,
        delay: float | timedelta | None = None,
        cwd: str | os.PathLike[str] | None = None,
        max_memory: int | str | None = None,
        on_parent_failure: OnParentFailure = "cancel",
    ) -> None:
        """Describe the job; `submit` looks for the function and the parameters' JSON."""
        self.id = str(uuid.uuid4())
        self.name = _text(name, "name")
        self.function = function
        self.params = _params(params)
        self.priority = _integer(priority, "priority")
        self.dependencies = _ids(dependencies)
        self.max_attempts = _integer(max_attempts, "max_attempts", least=1)
        self.timeout = None if timeout is None else _seconds(timeout, "timeout", positive=True)
        self.description = _text(description, "description", empty=True)
        self.pass_parent_results = _switch(pass_parent_results, "pass_parent_results")
        self.retry_delay = _seconds(retry_delay, "retry_delay")
        self.queue = _text(queue, "queue")
        self.run_at = _run_at(run_at, delay)
        self.cwd = None if cwd is None else _directory(cwd, "cwd")
        self.max_memory = None if max_memory is None else _size(max_memory, "max_memory")
        self.on_parent_failure = on_parent_failure
        if on_parent_failure not in _POLICIES:
            message = f"on_parent_failure is one of {_POLICIES}, not {on_parent_failure!r}"
            raise InvalidJobError(message)
        self.created_at = clock.local_text(clock.now())
        self._delay = _delay(delay)
        self._workflow: str | None = None

    def __repr__(self) -> str:
        """Show name and id."""
        return f"<Job {self.name!r} {self.id}>"

    def to_record(self, now: int) -> NewJob:
        """Give what the store keeps, at the time of submitting (microseconds UTC).

        Raises InvalidJobError: FunctionReferenceError where no worker could find the function,
        NotJsonError where the parameters are not JSON.
        """
        found = reference(self.function)
        due_at = now + self._delay if self._delay is not None else self.run_at
        return NewJob(
            uuid=self.id,
            name=self.name,
            queue=self.queue,
            priority=self.priority,
            max_attempts=self.max_attempts,
            due_at=due_at,
            on_parent_failure=self.on_parent_failure,
            created_at=now,
            kind="function",
            function_module=found.module,
            function_name=found.name,
            script=found.script,
            import_root=found.import_root,
            directory=_current_directory(),
            job_directory=None if self.cwd is None else str(self.cwd),
            python=sys.executable,
            params=encode(self.params, "params"),
            timeout=None if self.timeout is None else max(1, clock.duration(self.timeout) or 0),
            max_memory=self.max_memory,
            retry_delay=clock.duration(self.retry_delay) or 0,
            pass_parent_results=self.pass_parent_results,
            description=self.description,
            parents=tuple(self.dependencies),
        )


def _current_directory() -> str:
    try:
        directory = os.getcwd()  # noqa: PTH109 (as text, and once a submit)
    except FileNotFoundError:
        message = "the current directory was deleted; change to one that exists"
        raise InvalidJobError(message) from None
    return _text(directory, "the current directory")


def _directory(value: object, what: str) -> Path:
    if not isinstance(value, (str, os.PathLike)):
        message = f"{what} has to be a path; this is {value!r}"
        raise InvalidJobError(message)
    return Path(_text(os.fspath(value), what)).absolute()


def _ids(value: object) -> list[str]:
    if value is None:
        return []
    listed = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [None]
    ids = [each for each in listed if isinstance(each, str)]
    if len(ids) < len(listed):
        message = f"dependencies has to be a list of job ids; this is {value!r}"
        raise InvalidJobError(message)
    return ids


def _switch(value: object, what: str) -> bool | None:
    if value is None or value is True or value is False:
        return value
    message = f"{what} has to be True, False or None; this is {value!r}"
    raise InvalidJobError(message)


def _text(value: object, what: str, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or empty):
        message = f"{what} has to be text{'' if empty else ', not empty'}; this is {value!r}"
        raise InvalidJobError(message)
    if "\0" in value or not _encodable(value):
        message = f"{what} holds characters that are no text: {value!r}"
        raise InvalidJobError(message)
    return value


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _params(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        message = f"params is a dict of keyword arguments, not a {type(value).__name__}"
        raise InvalidJobError(message)
    for key in value:
        if not isinstance(key, str):
            message = f"params: the key {key!r} is not text; keys are names of arguments"
            raise InvalidJobError(message)
    return value


def _integer(value: object, what: str, least: int = -_INTEGER_LIMIT) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < _INTEGER_LIMIT:
        bound = f" of at least {least}" if least > -_INTEGER_LIMIT else ""
        message = f"{what} has to be an integer{bound}; this is {value!r}"
        raise InvalidJobError(message)
    return value


def _seconds(value: object, what: str, *, positive: bool = False) -> float:
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else -1
    if 0 <= number <= _LONGEST and (number > 0 or not positive):  # which NaN is not
        return number
    least = "more than 0" if positive else "0 or more"
    hint = "; None is no limit" if what == "timeout" else ""
    message = f"{what} has to be a number of seconds, {least}{hint}; this is {value!r}"
    raise InvalidJobError(message)


def _size(value: int | str, what: str) -> int:
    try:
        return size_in_bytes(value)
    except ValueError as error:
        message = f"{what}: {error}"
        raise InvalidJobError(message) from None


def _delay(delay: float | timedelta | None) -> int | None:
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    return None if seconds is None else clock.duration(_seconds(seconds, "delay"))


def _run_at(run_at: object, delay: object) -> int | None:
    if run_at is None:
        return None
    if delay is not None:
        message = "give either run_at or delay, not both"
        raise InvalidJobError(message)
    if not isinstance(run_at, datetime):
        message = f"run_at has to be a datetime; this is {run_at!r}"
        raise InvalidJobError(message)
    try:
        at = round(run_at.timestamp() * clock.MICROSECONDS)
        clock.local_text(at)
        clock.offset_text(at)
    except (ValueError, OverflowError):
        message = f"run_at has to be a time that clocks can show; this is {run_at!r}"
        raise InvalidJobError(message) from None
    return at


__all__ = ["DEFAULT_TIMEOUT", "Job", "OnParentFailure"]
