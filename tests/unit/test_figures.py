"""What a store counts for monitoring: exact over a history, and written without being asked."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gigq import Job
from gigq.queue import clock, figures
from gigq.queue.identity import own_identity
from gigq.queue.records import Outcome
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gigq.queue.records import Claim, OpenExecution

SECOND = 1_000_000
MEBIBYTE = 1 << 20


class Clock:
    """The store's wall clock, which stands still until it is moved."""

    def __init__(self) -> None:
        """Begin at some time."""
        self.now = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        """Tell the time."""
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += round(seconds * SECOND)


class History:
    """A store, and what is done with it."""

    def __init__(self, path: Path, time: Clock) -> None:
        """Register a worker."""
        self.time = time
        self.store = SqliteStore(path, durable=False)
        self.worker = self.store.register("worker", own_identity())

    def submit(self, jobs: int = 1, queue: str = "default", **options: object) -> None:
        """Submit jobs."""
        made = [Job("job", print, queue=queue, **options) for _ in range(jobs)]
        self.store.submit([job.to_record(clock.now()) for job in made])

    def claim(self) -> Claim:
        """Claim the next."""
        (claim,) = self.store.settle(self.worker, (), claim=1).claims
        return claim

    def end(self, claim: Claim, verdict: Verdict, memory: int | None = None) -> None:
        """End one."""
        assert not self.store.settle(self.worker, [ended(claim, verdict, memory)]).dropped

    def written(self, queue: str = "default") -> dict[tuple[str, str], float]:
        """Give what stands in the database once nothing more is done: an idle worker writes."""
        self.store._figures._written_at = float("-inf")  # time has passed
        assert self.store.settle(self.worker, (), claim=1).claims == []
        return figures_of(self.store, queue)


def figures_of(store: SqliteStore, queue: str) -> dict[tuple[str, str], float]:
    """Give the figures of a queue as they stand in the database."""
    return {(each.name, each.label): each.value for each in store.metrics() if each.queue == queue}


def ended(held: Claim | OpenExecution, verdict: Verdict, memory: int | None = None) -> Outcome:
    """Give an outcome."""
    key = held.execution, held.job, held.queue_id
    return Outcome(*key, verdict, result="1", peak_memory=memory)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the store a clock that the test moves."""
    found = Clock()
    monkeypatch.setattr(clock, "now", found)
    return found


@pytest.fixture
def history(tmp_path: Path, time: Clock) -> Iterator[History]:
    """Give a fresh store."""
    found = History(tmp_path / "gigq.db", time)
    yield found
    found.store.close()


def test_exact_over_a_history(history: History, time: Clock) -> None:
    """Retries, a timeout, a cancellation, a stop, a release and a reclaim are counted once each."""
    history.submit(2, max_attempts=3)
    history.submit(3, queue="mail", max_attempts=2)
    time.pass_by(2)
    first = history.claim()  # waited 2 s
    time.pass_by(0.25)
    history.end(first, Verdict.FAILED, 20 * MEBIBYTE)  # lasted 0.25 s; ready again
    time.pass_by(45)
    again = history.claim()  # waited 45 s
    assert again.job == first.job
    time.pass_by(7)
    history.end(again, Verdict.COMPLETED, 40 * MEBIBYTE)  # 7 s
    history.end(history.claim(), Verdict.RELEASED)  # waited 54.25 s; no attempt, and ready again
    time.pass_by(0.75)
    history.end(history.claim(), Verdict.COMPLETED)  # waited 0.75 s, lasted 0 s
    for verdict in (Verdict.TIMEOUT, Verdict.STOPPED, Verdict.CANCELLED, Verdict.COMPLETED):
        history.end(history.claim(), verdict)
    lost = history.claim()
    history.store.retire(history.worker, lambda held: ended(held, Verdict.LOST))
    history.worker = history.store.register("another", own_identity())
    assert history.claim().job == lost.job
    history.store.retire(history.worker, lambda held: ended(held, Verdict.RELEASED))
    history.worker = history.store.register("third", own_identity())
    history.end(history.claim(), Verdict.COMPLETED)
    assert history.written() == {
        ("submitted", ""): 2,
        ("attempts", "failed"): 1,
        ("attempts", "completed"): 2,
        ("wait_seconds", "5"): 1,
        ("wait_seconds", "60"): 2,
        ("wait_seconds", "1"): 1,
        ("wait_seconds", "sum"): pytest.approx(2 + 45 + 54.25 + 0.75),
        ("duration_seconds", "0.5"): 1,
        ("duration_seconds", "10"): 1,
        ("duration_seconds", "0.01"): 1,
        ("duration_seconds", "sum"): pytest.approx(7.25),
        ("peak_memory_bytes", "33554432"): 1,
        ("peak_memory_bytes", "67108864"): 1,
        ("peak_memory_bytes", "sum"): 60 * MEBIBYTE,
    }
    mail = history.written("mail")
    attempts = {label: count for (name, label), count in mail.items() if name == "attempts"}
    assert attempts == {"timeout": 1, "stopped": 1, "cancelled": 1, "completed": 2, "lost": 1}
    assert mail["submitted", ""] == 3
    assert mail["reclaimed", ""] == 2
    assert sum(n for (name, label), n in mail.items() if name == "wait_seconds" and label != "sum")


def test_many_are_counted_and_seldom_written(history: History) -> None:
    """Of a thousand jobs each is counted, and no statement is run for each."""
    history.submit(1000)
    statements: Counter[str] = Counter()
    history.store._connection._sqlite.set_trace_callback(
        lambda text: statements.update([" ".join(text.split()[:3])])
    )
    claim = history.claim()
    for _ in range(999):
        (claim,) = history.store.settle(
            history.worker, [ended(claim, Verdict.COMPLETED)], claim=1
        ).claims
    history.end(claim, Verdict.COMPLETED)
    assert statements["UPDATE job SET"] >= 1000
    assert statements["INSERT INTO metric"] < 500
    found = history.written()
    assert found["attempts", "completed"] == found["submitted", ""] == 1000
    assert found["wait_seconds", "0.01"] == found["duration_seconds", "0.01"] == 1000


def test_client_that_leaves_writes(tmp_path: Path, time: Clock) -> None:
    """A client's first submit is counted at once, and what follows when it closes the database."""
    with closing(SqliteStore(tmp_path / "gigq.db")) as look:
        history = History(tmp_path / "gigq.db", time)
        history.submit(3)
        assert figures_of(look, "default") == {("submitted", ""): 3}
        history.submit(2, queue="mail")
        history.store.close()
        assert figures_of(look, "mail") == {("submitted", ""): 2}


