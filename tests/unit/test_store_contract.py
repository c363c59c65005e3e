"""What `gigq.queue.store.Store` promises: each test runs against every store in `STORES`."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from harness import until
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gigq import Job
from gigq.queue import clock
from gigq.queue.errors import (
    DuplicateJobError,
    InvalidJobError,
    StoreBusyError,
    UnknownDependencyError,
    WorkflowError,
)
from gigq.queue.identity import own_identity
from gigq.queue.outlook import BELIEVED
from gigq.queue.records import (
    Claim,
    JobFilter,
    JobRow,
    NewWorkflow,
    OpenExecution,
    Outcome,
    Output,
    Progress,
    Settled,
)
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import FINAL, PENDING, State, Verdict
from gigq.queue.store import MOST_JOBS_AT_ONCE, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_TOLD = 1000  # children that one settle may move
HOUR = 3600


@cache
def fresh_database() -> bytes:
    """Set a database up once, for all tests: a copy of it waits for no disk."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "gigq.db")
        SqliteStore(path).close()
        return path.read_bytes()


def sqlite_store(folder: Path) -> Store:
    """Open the store of one file."""
    path = folder / "gigq.db"
    if not path.exists():
        path.write_bytes(fresh_database())
    return SqliteStore(path, durable=False)


STORES: dict[str, Callable[[Path], Store]] = {"sqlite": sqlite_store}


CLEARED = ("completed", "cancelled")


class Bench:
    """A store with one worker, and short words for what tests do with it."""

    def __init__(self, store: Store) -> None:
        """Register the worker."""
        self.store = store
        self.worker = store.register("worker", own_identity())

    def submit(self, *parents: str, **options: Any) -> str:  # noqa: ANN401
        """Submit a job that waits for these; its id."""
        return self.submit_many(1, *parents, **options)[0]

    def submit_mixed(self, count: int) -> list[str]:
        """Submit jobs of mixed priorities to three queues; gives them as they are to be claimed."""
        dice = random.Random(count)
        submitted = []
        for age in range(count):
            priority = dice.randint(-2, 2)
            uuid = self.submit(priority=priority, queue=dice.choice("abc"))
            submitted.append((-priority, age, uuid))
        return [uuid for _, _, uuid in sorted(submitted)]

    def submit_many(self, count: int, *parents: str, **options: Any) -> list[str]:  # noqa: ANN401
        """Submit so many jobs at once; their ids."""
        name = options.pop("name", "job")
        jobs = [Job(name, print, dependencies=parents, **options) for _ in range(count)]
        now = clock.now()
        self.store.submit([job.to_record(now) for job in jobs])
        return [job.id for job in jobs]

    def take(self, uuid: str | None = None, worker: int | None = None) -> Claim:
        """Claim one job; this one, if one is named."""
        (claim,) = self.store.settle(worker or self.worker, (), claim=1).claims
        assert uuid in (None, claim.uuid)
        return claim

    def settle(
        self,
        claim: Claim,
        verdict: Verdict = Verdict.COMPLETED,
        **fields: Any,  # noqa: ANN401
    ) -> Settled:
        """End a claimed job."""
        return self.store.settle(self.worker, [outcome(claim, verdict, **fields)])

    def end(self, uuid: str, verdict: Verdict = Verdict.COMPLETED, **fields: Any) -> Claim:  # noqa: ANN401
        """Claim this job, which is next, and end it so."""
        claim = self.take(uuid)
        assert self.settle(claim, verdict, **fields).dropped == []
        return claim

    def row(self, uuid: str) -> JobRow:
        """Give a job that is there."""
        found = self.store.job(uuid)
        assert found is not None
        return found

    def state(self, uuid: str) -> str:
        """Give a job's state."""
        return self.row(uuid).state

    def states(self, *uuids: str) -> list[str]:
        """Give the states of jobs."""
        return [self.state(uuid) for uuid in uuids]

    def claim_order(self) -> list[str]:
        """Claim and complete whatever can be claimed; the ids in their order."""
        order = []
        while claims := self.store.settle(self.worker, (), claim=1).claims:
            order.append(claims[0].uuid)
            self.settle(claims[0])
        return order

    def count(self, state: str) -> int:
        """Give the counter of a state."""
        return self.store.counts().get(state, 0)


def outcome(held: Claim | OpenExecution, verdict: Verdict, **fields: Any) -> Outcome:  # noqa: ANN401
    """Give the outcome of an execution."""
    return Outcome(held.execution, held.job, held.queue_id, verdict, **fields)


def assert_whole(path: Path) -> None:
    """See that each reference of a database of SQLite's leads somewhere."""
    if path.exists():
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.fixture(params=STORES)
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Give what opens the test's database once more."""
    opened = STORES[request.param]

    def again() -> Store:
        store = opened(tmp_path)
        request.addfinalizer(store.close)
        return store

    yield again
    assert_whole(tmp_path / "gigq.db")


@pytest.fixture
def store(reopen: Callable[[], Store]) -> Store:
    """Give an empty store."""
    return reopen()


@pytest.fixture
def bench(store: Store) -> Bench:
    """Give a worker at an empty store."""
    return Bench(store)


def records(*jobs: Job) -> list[Any]:
    """Give jobs as they are submitted."""
    return [job.to_record(clock.now()) for job in jobs]


class TestSubmit:
    """All of the jobs, or none."""

    def test_all_are_there(self, bench: Bench, reopen: Callable[[], Store]) -> None:
        """Whoever opens the store afterwards finds every job of a submit, in its state."""
        parent = Job("parent", print)
        child = Job("child", print, dependencies=[parent.id])
        later = Job("later", print, delay=HOUR)
        bench.store.submit(records(parent, child, later))
        other = reopen()
        assert other.states([parent.id, child.id, later.id]) == {
            parent.id: "ready",
            child.id: "blocked",
            later.id: "scheduled",
        }

    def test_values_come_back(self, bench: Bench) -> None:
        """What a job was submitted with stands in its row and in its claim."""
        values = {"params": {"path": "ä.csv", "n": [1, None, 0.5]}, "timeout": 1.5}
        uuid = bench.submit(
            name="näme", priority=7, max_attempts=2, description="why", queue="mail", **values
        )
        row = bench.row(uuid)
        assert (row.name, row.priority, row.max_attempts) == ("näme", 7, 2)
        assert (row.description, row.queue, row.attempts, row.timeout) == (
            "why",
            "mail",
            0,
            1500000,
        )
        claim = bench.take(uuid)
        assert (claim.name, claim.attempt, claim.max_attempts) == ("näme", 1, 2)
        assert (claim.function_module, claim.function_name) == ("builtins", "print")
        assert claim.timeout == 1500000
        assert claim.params == row.params

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_unknown_parent_stops_all(self, bench: Bench, place: int) -> None:
        """When one job waits for a job that does not exist, none is added."""
        jobs = [Job(f"job {number}", print, queue=f"new {number}") for number in range(3)]
        jobs[place].dependencies.append("nobody")
        with pytest.raises(UnknownDependencyError, match=f"'job {place}' depends on nobody"):
            bench.store.submit(records(*jobs))
        assert bench.store.jobs(JobFilter()) == []
        assert sum(bench.store.counts().values()) == 0
        # The queues that were new then are not taken for known.
        assert [bench.submit(queue=f"new {number}") for number in range(3)] == bench.claim_order()

    def test_parent_after_child_is_unknown(self, bench: Bench) -> None:
        """A parent that stands behind its child in the same call does not count."""
        parent = Job("parent", print)
        child = Job("child", print, dependencies=[parent.id])
        with pytest.raises(UnknownDependencyError):
            bench.store.submit(records(child, parent))
        assert bench.store.states([parent.id, child.id]) == {}

    def test_second_submit_of_an_id_is_refused(self, bench: Bench) -> None:
        """An id that is there already, or twice in one call, stops the whole submit."""
        first, new = Job("first", print), Job("new", print)
        bench.store.submit(records(first))
        for jobs in ([new, first], [new, new]):
            with pytest.raises(DuplicateJobError, match="make a new Job"):
                bench.store.submit(records(*jobs))
        assert bench.store.states([first.id, new.id]) == {first.id: "ready"}
        assert bench.store.counts()["ready"] == 1

    def test_too_many_at_once(self, bench: Bench) -> None:
        """More than MOST_JOBS_AT_ONCE jobs are refused before anything is written."""
        (record,) = records(Job("job", print))
        with pytest.raises(InvalidJobError, match=r"100,001 jobs .* in parts"):
            bench.store.submit([record] * (MOST_JOBS_AT_ONCE + 1))
        assert bench.store.job(record.uuid) is None

    def test_a_parent_named_twice_counts_once(self, bench: Bench) -> None:
        """A child that names its parent twice waits for it once."""
        parent = bench.submit()
        child = bench.submit(parent, parent)
        assert [uuid for uuid, _, _ in bench.store.parents(bench.row(child).job)] == [parent]
        bench.end(parent)
        assert bench.state(child) == "ready"

    def test_workflow_grows(self, bench: Bench) -> None:
        """Jobs submitted with the same workflow at different times are its members."""
        workflow = NewWorkflow("0b5e", "nightly")
        first, second = Job("first", print), Job("second", print)
        second.dependencies.append(first.id)
        bench.store.submit(records(first), workflow)
        bench.store.submit(records(second), workflow)
        bench.submit()
        (found,) = bench.store.workflows("nightly")
        members = bench.store.jobs(JobFilter(workflow=found.workflow))
        assert [row.uuid for row in members] == [second.id, first.id]
        assert bench.store.edges(found.workflow) == [(first.id, second.id)]
        assert bench.store.workflows("0b") == [found]


