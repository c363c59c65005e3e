"""The usual settle and the specifications read ahead change nothing but the time that it takes."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from gigq import Job
from gigq.queue import clock
from gigq.queue import statements as sql
from gigq.queue.identity import own_identity
from gigq.queue.records import Claim, OpenExecution, Outcome, Output
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS = 1_500
TABLES = ("job", "job_spec", "execution", "edge", "fanout", "cancellation", "worker", "queue")
ENDS = (*[Verdict.COMPLETED] * 60, Verdict.FAILED, Verdict.TIMEOUT, Verdict.RELEASED)
LOG = Output("log", 0)


class Pair:
    """Two stores that are told the same; the second one takes no short cut."""

    def __init__(self, folder: Path, now: list[int]) -> None:
        """Begin with two empty databases, at the same time of the clock."""
        self._now = now
        paths = [folder / "quick.db", folder / "plain.db"]
        SqliteStore(paths[0]).close()
        shutil.copy(paths[0], paths[1])
        self.quick, self.plain = self.stores = [SqliteStore(path, durable=False) for path in paths]
        self.paths = paths
        self.short_cuts = 0
        self._count_short_cuts()
        self.plain._relay.settle = lambda *_: None  # type: ignore[method-assign]
        self.plain._look_ahead.look = lambda *_: None  # type: ignore[method-assign]
        self.worker = self.both(lambda store: store.register("worker", own_identity()))
        self.held: list[Claim] = []

    def _count_short_cuts(self) -> None:
        relay = self.quick._relay
        settle = relay.settle

        def counted(*values: Any) -> Any:  # noqa: ANN401
            settled = settle(*values)
            self.short_cuts += settled is not None
            return settled

        relay.settle = counted  # type: ignore[method-assign]

    def retire(self) -> None:
        """Let the worker die with all that it holds, and another one come."""
        self.both(lambda store: store.retire(self.worker, self.lost))
        self.worker = self.both(lambda store: store.register("worker", own_identity()))
        self.held = []

    @staticmethod
    def lost(held: OpenExecution) -> Outcome:
        """Give the outcome of what a dead worker held."""
        return Outcome(held.execution, held.job, held.queue_id, Verdict.LOST)

    def both(self, do: Callable[[SqliteStore], Any]) -> Any:  # noqa: ANN401
        """Do the same with both, and give what both give."""
        first, second = (do(store) for store in self.stores)
        assert first == second
        return first

    def submit(self, *jobs: Job) -> None:
        """Submit these jobs to both."""
        records = [job.to_record(self._now[0]) for job in jobs]
        self.both(lambda store: store.submit(records))

    def settle(self, ended: list[Outcome], claim: int) -> None:
        """End some, and claim others."""
        settled = self.both(lambda store: store.settle(self.worker, ended, claim, LOG))
        over = {each.execution for each in ended}
        self.held = [each for each in self.held if each.execution not in over] + settled.claims

    def ended(self, claim: Claim, verdict: Verdict, **fields: Any) -> Outcome:  # noqa: ANN401
        """Give an outcome with all that a worker knows."""
        return Outcome(
            claim.execution,
            claim.job,
            claim.queue_id,
            verdict,
            "1" if verdict is Verdict.COMPLETED else None,
            cpu_time=7,
            started_at=self._now[0] - 3,
            ended_at=self._now[0] - 1,
            **fields,
        )

    def execute(self, statement: str) -> None:
        """Change both databases as an administrator might."""
        for path in self.paths:
            with closing(sqlite3.connect(path, isolation_level=None)) as database:
                database.execute(statement)

    def contents(self, path: Path) -> dict[str, list[tuple[Any, ...]]]:
        """Give all rows; where moves are counted, and counters of nothing, make no difference."""
        with closing(sqlite3.connect(path)) as database:
            found = {
                name: database.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()  # noqa: S608
                for name in TABLES
            }
            found["job"] = [row[:-1] for row in found["job"]]
            assert [*database.execute("SELECT * FROM job LIMIT 0").description][-1][
                0
            ] == "uncounted"
        found["counters"] = self.counters(path)
        return found

    def counters(self, path: Path) -> list[tuple[Any, ...]]:
        """Give how many jobs are in each state, as they are kept; they are those that there are."""
        with closing(sqlite3.connect(path)) as database:
            kept = sorted(database.execute(sql.COUNTERS).fetchall())
            assert kept == sorted(database.execute(sql.COUNTED).fetchall())
        return kept

    def carried(self) -> int:
        """Give how many moves the jobs that are held carry."""
        with closing(sqlite3.connect(self.paths[0])) as database:
            (found,) = database.execute("SELECT sum(uncounted) FROM job").fetchone()
        return int(found)

    def close_and_compare(self) -> None:
        """See that both databases hold the same."""
        for store in self.stores:
            store.close()
        first, second = map(self.contents, self.paths)
        assert first == second

    def figures(self) -> list[dict[tuple[str, str, str], float]]:
        """Give what each has counted."""
        with_closed = [SqliteStore(path, durable=False) for path in self.paths]
        found = [{tuple(row[:3]): row[3] for row in store.metrics()} for store in with_closed]
        for store in with_closed:
            store.close()
        return found


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give the time, which stands still until it is changed."""
    time = [1_700_000_000_000_000]
    monkeypatch.setattr(clock, "now", lambda: time[0])
    return time


