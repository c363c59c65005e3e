"""Outcomes: what is recorded of an execution, for each way it can end."""

from __future__ import annotations

import signal
import traceback
from typing import TYPE_CHECKING

from gigq.queue import clock
from gigq.queue.records import Outcome
from gigq.queue.sizes import size_text
from gigq.queue.states import Verdict
from gigq.worker.time_limit import JobInterrupted

if TYPE_CHECKING:
    from gigq.queue.records import Claim, OpenExecution

_OWN_MODULES = ("gigq.worker.", "gigq.queue.")
_LONGEST_ERROR = 10_000  # characters
_LONGEST_TRACEBACK = 50_000


def completed(claim: Claim, result: str | None) -> Outcome:
    """Give the outcome of a function that returned."""
    return Outcome(claim.execution, claim.job, claim.queue_id, Verdict.COMPLETED, result)


def raised(claim: Claim, error: BaseException, *, cause: str = "raised") -> Outcome:
    """Give the outcome of a function that raised."""
    kind = type(error).__name__
    text = text_of(error) if isinstance(error, Exception) else f"{kind}: {text_of(error)}"
    return failed(claim, text or kind, cause=cause, trace=trace_of(error))


def failed(
    claim: Claim, error: str, *, cause: str, trace: str | None = None, retry: bool = True
) -> Outcome:
    """Give the outcome of an attempt that failed, with the reason in words."""
    return Outcome(
        claim.execution,
        claim.job,
        claim.queue_id,
        Verdict.FAILED,
        error=_shortened(error, _LONGEST_ERROR),
        cause=cause,
        traceback=trace,
        retry=retry,
    )


def released(held: Claim | OpenExecution) -> Outcome:
    """Give back what was claimed and never begun."""
    return Outcome(held.execution, held.job, held.queue_id, Verdict.RELEASED)


def timed_out(held: Claim | OpenExecution, timeout: int | None, stacks: str | None) -> Outcome:
    """Give the outcome of an attempt that was stopped at its deadline (microseconds)."""
    seconds = "?" if timeout is None else f"{timeout / 1_000_000:.6f}".rstrip("0").rstrip(".")
    return Outcome(
        held.execution,
        held.job,
        held.queue_id,
        Verdict.TIMEOUT,
        error=f"Job timed out after {seconds} seconds",
        cause="deadline",
        stacks=stacks or None,
    )


def over_memory(held: Claim | OpenExecution, used: int, limit: int, stacks: str | None) -> Outcome:
    """Give the outcome of an attempt that was stopped because it used too much memory (bytes)."""
    return Outcome(
        held.execution,
        held.job,
        held.queue_id,
        Verdict.FAILED,
        error=f"memory limit: it used {size_text(used)}, and may use {size_text(limit)}",
        cause="memory_limit",
        stacks=stacks or None,
    )


def stopped(held: Claim | OpenExecution) -> Outcome:
    """Give the outcome of an attempt that was begun, then stopped by a shutdown."""
    return Outcome(
        held.execution,
        held.job,
        held.queue_id,
        Verdict.STOPPED,
        error="stopped by shutdown",
        cause="shutdown",
    )


def cancelled(held: Claim | OpenExecution) -> Outcome:
    """Give the outcome of an attempt that was stopped because somebody asked for it."""
    return Outcome(
        held.execution,
        held.job,
        held.queue_id,
        Verdict.CANCELLED,
        error="cancelled while it ran",
        cause="cancelled",
    )


def lost(held: OpenExecution, status: int | None, blame: str = "") -> Outcome:
    """Give the outcome of an attempt whose worker died.

    `status` is negative for a signal, else the exit code; None when nobody saw it. `blame` says
    that the kernel did it because memory ran out.
    """
    return Outcome(
        held.execution,
        held.job,
        held.queue_id,
        Verdict.LOST,
        error=f"worker died: {describe_exit(status)}{blame}",
        cause="out_of_memory" if blame else _exit_cause(status),
    )


def lost_unstored(held: OpenExecution, status: int | None) -> Outcome:
    """Give the outcome of a job that had ended, and nobody knows how."""
    outcome = lost(held, status)
    told = f"{outcome.error}; it had ended, and what became of it was not stored yet"
    return outcome._replace(error=told)


def lost_unseen(held: OpenExecution) -> Outcome:
    """Give the outcome of an attempt whose worker died while nobody watched.

    When is not known either, so that a deadline that has passed is a guess, and is told as one.
    """
    overdue = held.timeout is not None and clock.now() - held.started_at >= held.timeout
    outcome = lost(held, None)
    guess = "; perhaps it was stopped at its deadline" if overdue else ""
    return outcome._replace(error=f"{outcome.error}{guess}")


def describe_exit(status: int | None) -> str:
    """Say how a process ended."""
    if status is None:
        return "nobody saw how"
    if status >= 0:
        return f"exit code {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def _exit_cause(status: int | None) -> str:
    if status is None:
        return "worker_died"
    return f"signal:{-status}" if status < 0 else f"exit:{status}"


def text_of(error: BaseException) -> str:
    """Give its text, whatever its class does when it is asked for it."""
    try:
        return str(error)
    except (JobInterrupted, KeyboardInterrupt):
        raise
    except BaseException:  # noqa: BLE001 (any code may stand in a stranger's __str__)
        return f"{type(error).__name__}, which cannot be shown as text"


def trace_of(error: BaseException) -> str:
    """Format the traceback from the job's own code on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith(
        _OWN_MODULES
    ):
        frames = frames.tb_next
    try:
        lines = traceback.format_exception(type(error), error, frames)
    except Exception as inner:  # noqa: BLE001 (any code may stand in a stranger's __str__)
        kind = type(inner).__name__
        lines = [f"{type(error).__name__} (its traceback cannot be shown: {kind} was raised)"]
    return _shortened("".join(lines), _LONGEST_TRACEBACK)


def _shortened(text: str, longest: int) -> str:
    text = str.encode(text, errors="backslashreplace").decode()
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n… {len(text) - longest:,} characters left out …\n{text[-half:]}"
