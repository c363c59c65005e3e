"""What the next jobs are to run, read before they are claimed and without the write lock.

A job's specification never changes, so that it may be read at any time before the claim: of many
jobs at once, side by side on few pages. Inside the claim it would be three pages that SQLite reads
anew after each commit of another process, while all others wait for the lock. Most of it is the
same for jobs that follow each other, and is handed over only where it is not.

Worth it where short jobs follow each other, one in a transaction; not where each becomes ready only
by the end of the one before.
"""

from __future__ import annotations

import json
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
_SHARED = Claim._fields.index("max_attempts")


class LookAhead:
    """The specifications of the jobs that one store is likely to claim next."""

    def __init__(self) -> None:
        """Know nothing."""
        # How many come after it, what is its own, and the rest as JSON, None where that is shared.
        self.known: dict[int, tuple[int, tuple[str, str, str], str | None]] = {}
        self._shared: tuple[Any, ...] = ()
        self._left = 0  # of the known ones, behind the last claim
        self._claimed_at = 0  # microseconds UTC
        self._looks = Seldom()

    def take(self, job: int) -> tuple[Any, ...] | None:
        """Give what is known of a job that is claimed now."""
        known = self.known.pop(job, None)
        if known is None:
            self._left = 0
            return None
        self._looks.worked()
        self._left, own, rest = known
        return own + (self._shared if rest is None else tuple(json.loads(rest)))

    def look(self, connection: Connection, claim: Claim, now: int) -> None:
        """Read on behind this claim if it is time to."""
        is_quick = 0 <= now - self._claimed_at < _QUICK
        self._claimed_at = now
        if not is_quick or len(claim.params) > _LONG:
            self.known.clear()
            self._left = 0
        elif self._left < _RESERVE and self._looks.is_time():
            self._looks.failed()  # until one of them is claimed
            # Trouble is met again, and told of, by the next claim.
            with suppress(StoreError):
                shared = claim[_SHARED:]
                values = (claim.queue_id, _DEPTH, *shared)
                rows = connection.rows_until(sql.AHEAD, values, _is_long)
                last = len(rows) - 1
                self._shared = shared
                self.known = {
                    job: (last - place, (uuid, name, params), rest)
                    for place, (job, uuid, name, params, rest) in enumerate(rows)
                }


def _is_long(row: tuple[int, str, str, str, str | None]) -> bool:
    _, _, _, params, _ = row
    return len(params) > _LONG