@pytest.fixture
def pair(tmp_path: Path, now: list[int]) -> Pair:
    """Give two stores that are alike."""
    return Pair(tmp_path, now)


def some_job(dice: random.Random, number: int, known: list[str]) -> Job:
    """Make a job, of a kind that is mostly usual; late in the test there is a second queue."""
    options: dict[str, Any] = {}
    if known and dice.random() < 0.04:
        options["dependencies"] = dice.sample(known, min(len(known), dice.randint(1, 2)))
    if dice.random() < 0.02:
        options["delay"] = dice.choice((0.004, 0.2))
    if number > 0.8 * STEPS and dice.random() < 0.1:
        options["queue"] = "other"
    if dice.random() < 0.02:
        options["params"] = {"text": "x" * 3_000}
    priority, attempts = int(dice.random() < 0.1), dice.choice((1, 3, 3))
    return Job(f"job {number}", print, priority=priority, max_attempts=attempts, **options)


@pytest.mark.parametrize("seed", range(6))
def test_same_as_without(pair: Pair, now: list[int], seed: int) -> None:
    """Whatever two stores are told, the one that takes short cuts ends with the same rows."""
    dice = random.Random(seed)
    known: list[str] = []
    for step in range(STEPS):
        now[0] += dice.choice((300, 700, 1_500, 1_500, 40_000)) if dice.random() < 0.2 else 500
        what = dice.random()
        if what < 0.1 or not known:
            jobs = [some_job(dice, step, known) for _ in range(dice.randint(1, 20))]
            pair.submit(*jobs)
            known = (known + [job.id for job in jobs])[-40:]
        elif what < 0.12:
            uuid = dice.choice(known)
            pair.both(lambda store, uuid=uuid: store.cancel(uuid, running=True))
        elif what < 0.13:
            pair.execute("UPDATE queue SET paused = 0 WHERE id = 1")
        elif what < 0.135:
            pair.execute("UPDATE queue SET paused = 1 WHERE id = 1")
        elif what < 0.14:
            pair.both(lambda store: store.glance())
        elif what < 0.142:
            pair.retire()
        elif what < 0.15:
            pair.counters(pair.paths[0])
        else:
            ended = dice.sample(pair.held, min(len(pair.held), dice.choice((*[1] * 20, 0, 2))))
            outcomes = [pair.ended(claim, dice.choice(ENDS)) for claim in ended]
            if outcomes and dice.random() < 0.1:
                outcomes[0] = outcomes[0]._replace(output=Output("log", 0, 5))
            pair.settle(outcomes, dice.choice((*[1] * 20, 0, 4)))
    assert pair.short_cuts > STEPS / 20
    pair.close_and_compare()
    first, second = pair.figures()
    assert first == pytest.approx(second)