class TestOrder:
    """Which job is claimed next."""

    def test_priority_then_age(self, bench: Bench) -> None:
        """Over several queues, the higher priority is claimed first, then the older."""
        in_order = bench.submit_mixed(120)
        assert bench.claim_order() == in_order

    def test_batch_keeps_the_order(self, bench: Bench) -> None:
        """A claim of several gives them in the order in which single ones would come."""
        in_order = bench.submit_mixed(60)
        claimed: list[str] = []
        while claims := bench.store.settle(bench.worker, (), claim=7).claims:
            assert len(claims) == min(7, 60 - len(claimed))
            claimed += [claim.uuid for claim in claims]
        assert claimed == in_order

    def test_once_only_is_claimed_alone(self, bench: Bench) -> None:
        """A job that may be begun only once is in no batch with others."""
        uuids = [bench.submit(max_attempts=most) for most in (2, 3, 1, 1, 5, 2)]
        batches = []
        while claims := bench.store.settle(bench.worker, (), claim=9).claims:
            batches.append([claim.uuid for claim in claims])
        assert batches == [uuids[:2], uuids[2:3], uuids[3:4], uuids[4:]]

    def test_times_within_a_batch(self, bench: Bench) -> None:
        """An outcome may say when its execution really began and ended."""
        bench.submit_many(2)
        first, second = bench.store.settle(bench.worker, (), claim=2).claims
        bench.settle(first)
        bench.settle(second, started_at=7, ended_at=9)
        rows = [bench.store.executions(claim.job)[0] for claim in (first, second)]
        assert rows[0].ended_at is not None
        assert rows[0].started_at <= rows[0].ended_at
        assert (rows[1].started_at, rows[1].ended_at) == (7, 9)

    def test_ended_chain_goes_on_at_once(self, bench: Bench) -> None:
        """One settle ends a job, makes its child ready, and claims that child."""
        parent = bench.submit()
        child = bench.submit(parent)
        claim = bench.take(parent)
        settled = bench.store.settle(bench.worker, [outcome(claim, Verdict.COMPLETED)], claim=1)
        assert [each.uuid for each in settled.claims] == [child]
        assert not settled.more
        others = bench.submit_many(2, child)
        settled = bench.store.settle(
            bench.worker, [outcome(settled.claims[0], Verdict.COMPLETED)], claim=1
        )
        assert [each.uuid for each in settled.claims] == others[:1]
        assert settled.more

    def test_dependents_keep_their_priority(self, bench: Bench) -> None:
        """A child that became ready does not wait behind jobs of lower priority."""
        parent = bench.submit(priority=9)
        bench.submit_many(3)
        child = bench.submit(parent, priority=1)
        bench.end(parent)
        assert bench.claim_order()[0] == child

    def test_no_two_claims_of_one_job(self, bench: Bench, reopen: Callable[[], Store]) -> None:
        """What one worker has claimed is not given to another."""
        uuids = bench.submit_many(10)
        other = reopen()
        second = other.register("second", own_identity())
        claimed = [bench.take().uuid for _ in range(5)]
        claimed += [claim.uuid for claim in other.settle(second, (), claim=9).claims]
        assert claimed == uuids

    def test_nothing_to_claim(self, bench: Bench) -> None:
        """Without a ready job a claim gives nothing, and a glance says so."""
        bench.submit(bench.submit(delay=HOUR))
        assert bench.store.settle(bench.worker, (), claim=3) == Settled([], [], more=False)
        assert not bench.store.glance().ready
        bench.submit()
        assert bench.store.glance().ready


class TestFence:
    """An outcome counts only while its execution holds its job."""

    def test_lost_claim_is_dropped_and_the_rest_stands(
        self, bench: Bench, reopen: Callable[[], Store]
    ) -> None:
        """In one settle, what was lost is dropped and given back; the others are recorded."""
        bench.submit_many(3, max_attempts=1)
        other = reopen()
        lost = other.register("lost", own_identity())
        stolen = bench.take(worker=lost)
        kept = [bench.take(), bench.take()]
        bench.store.retire(lost, lambda held: outcome(held, Verdict.LOST, error="died"))
        late = outcome(stolen, Verdict.COMPLETED, result='"late"')
        ended = [outcome(claim, Verdict.COMPLETED, result="1") for claim in kept]
        settled = other.settle(bench.worker, [ended[0], late, ended[1]])
        assert settled.dropped == [late]
        assert bench.states(*(claim.uuid for claim in kept)) == ["completed"] * 2
        row = bench.row(stolen.uuid)
        assert (row.state, row.result, row.error) == ("failed", None, "died")

    @pytest.mark.parametrize(
        "verdict", [Verdict.RELEASED, Verdict.STOPPED, Verdict.FAILED, Verdict.LOST]
    )
    def test_old_execution_of_a_job_claimed_again(self, bench: Bench, verdict: Verdict) -> None:
        """After its job was given back and claimed again, an execution can end nothing."""
        uuid = bench.submit(max_attempts=3)
        old = bench.take(uuid)
        bench.settle(old, verdict)
        assert bench.settle(old).dropped
        new = bench.take(uuid)
        assert new.execution != old.execution
        for late in Verdict:
            assert bench.settle(old, late).dropped == [outcome(old, late)]
            assert bench.state(uuid) == "running"
        assert not bench.settle(new, result="2").dropped
        assert bench.row(uuid).result == "2"

    def test_old_execution_after_a_requeue(self, bench: Bench) -> None:
        """After a requeue, though the attempt's number is 1 again, the old execution is fenced."""
        uuid = bench.submit(max_attempts=1)
        old = bench.take(uuid)
        bench.settle(old, Verdict.FAILED)
        assert bench.store.requeue(uuid)
        assert bench.settle(old).dropped
        new = bench.take(uuid)
        assert new.attempt == old.attempt == 1
        assert bench.settle(old).dropped
        assert bench.state(uuid) == "running"

    def test_same_outcome_twice(self, bench: Bench) -> None:
        """An outcome that is recorded already is dropped the second time, also in one call."""
        uuid = bench.submit()
        claim = bench.take(uuid)
        first = outcome(claim, Verdict.COMPLETED, result="1")
        second = outcome(claim, Verdict.FAILED, error="no")
        assert bench.store.settle(bench.worker, [first, second]).dropped == [second]
        assert bench.store.settle(bench.worker, [second]).dropped == [second]
        assert (bench.row(uuid).state, bench.row(uuid).result) == ("completed", "1")

    def test_outcome_of_a_cleared_job(self, bench: Bench) -> None:
        """An outcome of a job that was deleted is dropped."""
        uuid = bench.submit()
        claim = bench.end(uuid)
        bench.store.clear()
        assert bench.settle(claim).dropped
        assert bench.store.job(uuid) is None

    def test_execution_keys_are_never_reused(self, bench: Bench) -> None:
        """Through releases, retries, requeues and deletions no execution's key comes twice."""
        keys: list[int] = []
        for _ in range(3):
            uuid = bench.submit(max_attempts=2)
            ends = (Verdict.RELEASED, Verdict.STOPPED, Verdict.FAILED, Verdict.FAILED)
            keys += [bench.end(uuid, verdict).execution for verdict in ends]
            assert bench.store.requeue(uuid)
            keys.append(bench.end(uuid).execution)
            bench.store.clear()
        assert len(set(keys)) == len(keys) == 15


