"""What state a job can be in, and each way from one to the next.

Public statuses are six (`JobStatus`); inside, *pending* knows why it waits. `TRANSITIONS` is the
whole life of a job: no statement of the store moves a job in a way that is not listed here, and a
test holds the store against it.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import NamedTuple


class JobStatus(Enum):
    """The status that users see."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"


class State(StrEnum):
    """The state that the store keeps. Who moves a job on stands beside each."""

    READY = "ready"  # the next free worker takes it
    SCHEDULED = "scheduled"  # a worker promotes it when it is due
    BLOCKED = "blocked"  # the end of its last parent moves it
    PAUSED = "paused"  # room: nothing makes it yet
    LIMITED = "limited"  # room: nothing makes it yet
    CLAIMED = "claimed"  # room: nothing makes it yet; what a batch holds is running
    RUNNING = "running"  # its worker, or who finds that worker dead, settles it
    COMPLETED = "completed"  # final
    FAILED = "failed"  # final, but for a requeue
    TIMEOUT = "timeout"  # final, but for a requeue
    CANCELLED = "cancelled"  # final, but for a requeue or the requeue of the parent that caused it


PENDING = frozenset({State.READY, State.SCHEDULED, State.BLOCKED, State.PAUSED, State.LIMITED})
HELD = frozenset({State.CLAIMED, State.RUNNING})
FINAL = frozenset({State.COMPLETED, State.FAILED, State.TIMEOUT, State.CANCELLED})
UNSUCCESSFUL = FINAL - {State.COMPLETED}

STATUS: dict[str, JobStatus] = {
    **dict.fromkeys(PENDING, JobStatus.PENDING),
    **dict.fromkeys(HELD, JobStatus.RUNNING),
    State.COMPLETED: JobStatus.COMPLETED,
    State.FAILED: JobStatus.FAILED,
    State.TIMEOUT: JobStatus.TIMEOUT,
    State.CANCELLED: JobStatus.CANCELLED,
}
STATES_OF = {
    status: tuple(state for state in State if STATUS[state] is status) for status in JobStatus
}


class Verdict(StrEnum):
    """How an execution ended. Causes stay apart: the code raised, or its time or worker ended."""

    COMPLETED = "completed"
    FAILED = "failed"  # the code raised, or could not be loaded
    TIMEOUT = "timeout"  # stopped at its deadline
    CANCELLED = "cancelled"  # stopped because somebody asked for it
    LOST = "lost"  # its worker died
    STOPPED = "stopped"  # begun, then stopped by a shutdown
    RELEASED = "released"  # claimed and never begun


TAKEN_BACK = frozenset({Verdict.LOST, Verdict.RELEASED})  # the verdicts on what a dead worker held


class Transition(NamedTuple):
    """One legal move of a job."""

    name: str
    origin: frozenset[State]
    target: frozenset[State]
    method: str  # of Store


def _states(*states: State) -> frozenset[State]:
    return frozenset(states)


_AWAKE = _states(State.READY, State.SCHEDULED)
_WAITING = _AWAKE | {State.BLOCKED}

TRANSITIONS = (
    Transition("submit", _states(), _WAITING | {State.CANCELLED}, "submit"),
    Transition("promote", _states(State.SCHEDULED), _states(State.READY), "settle"),
    Transition("unblock", _states(State.BLOCKED), _AWAKE, "settle"),
    Transition("claim", _states(State.READY), HELD, "settle"),
    Transition("begin", _states(State.CLAIMED), _states(State.RUNNING), "settle"),
    Transition("complete", _states(State.RUNNING), _states(State.COMPLETED), "settle"),
    Transition("retry", HELD, _AWAKE, "settle"),
    Transition("release", HELD, _states(State.READY), "settle"),
    Transition("fail", HELD, _states(State.FAILED), "settle"),
    Transition("expire", HELD, _states(State.TIMEOUT), "settle"),
    Transition("end", HELD, _states(State.CANCELLED), "settle"),
    Transition("abandon", _states(State.BLOCKED), _states(State.CANCELLED), "settle"),
    Transition("cancel", PENDING, _states(State.CANCELLED), "cancel"),
    Transition("requeue", UNSUCCESSFUL, _WAITING, "requeue"),
    Transition("revive", _states(State.CANCELLED), _WAITING, "requeue"),
)

LEGAL_MOVES = frozenset(
    (origin, target) for move in TRANSITIONS for origin in move.origin for target in move.target
)