class TestUnusual:
    """What the usual settle leaves to the other one."""

    @pytest.fixture
    def pair(self, pair: Pair, now: list[int]) -> Pair:
        """Give a pair of busy stores: each settles in the usual way."""
        pair.submit(*(Job("job", print, max_attempts=3) for _ in range(20)))
        pair.settle([], 1)
        self.pass_on(pair, now)
        assert pair.short_cuts == 1
        return pair

    def pass_on(self, pair: Pair, now: list[int], **fields: Any) -> None:  # noqa: ANN401
        """Complete what is held, and claim one."""
        now[0] += 500
        (held,) = pair.held
        pair.settle([pair.ended(held, Verdict.COMPLETED, **fields)], 1)

    def test_asked_to_end(self, pair: Pair, now: list[int]) -> None:
        """A job that somebody asked to end is cancelled, though it has completed."""
        (held,) = pair.held
        pair.both(lambda store: store.cancel(held.uuid, running=True))
        self.pass_on(pair, now)
        assert pair.quick.states([held.uuid]) == {held.uuid: "cancelled"}
        assert pair.short_cuts == 1
        pair.close_and_compare()

    def test_child(self, pair: Pair, now: list[int]) -> None:
        """A child that came while its parent ran is told."""
        (held,) = pair.held
        child = Job("child", print, dependencies=[held.uuid])
        pair.submit(child)
        self.pass_on(pair, now)
        assert pair.quick.states([child.id]) == {child.id: "ready"}
        pair.close_and_compare()

    def test_many_children(self, pair: Pair, now: list[int]) -> None:
        """Children that are too many for one transaction are told by those that follow."""
        (held,) = pair.held
        children = [Job("child", print, dependencies=[held.uuid]) for _ in range(1_200)]
        pair.submit(*children)
        for _ in range(3):
            self.pass_on(pair, now)
        assert set(pair.quick.states([job.id for job in children]).values()) == {"ready"}
        pair.close_and_compare()

    def test_lost_claim(self, pair: Pair, now: list[int]) -> None:
        """The outcome of a claim that was lost is dropped, and the next job is claimed."""
        (held,) = pair.held
        pair.both(lambda store: store.settle(pair.worker, [pair.ended(held, Verdict.RELEASED)]))
        self.pass_on(pair, now)
        assert pair.short_cuts == 1
        assert pair.held
        pair.close_and_compare()

    def test_paused_queue(self, pair: Pair, now: list[int]) -> None:
        """A queue that was paused a moment ago gives no more jobs."""
        pair.execute("UPDATE queue SET paused = 1")
        self.pass_on(pair, now)
        assert pair.held == []
        pair.close_and_compare()

    def test_long_parameters_ahead(self, pair: Pair, now: list[int]) -> None:
        """Jobs with long parameters are not kept in memory before they are claimed."""
        pair.submit(*(Job("big", print, {"text": "x" * 10_000}, priority=1) for _ in range(3)))
        for _ in range(3):
            self.pass_on(pair, now)
            known = pair.quick._look_ahead.known.values()
            assert all(len(str(each)) < 5_000 for each in known)
        assert pair.held[0].params == '{"text":"' + "x" * 10_000 + '"}'
        pair.close_and_compare()

    def test_unlike_jobs_ahead(self, pair: Pair, now: list[int]) -> None:
        """Of jobs that are read ahead each is what it is, however they follow each other."""
        kinds: list[dict[str, Any]] = [
            {"timeout": 7, "cwd": "/ä \"'\\", "max_memory": "1T"},
            {"name": "日本 \n", "pass_parent_results": True, "max_attempts": 1},
            {"params": {"text": "\u0000 \U0001f600"}},
        ]
        jobs = [Job(**{"name": "job", "function": print, **kinds[n % 3]}) for n in range(12)]
        pair.submit(*jobs)
        for _ in range(25):
            self.pass_on(pair, now)
        known = pair.quick._look_ahead.known.values()
        assert {rest is None for _, _, rest in known} == {True, False}
        while pair.held:
            self.pass_on(pair, now)
        assert set(pair.quick.states([job.id for job in jobs]).values()) == {"completed"}
        pair.close_and_compare()

    def test_counters(self, pair: Pair, now: list[int]) -> None:
        """Counters are right after each settle, though the table of them is not written."""
        for done in range(2, 12):
            self.pass_on(pair, now)
            (_, states) = zip(*(row[:2] for row in pair.counters(pair.paths[0])), strict=True)
            assert states == ("completed", "ready", "running")
            assert pair.quick.counts()["completed"] == done
            assert pair.carried() == done
        assert pair.short_cuts == done

    @pytest.mark.parametrize("verdict", list(Verdict))
    def test_carried_counts(self, pair: Pair, now: list[int], verdict: Verdict) -> None:
        """However a job ends that carries moves of others, they are counted once."""
        for _ in range(5):
            self.pass_on(pair, now)
        assert pair.carried() > 1
        (held,) = pair.held
        pair.settle([pair.ended(held, verdict)], 0)
        assert pair.carried() == 0
        pair.close_and_compare()

    def test_carried_counts_of_a_dead_worker(self, pair: Pair, now: list[int]) -> None:
        """What a dead worker's job carries is counted by who takes the job back."""
        for _ in range(5):
            self.pass_on(pair, now)
        pair.retire()
        assert pair.carried() == 0
        assert dict(pair.quick.counts())["completed"] == pair.short_cuts
        pair.close_and_compare()

    def test_carried_counts_with_a_child(self, pair: Pair, now: list[int]) -> None:
        """A job that carries moves and has got a child ends in the other way."""
        for _ in range(5):
            self.pass_on(pair, now)
        pair.submit(Job("child", print, dependencies=[pair.held[0].uuid]))
        self.pass_on(pair, now)
        assert pair.carried() == 0
        pair.close_and_compare()

    def test_output(self, pair: Pair, now: list[int]) -> None:
        """A job that has printed is as usual as any."""
        (held,) = pair.held
        self.pass_on(pair, now, output=Output("log", 3, 9))
        assert pair.short_cuts == 2
        (row,) = pair.quick.executions(held.job)
        assert (row.output_log, row.output_start, row.output_end) == ("log", 3, 9)

    def test_failed_commit(
        self, pair: Pair, now: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What could not be committed has not happened, and can be tried again."""
        connection = pair.quick._connection

        def fail(**_: object) -> None:
            raise OSError

        with monkeypatch.context() as broken:
            broken.setattr(connection, "commit", fail)
            (held,) = pair.held
            with pytest.raises(OSError, match=r"^$"):
                pair.quick.settle(pair.worker, [pair.ended(held, Verdict.COMPLETED)], 1, LOG)
        assert pair.quick.states([held.uuid]) == {held.uuid: "running"}
        self.pass_on(pair, now)
        pair.close_and_compare()


def test_log_is_moved_in_time(tmp_path: Path) -> None:
    """The log is looked at after each eighth small commit, and never grows far."""
    path, longest, most_of_one_commit = tmp_path / "gigq.db", 200_000, 16_384
    SqliteStore(path).close()
    with closing(SqliteStore(path, durable=False, checkpoint_bytes=longest)) as store:
        store.submit([Job("job", print).to_record(clock.now()) for _ in range(200)])
        worker = store.register("worker", own_identity())
        claims, lengths = store.settle(worker, (), 1).claims, []
        while claims:
            end, (held,) = clock.now(), claims
            key = held.execution, held.job, held.queue_id
            ended = Outcome(*key, Verdict.COMPLETED, "1", started_at=end - 2, ended_at=end - 1)
            claims = store.settle(worker, [ended], 1).claims
            lengths.append(path.with_name("gigq.db-wal").stat().st_size)
    assert longest < max(lengths) < longest + 8 * most_of_one_commit
