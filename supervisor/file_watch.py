"""Noticing that files change: watchdog on their folders, since editors replace files by rename."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from watchdog.events import (
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from watchdog.observers.api import BaseObserver

# It complains on standard error of being stopped while it starts.
logging.getLogger("watchdog").addHandler(logging.NullHandler())
logging.getLogger("watchdog").propagate = False

# Not each write: the database often lies beside the code, and is written thousands of times a
# second. Whoever writes a file closes it.
_CHANGES = [FileClosedEvent, FileCreatedEvent, FileDeletedEvent, FileMovedEvent]


class FileWatch(FileSystemEventHandler):
    """Watches a growing set of files, each folder once and none below it."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        """Call `changed` with a file's path, from a thread, when it was changed or replaced."""
        self._changed = changed
        self._files: frozenset[str] = frozenset()
        self._folders: set[str] = set()
        self._observer: BaseObserver | None = None

    def watch(self, files: Iterable[str]) -> None:
        """Watch these too. Raises OSError when the system cannot watch so many folders."""
        new = frozenset(files) - self._files
        if not new:
            return
        self._files |= new
        if self._observer is None:  # the system may have no more watches to give: OSError
            self._observer = Observer()
            self._observer.daemon = True
            self._observer.start()
        for folder in sorted({os.path.dirname(file) for file in new} - self._folders):  # noqa: PTH120
            if os.path.isdir(folder):  # noqa: PTH112
                self._observer.schedule(self, folder, event_filter=_CHANGES)
                self._folders.add(folder)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Look at what watchdog saw."""
        for path in (event.src_path, event.dest_path):
            if os.fsdecode(path) in self._files:
                self._changed(os.fsdecode(path))

    def close(self) -> None:
        """Stop watching."""
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
