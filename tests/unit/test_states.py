"""The table of states and transitions, and the store held against it by triggers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from inspect import isabstract
from typing import TYPE_CHECKING, Any

import pytest
from harness import until

from gigq import Job, JobStatus
from gigq.queue import clock
from gigq.queue.events import ENDED
from gigq.queue.identity import own_identity
from gigq.queue.records import Claim, Outcome
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import (
    FINAL,
    HELD,
    LEGAL_MOVES,
    PENDING,
    STATES_OF,
    STATUS,
    TRANSITIONS,
    UNSUCCESSFUL,
    State,
    Verdict,
)
from gigq.queue.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOM = {State.PAUSED, State.LIMITED}  # nothing makes them yet
UNMADE = ROOM | {State.CLAIMED}
BIRTHS = {target for move in TRANSITIONS if not move.origin for target in move.target}


def reachable(start: set[State]) -> set[State]:
    """Give all states that can follow."""
    found = set(start)
    while more := {target for origin, target in LEGAL_MOVES if origin in found} - found:
        found |= more
    return found


class TestTable:
    """The table agrees with itself and with what the rest of the code takes from it."""

    def test_kinds_of_states(self) -> None:
        """Each state is pending, held or final, and only one of them."""
        assert set(State) == PENDING | HELD | FINAL
        assert len(PENDING) + len(HELD) + len(FINAL) == len(State)
        assert {State.COMPLETED} == FINAL - UNSUCCESSFUL

    def test_status_of_every_state(self) -> None:
        """Each state has one public status, and each status has its states."""
        assert set(STATUS) == set(State)
        assert {STATUS[state] for state in PENDING} == {JobStatus.PENDING}
        assert {STATUS[state] for state in HELD} == {JobStatus.RUNNING}
        assert all(STATUS[state].value == state for state in FINAL)
        assert set(STATES_OF) == set(JobStatus)
        assert sorted(state for states in STATES_OF.values() for state in states) == sorted(State)
        assert all(STATUS[state] is status for status in JobStatus for state in STATES_OF[status])

    def test_every_state_is_reachable(self) -> None:
        """From a submit every state can be reached, but for those that are room."""
        assert reachable(set(BIRTHS)) == set(State) - ROOM

    def test_no_dead_end(self) -> None:
        """From every state a job can complete, unless it has."""
        for state in State:
            assert State.COMPLETED in reachable({state})

    def test_final_states_are_left_by_requeue_only(self) -> None:
        """What has completed stays; what was not successful is left by a requeue alone."""
        leaving = [move for move in TRANSITIONS if move.origin & FINAL]
        assert {move.name for move in leaving} == {"requeue", "revive"}
        assert {move.method for move in leaving} == {"requeue"}
        assert all(move.origin <= UNSUCCESSFUL and move.target <= PENDING for move in leaving)

    def test_only_ready_jobs_are_claimed(self) -> None:
        """A job becomes held by a claim from ready, and by nothing else."""
        entering = [(o, t) for o, t in LEGAL_MOVES if t in HELD and o not in HELD]
        assert set(entering) == {(State.READY, state) for state in HELD}

    def test_no_move_stands_still(self) -> None:
        """No legal move leads from a state to itself."""
        assert all(origin != target for origin, target in LEGAL_MOVES)

    def test_methods_are_of_the_store(self) -> None:
        """Each transition is made by a method of the contract, and has a name of its own."""
        assert isabstract(Store)
        assert {move.method for move in TRANSITIONS} <= Store.__abstractmethods__
        assert len({move.name for move in TRANSITIONS}) == len(TRANSITIONS)

    def test_every_verdict_has_its_event(self) -> None:
        """However an execution ends, there is an event that says so."""
        assert set(ENDED) == set(Verdict)


class Recorded:
    """A store, and what triggers in its database say of each move."""

    def __init__(self, path: Path) -> None:
        """Set up the database and its triggers."""
        self.store = SqliteStore(path, durable=False)
        self.worker = self.store.register("worker", own_identity())
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.executescript(
            """
            CREATE TABLE move (origin TEXT, target TEXT NOT NULL);
            CREATE TRIGGER born AFTER INSERT ON job
              BEGIN INSERT INTO move VALUES (NULL, new.state); END;
            CREATE TRIGGER moved AFTER UPDATE OF state ON job WHEN old.state <> new.state
              BEGIN INSERT INTO move VALUES (old.state, new.state); END;
            """
        )

    def births(self) -> set[str]:
        """Give the states that jobs were born in."""
        rows = self.database.execute("SELECT target FROM move WHERE origin IS NULL").fetchall()
        return {target for (target,) in rows}

    def moves(self) -> set[tuple[str, str]]:
        """Give the moves that were made."""
        rows = self.database.execute("SELECT * FROM move WHERE origin IS NOT NULL").fetchall()
        return set(rows)

    def submit(self, *parents: str, **options: Any) -> str:  # noqa: ANN401
        """Submit a job; its id."""
        job = Job("job", print, dependencies=parents, **options)
        self.store.submit([job.to_record(clock.now())])
        return job.id

    def state(self, uuid: str) -> str:
        """Give a job's state."""
        row = self.store.job(uuid)
        assert row is not None
        return row.state

    def take(self, uuid: str) -> Claim:
        """Claim this job, and nothing else."""
        (claim,) = self.store.settle(self.worker, (), claim=1).claims
        assert claim.uuid == uuid
        return claim

    def end(self, uuid: str, verdict: Verdict = Verdict.COMPLETED) -> None:
        """Claim this job and end it so."""
        claim = self.take(uuid)
        outcome = Outcome(claim.execution, claim.job, claim.queue_id, verdict)
        assert not self.store.settle(self.worker, [outcome]).dropped

    def drain(self) -> None:
        """Complete whatever is ready or due."""
        while claims := self.store.settle(self.worker, (), claim=1).claims:
            (claim,) = claims
            completed = Outcome(claim.execution, claim.job, claim.queue_id, Verdict.COMPLETED)
            self.store.settle(self.worker, [completed])


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    """Give a store whose moves are recorded."""
    found = Recorded(tmp_path / "gigq.db")
    yield found
    found.store.close()
    found.database.close()


