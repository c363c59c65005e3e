"""What a worker process tells its supervisor: of itself at once, of its jobs in good time.

What concerns the worker wakes the supervisor. What became of jobs waits in a channel of its own
until the supervisor looks, which it does ten times a second where jobs run: to wake it for each
costs more than short jobs themselves, and holds up those that begin.

A failure is always reported, and so is whatever has output to show. A success is reported by itself
as long as there are few of them; beyond that they are counted, and the count is told each second.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gigq.queue.events import ENDED
from gigq.queue.states import Verdict

if TYPE_CHECKING:
    from gigq.queue.records import Claim, Outcome
    from gigq.worker.channel import Channel

_EACH = 10  # jobs that are told singly in one second
_BACKLOG = 1000  # messages kept while the supervisor does not read
_CALLS_APART = 0.01  # seconds


class _Outbox:
    """Sends messages in their order, and keeps what could not be sent yet."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._backlog: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> bool:
        """Send it behind those that were kept; gives whether all of them went."""
        self._backlog.append(message)
        is_empty = self.empty()
        del self._backlog[:-_BACKLOG]
        return is_empty

    def empty(self) -> bool:
        """Send what was kept; gives whether all of it went."""
        while self._backlog and self.channel.send(self._backlog[0]):
            self._backlog.pop(0)
        return not self._backlog


class Reporter:
    """Tells each thing over the channel that it belongs to."""

    def __init__(self, channel: Channel, reports: Channel) -> None:
        """Tell of the worker over `channel`, and of its jobs over `reports`."""
        self._channel = _Outbox(channel)
        self._reports = _Outbox(reports)
        self._called_at = 0.0
        self._second = 0
        self._told = 0
        self._completed = 0

    def tell(self, event: str, **fields: object) -> None:
        """Tell something of this worker, for the supervisor to hear at once."""
        self._channel.send({"event": event, **fields})

    def report(self, event: str, **fields: object) -> None:
        """Tell something of a job, for the supervisor to hear when it looks."""
        if not self._reports.send({"event": event, **fields}):
            self._call()

    def _call(self) -> None:
        """Let the supervisor make room, sooner than it would look."""
        now = time.monotonic()
        if now - self._called_at > _CALLS_APART:
            self._called_at = now
            self.tell("look_soon")

    def started(self, claim: Claim) -> bool:
        """Tell that a job begins, while there are few; gives whether it was told."""
        second = int(time.monotonic())
        if second != self._second:
            self.flush()
            self._second, self._told = second, 0
        if self._told >= _EACH:
            return False
        self._told += 1
        self.report("job_started", **_job(claim))
        return True

    def ended(self, claim: Claim, outcome: Outcome, seconds: float, *, started_told: bool) -> None:
        """Tell how a job ended."""
        completed = outcome.verdict is Verdict.COMPLETED
        if completed and not started_told and outcome.output is None:
            self._completed += 1
            return
        self.report(
            ENDED[outcome.verdict],
            **_job(claim),
            duration=round(seconds, 6),
            error=outcome.error,
            cpu_time=None if outcome.cpu_time is None else outcome.cpu_time / 1e6,
            peak_memory=outcome.peak_memory,
            output=None if outcome.output is None else outcome.output[1:],
        )

    def flush(self) -> bool:
        """Tell the count of successes that were not told singly, and what is left over.

        Gives whether all of it went.
        """
        if self._completed:
            self.report("jobs_completed", count=self._completed)
            self._completed = 0
        went = self._reports.empty()
        if not went:
            self._call()
        return went

    def finish(self, patience: float) -> None:
        """Tell all that is left as the supervisor takes it, for so many seconds at most."""
        give_up = time.monotonic() + patience
        while not self.flush() and (left := give_up - time.monotonic()) > 0:
            self._reports.channel.wait_for_room(min(left, _CALLS_APART))


def _job(claim: Claim) -> dict[str, object]:
    return {
        "job_id": claim.uuid,
        "job_name": claim.name,
        "execution": claim.execution,
        "attempt": claim.attempt,
        "max_attempts": claim.max_attempts,
    }
