"""The log of `gigq worker`: text on standard output, and a memory of what happened."""

from __future__ import annotations

from gigq.queue.events import ENDED
from gigq.supervisor.log import Log

_NOT_STARTED = frozenset({"worker_start_failed", "worker_refused"})


class WorkerLog(Log):
    """The service's log as text, which counts jobs."""

    def __init__(self, level: str) -> None:
        """Open it."""
        super().__init__(level, "text")
        self.jobs = 0  # that ended, whichever way
        self.failed_to_start = False

    def configure(self, level: str, form: str) -> None:  # noqa: ARG002
        """Take another level; it stays text, whatever the service's configuration says."""
        super().configure(level, "text")

    def event(self, name: str, **fields: object) -> None:
        """Log an event, and remember it."""
        self.jobs += name in ENDED.values()
        self.failed_to_start |= name in _NOT_STARTED
        super().event(name, **fields)
