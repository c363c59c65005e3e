"""How many jobs a worker takes at a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from gigq import Job, JobQueue
from gigq.queue.identity import own_identity
from gigq.queue.sqlite_store import SqliteStore
from gigq.worker.batch import Batch
from gigq.worker.outcome import completed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gigq.queue.records import Claim, Outcome


class Worker:
    """What a worker does with a batch: claim, process, store."""

    def __init__(self, path: Path, most: int) -> None:
        """Begin."""
        with JobQueue(path) as queue:
            queue.submit_many([Job("job", "math.sqrt", {"x": 1}) for _ in range(400)])
        self.store = SqliteStore(path)
        self.worker = self.store.register("worker", own_identity())
        self.batch = Batch(most, lambda: SqliteStore(path), lambda: None)
        self.seconds = 0.0

    def process(self, claim: Claim) -> Outcome:
        """Take as long as is said."""
        time.sleep(self.seconds)
        return completed(claim, None)

    def turn(self) -> int:
        """Claim and process one batch; how many there were."""
        claims = self.store.settle(self.worker, (), claim=self.batch.size).claims
        ended, dropped = self.batch.run(self.worker, claims, self.process)
        assert dropped == []
        assert self.store.settle(self.worker, ended).dropped == []
        return len(claims)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    """Give a worker that takes up to eight."""
    worker = Worker(tmp_path / "gigq.db", 8)
    yield worker
    worker.store.close()


def test_size_follows_durations(worker: Worker) -> None:
    """It doubles while jobs are short, to the most that may be; after a long one it is one."""
    assert [worker.turn() for _ in range(5)] == [1, 2, 4, 8, 8]
    worker.seconds = 0.2
    worker.turn()
    assert worker.turn() == 1


def test_fits_into_a_blink(worker: Worker) -> None:
    """Jobs of several milliseconds are taken few at a time."""
    worker.seconds = 0.006
    assert max(worker.turn() for _ in range(12)) <= 3
