"""A job: a function with its parameters and how it is to be run."""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING, Any, Literal, get_args

from gigq.queue import clock, values
from gigq.queue.errors import InvalidJobError
from gigq.queue.function_reference import reference
from gigq.queue.records import NewJob
from gigq.queue.serialize import encode
from gigq.queue.shown import shown

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from datetime import datetime, timedelta

OnParentFailure = Literal["cancel", "run", "block"]
_POLICIES = get_args(OnParentFailure)

DEFAULT_TIMEOUT = 300


class Job:
    """A function to be run by a worker, once it is submitted.

    Args:
        name: What people call it, up to 1,000 characters; need not be unique.
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
        self.name = values.text(name, "name")
        self.function = function
        self.params = values.params(params)
        self.priority = values.integer(priority, "priority")
        self.dependencies = values.ids(dependencies)
        self.max_attempts = values.integer(max_attempts, "max_attempts", least=1)
        self.timeout = (
            None if timeout is None else values.seconds(timeout, "timeout", positive=True)
        )
        self.description = values.text(
            description, "description", empty=True, longest=values.LONGEST_TEXT
        )
        self.pass_parent_results = values.switch(pass_parent_results, "pass_parent_results")
        self.retry_delay = values.seconds(retry_delay, "retry_delay")
        self.queue = values.text(queue, "queue")
        self.run_at = values.run_at(run_at, delay)
        self.cwd = None if cwd is None else values.directory(cwd, "cwd")
        self.max_memory = None if max_memory is None else values.size(max_memory, "max_memory")
        self.on_parent_failure = on_parent_failure
        if not isinstance(on_parent_failure, str) or on_parent_failure not in _POLICIES:
            message = f"on_parent_failure is one of {_POLICIES}, not {shown(on_parent_failure)}"
            raise InvalidJobError(message)
        self._created_at = clock.now()
        self._delay = values.delay(delay)
        self._workflow: str | None = None

    @property
    def created_at(self) -> str | None:
        """When it was made: naive local ISO text, as in GigQ."""
        return clock.local_text(self._created_at)

    def __repr__(self) -> str:
        """Show name and id."""
        return f"<Job {self.name!r} {self.id}>"

    def to_record(self, now: int, directory: str | None = None) -> NewJob:
        """Give what the store keeps, at the time of submitting (microseconds UTC).

        `directory` is the current one, where that is known.
        Raises InvalidJobError: FunctionReferenceError where no worker could find the function,
        NotJsonError where the parameters are not JSON.
        """
        directory = directory or values.current_directory()
        found = reference(self.function, directory)
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
            directory=directory,
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


__all__ = ["DEFAULT_TIMEOUT", "Job", "OnParentFailure"]
