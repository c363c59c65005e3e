"""What the next jobs are to run, read before they are claimed and without the write lock.

A job's specification never changes, so that it may be read at any time before the claim: of many
jobs at once, side by side on few pages. Inside the claim it would be three pages that SQLite reads
anew after each commit of another process, while all others wait for the lock.

Worth it where short jobs follow each other, one in a transaction; not where each becomes ready only
by the end of the one before.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gigq.queue import statements as sql
from gigq.queue.errors import StoreError
from gigq.queue.records import Claim
from gigq.queue.seldom import Seldom

if TYPE_CHECKING:
    from gigq.queue.connection import Connection

_DEPTH = 32  # jobs that are read at once
_RESERVE = 4  # with fewer of them left the next ones are read
_QUICK = 2_000  # microseconds between two claims; beside longer jobs few wait for the lock
_LONG = 2_048  # characters of parameters: more is not kept on suspicion
# In a row: after the job's key come the fields of a claim, from its uuid on.
_PARAMS = 1 + Claim._fields.index("params") - Claim._fields.index("uuid")


class LookAhead:
    """The specifications of the jobs that one store is likely to claim next."""

    def __init__(self) -> None:
        """Know nothing."""
        self._known: dict[int, tuple[int, tuple[Any, ...]]] = {}  # and how many come after it
        self._left = 0  # of the known ones, behind the last claim
        self._claimed_at = 0  # microseconds UTC
        self._looks = Seldom()

    @property
    def knows_some(self) -> bool:
        """Whether it is worth asking."""
        return bool(self._known)

    def take(self, job: int) -> tuple[Any, ...] | None:
        """Give what is known of a job that is claimed now."""
        self._left, spec = self._known.pop(job, (0, None))
        if spec is not None:
            self._looks.worked()
        return spec

    def look(self, connection: Connection, claim: Claim, now: int) -> None:
        """Read on behind this claim if it is time to."""
        is_quick = 0 <= now - self._claimed_at < _QUICK
        self._claimed_at = now
        if not is_quick or len(claim.params) > _LONG:
            self._known.clear()
            self._left = 0
        elif self._left < _RESERVE and self._looks.is_time():
            self._looks.failed()  # until one of them is claimed
            # Trouble is met again, and told of, by the next claim.
            with suppress(StoreError):
                rows = connection.rows_until(sql.AHEAD, (claim.queue_id, _DEPTH), _is_long)
                last = len(rows) - 1
                self._known = {row[0]: (last - place, row[1:]) for place, row in enumerate(rows)}


def _is_long(row: tuple[Any, ...]) -> bool:
    return len(row[_PARAMS]) > _LONG