def run_and_retry(recorded: Recorded) -> None:
    """End jobs in every way, with and without attempts left and a delay before the next."""
    for verdict in set(Verdict) - {Verdict.CANCELLED}:
        for options in ({"max_attempts": 1}, {"max_attempts": 2}, {"retry_delay": 0.001}):
            uuid = recorded.submit(**options)
            recorded.end(uuid, verdict)
            until(lambda uuid=uuid: recorded.drain() or recorded.state(uuid) in FINAL)


def cancel_and_requeue(recorded: Recorded) -> None:
    """Cancel from each pending state, and bring back from each unsuccessful one."""
    store = recorded.store
    ready = recorded.submit()
    assert store.cancel(ready)
    assert store.requeue(ready)  # CANCELLED -> READY
    recorded.end(ready)
    assert store.cancel(recorded.submit(delay=3600))
    assert store.cancel(recorded.submit(recorded.submit(delay=3600)))
    for verdict in (Verdict.FAILED, Verdict.TIMEOUT):
        failing = recorded.submit(max_attempts=1)
        clean_up = recorded.submit(failing, max_attempts=1, on_parent_failure="run")
        abandoned = recorded.submit(recorded.submit(failing))
        recorded.end(failing, verdict)
        assert recorded.state(abandoned) == "cancelled"
        assert recorded.state(recorded.submit(failing)) == "cancelled"
        recorded.end(clean_up, verdict)
        assert store.requeue(failing)
        assert recorded.state(abandoned) == "blocked"
        assert store.requeue(clean_up)
        assert recorded.state(clean_up) == "blocked"
        recorded.end(failing)
        recorded.drain()


def wait_for_parents(recorded: Recorded) -> None:
    """Unblock children, due ones and others."""
    parent = recorded.submit()
    child = recorded.submit(parent)
    delayed = recorded.submit(parent, delay=3600)
    recorded.end(parent)
    assert recorded.state(delayed) == "scheduled"
    recorded.end(child)


def end_while_running(recorded: Recorded) -> None:
    """End a running job because somebody asked for it."""
    uuid = recorded.submit()
    claim = recorded.take(uuid)
    assert recorded.store.cancel(uuid, running=True)
    outcome = Outcome(claim.execution, claim.job, claim.queue_id, Verdict.COMPLETED)
    recorded.store.settle(recorded.worker, [outcome])
    assert recorded.state(uuid) == "cancelled"


class TestStore:
    """The store makes the moves of the table, and no others."""

    def test_moves(self, recorded: Recorded) -> None:
        """Driven through its life, a job makes each listed move that exists, and only those."""
        run_and_retry(recorded)
        wait_for_parents(recorded)
        cancel_and_requeue(recorded)
        end_while_running(recorded)
        # A requeued job is due at once, whatever it waited for before.
        unmade = {(origin, State.SCHEDULED) for origin in UNSUCCESSFUL}
        listed = {
            (origin, target)
            for origin, target in LEGAL_MOVES
            if origin not in UNMADE and target not in UNMADE
        }
        assert recorded.moves() <= LEGAL_MOVES
        assert listed - recorded.moves() - unmade == set()
        assert recorded.births() == BIRTHS

    def test_column_takes_every_state_and_no_other(self, recorded: Recorded) -> None:
        """The database's own check of the state column knows the same words."""
        recorded.submit()
        for state in State:
            recorded.database.execute("UPDATE job SET state = ?", (state,))
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            recorded.database.execute("UPDATE job SET state = 'pending'")

    def test_verdicts_are_those_of_the_column(self, recorded: Recorded) -> None:
        """The database's own check of the verdict knows the same words."""
        recorded.take(recorded.submit())
        for verdict in Verdict:
            recorded.database.execute("UPDATE execution SET verdict = ?", (verdict,))
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            recorded.database.execute("UPDATE execution SET verdict = 'aborted'")

    def test_view_shows_the_public_status(self, recorded: Recorded) -> None:
        """For every state the view `jobs` shows the status that the table gives."""
        recorded.submit()
        for state in State:
            recorded.database.execute("UPDATE job SET state = ?", (state,))
            with closing(recorded.database.execute("SELECT status FROM jobs")) as rows:
                assert rows.fetchall() == [(STATUS[state].value,)]
