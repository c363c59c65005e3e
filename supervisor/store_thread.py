"""The supervisor's work on the database, in a thread of its own.

A lock held by an outsider, or a checkpoint, may take seconds; a deadline on the main thread must
not wait for it. Tasks are done in order; what they give is handed to the main thread.
"""

from __future__ import annotations

import errno
import functools
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from gigq.queue.errors import (
    ForeignDatabaseError,
    StoreBusyError,
    StoreDamagedError,
    StoreUnusableError,
)
from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
# To delete old jobs changes many pages, and nobody can write while they go into the database:
# rather often for some milliseconds than seldom for forty (benchmarks/retention.py).
_CHECKPOINT_BYTES = 1 << 17
_PAUSE = 0.5  # seconds between tries when the database cannot be used


class StoreThread:
    """Does tasks on the store."""

    def __init__(self, database: Path, wake: Callable[[], None]) -> None:
        """Start it; `wake` is called from it when a result is there."""
        self._database = database
        self._wake = wake
        self._tasks: queue.SimpleQueue[
            tuple[Callable[[SqliteStore], Any], Callable[[Any], None]] | None
        ] = queue.SimpleQueue()
        self._results: deque[Callable[[], None]] = deque()
        self._ended = threading.Event()
        self.pending = 0  # tasks whose results the main thread has not taken
        # Called by the main thread.
        self.on_trouble: Callable[[str], None] = lambda _: None
        self.on_recovery: Callable[[], None] = lambda: None
        self.on_damage: Callable[[str], None] = lambda _: None
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def do(self, task: Callable[[SqliteStore], Any], then: Callable[[Any], None]) -> None:
        """Let `task` be done in the thread, and `then` with its result by `take_results`."""
        self.pending += 1
        self._tasks.put((task, then))

    def take_results(self) -> None:
        """Call, on the main thread, what is to happen with results that have come."""
        while self._results:
            self._results.popleft()()

    def _run(self) -> None:
        store: SqliteStore | None = None
        try:
            store = self._insist(self._open)
            while (item := self._tasks.get()) is not None:
                task, then = item
                self._deliver(then, self._insist(functools.partial(task, store)))
        except _EndedError:
            pass
        except (StoreDamagedError, ForeignDatabaseError) as error:
            self._deliver_word(functools.partial(self._tell_damage, str(error)))
        except BaseException as error:  # noqa: BLE001 (the main thread raises it)
            self._results.append(functools.partial(_raise, error))
            self._wake()
        finally:
            if store is not None:
                store.close()

    def _open(self) -> SqliteStore:
        return SqliteStore(
            self._database, durable=False, create=False, checkpoint_bytes=_CHECKPOINT_BYTES
        )

    def _insist(self, attempt: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Try until it works: what is to be recorded must be, and a full disk may get room."""
        told = False
        while True:
            try:
                result = attempt()
            except StoreDamagedError:
                raise
            except (StoreBusyError, StoreUnusableError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in _PASSING:
                    raise
                if not told:
                    told = True
                    self._deliver_word(functools.partial(self._tell_trouble, str(error)))
            else:
                if told:
                    self._deliver_word(self._tell_recovery)
                return result
            if self._ended.wait(_PAUSE):
                raise _EndedError

    def _tell_trouble(self, trouble: str) -> None:
        self.on_trouble(trouble)

    def _tell_recovery(self) -> None:
        self.on_recovery()

    def _tell_damage(self, damage: str) -> None:
        self.on_damage(damage)

    def _deliver_word(self, word: Callable[[], None]) -> None:
        self._results.append(word)
        self._wake()

    def _deliver(self, then: Callable[[Any], None], result: Any) -> None:  # noqa: ANN401
        def take() -> None:
            self.pending -= 1
            then(result)

        self._results.append(take)
        self._wake()

    def close(self, patience: float) -> None:
        """Do what is left, within `patience` seconds, and end."""
        self._tasks.put(None)
        self._thread.join(patience)
        self._ended.set()


class _EndedError(Exception):
    """The service ends, and the database still cannot be used."""


def _raise(error: BaseException) -> None:
    raise error
