"""How a job ended, in one sentence. Causes are those of `gigq.worker.outcome` and of the store."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from gigq.queue.clock import MICROSECONDS
from gigq.queue.explanation import FAILED_HOW, Explanation, first_line
from gigq.queue.moments import moment, span
from gigq.queue.states import STATUS, State, Verdict

if TYPE_CHECKING:
    from gigq.queue.records import Ancestor, JobRow


def how_it_ended(row: JobRow, blamed: Ancestor | None, now: int) -> Explanation:
    """Say how; `blamed` is the job whose end cancelled this one."""
    when = moment(row.ended_at or row.updated_at, now)
    if row.state == State.COMPLETED:
        return _completed(row, when)
    if row.state == State.CANCELLED:
        return _cancelled(row, blamed, moment(row.updated_at, now))
    cause = row.cause or row.state
    what = _what_happened(row, cause)
    return Explanation(f"{what}, at {when}{_attempts(row)}.", _next_command(row, cause), cause)


def _completed(row: JobRow, when: str) -> Explanation:
    lasted = ""
    if row.started_at is not None and row.ended_at is not None:
        lasted = f" after {span(row.ended_at - row.started_at)}"
    sentence = f"It completed at {when}{lasted}, on attempt {row.attempts} of {row.max_attempts}."
    return Explanation(sentence, f"gigq status {row.uuid} --show-result", "completed")


def _cancelled(row: JobRow, blamed: Ancestor | None, when: str) -> Explanation:
    if row.cause == "parent_failed":
        return _abandoned(blamed, when)
    requeue = f"gigq requeue {row.uuid}"
    if row.verdict == Verdict.CANCELLED:
        sentence = f"Somebody cancelled it while it ran; it was ended at {when}."
        return Explanation(sentence, requeue, "cancelled_running")
    before = "between two attempts" if row.attempts else "before it ran"
    return Explanation(f"Somebody cancelled it at {when}, {before}.", requeue, "cancelled")


def _abandoned(blamed: Ancestor | None, when: str) -> Explanation:
    if blamed is None:
        sentence = f"It was cancelled at {when} because of a parent that was cleared away since."
        return Explanation(sentence, None, "parent_failed")
    how = FAILED_HOW.get(blamed.state)
    if how is None:  # it was requeued, and this job has not come back with it
        how = f"had failed (it is {STATUS[blamed.state].value} now)"
    sentence = f"It was cancelled at {when} because {blamed.name!r}, which it needs, {how}."
    return Explanation(sentence, f"gigq requeue {blamed.uuid}", "parent_failed")


_ENDINGS = {
    "deadline": "It was killed at its deadline{limit}",
    "memory_limit": "It was killed for the memory that it used ({error})",
    "out_of_memory": "Its worker was killed by the kernel, because the system ran out of memory",
    "signal": "Its worker died of {signal}",
    "exit": "Its worker's process ended with exit code {number} in the middle of the job",
    "worker_died": "Its worker died, and nobody saw how",
    "import": "Its function could not be imported ({error})",
    "not_allowed": "It was not run, for the service's settings do not allow it ({error})",
    "directory": "It could not run where it should ({error})",
    "result_not_json": "It ran to its end, but what it returned is not JSON ({error})",
    "shutdown": "A shutdown stopped it, and it may be begun only once",
    "raised": "Its code raised an error ({error})",
}


def _what_happened(row: JobRow, cause: str) -> str:
    """Say what the last attempt came to, as the beginning of a sentence."""
    kind, _, number = cause.partition(":")
    return _ENDINGS.get(kind, "It {state} ({error})").format(
        state=row.state,
        error=first_line(row.error or "no reason was recorded"),
        limit="" if row.timeout is None else f" of {row.timeout / MICROSECONDS:g} s",
        number=number,
        signal=_signal(int(number)) if kind == "signal" else "",
    )


def _signal(number: int) -> str:
    if number == signal.SIGKILL:
        # Our own kills have causes of their own: this one came from outside.
        return "SIGKILL, possibly because the system ran out of memory"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _attempts(row: JobRow) -> str:
    if row.cause == "result_not_json":
        return "; it is not tried again, for its work was done"
    if row.cause == "not_allowed":
        return "; it is not tried again"
    return f", on attempt {row.attempts} of {row.max_attempts}"


def _next_command(row: JobRow, cause: str) -> str:
    """Look where there is more to be seen; else run it again."""
    if cause in ("raised", "deadline", "memory_limit", "result_not_json"):
        return f"gigq status {row.uuid} --show-executions"
    return f"gigq requeue {row.uuid}"
