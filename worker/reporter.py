"""What a worker process tells its supervisor about its jobs: each while they are few, else sums.

A failure is always told, and so is whatever has output to show. A success is told by itself as
long as there are few of them; beyond that they are counted, and the count is told each second.
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


class Reporter:
    """Sends messages, and remembers what could not be sent yet."""

    def __init__(self, channel: Channel) -> None:
        """Tell over `channel`."""
        self._channel = channel
        self._backlog: list[dict[str, Any]] = []
        self._second = 0
        self._told = 0
        self._completed = 0

    def tell(self, event: str, **fields: object) -> None:
        """Send a message now, or as soon as there is room."""
        self._backlog.append({"event": event, **fields})
        while self._backlog and self._channel.send(self._backlog[0]):
            self._backlog.pop(0)
        del self._backlog[:-_BACKLOG]

    def started(self, claim: Claim) -> bool:
        """Tell that a job begins, while there are few; gives whether it was told."""
        second = int(time.monotonic())
        if second != self._second:
            self.flush()
            self._second, self._told = second, 0
        if self._told >= _EACH:
            return False
        self._told += 1
        self.tell("job_started", **_job(claim))
        return True

    def ended(self, claim: Claim, outcome: Outcome, seconds: float, *, started_told: bool) -> None:
        """Tell how a job ended."""
        completed = outcome.verdict is Verdict.COMPLETED
        if completed and not started_told and outcome.output is None:
            self._completed += 1
            return
        self.tell(
            ENDED[outcome.verdict],
            **_job(claim),
            duration=round(seconds, 6),
            error=outcome.error,
            cpu_time=None if outcome.cpu_time is None else outcome.cpu_time / 1e6,
            peak_memory=outcome.peak_memory,
            output=None if outcome.output is None else outcome.output[1:],
        )

    def flush(self) -> None:
        """Tell the count of successes that were not told singly, and what is left over."""
        if self._completed:
            self.tell("jobs_completed", count=self._completed)
            self._completed = 0


def _job(claim: Claim) -> dict[str, object]:
    return {
        "job_id": claim.uuid,
        "job_name": claim.name,
        "execution": claim.execution,
        "attempt": claim.attempt,
        "max_attempts": claim.max_attempts,
    }
