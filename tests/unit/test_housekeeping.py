"""Housekeeping: old jobs go with what they left behind, and nothing that is in use does."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from harness import until

from gigq import Job
from gigq.queue import clock
from gigq.queue.housekeeping import keep_house
from gigq.queue.identity import own_identity
from gigq.queue.output_folder import FreedParts
from gigq.queue.records import Outcome, Output
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND = clock.MICROSECONDS
BLOCK = 4096
LONG_AGO = 1_000_000_000  # as a file's time, in seconds


class House:
    """A store with a worker that prints."""

    def __init__(self, path: Path) -> None:
        """Open it."""
        self.store = SqliteStore(path, durable=False)
        self.folder = self.store.companions.output
        self.worker = self.register("first")

    def register(self, token: str) -> int:
        """Begin a worker's life."""
        return self.store.register(f"host.1.{token}", own_identity(), tree=f"1.{token}")

    def run(self, log: str | None = None, printed: int = 0, start: int = 0) -> str:
        """Run a job that prints so many bytes; its id."""
        job = Job("job", print)
        self.store.submit([job.to_record(clock.now())])
        (claim,) = self.store.settle(self.worker, (), claim=1).claims
        output = None if log is None else Output(log, start, start + printed)
        if log is not None:
            with (self.folder / log).open("ab") as file:
                file.write(b"x" * printed)
        outcome = Outcome(claim.execution, claim.job, claim.queue_id, Verdict.COMPLETED)
        self.store.settle(self.worker, [outcome._replace(output=output)])
        return job.id

    def keep(self, age: int = 0) -> tuple[int, int]:
        """Keep house; how many jobs and bytes that gave."""
        steps = list(keep_house(self.store, {"completed": age} if age >= 0 else {}))
        return sum(step.jobs for step in steps), sum(step.freed for step in steps)

    def blocks(self, log: str) -> int:
        """Give how many bytes of the disk a file takes."""
        return (self.folder / log).stat().st_blocks * 512

    def written_long_ago(self, log: str) -> None:
        """Let the file look as if nobody had written to it for years."""
        os.utime(self.folder / log, (LONG_AGO, LONG_AGO))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Give an empty house."""
    house = House(tmp_path / "gigq.db")
    with closing(house.store):
        yield house


def pass_by() -> None:
    """Let the clock move on."""
    now = clock.now()
    until(lambda: clock.now() > now + 1)


def test_nothing_to_do(house: House) -> None:
    """A pass over young jobs deletes nothing, and is over after a step or two."""
    jobs = [house.run() for _ in range(20)]
    steps = list(keep_house(house.store, {"completed": 3600 * SECOND}))
    assert sum(step.jobs for step in steps) == 0
    assert len(steps) <= 2
    assert len(house.store.states(jobs)) == 20


def test_output_of_deleted_jobs_becomes_a_hole(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk gets back what a deleted job printed; a job that stays can still be read."""
    an_hour_ago = clock.now() - 3600 * SECOND
    with monkeypatch.context() as past:
        past.setattr(clock, "now", lambda: an_hour_ago)
        for number in range(10):
            house.run("w.first.log", 10_000, number * 10_000)
    house.run("w.first.log", 10_000, 100_000)
    written = (house.folder / "w.first.log").stat()
    assert house.keep(1800 * SECOND)[0] == 10
    left = (house.folder / "w.first.log").stat()
    assert left.st_size == written.st_size
    assert left.st_mtime_ns == written.st_mtime_ns
    assert house.blocks("w.first.log") <= 4 * BLOCK
    with (house.folder / "w.first.log").open("rb") as file:
        file.seek(100_000)
        assert file.read() == b"x" * 10_000


def test_output_of_cleared_jobs_becomes_a_hole(house: House) -> None:
    """A clear gives it back at once, for where completed jobs are never deleted otherwise."""
    for number in range(10):
        house.run("w.first.log", 10_000, number * 10_000)
    pass_by()
    assert house.store.clear() == 10
    assert house.blocks("w.first.log") <= BLOCK


def test_cleared_room_is_given_back(house: House) -> None:
    """Also where no job is ever deleted by its age."""
    for _ in range(20):
        house.store.submit([Job("job", print).to_record(clock.now()) for _ in range(500)])
    size = house.store.path.stat().st_size
    with closing(sqlite3.connect(house.store.path, isolation_level=None)) as other:
        other.execute("UPDATE job SET state = 'completed'")
        other.execute("UPDATE tally SET state = 'completed'")
    pass_by()
    assert house.store.clear() == 10_000
    jobs, freed = house.keep(-1)
    assert jobs == 0
    assert freed > size // 2


