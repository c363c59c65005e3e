"""Storing what jobs say of their progress, on a connection of its own and without patience."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from gigq.queue.records import Progress

_PATIENCE = 0.2  # seconds; a job must not wait long to say how far it is


class ProgressStore:
    """Opens the database when the first job says something."""

    def __init__(self, database: Path | str) -> None:
        """Name the database."""
        self._database = database
        self._store: SqliteStore | None = None

    def note(self, execution: int, progress: Progress) -> None:
        """Store it. Raises StoreError when the database is not to be had at once."""
        if self._store is None:
            self._store = SqliteStore(
                self._database, durable=False, create=False, patience=_PATIENCE
            )
        self._store.set_progress(execution, progress)

    def close(self) -> None:
        """Close the database."""
        if self._store is not None:
            self._store.close()
            self._store = None
