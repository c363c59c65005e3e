"""When a supervisor may rest: only while nothing is held, and nobody has written."""

from __future__ import annotations

import selectors
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from harness import until

from gigq import Job
from gigq.queue import clock
from gigq.queue.identity import own_identity
from gigq.queue.records import Output
from gigq.queue.sqlite_store import SqliteStore
from gigq.supervisor.store_thread import StoreThread
from gigq.supervisor.survey import Survey
from gigq.worker import outcome as outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOOKS = 3  # more than pass before a rest
SECOND = 1_000_000_000


def _nothing(_: object) -> None:
    pass


class Looking:
    """A survey of a database, by a supervisor that is this process."""

    def __init__(self, path: Path) -> None:
        """Begin to look; nobody holds anything."""
        self.store = SqliteStore(path)
        self.woken = 0
        self.looks = 0
        self._thread = StoreThread(path, lambda: None)
        self.survey = Survey(self._thread, path, _nothing, _nothing, self._wake)
        self._selector = selectors.DefaultSelector()
        self.survey.listen(self._selector)
        self.worker = self.store.register("worker", own_identity(), parent=own_identity())

    def _wake(self) -> None:
        self.woken += 1

    def turn(self) -> None:
        """Wait a little, hear of commits, and look when it is time to."""
        for key, _ in self._selector.select(0.01):
            key.data()
        self.looks += self.survey.advance()
        self._thread.take_results()

    def rests(self) -> bool:
        """Turn, and tell whether it rests."""
        self.turn()
        return self.survey.rests

    def submit(self, **options: float) -> None:
        """Submit a job."""
        self.store.submit([Job("job", print, **options).to_record(clock.now())])

    def stays_awake(self) -> bool:
        """Turn so long that it could rest, and tell whether it never did."""
        before = self.looks
        return until(lambda: self.rests() or self.looks > before + LOOKS) and not self.survey.rests

    def close(self) -> None:
        """Look no more."""
        self.survey.close()
        self._selector.close()
        self._thread.close(10)
        self.store.close()


@pytest.fixture
def looking(tmp_path: Path) -> Iterator[Looking]:
    """Give a survey that rests."""
    with closing(Looking(tmp_path / "gigq.db")) as looking:
        until(looking.rests)
        yield looking


def test_held_by_a_worker_that_says_nothing(looking: Looking) -> None:
    """A job that is claimed, and of which nobody has said that it runs, lets nobody rest."""
    looking.submit()
    output = Output("log", 0)
    (claim,) = looking.store.settle(looking.worker, [], 1, output).claims
    until(lambda: not looking.rests())
    assert looking.stays_awake()
    looking.store.settle(looking.worker, [outcomes.completed(claim, None)], 0, output)
    until(looking.rests)


def test_commit_ends_a_rest(looking: Looking) -> None:
    """So it does, and a job that waits while no worker claims it lets one be woken, again."""
    looking.submit()
    until(lambda: looking.rests() or looking.woken > 1)
    assert not looking.survey.rests


def test_time_of_a_job(looking: Looking) -> None:
    """For a job that is due soon the rest is short; its time is not missed."""
    looking.submit(delay=2.5)
    until(looking.rests)
    assert looking.survey.next_look() < time.monotonic_ns() + 4 * SECOND
    until(lambda: looking.turn() or looking.woken, seconds=10)


def test_worker_of_another(looking: Looking) -> None:
    """While somebody else's worker is there, it is watched."""
    other = looking.store.register("other", own_identity())
    until(lambda: not looking.rests())
    assert looking.stays_awake()
    looking.store.retire(other, outcomes.stopped)
    until(looking.rests)
