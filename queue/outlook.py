"""What a claim seldom finds: something due, children still to be told, several queues to look into.

To learn it takes four pages of the database, which a claim needs for nothing else, and which SQLite
reads anew after each commit of another process. So what was learned is believed for 50 ms: by then
a busy worker sees what another process has scheduled or left; one that finds no job looks at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gigq.queue import statements as sql

if TYPE_CHECKING:
    from gigq.queue.connection import Connection

BELIEVED = 50_000  # microseconds


class Outlook:
    """What one store knows of it. Times are microseconds UTC."""

    def __init__(self) -> None:
        """Know nothing."""
        self.is_telling = False  # children of a job that has ended are left to be told
        self.next_due: int | None = None
        self.only_queue: int | None = None  # that is not paused; None: none, or several
        self._seen_at: int | None = None

    def forget(self) -> None:
        """Look anew the next time: it has changed, or the transaction was undone."""
        self._seen_at = None

    def look(self, connection: Connection, now: int) -> bool:
        """Learn it, unless that was done a moment ago; True where it was done now."""
        # The wall clock may be set back.
        if self._seen_at is not None and self._seen_at <= now < self._seen_at + BELIEVED:
            return False
        is_telling, self.next_due, self.only_queue = connection.row(sql.OUTLOOK)
        self.is_telling = bool(is_telling)
        self._seen_at = now
        return True

    def is_only(self, queue: int, now: int) -> bool:
        """Tell whether, as far as is known, there is nothing but ready jobs of this queue."""
        return (
            self.only_queue == queue
            and not self.is_telling
            and (self.next_due is None or now < self.next_due)
        )