class TestCharging:
    """What each verdict makes of a job and of its attempts."""

    @pytest.mark.parametrize(
        ("verdict", "most", "state", "attempts"),
        [
            (Verdict.COMPLETED, 1, "completed", 1),
            (Verdict.COMPLETED, 2, "completed", 1),
            (Verdict.FAILED, 2, "ready", 1),
            (Verdict.FAILED, 1, "failed", 1),
            (Verdict.TIMEOUT, 2, "ready", 1),
            (Verdict.TIMEOUT, 1, "timeout", 1),
            (Verdict.LOST, 2, "ready", 1),
            (Verdict.LOST, 1, "failed", 1),
            (Verdict.STOPPED, 2, "ready", 0),
            (Verdict.STOPPED, 1, "failed", 1),
            (Verdict.RELEASED, 2, "ready", 0),
            (Verdict.RELEASED, 1, "ready", 0),
        ],
    )
    def test_verdict(
        self, bench: Bench, verdict: Verdict, most: int, state: str, attempts: int
    ) -> None:
        """A first execution that ends so leaves its job in this state, with so many charged."""
        uuid = bench.submit(max_attempts=most)
        claim = bench.take(uuid)
        assert bench.row(uuid).attempts == 1
        bench.settle(claim, verdict, error="why")
        row = bench.row(uuid)
        assert (row.state, row.attempts) == (state, attempts)

    @pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.TIMEOUT, Verdict.LOST])
    def test_attempts_are_bounded(self, bench: Bench, verdict: Verdict) -> None:
        """A job is begun at most max_attempts times, whatever keeps ending it."""
        uuid = bench.submit(max_attempts=3)
        attempts = [bench.end(uuid, verdict).attempt for _ in range(3)]
        assert attempts == [1, 2, 3]
        assert bench.state(uuid) == ("timeout" if verdict is Verdict.TIMEOUT else "failed")
        assert bench.store.settle(bench.worker, (), claim=1).claims == []

    def test_stop_of_the_last_attempt_is_given_back(self, bench: Bench) -> None:
        """A job that may run more than once is pending again after a stop in its last attempt."""
        uuid = bench.submit(max_attempts=2)
        bench.end(uuid, Verdict.FAILED)
        bench.end(uuid, Verdict.STOPPED)
        assert (bench.state(uuid), bench.row(uuid).attempts) == ("ready", 1)
        bench.end(uuid, Verdict.FAILED)
        assert bench.state(uuid) == "failed"

    def test_stop_of_an_only_attempt_says_so(self, bench: Bench) -> None:
        """A job that may run once fails when it is stopped, "stopped by shutdown"."""
        uuid = bench.submit(max_attempts=1)
        bench.end(uuid, Verdict.STOPPED)
        assert bench.row(uuid).error == "stopped by shutdown"

    def test_no_retry(self, bench: Bench) -> None:
        """An outcome that forbids it is not retried, whatever attempts are left."""
        uuid = bench.submit(max_attempts=9)
        bench.end(uuid, Verdict.FAILED, retry=False)
        assert (bench.state(uuid), bench.row(uuid).attempts) == ("failed", 1)

    def test_begun_too_often(self, bench: Bench, tmp_path: Path) -> None:
        """A job whose runs can no longer be told apart fails, whatever attempts are left."""
        uuid, other = bench.submit(max_attempts=1 << 40), bench.submit()
        with closing(sqlite3.connect(tmp_path / "gigq.db", isolation_level=None)) as database:
            database.execute("UPDATE job SET begun = (1 << 24) - 18 WHERE uuid = ?", (uuid,))
        bench.end(uuid, Verdict.FAILED)
        assert bench.state(uuid) == "ready"
        bench.end(uuid, Verdict.RELEASED)
        for _ in range(3):
            bench.end(uuid, Verdict.RELEASED)
            assert bench.state(uuid) == "failed"
            assert "16 million times" in str(bench.row(uuid).error)
            assert bench.store.requeue(uuid)
        bench.end(uuid)
        bench.end(other)

    def test_what_is_recorded(self, bench: Bench) -> None:
        """All that an outcome says can be read back with the execution."""
        uuid = bench.submit(max_attempts=1)
        told = {
            "error": "no such file",
            "cause": "raised",
            "traceback": "Traceback",
            "stacks": "Thread 0x1",
            "output": Output("worker.log", 10, 25),
        }
        claim = bench.end(uuid, Verdict.FAILED, **told)
        (execution,) = bench.store.executions(claim.job)
        assert execution.execution == claim.execution
        assert (execution.verdict, execution.error) == ("failed", "no such file")
        assert (execution.cause, execution.traceback) == ("raised", "Traceback")
        assert execution.stacks == "Thread 0x1"
        output = (execution.output_log, execution.output_start, execution.output_end)
        assert output == ("worker.log", 10, 25)
        assert execution.worker_name == "worker"
        assert execution.ended_at is not None
        assert execution.started_at <= execution.ended_at

    def test_history_of_attempts(self, bench: Bench) -> None:
        """Attempts are listed oldest first; those that were never begun are not."""
        uuid = bench.submit(max_attempts=2)
        bench.end(uuid, Verdict.RELEASED)
        bench.end(uuid, Verdict.FAILED)
        claim = bench.end(uuid, Verdict.COMPLETED)
        executions = bench.store.executions(claim.job)
        assert [(each.attempt, each.verdict) for each in executions] == [
            (1, "failed"),
            (2, "completed"),
        ]


class TestTime:
    """Jobs that are not due."""

    def test_retry_waits_for_its_delay(self, bench: Bench) -> None:
        """A failed attempt with a retry_delay is due that much later, and not claimed before."""
        uuid = bench.submit(retry_delay=HOUR)
        before = clock.now()
        bench.end(uuid, Verdict.FAILED)
        after = clock.now()
        due = bench.row(uuid).due_at
        assert due is not None
        assert before <= due - HOUR * 1_000_000 <= after
        assert bench.state(uuid) == "scheduled"
        assert bench.store.glance().next_due == due
        assert bench.store.settle(bench.worker, (), claim=1).claims == []

    @pytest.mark.parametrize("verdict", [Verdict.RELEASED, Verdict.STOPPED])
    def test_what_is_given_back_is_due_at_once(self, bench: Bench, verdict: Verdict) -> None:
        """A retry_delay holds up failures only."""
        uuid = bench.submit(retry_delay=HOUR)
        bench.end(uuid, verdict)
        assert bench.state(uuid) == "ready"

    def test_due_jobs_are_promoted(self, bench: Bench) -> None:
        """Whoever claims finds all jobs that have become due, many too, by priority and age."""
        due = clock.now() + 200_000
        jobs = [Job("job", print, priority=number % 2) for number in range(450)]
        bench.store.submit([job.to_record(due)._replace(due_at=due) for job in jobs])
        assert bench.count("scheduled") == 450
        assert bench.store.glance().next_due == due
        until(lambda: clock.now() > due)
        claimed = set(bench.claim_order())
        assert claimed == {job.id for job in jobs}
        assert bench.store.glance().next_due is None

    def test_promoted_job_keeps_its_age(self, bench: Bench) -> None:
        """A job that became due comes before younger ones of its priority."""
        due = clock.now() + 50_000
        old = Job("old", print)
        bench.store.submit([old.to_record(due)._replace(due_at=due)])
        young = bench.submit()
        until(lambda: clock.now() > due)
        assert bench.claim_order() == [old.id, young]

    def test_idle_worker_sees_all_at_once(self, bench: Bench, reopen: Callable[[], Store]) -> None:
        """Who finds no job looks again, however lately it looked: another queue, what is due."""
        other = Bench(reopen())
        for _ in range(5):
            assert bench.store.settle(bench.worker, (), claim=1).claims == []
            elsewhere = other.submit(queue=f"queue of {clock.now()}")
            assert bench.end(elsewhere).uuid == elsewhere
            job = Job("scheduled", print)
            due = clock.now() + 500
            other.store.submit([job.to_record(due)._replace(due_at=due)])
            until(lambda due=due: clock.now() > due)
            bench.end(job.id)

    def test_busy_worker_sees_it_soon(self, bench: Bench, reopen: Callable[[], Store]) -> None:
        """Who always finds a job sees within moments what another process has scheduled."""
        other = Bench(reopen())
        other.submit_many(20)
        bench.settle(bench.take())
        urgent = Job("urgent", print, priority=1)
        due = clock.now() + 500
        other.store.submit([urgent.to_record(due)._replace(due_at=due)])
        until(lambda: clock.now() > due + BELIEVED)
        bench.end(urgent.id)
        assert bench.count("ready") == 19

    def test_past_due_time_is_ready(self, bench: Bench) -> None:
        """A job whose time has passed when it is submitted is ready at once."""
        uuid = bench.submit(delay=0)
        assert bench.state(uuid) == "ready"

    def test_child_waits_for_both(self, bench: Bench) -> None:
        """A child with a time of its own is scheduled when its parents have ended."""
        parent = bench.submit()
        child = bench.submit(parent, delay=HOUR)
        assert bench.state(child) == "blocked"
        bench.end(parent)
        assert bench.state(child) == "scheduled"

    def test_revived_child_keeps_its_time(self, bench: Bench) -> None:
        """A child that was cancelled because of its parent comes back with its own due time."""
        parent = bench.submit(max_attempts=1)
        child = bench.submit(parent, delay=HOUR)
        due = bench.row(child).due_at
        bench.end(parent, Verdict.FAILED)
        assert bench.state(child) == "cancelled"
        bench.store.requeue(parent)
        bench.end(parent)
        assert (bench.state(child), bench.row(child).due_at) == ("scheduled", due)