def test_small_outputs_add_up(tmp_path: Path) -> None:
    """Parts smaller than a block, each freed at another time, are given back together."""
    (tmp_path / "a.log").write_bytes(b"x" * 40_960)
    parts = FreedParts()
    for start in range(0, 40_960, 10):
        parts.add([Output("a.log", start, start + 10), Output("gone.log", 0, 9)])
    assert sorted(parts.give_back(tmp_path)) == [0, 40_960]
    assert (tmp_path / "a.log").stat().st_blocks == 0


def test_only_what_was_freed(tmp_path: Path) -> None:
    """Bytes beside a freed part stay as they are, whatever the order of the parts."""
    content = os.urandom(10 * BLOCK)
    (tmp_path / "a.log").write_bytes(content)
    parts = FreedParts()
    parts.add([Output("a.log", 6 * BLOCK - 5, 8 * BLOCK + 5), Output("a.log", 10, 2 * BLOCK)])
    parts.add([Output("a.log", 3 * BLOCK, None)])
    assert sum(parts.give_back(tmp_path)) == 3 * BLOCK
    hole = bytes(BLOCK)
    expected = content[:BLOCK] + hole + content[2 * BLOCK : 6 * BLOCK] + 2 * hole
    assert (tmp_path / "a.log").read_bytes() == expected + content[8 * BLOCK :]


def test_forgotten_files_are_removed(house: House) -> None:
    """A file goes when no execution is left, its worker has gone, and it is old."""
    house.run("host.1.first.log", 10)
    for log in ("host.1.gone.log", "host.1.recent.log", "host.1.other.log", "notes.txt"):
        (house.folder / log).write_text("something")
    life = house.register("other")  # it lives, and has printed nothing for long
    for log in ("host.1.first.log", "host.1.gone.log", "host.1.other.log", "notes.txt"):
        house.written_long_ago(log)
    house.keep(3600 * SECOND)
    left = {file.name for file in house.folder.iterdir()}
    assert left == {"host.1.first.log", "host.1.recent.log", "host.1.other.log", "notes.txt"}
    house.store.retire(life, lambda _: pytest.fail("it held nothing"))
    house.keep(3600 * SECOND)
    assert not (house.folder / "host.1.other.log").exists()
    assert (house.folder / "host.1.first.log").exists()


def test_files_that_old_jobs_refer_to_stay(house: House) -> None:
    """A job that stays though it is old keeps its output, and the name of its worker."""
    job = house.run("host.1.first.log", 10)
    (key,) = (row.job for row in [house.store.job(job)] if row is not None)
    house.store.retire(house.worker, lambda _: pytest.fail("it held nothing"))
    house.written_long_ago("host.1.first.log")
    with closing(sqlite3.connect(house.store.path, isolation_level=None)) as other:
        other.execute("UPDATE job SET state = 'failed', created_at = 1, updated_at = 1")
        other.execute("UPDATE worker SET ended_at = 2")
    house.keep(SECOND)
    assert (house.folder / "host.1.first.log").exists()
    assert [row.worker_name for row in house.store.executions(key)] == ["host.1.first"]
    with closing(sqlite3.connect(house.store.path, isolation_level=None)) as other:
        other.execute("UPDATE job SET state = 'completed'")
        other.execute("UPDATE tally SET jobs = 1 WHERE state = 'completed'")
    assert house.keep(SECOND)[0] == 1
    assert not (house.folder / "host.1.first.log").exists()
    with closing(sqlite3.connect(house.store.path)) as other:
        assert other.execute("SELECT count(*) FROM worker").fetchone() == (0,)


def test_never(house: House) -> None:
    """Where completed jobs stay for ever, their output and their workers' names do too."""
    house.run("host.1.first.log", 10)
    house.written_long_ago("host.1.first.log")
    pass_by()
    assert house.keep(-1) == (0, 0)
    assert (house.folder / "host.1.first.log").exists()


def test_a_clock_that_was_set_back_does_not_end_a_walk(house: House) -> None:
    """A job from the future does not keep the ones behind it."""
    first, second = house.run(), house.run()
    with closing(sqlite3.connect(house.store.path, isolation_level=None)) as other:
        other.execute("UPDATE job SET created_at = created_at * 2 WHERE uuid = ?", (first,))
        other.execute("UPDATE job SET updated_at = updated_at * 2 WHERE uuid = ?", (first,))
    pass_by()
    assert house.keep()[0] == 1
    assert list(house.store.states([first, second])) == [first]
