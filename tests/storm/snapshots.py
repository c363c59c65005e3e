"""Looks at the database during a storm, for what must not change between two of them."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from storm.evidence import miscounted

if TYPE_CHECKING:
    from storm.field import Field

_FINAL_JOBS = """
SELECT uuid, state, attempts, begun, execution_id, updated_at, cause FROM job
 WHERE state IN ('completed', 'failed', 'timeout', 'cancelled')"""
_ALL = "SELECT uuid FROM job"
_ENDED = "SELECT id, verdict, ended_at, length(result) FROM execution WHERE verdict IS NOT NULL"


class Snapshots:
    """Sees jobs in final states and ended executions, and notes what is new or differs."""

    def __init__(self, field: Field) -> None:
        """Prepare; nothing is opened yet."""
        self._field = field
        self._connection: sqlite3.Connection | None = None
        self._jobs: dict[str, tuple] = {}
        self._executions: dict[int, tuple] = {}

    def take(self) -> None:
        """Look once, in one transaction."""
        since = time.monotonic()
        try:
            if self._connection is None:
                uri = f"file:{self._field.database}?mode=ro"
                self._connection = sqlite3.connect(uri, uri=True, timeout=5, isolation_level=None)
            self._connection.execute("BEGIN")
            try:
                self._look(self._connection, since)
            finally:
                self._connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            self._field.note("no snapshot", why=str(error))
        else:
            self._field.count("snapshots")

    def _look(self, connection: sqlite3.Connection, since: float) -> None:
        rows = miscounted(connection)
        if rows:
            self._field.note("miscounted", rows=rows)
        jobs = {row[0]: row[1:] for row in connection.execute(_FINAL_JOBS)}
        there = {uuid for (uuid,) in connection.execute(_ALL)}
        for uuid, row in jobs.items():
            if self._jobs.get(uuid) != row:
                self._field.note("seen", job=uuid, row=row, since=since, gone=False)
        for uuid in self._jobs.keys() - jobs.keys():
            self._field.note("seen", job=uuid, row=None, since=since, gone=uuid not in there)
        self._jobs = jobs
        executions = {row[0]: row[1:] for row in connection.execute(_ENDED)}
        for key, row in self._executions.items():
            if executions.get(key, row) != row:
                self._field.note(
                    "execution changed", execution=key, before=row, after=executions[key]
                )
        self._executions = executions

    def close(self) -> None:
        """Let go of the database."""
        if self._connection is not None:
            self._connection.close()