def test_worker_that_leaves_writes(history: History) -> None:
    """What a worker did last is written when it says goodbye."""
    history.submit(2)
    history.end(history.claim(), Verdict.COMPLETED)
    history.end(history.claim(), Verdict.FAILED)
    history.store.retire(history.worker, lambda held: ended(held, Verdict.STOPPED))
    attempts = {
        label: count
        for (name, label), count in figures_of(history.store, "default").items()
        if name == "attempts"
    }
    assert attempts == {"completed": 1, "failed": 1}


def test_rolled_back_is_not_counted(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that fails counts nothing, and takes nothing away that was counted before."""
    history.submit(2, max_attempts=1)
    first = history.claim()
    monkeypatch.setattr(figures, "BUSY_EVERY", 3600.0)  # nothing is written meanwhile
    history.end(first, Verdict.COMPLETED)
    claim = history.claim()
    connection = history.store._connection
    with monkeypatch.context() as patch:
        patch.setattr(type(connection), "commit", rolled_back)
        with pytest.raises(OSError, match="full"):
            history.store.settle(history.worker, [ended(claim, Verdict.COMPLETED)], claim=1)
    history.end(claim, Verdict.FAILED)
    found = history.written()
    assert found["attempts", "completed"] == found["attempts", "failed"] == 1
    assert found["duration_seconds", "0.01"] == 2


def rolled_back(connection: object) -> None:
    """End a transaction as a full disk does."""
    connection.roll_back()  # type: ignore[attr-defined]
    message = "disk full"
    raise OSError(message)


def test_dropped_outcome_is_not_counted(history: History) -> None:
    """An outcome whose claim was lost is no attempt that ended."""
    history.submit()
    claim = history.claim()
    history.end(claim, Verdict.COMPLETED)
    settled = history.store.settle(history.worker, [ended(claim, Verdict.FAILED)])
    assert settled.dropped
    assert ("attempts", "failed") not in history.written()


def test_waiting_for_the_lock_is_counted(history: History, tmp_path: Path) -> None:
    """How often the write lock was not had at once is a figure of the whole database."""
    other = SqliteStore(tmp_path / "gigq.db", patience=0.01)
    history.submit()
    with history.store._connection, pytest.raises(Exception, match="locked"):
        other.submit([Job("job", print).to_record(clock.now())])
    other.submit([Job("job", print).to_record(clock.now())])
    other.close()
    assert figures_of(history.store, "") == {("busy", ""): 1}


class TestOldestReady:
    """Since when the oldest job that could run waits."""

    def test_scheduled_ones_do_not_count_until_due(self, history: History, time: Clock) -> None:
        """A delayed job counts from when it is due, whether or not a worker has noticed."""
        history.submit(delay=60)
        assert history.store.oldest_ready() == {}
        time.pass_by(90)
        assert history.store.oldest_ready() == {"default": time.now - 30 * SECOND}

    def test_of_each_queue_and_priority(self, history: History, time: Clock) -> None:
        """The oldest may have the lowest priority."""
        began = time.now
        history.submit(priority=-5)
        time.pass_by(10)
        history.submit(priority=100)
        history.submit(queue="mail", priority=1)
        time.pass_by(10)
        history.submit(queue="mail", priority=7)
        expected = {"default": began, "mail": began + 10 * SECOND}
        assert history.store.oldest_ready() == expected
        assert history.claim().job == 2
        assert history.store.oldest_ready() == expected

    def test_a_retry_begins_anew(self, history: History, time: Clock) -> None:
        """A job that is tried again waits since its failure."""
        history.submit(max_attempts=2)
        time.pass_by(100)
        history.end(history.claim(), Verdict.FAILED)
        assert history.store.oldest_ready() == {"default": time.now}


def test_queue_that_was_never_closed(tmp_path: Path) -> None:
    """A script that ends without closing its queue is counted whole, and a fork of it not again."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from gigq import Job, JobQueue\n"
        "queue = JobQueue('gigq.db')\n"
        "for number in range(3):\n"
        "    queue.submit(Job('job', 'os.getcwd'))\n"
        "child = os.fork()\n"
        "if child:\n"
        "    os.waitpid(child, 0)\n"
        "else:\n"
        "    queue.stats()\n"
    )
    subprocess.run([sys.executable, script.name], cwd=tmp_path, check=True)
    with closing(SqliteStore(tmp_path / "gigq.db", create=False)) as store:
        assert figures_of(store, "default")["submitted", ""] == 3
