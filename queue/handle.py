"""What `submit` returns: a job's id, which is text, and can be asked about the job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gigq.queue.errors import JobNotCompletedError, UnknownJobError, WaitTimeoutError
from gigq.queue.states import JobStatus

if TYPE_CHECKING:
    from gigq.queue.job_queue import JobQueue

_FIRST_LOOK = 0.002  # seconds
_LONGEST_LOOK = 0.1


class JobHandle(str):
    """A job's id that knows its queue. As text it is the id: it can be stored, sent and compared.

    Example:
        >>> handle = queue.submit(Job("sum", sum_up, {"numbers": [1, 2]}))  # doctest: +SKIP
        >>> handle.result(timeout=10)  # doctest: +SKIP
        3

    """

    __slots__ = ("_queue",)
    _queue: JobQueue

    @classmethod
    def of(cls, job_id: str, queue: JobQueue) -> JobHandle:
        """Make the handle of a job."""
        handle = cls(job_id)
        handle._queue = queue
        return handle

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Leave the queue behind: elsewhere it is the id."""
        return str, (str(self),)

    def status(self) -> JobStatus:
        """Tell the job's status now. Raises UnknownJobError when it was cleared away."""
        status = self._queue.statuses([self]).get(self)
        if status is None:
            raise self._unknown()
        return status

    def _unknown(self) -> UnknownJobError:
        return UnknownJobError(f"no job {self} in {self._queue.db_path}")

    def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait until the job has ended, and tell how.

        Raises WaitTimeoutError, a TimeoutError, after `timeout` seconds; the job goes on.
        """
        give_up = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_LOOK
        while (status := self.status()) in (JobStatus.PENDING, JobStatus.RUNNING):
            left = _LONGEST_LOOK if give_up is None else give_up - time.monotonic()
            if left <= 0:
                message = f"job {self} is still {status.value} after {timeout:g} s; it goes on"
                raise WaitTimeoutError(message)
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_LOOK)
        return status

    def result(self, timeout: float | None = None) -> Any:  # noqa: ANN401 (any JSON value)
        """Wait until the job has ended, and give what its function returned.

        Raises JobNotCompletedError, with the job's own traceback, when it failed, timed out or was
        cancelled; WaitTimeoutError after `timeout` seconds.
        """
        status = self.wait(timeout)
        if status is JobStatus.COMPLETED:
            return self._queue.get_result(self)
        job = self._queue.get_status(self)
        if not job["exists"]:
            raise self._unknown()
        trace = (job["executions"] or [{}])[-1].get("traceback")
        text = f"job {job['name']!r} ({self}) is {status.value}: {job['error'] or job['cause']}"
        raise JobNotCompletedError(f"{text}\n\n{trace}" if trace else text)
