"""The in-process `Worker`: runs jobs in the threads of the program that made it.

It changes nothing process-wide, so its deadlines are as good as Python's asynchronous exceptions;
hard deadlines need `gigqd` or `gigq worker`. While a job overruns, its claim is kept: nobody else
runs it as long as this process lives.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gigq.queue import clock
from gigq.queue.connection import roll_back_interrupted
from gigq.queue.errors import (
    EmptyDatabaseError,
    InvalidJobError,
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    StoreUnusableError,
)
from gigq.queue.identity import own_identity
from gigq.queue.life_lock import WITHOUT_LOCK, LifeLock
from gigq.queue.logs import logger
from gigq.queue.main_guard import refuse_while_loading
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import Verdict
from gigq.queue.user_connections import roll_back_connections
from gigq.worker import attempt
from gigq.worker import outcome as outcomes
from gigq.worker.current_job import running
from gigq.worker.progress_store import ProgressStore
from gigq.worker.reclaim import reclaim_dead
from gigq.worker.resolve import Loader
from gigq.worker.time_limit import DeadlinePassed, ThreadTimeLimit
from gigq.worker.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gigq.queue.records import Claim, Outcome, Settled

_log = logger("worker")


class Worker:
    """Runs jobs of one database in this process.

    Args:
        db_path: The database; it need not exist yet.
        worker_id: A name; one is made up otherwise.
        polling_interval: Seconds between looks when nothing wakes it.
        concurrency: Threads of `start`, their names `{worker_id}-{n}`.

    Raises:
        ValueError: `concurrency` is less than 1.

    Example:
        >>> worker = Worker("gigq.db")
        >>> worker.process_one()
        False
        >>> worker.close()

    """

    def __init__(
        self,
        db_path: str | os.PathLike[str],
        worker_id: str | None = None,
        polling_interval: float = 5,
        concurrency: int = 1,
    ) -> None:
        """Name the database; nothing is opened yet."""
        refuse_while_loading("Worker")
        if concurrency < 1:
            message = f"concurrency has to be at least 1; this is {concurrency!r}"
            raise InvalidJobError(message)
        self.db_path = str(Path(db_path).absolute())
        self.worker_id = worker_id or f"worker-{uuid.uuid4()}"
        self.polling_interval = polling_interval
        self.concurrency = concurrency
        self.running = False
        self._lane = _Lane(Path(self.db_path), self.worker_id)
        self._lanes: list[_Lane] = []
        self._errors: list[Exception] = []  # of a thread that had to end

    @property
    def current_job_id(self) -> str | None:
        """The job that is being run, None between jobs; with several threads, one of theirs."""
        lanes = [self._lane, *self._lanes]
        return next((lane.current_job_id for lane in lanes if lane.current_job_id), None)

    def process_one(self) -> bool:
        """Run one job in this thread and store its outcome; False when none is ready."""
        return self._lane.process_one()

    def start(self) -> None:
        """Run jobs until `stop`; in the main thread SIGINT and SIGTERM stop it too.

        A job that is running then is finished first: each is either finished or pending after.
        """
        self.running = True
        with self._stopped_by_signals():
            if self.concurrency == 1:
                self._run(self._lane)
                return
            self._lanes = [
                _Lane(Path(self.db_path), f"{self.worker_id}-{number}")
                for number in range(self.concurrency)
            ]
            threads = [
                threading.Thread(target=self._run_and_close, args=(lane,), name=lane.name)
                for lane in self._lanes
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self._lanes = []
        if self._errors:
            raise self._errors.pop()

    def stop(self) -> None:
        """Let `start` return after the jobs that are running; from any thread."""
        self.running = False
        for lane in (self._lane, *self._lanes):
            lane.wake()

    def close(self) -> None:
        """Say goodbye to the database; a job that runs in another thread is waited for."""
        self._lane.close()

    def _run(self, lane: _Lane) -> None:
        while self.running:
            try:
                if not lane.process_one() and self.running:
                    lane.wait(self.polling_interval)
            except StoreDamagedError:
                raise
            except (StoreBusyError, StoreUnusableError) as error:
                lane.wait_out(error)
            else:
                lane.in_trouble = False

    def _run_and_close(self, lane: _Lane) -> None:
        try:
            self._run(lane)
        except Exception as error:  # noqa: BLE001 (`start` raises it)
            self._errors = [error]
            self.stop()
        finally:
            lane.close()

    @contextmanager
    def _stopped_by_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(*_: object) -> None:
            self.stop()

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


_STORE_PAUSE = 0.5  # seconds between tries when the database cannot be used


class _Lane:
    """One registered life in one thread."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.current_job_id: str | None = None
        self._path = path
        self._pid = os.getpid()
        self._loader = Loader()
        self._progress = ProgressStore(path)
        self._store: SqliteStore | None = None
        self._worker = 0
        self._begun = 0  # the last execution whose function was about to be called
        self._in_use = threading.RLock()
        self._life_lock: LifeLock | None = None
        self._wakeup: Wakeup | None = None
        self._woken = threading.Event()
        self.in_trouble = False  # the database could not be used, and that was said

    def process_one(self) -> bool:
        refuse_while_loading("Worker.process_one")
        with self._held():
            store = self._open()
            if store is None:
                return False
            try:
                return self._process_next(store)
            except BaseException:
                self._give_back(store)
                raise

    def _process_next(self, store: SqliteStore) -> bool:
        if self._wakeup is not None:
            self._wakeup.silence()
        claims = store.settle(self._worker, (), claim=1).claims
        if not claims and reclaim_dead(store):
            claims = store.settle(self._worker, (), claim=1).claims
        if not claims:
            return False
        if self._wakeup is not None and store.glance().is_for_another:
            self._wakeup.ring_next()  # one ring may have announced many jobs
        self._process(store, claims[0])
        return True

    def _process(self, store: SqliteStore, claim: Claim) -> None:
        if claim.max_attempts == 1:
            try:
                store.begin(claim.execution)
            except (StoreBusyError, StoreUnusableError):
                self._settle(store, outcomes.released(claim))  # or nobody ever ran it
                raise
        self.current_job_id = claim.uuid
        try:
            outcome = self._attempt(store, claim)
        finally:
            if os.getpid() != self._pid:
                os._exit(1)  # the job forked, and this is its child: the loop is not its business
            self.current_job_id = None
            # An open write would lock out whoever settles.
            roll_back_interrupted()
            roll_back_connections()
        settled = self._settle(store, outcome)
        if settled.dropped:
            _log.error("claim of job %s was lost; its outcome was dropped", claim.uuid)
        if settled.more and self._wakeup is not None:
            self._wakeup.ring_next()
        if outcome.verdict is not Verdict.COMPLETED:
            _log.error("job %s (%s): %s", claim.uuid, claim.name, outcome.error)

    def _give_back(self, store: SqliteStore) -> None:
        """End what is still held: nobody else can, as long as this process lives."""
        with suppress(StoreError):
            held = [
                outcomes.stopped(each) if each.execution == self._begun else outcomes.released(each)
                for each in store.claims_of(self._worker)
            ]
            if held:
                store.settle(self._worker, held)

    def _settle(self, store: SqliteStore, outcome: Outcome) -> Settled:
        """Store an outcome; a lock that is held, or a full disk, is waited for, however long."""
        told = False
        while True:
            try:
                return store.settle(self._worker, [outcome])
            except StoreDamagedError:
                raise
            except (StoreBusyError, StoreUnusableError) as error:
                if not told:
                    _log.warning("the outcome of a job waits to be stored: %s", error)
                told = True
            time.sleep(_STORE_PAUSE)

    def _attempt(self, store: SqliteStore, claim: Claim) -> Outcome:
        seconds = None if claim.timeout is None else claim.timeout / clock.MICROSECONDS
        limit = ThreadTimeLimit(seconds)
        outcome = None
        try:
            with limit, running(claim, self._progress.note, alone=False):
                self._begun = claim.execution
                outcome = attempt.run(claim, self._loader, store.parent_results)
        except DeadlinePassed:  # delivered on the last step out of the block
            pass
        if limit.passed or outcome is None:
            return outcomes.timed_out(claim, claim.timeout, None)
        return outcome

    def _held(self) -> threading.RLock:
        """Give what is to be held while the database is used: another thread may close it."""
        if self._pid != os.getpid():
            self._forget_parent()
        return self._in_use

    def _open(self) -> SqliteStore | None:
        if self._store is None:
            with suppress(EmptyDatabaseError):
                store = SqliteStore(self._path, durable=False, create=False)
                try:
                    lock = self._hold_life(store)
                    self._worker = store.register(self.name, own_identity(), life_lock=lock)
                except BaseException:
                    self._let_go_of_life()
                    store.close()
                    raise
                self._store = store
        return self._store

    def _hold_life(self, store: SqliteStore) -> str | None:
        """Hold a lock as long as this lives; its mark, None where that cannot be done."""
        try:
            lock = LifeLock(store.companions)
        except OSError as error:
            _log.warning("%s: %s; %s", store.companions.workers_lock, error.strerror, WITHOUT_LOCK)
            return None
        with suppress(OSError):
            lock.pin()
        self._life_lock = lock
        return lock.mark

    def _let_go_of_life(self) -> None:
        if self._life_lock is not None:
            self._life_lock.close()
            self._life_lock = None

    def _forget_parent(self) -> None:
        """Begin a life of one's own in a process that was forked off: that one is the parent's."""
        self._pid = os.getpid()
        self._in_use = threading.RLock()
        self._store = self._wakeup = None
        self._let_go_of_life()
        self._progress = ProgressStore(self._path)

    def wait(self, seconds: float) -> None:
        """Wait for a ring, a due job, or so many seconds."""
        with self._held():
            store = self._open()
            if store is None:
                self._woken.wait(seconds)
                self._woken.clear()
                return
            if self._wakeup is None:
                self._wakeup = Wakeup(store.companions.doorbell)
                return  # rings from before were not heard: look once more
            glance = store.glance()
            if glance.ready:
                return
            if glance.next_due is not None:
                seconds = min(seconds, max(0, glance.next_due - clock.now()) / clock.MICROSECONDS)
            self._wakeup.wait(seconds)

    def wait_out(self, error: Exception) -> None:
        """Say, once, that the database cannot be used, and wait before the next try."""
        if not self.in_trouble:
            self.in_trouble = True
            _log.warning("no job can be claimed now: %s", error)
        self._woken.wait(_STORE_PAUSE)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()
        if self._wakeup is not None:
            self._wakeup.wake()

    def close(self) -> None:
        with self._held():
            self._progress.close()
            if self._store is not None:
                self._store.retire(self._worker, outcomes.stopped)
                self._store.close()
                self._store = None
                self._let_go_of_life()
            if self._wakeup is not None:
                self._wakeup.close()
                self._wakeup = None