class TestDependants:
    """What a job's end means for those that wait for it."""

    def test_all_parents_have_to_complete(self, bench: Bench) -> None:
        """A child is ready when its last parent has completed, and not before."""
        parents = [bench.submit(priority=number) for number in range(3, 0, -1)]
        child = bench.submit(*parents)
        for parent in parents:
            assert bench.state(child) == "blocked"
            bench.end(parent)
        assert bench.state(child) == "ready"

    def test_retry_is_no_end(self, bench: Bench) -> None:
        """A failed attempt that is retried tells the children nothing."""
        parent = bench.submit(max_attempts=2)
        child = bench.submit(parent)
        bench.end(parent, Verdict.FAILED)
        assert bench.state(child) == "blocked"

    @pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.TIMEOUT, Verdict.LOST])
    def test_policies(self, bench: Bench, verdict: Verdict) -> None:
        """A failed parent cancels, readies or leaves blocked, as each child asks for."""
        parent = bench.submit(max_attempts=1)
        cancel, run, block = (
            bench.submit(parent, on_parent_failure=each) for each in ("cancel", "run", "block")
        )
        bench.end(parent, verdict)
        assert bench.states(cancel, run, block) == ["cancelled", "ready", "blocked"]
        assert bench.row(cancel).cause == "parent_failed"

    def test_policies_after_a_cancel(self, bench: Bench) -> None:
        """A cancelled parent does to its children what a failed one does."""
        parent = bench.submit()
        cancel, run, block = (
            bench.submit(parent, on_parent_failure=each) for each in ("cancel", "run", "block")
        )
        assert bench.store.cancel(parent)
        assert bench.states(cancel, run, block) == ["cancelled", "ready", "blocked"]

    def test_run_waits_for_the_others(self, bench: Bench) -> None:
        """A child that runs after failures too still waits until every parent has ended."""
        failing = bench.submit(max_attempts=1, priority=1)
        working = bench.submit()
        clean_up = bench.submit(failing, working, on_parent_failure="run")
        bench.end(failing, Verdict.FAILED)
        assert bench.state(clean_up) == "blocked"
        bench.end(working)
        assert bench.state(clean_up) == "ready"

    def test_cascade(self, bench: Bench) -> None:
        """Children of cancelled children are cancelled too; what runs after failures is ready."""
        top = bench.submit(max_attempts=1)
        middle = bench.submit(top)
        bottom = bench.submit(middle)
        clean_up = bench.submit(bottom, on_parent_failure="run")
        bench.end(top, Verdict.FAILED)
        assert bench.states(middle, bottom, clean_up) == ["cancelled", "cancelled", "ready"]

    def test_diamond(self, bench: Bench) -> None:
        """A job reached by two ways from a failed one is cancelled once."""
        top = bench.submit(max_attempts=1)
        sides = [bench.submit(top), bench.submit(top)]
        bottom = bench.submit(*sides)
        bench.end(top, Verdict.FAILED)
        assert bench.states(*sides, bottom) == ["cancelled"] * 3
        assert bench.count("cancelled") == 3

    @pytest.mark.parametrize(
        ("verdict", "born"),
        [
            (Verdict.COMPLETED, ["ready", "ready", "ready"]),
            (Verdict.FAILED, ["cancelled", "ready", "blocked"]),
        ],
    )
    def test_born_after_the_parents_end(
        self, bench: Bench, verdict: Verdict, born: list[str]
    ) -> None:
        """A child of a job that has ended is born as that end and its own wish ask for."""
        parent = bench.submit(max_attempts=1)
        bench.end(parent, verdict)
        children = [
            bench.submit(parent, on_parent_failure=each) for each in ("cancel", "run", "block")
        ]
        assert bench.states(*children) == born

    def test_born_cancelled_in_a_row(self, bench: Bench) -> None:
        """A whole chain submitted below a failed job is born cancelled."""
        parent = bench.submit(max_attempts=1)
        bench.end(parent, Verdict.FAILED)
        first = Job("first", print, dependencies=[parent])
        second = Job("second", print, dependencies=[first.id])
        bench.store.submit(records(first, second))
        assert bench.states(first.id, second.id) == ["cancelled"] * 2
        bench.store.requeue(parent)
        assert bench.states(first.id, second.id) == ["blocked"] * 2

    def test_parent_results(self, bench: Bench) -> None:
        """Results come in the order of the dependencies; None stands where there is none."""
        names = {}
        for number, verdict in enumerate(
            (Verdict.COMPLETED, Verdict.FAILED, Verdict.COMPLETED, Verdict.COMPLETED)
        ):
            uuid = bench.submit(max_attempts=1)
            result = f'"{number}"' if verdict is Verdict.COMPLETED and number != 3 else None
            bench.end(uuid, verdict, result=result)
            names[uuid] = result
        order = list(names)
        random.Random(3).shuffle(order)
        child = bench.submit(*order, on_parent_failure="run")
        results = bench.store.parent_results(bench.take(child).job)
        assert list(results.items()) == [(uuid, names[uuid]) for uuid in order]

    def test_result_of_a_parent_that_runs_again_is_not_given(self, bench: Bench) -> None:
        """A parent that did not complete has no result, whatever an execution left."""
        parent = bench.submit(max_attempts=1)
        bench.end(parent, Verdict.FAILED, result='"half"')
        child = bench.submit(parent, on_parent_failure="run")
        assert bench.store.parent_results(bench.row(child).job) == {parent: None}


class TestManyChildren:
    """A job with thousands of children is told to them in parts."""

    @pytest.mark.parametrize(
        ("verdict", "after"), [(Verdict.COMPLETED, "ready"), (Verdict.FAILED, "cancelled")]
    )
    def test_each_settle_is_bounded(self, bench: Bench, verdict: Verdict, after: str) -> None:
        """Each of the transactions moves at most MOST_TOLD of 3,000, and together all."""
        parent = bench.submit(max_attempts=1, priority=1)
        bench.submit_many(3000, parent)
        blocked = 3000
        settled = bench.settle(bench.take(parent), verdict)
        while blocked:
            left = bench.count("blocked")
            assert 0 < blocked - left <= MOST_TOLD
            assert bool(left) <= settled.more
            assert bool(left) <= bench.store.glance().ready
            blocked = left
            if left:
                settled = bench.store.settle(bench.worker, (), claim=1)
                assert len(settled.claims) == (after == "ready")
        assert bench.count(after) + bench.count("running") == 3000
        assert bench.store.glance().ready == (after == "ready")

    def test_cascade_is_bounded(self, bench: Bench) -> None:
        """A cancel moves a bounded number of grandchildren; claims go on with the rest."""
        parent = bench.submit()
        for child in bench.submit_many(30, parent):
            bench.submit_many(100, child)
        bench.store.cancel(parent)
        cancelled = [bench.count("cancelled")]
        while bench.store.glance().ready:
            assert bench.store.settle(bench.worker, (), claim=1).claims == []
            cancelled.append(bench.count("cancelled"))
        assert cancelled[-1] == 1 + 30 + 3000
        steps = [after - before for before, after in zip([0, *cancelled], cancelled, strict=False)]
        assert max(steps) <= MOST_TOLD + 1

    def test_child_submitted_meanwhile(self, bench: Bench) -> None:
        """A child submitted while its parent's are being told waits for its other parent."""
        parent = bench.submit(priority=1)
        other = bench.submit(priority=-1)
        bench.submit_many(1200, parent)
        bench.end(parent)
        assert bench.count("blocked") > 0
        child = bench.submit(parent, other, priority=9)
        sole = bench.submit(parent)
        assert bench.states(child, sole) == ["blocked", "ready"]
        order = bench.claim_order()
        assert order.index(other) < order.index(child)
        assert len(order) == 1203

    def test_child_requeued_meanwhile(self, bench: Bench) -> None:
        """A child requeued while it is still to be told waits for its other parent."""
        parent = bench.submit(priority=1)
        other = bench.submit(priority=-1)
        bench.submit_many(1200, parent)
        child = bench.submit(parent, other, priority=9)
        bench.end(parent)
        assert bench.state(child) == "blocked"
        assert bench.store.cancel(child)
        assert bench.store.requeue(child)
        order = bench.claim_order()
        assert order.index(other) < order.index(child)

    def test_other_parent_requeued_meanwhile(self, bench: Bench) -> None:
        """A child still to be told waits for its other parent also when that is requeued."""
        failed = bench.submit(priority=-1, max_attempts=1)
        bench.end(failed, Verdict.FAILED)
        parent = bench.submit(priority=1)
        bench.submit_many(1200, parent)
        child = bench.submit(parent, failed, priority=9, on_parent_failure="run")
        bench.end(parent)
        assert bench.state(child) == "blocked"
        bench.store.requeue(failed)
        order = bench.claim_order()
        assert order.index(failed) < order.index(child)

    def test_revived_meanwhile(self, bench: Bench) -> None:
        """A revived child, still to be told by one parent, waits for the requeued other one."""
        failed = bench.submit(priority=-1, max_attempts=1)
        parent = bench.submit(priority=1)
        bench.submit_many(1200, parent)
        child = bench.submit(parent, failed, priority=9)
        claim = bench.take(parent)
        bench.end(failed, Verdict.FAILED)
        assert bench.state(child) == "cancelled"
        bench.settle(claim)
        bench.store.requeue(failed)
        order = bench.claim_order()
        assert order.index(failed) < order.index(child)

    def test_requeue_meanwhile(self, bench: Bench) -> None:
        """A parent requeued while its children are being told is waited for by all of them."""
        parent = bench.submit(max_attempts=1)
        children = bench.submit_many(1200, parent)
        bench.end(parent, Verdict.FAILED)
        assert 0 < bench.count("blocked") < 1200
        bench.store.requeue(parent)
        assert bench.count("blocked") == 1200
        assert bench.claim_order()[1:] == children


class TestCancel:
    """Cancelling."""

    def test_pending_jobs_only(self, bench: Bench) -> None:
        """Ready, scheduled and blocked jobs can be cancelled; running and ended ones cannot."""
        ready, scheduled = bench.submit(priority=-1), bench.submit(delay=HOUR)
        blocked = bench.submit(scheduled)
        completed, running = bench.submit(priority=2), bench.submit(priority=1)
        bench.end(completed)
        bench.take(running)
        for uuid in (ready, blocked, scheduled):
            assert bench.store.cancel(uuid)
            assert bench.state(uuid) == "cancelled"
        for uuid in (completed, running, ready, "nobody"):
            assert not bench.store.cancel(uuid)
        assert bench.states(completed, running) == ["completed", "running"]
        assert bench.store.settle(bench.worker, (), claim=1).claims == []

    @pytest.mark.parametrize("verdict", [Verdict.COMPLETED, Verdict.FAILED, Verdict.STOPPED])
    def test_running_job_that_is_to_end(self, bench: Bench, verdict: Verdict) -> None:
        """A running job that somebody asked to end can only end as cancelled, without result."""
        uuid = bench.submit(max_attempts=5)
        child = bench.submit(uuid)
        claim = bench.take(uuid)
        assert bench.store.cancel(uuid, running=True)
        assert bench.store.to_end() == [claim.execution]
        assert bench.state(uuid) == "running"
        assert not bench.settle(claim, verdict, result="1").dropped
        row = bench.row(uuid)
        assert (row.state, row.verdict, row.result) == ("cancelled", "cancelled", None)
        assert bench.state(child) == "cancelled"
        assert bench.store.to_end() == []

    def test_running_job_of_a_dead_worker(self, bench: Bench) -> None:
        """A job that was to end is cancelled, not retried, when its worker is found dead."""
        uuid = bench.submit(max_attempts=5)
        bench.take(uuid)
        bench.store.cancel(uuid, running=True)
        bench.store.retire(bench.worker, lambda held: outcome(held, Verdict.LOST))
        assert bench.state(uuid) == "cancelled"


