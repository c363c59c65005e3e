"""The store as a worker process uses it: what has to be stored is kept until it can be.

A full disk, a failing one, or a lock that somebody holds pass. The supervisor is told once when
that begins and once when it is over, and lets nothing be claimed meanwhile.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from gigq.queue.errors import (
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    StoreUnusableError,
)
from gigq.queue.identity import identity_of, own_identity
from gigq.queue.records import Glance, Settled
from gigq.worker import outcome as outcomes

if TYPE_CHECKING:
    from collections.abc import Callable

    from gigq.queue.records import Outcome, Output
    from gigq.queue.sqlite_store import SqliteStore
    from gigq.worker.orders import Orders
    from gigq.worker.reporter import Reporter
    from gigq.worker.slot import Slot

_PAUSE = 1.0  # seconds between tries
_PASSING = (StoreBusyError, StoreUnusableError)
_NOTHING = Glance(ready=False, next_due=None)


class PatientStore:
    """One worker's store, from the registration of its life to the end of that.

    Every method raises StoreDamagedError and ForeignDatabaseError: waiting would not mend that.
    """

    def __init__(self, store: SqliteStore, orders: Orders, slot: Slot, reporter: Reporter) -> None:
        """Use `store`, and tell trouble by `reporter`."""
        self._store = store
        self._orders = orders
        self._slot = slot
        self._reporter = reporter
        self._in_trouble = False  # the supervisor was told so
        self._worker = 0
        self.parent_results = store.parent_results

    def register(self, stops: Callable[[], bool]) -> bool:
        """Begin this worker's life; False when it is told to go before the database lets it."""
        parent = identity_of(self._orders.supervisor)
        while not stops():
            try:
                self._worker = self._store.register(
                    self._orders.name,
                    own_identity(),
                    tree=self._orders.tree,
                    parent=parent,
                    life_lock=self._orders.life_lock,
                )
            except _PASSING as error:
                self._wait_out(error)
            else:
                self._is_out_of_trouble()
                return True
        return False

    @property
    def worker(self) -> int:
        """The key of this worker's life."""
        return self._worker

    def settle(self, ended: list[Outcome], claim: int, output: Output) -> Settled:
        """Settle, and claim unless claims are held."""
        if self._slot.claims_held():
            claim = 0
        while ended or claim:
            try:
                settled = self._store.settle(self._worker, ended, claim, output)
                break
            except _PASSING as error:
                self._wait_out(error)
                claim = 0
        else:
            settled = Settled([], [], more=False)
        if self._in_trouble:
            self._is_out_of_trouble()
        return settled

    def sync(self) -> None:
        """Wait for the disk; in a transaction all others would wait, too."""
        while True:
            try:
                self._store.sync()
                break
            except _PASSING as error:
                self._wait_out(error)
        self._is_out_of_trouble()

    def begin(self, execution: int) -> bool:
        """See to it that no power loss forgets a claim; False when that cannot be done now."""
        try:
            self._store.begin(execution)
        except _PASSING as error:
            self._wait_out(error)
            return False
        return True

    def glance(self) -> Glance:
        """Look whether there is something to claim; never, while claims are held."""
        if self._slot.claims_held():
            return _NOTHING
        try:
            return self._store.glance()
        except _PASSING as error:
            self._wait_out(error)
            return _NOTHING

    @property
    def owes(self) -> bool:
        """Whether it should be tried again soon, though there may be nothing to claim."""
        return self._in_trouble or self._store.has_figures

    def retire(self) -> None:
        """End this worker's life; where that cannot be done now, the supervisor will."""
        with suppress(*_PASSING):
            self._store.retire(self._worker, outcomes.stopped)

    # Trouble

    def tell_trouble(self, error: str) -> None:
        """Let the supervisor know that something cannot be written, until `settle` has worked."""
        if not self._in_trouble:
            self._in_trouble = True
            self._reporter.tell("store_trouble", error=error)

    def _is_out_of_trouble(self) -> None:
        if self._in_trouble:
            self._in_trouble = False
            self._reporter.tell("store_works")

    def _wait_out(self, error: StoreError) -> None:
        if isinstance(error, StoreDamagedError):
            raise error
        self.tell_trouble(str(error))
        time.sleep(_PAUSE)