class TestRequeue:
    """Making an unsuccessful job pending again."""

    @pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.TIMEOUT])
    def test_fresh_start(self, bench: Bench, verdict: Verdict) -> None:
        """A requeued job has all its attempts, and nothing is left of its last end."""
        uuid = bench.submit(max_attempts=2, retry_delay=0.001)
        bench.end(uuid, verdict, error="no", traceback="Traceback")
        until(lambda: bench.store.settle(bench.worker, (), claim=1).claims)
        (held,) = bench.store.claims_of(bench.worker)
        bench.store.settle(bench.worker, [outcome(held, verdict, error="no", traceback="T")])
        assert bench.store.requeue(uuid)
        row = bench.row(uuid)
        assert (row.state, row.attempts, row.due_at) == ("ready", 0, None)
        assert (row.error, row.traceback, row.result, row.cause) == (None, None, None, None)
        assert (row.started_at, row.ended_at, row.worker_name) == (None, None, None)
        assert [bench.end(uuid, verdict).attempt] == [1]

    def test_only_unsuccessful_jobs(self, bench: Bench) -> None:
        """Pending, running, completed and unknown jobs are not requeued."""
        completed, running = bench.submit(priority=2), bench.submit(priority=1)
        ready, scheduled = bench.submit(), bench.submit(delay=HOUR)
        bench.end(completed)
        bench.take(running)
        for uuid in (completed, running, ready, scheduled, "nobody"):
            assert not bench.store.requeue(uuid)

    def test_revives_what_was_cancelled_because_of_it(self, bench: Bench) -> None:
        """Descendants that its failure cancelled wait again; what a user cancelled stays so."""
        parent = bench.submit(max_attempts=1)
        cancelled_before = bench.submit(parent)
        bench.store.cancel(cancelled_before)
        below_it = bench.submit(cancelled_before)
        child, block = bench.submit(parent), bench.submit(parent, on_parent_failure="block")
        grandchild = bench.submit(child)
        bench.end(parent, Verdict.FAILED)
        bench.store.requeue(parent)
        assert bench.states(child, grandchild, block) == ["blocked"] * 3
        assert bench.states(cancelled_before, below_it) == ["cancelled"] * 2
        assert bench.claim_order() == [parent, child, block, grandchild]

    def test_another_failed_parent_keeps_it_cancelled(self, bench: Bench) -> None:
        """A child of two failed parents comes back when the second of them is requeued."""
        for first, second in ((0, 1), (1, 0)):
            parents = [bench.submit(max_attempts=1), bench.submit(max_attempts=1)]
            child = bench.submit(*parents)
            grandchild = bench.submit(child)
            for parent in parents:
                bench.end(parent, Verdict.FAILED)
            bench.store.requeue(parents[first])
            assert bench.states(child, grandchild) == ["cancelled"] * 2
            bench.store.requeue(parents[second])
            assert bench.states(child, grandchild) == ["blocked"] * 2
            bench.claim_order()
            assert bench.states(*parents, child, grandchild) == ["completed"] * 4

    def test_diamond_comes_back_whole(self, bench: Bench) -> None:
        """A job below two revived jobs is revived, and waits for both."""
        top = bench.submit(max_attempts=1)
        sides = [bench.submit(top), bench.submit(top)]
        bottom = bench.submit(top, *sides)
        bench.end(top, Verdict.FAILED)
        bench.store.requeue(top)
        assert bench.states(*sides, bottom) == ["blocked"] * 3
        assert bench.claim_order() == [top, *sides, bottom]

    def test_child_of_a_failed_parent_is_refused(self, bench: Bench) -> None:
        """A child is not requeued while a parent that it needs has failed; the reason is told."""
        parent = bench.submit(max_attempts=1, name="extract")
        child = bench.submit(parent)
        bench.end(parent, Verdict.FAILED)
        with pytest.raises(WorkflowError, match=rf"parent 'extract' \({parent}\) is failed"):
            bench.store.requeue(child)
        assert bench.state(child) == "cancelled"

    def test_child_that_runs_after_failures(self, bench: Bench) -> None:
        """A clean-up job is requeued beside its failed parent, and waits for a requeued one."""
        parent = bench.submit(max_attempts=1)
        clean_up = bench.submit(parent, on_parent_failure="run", max_attempts=1)
        bench.end(parent, Verdict.FAILED)
        bench.end(clean_up, Verdict.FAILED)
        assert bench.store.requeue(clean_up)
        assert bench.state(clean_up) == "ready"
        bench.end(clean_up, Verdict.FAILED)
        bench.store.requeue(parent)
        bench.store.requeue(clean_up)
        assert bench.claim_order() == [parent, clean_up]

    def test_blocked_child_goes_on(self, bench: Bench) -> None:
        """A child that blocks on failure runs once its requeued parent has completed."""
        parents = [bench.submit(max_attempts=1), bench.submit(max_attempts=1)]
        child = bench.submit(*parents, on_parent_failure="block")
        for parent in parents:
            bench.end(parent, Verdict.FAILED)
        for parent in parents:
            assert bench.state(child) == "blocked"
            bench.store.requeue(parent)
            bench.end(parent)
        assert bench.state(child) == "ready"


class TestClear:
    """Deleting what has ended."""

    def test_what_is_deleted(self, bench: Bench) -> None:
        """Completed and cancelled jobs go with their attempts; all others stay."""
        completed, cancelled = bench.submit(priority=3), bench.submit(delay=HOUR)
        failed = bench.submit(priority=2, max_attempts=1)
        bench.end(completed)
        bench.end(failed, Verdict.FAILED)
        bench.store.cancel(cancelled)
        ready = bench.submit()
        key = bench.row(completed).job
        assert bench.store.clear() == 2
        assert bench.store.states([completed, cancelled, failed, ready]) == {
            failed: "failed",
            ready: "ready",
        }
        assert bench.store.executions(key) == []
        assert bench.store.clear() == 0

    def test_cutoff(self, bench: Bench) -> None:
        """Only jobs that ended before the given time are deleted."""
        old, young = bench.submit(), bench.submit()
        bench.end(old)
        between = clock.now()
        until(lambda: clock.now() > between)
        bench.end(young)
        assert bench.store.clear(before=between) == 1
        assert bench.store.job(old) is None
        assert bench.state(young) == "completed"

    @pytest.mark.parametrize("policy", ["cancel", "run", "block"])
    def test_parents_of_unfinished_children_stay(self, bench: Bench, policy: str) -> None:
        """A parent stays until its last child has ended, and its result can be read until then."""
        parent = bench.submit()
        bench.end(parent, result='"kept"')
        children = [bench.submit(parent, on_parent_failure=policy) for _ in range(2)]
        bench.end(children[0])
        assert bench.store.clear() == 1
        assert bench.state(parent) == "completed"
        claim = bench.take(children[1])
        assert bench.store.clear() == 0
        assert bench.store.parent_results(claim.job) == {parent: '"kept"'}
        bench.settle(claim)
        assert bench.store.clear() == 2

    def test_parent_of_a_cancelled_child_that_stays(self, bench: Bench) -> None:
        """It stays as well: the child may be requeued, and then needs its result."""
        parent = bench.submit()
        bench.end(parent, result='"kept"')
        child = bench.submit(parent)
        below = bench.submit(child, on_parent_failure="block")
        bench.store.cancel(child)
        assert bench.store.clear() == 0
        assert bench.store.requeue(child)
        claim = bench.take(child)
        assert bench.store.parent_results(claim.job) == {parent: '"kept"'}
        bench.settle(claim)
        bench.end(below)
        assert bench.store.clear() == 3

    def test_long_chain_of_cancelled_jobs(self, bench: Bench) -> None:
        """It goes at once, though each is kept by the one behind it."""
        first = last = bench.submit()
        for _ in range(1200):
            last = bench.submit(last)
        bench.store.cancel(first)
        assert bench.claim_order() == []
        until(lambda: not bench.claim_order() and bench.count("cancelled") == 1201)
        assert bench.store.clear() == 1201

    def test_parent_of_a_child_still_to_be_told(self, bench: Bench) -> None:
        """A parent whose children are being told stays, and all of them are told."""
        parent = bench.submit()
        bench.submit_many(1200, parent)
        bench.end(parent)
        assert bench.store.clear() == 0
        assert len(bench.claim_order()) == 1200

    def test_keys_do_not_come_back(self, bench: Bench) -> None:
        """A job submitted after a deletion has a key that none had before."""
        keys = []
        for _ in range(3):
            for uuid in bench.submit_many(3):
                keys.append(bench.row(uuid).job)
                bench.end(uuid)
            bench.store.clear()
        assert len(set(keys)) == len(keys) == 9
        assert keys == sorted(keys)


class TestPrune:
    """Deleting what ended long ago, by status, workflows as a whole."""

    @staticmethod
    def prune(bench: Bench, **until: int) -> int:
        """Delete what ended before, by state; how many. A step without work is allowed."""
        steps = list(bench.store.prune(until))
        assert all(step.jobs >= 0 for step in steps)
        return sum(step.jobs for step in steps)

    @staticmethod
    def later() -> int:
        """Give a time after all that has happened, and before all that will."""
        now = clock.now()
        until(lambda: clock.now() > now + 1)
        return now + 1

    def one_of_each(self, bench: Bench) -> dict[str, str]:
        """Give a job of each final state, and one that waits, by state."""
        jobs = {}
        for verdict in (Verdict.COMPLETED, Verdict.FAILED, Verdict.TIMEOUT):
            jobs[str(verdict)] = bench.submit(max_attempts=1)
            bench.end(jobs[str(verdict)], verdict)
        jobs["cancelled"], jobs["ready"] = bench.submit(), bench.submit()
        bench.store.cancel(jobs["cancelled"])
        return jobs

    @pytest.mark.parametrize("state", ["completed", "failed", "timeout", "cancelled"])
    def test_by_status(self, bench: Bench, state: str) -> None:
        """Only jobs of a state that is named go; counters say what is left."""
        jobs = self.one_of_each(bench)
        assert self.prune(bench, **{state: self.later()}) == 1
        left = {uuid: each for each, uuid in jobs.items() if each != state}
        assert bench.store.states(list(jobs.values())) == left
        counts = {each: number for each, number in bench.store.counts().items() if number}
        assert counts == Counter(left.values())

    def test_nothing_named_nothing_deleted(self, bench: Bench) -> None:
        """Without a time nothing goes, nor what has not ended."""
        jobs = self.one_of_each(bench)
        assert self.prune(bench) == 0
        assert self.prune(bench, ready=self.later(), completed=0) == 0
        assert len(bench.store.states(list(jobs.values()))) == 5

    def test_by_age(self, bench: Bench) -> None:
        """What ended before goes, also behind and before jobs that stay."""
        waits, slow, old = bench.submit(priority=-1), bench.submit(), bench.submit()
        claim = bench.take(slow)
        bench.end(old)
        between = self.later()
        bench.settle(claim)
        young = bench.submit()
        bench.end(young)
        assert self.prune(bench, completed=between) == 1
        assert set(bench.store.states([waits, slow, old, young])) == {waits, slow, young}

    def test_many(self, bench: Bench) -> None:
        """Thousands go in short steps, with everything that belonged to them."""
        uuids = bench.submit_many(1500)
        bench.claim_order()
        steps = [step.jobs for step in bench.store.prune({"completed": self.later()})]
        assert sum(steps) == 1500
        assert max(steps) <= 500
        assert bench.store.states(uuids) == {}
        assert not any(bench.store.counts().values())

    def submit_workflow(self, bench: Bench, *jobs: Job) -> None:
        """Submit these as one workflow."""
        workflow = NewWorkflow("w" * 36, "flow")
        bench.store.submit([job.to_record(clock.now()) for job in jobs], workflow)

    def test_workflow_as_a_whole(self, bench: Bench) -> None:
        """A job of a workflow goes with the last of them, and the workflow too."""
        first, second = Job("first", print), Job("second", print)
        self.submit_workflow(bench, first, second)
        bench.end(first.id)
        assert self.prune(bench, completed=self.later()) == 0
        claim = bench.take(second.id)
        assert self.prune(bench, completed=self.later()) == 0
        bench.settle(claim, Verdict.FAILED, retry=False)
        assert self.prune(bench, completed=self.later()) == 0
        (row,) = bench.store.workflows("flow")
        assert bench.store.workflow_counts(row.workflow) == {"completed": 1, "failed": 1}
        now = self.later()
        assert self.prune(bench, completed=now, failed=now) == 2
        assert bench.store.workflows("flow") == []

    def test_workflow_of_a_failed_chain(self, bench: Bench) -> None:
        """What failed, and all that was cancelled because of it, goes in one pass."""
        chain = [Job("0", print, max_attempts=1)]
        for number in range(1, 30):
            chain.append(Job(str(number), print, dependencies=[chain[-1].id]))
        self.submit_workflow(bench, *chain)
        bench.end(chain[0].id, Verdict.FAILED)
        now = self.later()
        assert self.prune(bench, cancelled=now) == 0
        assert self.prune(bench, cancelled=now, failed=now) == 30

    def test_clear_takes_single_jobs(self, bench: Bench) -> None:
        """`clear` does not wait for the rest of a workflow."""
        first, second = Job("first", print), Job("second", print)
        self.submit_workflow(bench, first, second)
        bench.end(first.id)
        assert bench.store.clear() == 1

    @pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.COMPLETED])
    def test_parents_of_children_that_may_run(self, bench: Bench, verdict: Verdict) -> None:
        """A parent stays for a child that waits, runs, or may be requeued."""
        parent = bench.submit()
        bench.end(parent, result='"kept"')
        child = bench.submit(parent, max_attempts=1)
        assert self.prune(bench, completed=self.later(), failed=1) == 0
        claim = bench.take(child)
        assert self.prune(bench, completed=self.later(), failed=1) == 0
        between = self.later()
        bench.settle(claim, verdict)
        assert self.prune(bench, completed=between, failed=between) == 0
        if verdict is Verdict.FAILED:
            assert self.prune(bench, completed=self.later()) == 0
            assert bench.store.requeue(child)
            assert bench.store.parent_results(claim.job) == {parent: '"kept"'}
            bench.end(child)
        assert self.prune(bench, completed=self.later()) == 2

    def test_wide_families(self, bench: Bench) -> None:
        """A parent of thousands, and a child of thousands, go too."""
        parent = bench.submit()
        bench.end(parent)
        middle = bench.submit_many(2500, parent)
        last = bench.submit(*middle)
        bench.claim_order()
        assert bench.state(last) == "completed"
        assert self.prune(bench, completed=self.later()) == 2502

    def test_stopped_in_between(self, bench: Bench) -> None:
        """Whoever stops after some steps has deleted some, and a later pass does the rest."""
        bench.submit_many(600)
        bench.claim_order()
        steps = bench.store.prune({"completed": self.later()})
        some = next(steps).jobs
        del steps
        assert 0 < some < 600
        assert bench.count("completed") == 600 - some
        assert self.prune(bench, completed=self.later()) == 600 - some

    def test_keys_do_not_come_back(self, bench: Bench) -> None:
        """A job submitted after a deletion has a key that none had before."""
        gone = bench.submit()
        key = bench.row(gone).job
        bench.end(gone)
        self.prune(bench, completed=self.later())
        assert bench.row(bench.submit()).job > key

    def test_outputs_are_told(self, bench: Bench) -> None:
        """A step tells where the deleted jobs' output was, for somebody has to give it back."""
        uuid = bench.submit()
        bench.end(uuid, output=Output("a.log", 10, 20))
        steps = list(bench.store.prune({"completed": self.later()}))
        assert [each for step in steps for each in step.outputs] == [Output("a.log", 10, 20)]


class TestRemains:
    """What deleted jobs leave: lives of workers, and room in the file."""

    @staticmethod
    def told(bench: Bench, before: int) -> tuple[set[int], set[str]]:
        """Give what jobs that were submitted before refer to."""
        found = list(bench.store.left(before))
        workers = {worker for left in found for worker in left.workers}
        return workers, {log for left in found for log in left.logs}

    def test_left(self, bench: Bench) -> None:
        """Workers and output files of older jobs are given, those of younger ones are not."""
        bench.end(bench.submit(), output=Output("old.log", 0, 5))
        between = clock.now()
        until(lambda: clock.now() > between)
        other = bench.store.register("other", own_identity())
        uuid = bench.submit()
        (claim,) = bench.store.settle(other, (), claim=1).claims
        assert claim.uuid == uuid
        assert self.told(bench, between) == ({bench.worker}, {"old.log"})
        assert self.told(bench, clock.now() + 1) == ({bench.worker, other}, {"old.log"})
        assert self.told(bench, 0) == (set(), set())

    def test_forgotten_workers(self, bench: Bench) -> None:
        """Lives that ended before go, but those that are named and those that go on."""
        lives = [bench.store.register(str(number), own_identity()) for number in range(5)]
        for life in lives[:4]:
            bench.store.retire(life, lambda _: pytest.fail("it held nothing"))
        assert sum(bench.store.forget_workers(1, ())) == 0
        assert sum(bench.store.forget_workers(clock.now() + 1, {lives[0]})) == 3
        assert [row.worker for row in bench.store.open_workers()] == [bench.worker, lives[4]]
        assert sum(bench.store.forget_workers(clock.now() + 1, ())) == 1

    def test_shrink_of_nothing(self, bench: Bench) -> None:
        """Where nothing was deleted there is no room to be given back."""
        assert list(bench.store.shrink()) == []


class TestWorkers:
    """Workers' lives, and what becomes of what they held."""

    def test_register(self, bench: Bench) -> None:
        """A registered worker is listed, with its identity, until its life has ended."""
        here = own_identity()
        who = here._replace(pid=1)
        key = bench.store.register("other", who, tree="mark", parent=here)
        (row,) = (row for row in bench.store.open_workers() if row.worker == key)
        assert (row.name, row.identity, row.tree, row.parent) == ("other", who, "mark", here)
        bench.store.retire(key, lambda held: outcome(held, Verdict.LOST))
        assert [row.worker for row in bench.store.open_workers()] == [bench.worker]

    def test_each_life_has_its_own_key(self, bench: Bench) -> None:
        """The same name registered again is another life."""
        keys = [bench.store.register("same", own_identity()) for _ in range(3)]
        bench.store.retire(keys[-1], lambda held: outcome(held, Verdict.LOST))
        keys.append(bench.store.register("same", own_identity()))
        assert len(set(keys)) == 4

    def test_retire(self, bench: Bench) -> None:
        """Each execution that the dead worker held ends as it is judged, and is given back."""
        once, twice, begun = (bench.submit(max_attempts=most) for most in (1, 2, 3))
        claims = [bench.take(each) for each in (once, twice, begun)]
        verdicts = {once: Verdict.LOST, twice: Verdict.LOST, begun: Verdict.RELEASED}
        assert [held.uuid for held in bench.store.claims_of(bench.worker)] == list(verdicts)

        def judge(held: OpenExecution) -> Outcome:
            return outcome(held, verdicts[held.uuid], error="died")

        recorded = bench.store.retire(bench.worker, judge)
        assert [(held.uuid, told.verdict) for held, told in recorded] == list(verdicts.items())
        assert [held.execution for held, _ in recorded] == [c.execution for c in claims]
        assert bench.states(once, twice, begun) == ["failed", "ready", "ready"]
        assert bench.row(begun).attempts == 0
        assert bench.store.claims_of(bench.worker) == []

    def test_retire_leaves_what_is_recorded(self, bench: Bench) -> None:
        """What the worker had settled before it died is neither judged nor given back."""
        ended, held = bench.submit(), bench.submit()
        claims = [bench.take(ended), bench.take(held)]
        bench.settle(claims[0], result="1")
        judged = bench.store.retire(bench.worker, lambda each: outcome(each, Verdict.LOST))
        assert [each.uuid for each, _ in judged] == [held]
        assert bench.row(ended).result == "1"
        assert bench.store.retire(bench.worker, lambda each: outcome(each, Verdict.LOST)) == []

    def test_retire_tells_children(self, bench: Bench) -> None:
        """A job that is lost for good cancels its children."""
        parent = bench.submit(max_attempts=1)
        child = bench.submit(parent)
        bench.take(parent)
        bench.store.retire(bench.worker, lambda held: outcome(held, Verdict.LOST))
        assert bench.states(parent, child) == ["failed", "cancelled"]

    def test_begin_moves_nothing(self, bench: Bench) -> None:
        """To begin a claim moves no job and ends no claim; it says when that was."""
        uuid = bench.submit(max_attempts=1)
        claim = bench.take(uuid)
        before = bench.row(uuid)
        bench.store.begin(claim.execution)
        begun = bench.row(uuid)
        assert begun.started_at is not None
        assert before.started_at is not None
        assert begun.started_at > before.started_at
        assert begun == before._replace(started_at=begun.started_at)
        assert not bench.settle(claim).dropped

    def test_progress(self, bench: Bench) -> None:
        """The last word of an execution about its progress is kept."""
        claim = bench.take(bench.submit())
        assert bench.store.progress(claim.execution) is None
        for done in (1.0, 2.0):
            bench.store.set_progress(claim.execution, Progress(done, 4.0, "half", 17))
        assert bench.store.progress(claim.execution) == Progress(2.0, 4.0, "half", 17)

    def test_progress_of_what_was_deleted(self, bench: Bench) -> None:
        """A late word about a job that is gone leaves nothing."""
        claim = bench.end(bench.submit())
        assert bench.store.clear() == 1
        bench.store.set_progress(claim.execution, Progress(1.0, None, "", 1))
        assert bench.store.progress(claim.execution) is None


class TestLooks:
    """Reading."""

    def test_find_by_prefix(self, bench: Bench) -> None:
        """Ids that begin so are found, at most as many as asked for."""
        uuids = sorted(bench.submit_many(40))
        prefix = uuids[7][:1]
        expected = [uuid for uuid in uuids if uuid.startswith(prefix)]
        assert bench.store.find(prefix, limit=100) == expected
        assert bench.store.find(prefix, limit=1) == expected[:1]
        assert bench.store.find(uuids[3]) == [uuids[3]]
        assert bench.store.find("x") == []

    def test_list(self, bench: Bench) -> None:
        """Jobs are listed newest first, by state, name and queue, up to a limit."""
        first, second = bench.submit(name="load a"), bench.submit(name="load b", queue="mail")
        third = bench.submit(second, name="send")
        bench.end(first)

        def found(**wanted: Any) -> list[str]:  # noqa: ANN401
            return [row.uuid for row in bench.store.jobs(JobFilter(**wanted))]

        assert found() == [third, second, first]
        assert found(limit=2) == [third, second]
        assert found(states=("completed", "blocked")) == [third, first]
        assert found(states=()) == []
        assert found(name="load *") == [second, first]
        assert found(queue="mail") == [second]
        assert found(queue="mail", states=("completed",)) == []
        assert found(since=clock.now() + 1_000_000) == []

    def test_states_of_many(self, bench: Bench) -> None:
        """The states of thousands of jobs are given in one call; unknown ids are left out."""
        uuids = bench.submit_many(2100)
        assert bench.store.states([*uuids, "nobody"]) == dict.fromkeys(uuids, "ready")
        assert bench.store.states([]) == {}


class Model:
    """One job as a dictionary's value: what the contract says of it, without any counters."""

    def __init__(self, age: int, priority: int, most: int, policy: str) -> None:
        """Begin before the job is born."""
        self.age, self.priority, self.most, self.policy = age, priority, most, policy
        self.parents: list[str] = []
        self.state = ""
        self.attempts = 0
        self.by_parent = False  # cancelled because of a parent


class Machine(RuleBasedStateMachine):
    """Clients and workers do whatever they like; a dictionary says what has to come of it."""

    folder: Path
    open_store: Callable[[Path], Store]
    number = 0
    jobs = Bundle("jobs")
    claims = Bundle("claims")

    def __init__(self) -> None:
        """Open a store of its own."""
        super().__init__()
        type(self).number += 1
        folder = self.folder / str(self.number)
        folder.mkdir()
        self.bench = Bench(type(self).open_store(folder))
        self.model: dict[str, Model] = {}
        self.executions: set[int] = set()
        self.late: list[Claim] = []

    def teardown(self) -> None:
        """Close the store."""
        self.bench.store.close()

    # The model

    def _pending(self, job: Model) -> str:
        unmet = [
            parent
            for parent in job.parents
            if (state := self.model[parent].state) != "completed"
            and not (job.policy == "run" and state in FINAL)
        ]
        return "blocked" if unmet else "ready"

    def _failed_parent(self, job: Model) -> bool:
        return any(self.model[each].state in FINAL - {"completed"} for each in job.parents)

    def _spread(self) -> None:
        """Let what has happened reach those that wait, and revive those that may come back."""
        for job in sorted(self.model.values(), key=lambda each: each.age):
            if job.state == "blocked" and job.policy == "cancel" and self._failed_parent(job):
                job.state, job.by_parent = "cancelled", True
            elif job.by_parent and not self._failed_parent(job):
                job.state, job.by_parent = self._pending(job), False
                job.attempts = 0
            elif job.state == "blocked":
                job.state = self._pending(job)

    # What happens

    @rule(
        target=jobs,
        parents=some.lists(jobs, max_size=3, unique=True),
        priority=some.integers(0, 2),
        most=some.integers(1, 2),
        policy=some.sampled_from(["cancel", "cancel", "run", "block"]),
    )
    def submit(self, parents: list[str], priority: int, most: int, policy: str) -> str:
        """Submit a job below some that are still there."""
        there = [parent for parent in parents if parent in self.model]
        uuid = self.bench.submit(
            *there, priority=priority, max_attempts=most, on_parent_failure=policy
        )
        job = self.model[uuid] = Model(len(self.model), priority, most, policy)
        job.age = self.bench.row(uuid).job
        job.parents = there
        job.state = self._pending(job)
        self._spread()
        return uuid

    @rule(target=claims, count=some.integers(1, 3))
    def claim(self, count: int) -> Any:  # noqa: ANN401
        """Claim: the best of the ready ones, with a new execution."""
        ready = [
            (-job.priority, job.age, u) for u, job in self.model.items() if job.state == "ready"
        ]
        claims = self.bench.store.settle(self.bench.worker, (), claim=count).claims
        expected = [uuid for _, _, uuid in sorted(ready)[:count]]
        once = [place for place, uuid in enumerate(expected) if self.model[uuid].most == 1]
        assert [claim.uuid for claim in claims] == expected[: max(1, once[0]) if once else None]
        for claim in claims:
            assert claim.execution not in self.executions
            self.executions.add(claim.execution)
            job = self.model[claim.uuid]
            job.state = "running"
            job.attempts += 1
            assert claim.attempt == job.attempts
        return multiple(*claims)

    @rule(claim=consumes(claims), verdict=some.sampled_from(list(Verdict)), retry=some.booleans())
    def settle(self, claim: Claim, verdict: Verdict, retry: bool) -> None:  # noqa: FBT001
        """End a held execution."""
        assert not self.bench.settle(claim, verdict, retry=retry).dropped
        self.late.append(claim)
        self._ended(self.model[claim.uuid], verdict, retry=retry)
        self._spread()

    def _ended(self, job: Model, verdict: Verdict, *, retry: bool) -> None:
        given_back = verdict is Verdict.RELEASED or (verdict is Verdict.STOPPED and job.most > 1)
        again = verdict in (Verdict.FAILED, Verdict.TIMEOUT, Verdict.LOST) and retry
        if given_back:
            job.state = "ready"
            job.attempts -= 1
        elif again and job.attempts < job.most:
            job.state = "ready"
        elif verdict in (Verdict.COMPLETED, Verdict.TIMEOUT, Verdict.CANCELLED):
            job.state = str(verdict)
        else:
            job.state = "failed"

    @precondition(lambda self: self.late)
    @rule(which=some.integers(0, 99), verdict=some.sampled_from(list(Verdict)))
    def settle_late(self, which: int, verdict: Verdict) -> None:
        """Try to end an execution that has ended before."""
        claim = self.late[which % len(self.late)]
        assert self.bench.settle(claim, verdict).dropped

    @rule(uuid=jobs)
    def cancel(self, uuid: str) -> None:
        """Cancel a job, if it is pending."""
        job = self.model.get(uuid)
        pending = job is not None and job.state in PENDING
        assert self.bench.store.cancel(uuid) == pending
        if job is not None and pending:
            job.state = "cancelled"
            self._spread()

    @rule(uuid=jobs)
    def requeue(self, uuid: str) -> None:
        """Requeue a job, if it was unsuccessful and no parent that it needs is."""
        job = self.model.get(uuid)
        if job is None or job.state not in FINAL - {"completed"}:
            assert not self.bench.store.requeue(uuid)
        elif job.policy != "run" and self._failed_parent(job):
            with pytest.raises(WorkflowError):
                self.bench.store.requeue(uuid)
        else:
            assert self.bench.store.requeue(uuid)
            job.attempts = 0
            job.by_parent = False
            job.state = self._pending(job)
            self._spread()

    @rule()
    def clear(self) -> None:
        """Delete what has ended and is waited for by nobody."""
        needed: set[str] = set()
        # A cancelled one that stays may be requeued, and then needs its parents.
        staying = [job for job in self.model.values() if job.state not in CLEARED]
        while staying:
            for parent in set(staying.pop().parents) - needed:
                needed.add(parent)
                if self.model[parent].state == "cancelled":
                    staying.append(self.model[parent])
        gone = {
            uuid for uuid, job in self.model.items() if job.state in CLEARED and uuid not in needed
        }
        assert self.bench.store.clear() == len(gone)
        for uuid in gone:
            del self.model[uuid]
        for job in self.model.values():
            job.parents = [parent for parent in job.parents if parent not in gone]
            job.by_parent = job.by_parent and self._failed_parent(job)

    @invariant()
    def agree(self) -> None:
        """Each job is where the dictionary says, and the counters count what is there."""
        rows = {row.uuid: row for row in self.bench.store.jobs(JobFilter(limit=None))}
        assert {uuid: (row.state, row.attempts) for uuid, row in rows.items()} == {
            uuid: (job.state, job.attempts) for uuid, job in self.model.items()
        }
        counts = {state: n for state, n in self.bench.store.counts().items() if n}
        assert counts == Counter(row.state for row in rows.values())


class TestRandomSequences:
    """Whatever the order in which things happen."""

    @pytest.mark.parametrize("open_store", STORES.values(), ids=STORES)
    def test_model(self, tmp_path: Path, open_store: Callable[[Path], Store]) -> None:
        """After random sequences states, attempts and counters are those of a dictionary."""

        class Here(Machine):
            pass

        Here.folder = tmp_path
        Here.open_store = staticmethod(open_store)
        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=25,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


class TestSqlite:
    """What only the store of one file promises."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Name the database."""
        return tmp_path / "gigq.db"

    @pytest.fixture
    def traced(self, path: Path) -> Iterator[tuple[Bench, list[str]]]:
        """Give a worker's store, and the statements that its connection runs."""
        statements: list[str] = []
        with closing(SqliteStore(path, durable=False)) as store:
            bench = Bench(store)
            store._connection._sqlite.set_trace_callback(statements.append)
            yield bench, statements

    def test_pause_holds_at_once(self, path: Path) -> None:
        """Of a queue that was paused no job is claimed any more, however lately it was looked."""
        with closing(SqliteStore(path, durable=False)) as store:
            bench = Bench(store)
            bench.submit_many(3)
            bench.settle(bench.take())
            with closing(sqlite3.connect(path, isolation_level=None)) as database:
                database.execute("UPDATE queue SET paused = 1")
                assert store.settle(bench.worker, (), claim=1).claims == []
                database.execute("UPDATE queue SET paused = 0")
            bench.settle(bench.take())

    @staticmethod
    def synchronous(store: SqliteStore) -> int:
        """Give what the connection's commits wait for: 1 is NORMAL, 2 is FULL."""
        found: int = store._connection.row("PRAGMA synchronous")[0]
        return found

    def test_begin_is_durable(self, traced: tuple[Bench, list[str]]) -> None:
        """`begin` commits a write with synchronous=FULL, and leaves the connection NORMAL."""
        bench, statements = traced
        claim = bench.take(bench.submit(max_attempts=1))
        assert isinstance(bench.store, SqliteStore)
        assert self.synchronous(bench.store) == 1
        statements.clear()
        log = bench.store.path.with_name("gigq.db-wal")
        before = log.stat().st_size
        bench.store.begin(claim.execution)
        assert log.stat().st_size > before, "without a write, a commit syncs nothing"
        seen = [text.split("SET")[0].strip() for text in statements]
        assert seen == [
            "PRAGMA synchronous = FULL",
            "BEGIN IMMEDIATE",
            "UPDATE execution",
            "COMMIT",
            "PRAGMA synchronous = NORMAL",
        ]
        assert self.synchronous(bench.store) == 1

    def test_trying_out_writes(self, path: Path) -> None:
        """A trial is written to the disk, and leaves nothing behind."""
        with closing(SqliteStore(path, durable=False)) as store:
            log = path.with_name("gigq.db-wal")
            before = log.stat().st_size
            store.try_out()
            assert log.stat().st_size > before
            assert store._connection.rows("SELECT * FROM workflow") == []
            assert self.synchronous(store) == 1

    def test_begin_that_fails_leaves_it_normal(self, path: Path) -> None:
        """A `begin` that cannot have the lock leaves the connection as it was."""
        with closing(SqliteStore(path, durable=False, patience=0.05)) as store:
            bench = Bench(store)
            claim = bench.take(bench.submit(max_attempts=1))
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreBusyError):
                    store.begin(claim.execution)
            assert self.synchronous(store) == 1
            store.begin(claim.execution)

    def test_clients_are_durable(self, path: Path) -> None:
        """A store for clients commits with synchronous=FULL."""
        with closing(SqliteStore(path)) as store:
            assert self.synchronous(store) == 2

    def test_settle_without_work_writes_nothing(self, traced: tuple[Bench, list[str]]) -> None:
        """An idle worker's look changes no row."""
        bench, statements = traced
        statements.clear()
        bench.store.settle(bench.worker, (), claim=1)
        words = {text.split()[0] for text in statements}
        assert words <= {"BEGIN", "SELECT", "COMMIT"}

    def test_glance_takes_no_lock(self, path: Path) -> None:
        """A glance and other looks work while somebody else holds the write lock."""
        with closing(SqliteStore(path, durable=False, patience=0)) as store:
            bench = Bench(store)
            uuid = bench.submit()
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                assert store.glance().ready
                assert bench.state(uuid) == "ready"
                assert store.counts() == {"ready": 1}

    def test_shrinks(self, path: Path) -> None:
        """The file becomes smaller once much was deleted, and part of it stays free."""
        with closing(SqliteStore(path, durable=False)) as store:
            bench = Bench(store)
            bench.submit_many(5000, params={"text": "x" * 1000})
            bench.claim_order()
            assert store.clear() == 5000
            (pages,) = store._connection.row("PRAGMA page_count")
            freed = sum(store.shrink())
            (fewer,) = store._connection.row("PRAGMA page_count")
            assert freed == (pages - fewer) * 2048 > 5000 * 1000
            assert 0 < store._connection.row("PRAGMA freelist_count")[0] <= 512
            assert store._connection.row("PRAGMA integrity_check") == ("ok",)

    def test_leftovers_of_a_clear(self, path: Path) -> None:
        """After everything was deleted no table of jobs holds a row."""
        with closing(SqliteStore(path, durable=False)) as store:
            bench = Bench(store)
            parent = bench.submit()
            child = bench.submit(parent)
            claim = bench.end(parent)
            store.set_progress(claim.execution, Progress(1.0, None, "", 1))
            bench.end(child)
            assert store.clear() == 2
            with closing(sqlite3.connect(path)) as database:
                for table in ("job", "job_spec", "edge", "fanout", "execution", "progress"):
                    assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608
                assert database.execute("PRAGMA foreign_key_check").fetchall() == []


def test_every_state_has_a_counter_of_its_own(bench: Bench) -> None:
    """Counters are kept by state, and only of states that there are."""
    bench.submit(bench.submit())
    assert {State(state) for state in bench.store.counts()} == {State.READY, State.BLOCKED}


def test_no_method_beside_the_contract() -> None:
    """The store of one file has every method of the contract, and no other public one."""
    public = {name for name in dir(SqliteStore) if not name.startswith("_")}
    assert public == Store.__abstractmethods__
