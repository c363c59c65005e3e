"""Why a job does not run, or how it ended: one sentence, the next command, and a word for programs.

Nothing is changed by looking. What is said holds for the moment of the look.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from gigq.queue import clock
from gigq.queue.ending import how_it_ended
from gigq.queue.explanation import FAILED_HOW, Explanation, first_line, named
from gigq.queue.identity import Liveness, is_of_this_boot
from gigq.queue.moments import moment
from gigq.queue.records import Standing
from gigq.queue.service_lock import service_holder
from gigq.queue.states import FINAL, HELD, STATUS, UNSUCCESSFUL, State, Verdict

if TYPE_CHECKING:
    from gigq.queue.companions import Companions
    from gigq.queue.records import JobRow, WorkerRow
    from gigq.queue.store import Store

MOST_COUNTED = 1000  # jobs before this one: more need not be counted
_TRIED = frozenset({Verdict.FAILED, Verdict.TIMEOUT, Verdict.LOST})


class _Hands(NamedTuple):
    """Who could run jobs of this database."""

    service: dict[str, Any] | None
    alive: list[WorkerRow]
    elsewhere: int  # of another machine, or a container without a lock


def explain(store: Store, companions: Companions, row: JobRow) -> Explanation:
    """Say why a job is not running, or how it ended."""
    return _Look(store, companions, row).explain()


class _Look:
    """One job, looked at once."""

    def __init__(self, store: Store, companions: Companions, row: JobRow) -> None:
        self._store = store
        self._companions = companions
        self._row = row
        self._now = clock.now()

    def explain(self) -> Explanation:
        row = self._row
        if row.state in FINAL:
            return how_it_ended(row, self._standing().blamed, self._now)
        if row.state in HELD:
            return self._running()
        if row.state == State.BLOCKED:
            return self._blocked()
        if row.state == State.SCHEDULED and row.due_at is not None and row.due_at > self._now:
            return self._scheduled(row.due_at)
        return self._ready()

    def _standing(self) -> Standing:
        found = self._store.standing(self._row.job, MOST_COUNTED)
        return found or Standing("cancel", queue_paused=False, ready_before=0, blamed=None)

    # Pending

    def _scheduled(self, due_at: int) -> Explanation:
        when = moment(due_at, self._now)
        if not self._was_tried():
            return Explanation(f"It is not due until {when}.", None, "not_due")
        return Explanation(
            f"It is tried again at {when}, {self._next_attempt()}, {self._after_error()}.",
            f"gigq status {self._row.uuid} --show-executions",
            "retry",
        )

    def _blocked(self) -> Explanation:
        parents = self._store.parents(self._row.job)
        failed = [parent for parent in parents if parent[2] in UNSUCCESSFUL]
        open_ones = [parent for parent in parents if parent[2] not in FINAL]
        if failed and self._standing().on_parent_failure == "block":
            uuid, name, state = failed[0]
            return Explanation(
                f"It is blocked by its parent {name!r}, which {FAILED_HOW[state]}, "
                'until that is requeued (on_parent_failure="block").',
                f"gigq requeue {uuid}",
                "parent_failed_blocks",
            )
        if open_ones:
            told = named([f"{name!r} ({STATUS[state].value})" for _, name, state in open_ones])
            noun = "its parent" if len(open_ones) == 1 else "its parents"
            command = f"gigq status {open_ones[0][0]}"
            return Explanation(f"It waits for {noun} {told}.", command, "waits_for_parents")
        return self._unclaimed("It waits until a worker looks at how its parents ended", "parents")

    def _ready(self) -> Explanation:
        standing = self._standing()
        if standing.queue_paused:
            return Explanation(f"Its queue {self._row.queue!r} is paused.", None, "queue_paused")
        subject, cause = "It is ready to run", "ready"
        if self._was_tried():
            subject += f" again, {self._next_attempt()}, {self._after_error()}"
        elif self._row.verdict == Verdict.STOPPED:
            subject += " again, after a shutdown stopped it"
        if standing.ready_before:
            subject, cause = f"{subject}, behind {_other_jobs(standing.ready_before)}", "behind"
        return self._unclaimed(subject, cause)

    def _unclaimed(self, subject: str, cause: str) -> Explanation:
        """Say why no worker takes the job, if there is a reason; else `subject` is it."""
        hands, database = self._hands(), self._database()
        if hands.service is None and not hands.alive and not hands.elsewhere:
            return Explanation(
                f"{subject}, but no gigqd serves {database} and no other worker is alive.",
                f"gigqd start {shlex.quote(database)}",
                "no_service",
            )
        if not hands.alive and not hands.elsewhere:
            pid = (hands.service or {}).get("pid", "unknown")
            return Explanation(
                f"{subject}, but gigqd (pid {pid}) has no worker alive: "
                "it is drained, scaled to 0, or its workers do not start.",
                f"gigqd status {shlex.quote(database)}",
                "no_worker",
            )
        busy = sum(bool(self._store.claims_of(worker.worker)) for worker in hands.alive)
        if hands.alive and busy == len(hands.alive):
            all_busy = "the only worker is" if busy == 1 else f"all {busy} workers are"
            return Explanation(
                f"{subject}; {all_busy} busy.",
                "gigq list --status running",
                "workers_busy" if cause == "ready" else cause,
            )
        free = len(hands.alive) - busy
        if not free:
            return Explanation(f"{subject}; its workers cannot be seen from here.", None, cause)
        return Explanation(f"{subject}; a free worker takes it next.", None, cause)

    def _was_tried(self) -> bool:
        return self._row.attempts > 0 and self._row.verdict in _TRIED

    def _next_attempt(self) -> str:
        return f"attempt {self._row.attempts + 1} of {self._row.max_attempts}"

    def _after_error(self) -> str:
        return f"after: {first_line(self._row.error or str(self._row.verdict))}"

    # Running

    def _running(self) -> Explanation:
        row, database = self._row, self._database()
        worker = next((each for each in self._store.open_workers() if self._holds(each)), None)
        who = f"worker {row.worker_name}" + (f" (pid {worker.identity.pid})" if worker else "")
        seen = Liveness.DEAD if worker is None else self._store.liveness(worker)
        if seen is Liveness.DEAD:
            takes = "its job is taken back now"
            command = None
            if service_holder(self._companions) is None:
                takes = "its job is taken back when a service or worker runs again"
                command = f"gigqd start {shlex.quote(database)}"
            return Explanation(f"It ran on {who}, which has died; {takes}.", command, "worker_dead")
        since = moment(row.started_at or self._now, self._now)
        if worker is not None and seen is Liveness.ELSEWHERE:
            return _begun_elsewhere(worker, who, since)
        if row.execution_id in self._store.to_end():
            return Explanation(
                f"Somebody asked to cancel it; {who} is ending it.", None, "cancelling"
            )
        parts = (
            f"It has been running since {since} on {who}",
            f"attempt {row.attempts} of {row.max_attempts}",
            self._progress(),
            self._deadline(),
        )
        return Explanation(", ".join(filter(None, parts)) + ".", None, "running")

    def _holds(self, worker: WorkerRow) -> bool:
        held = self._store.claims_of(worker.worker)
        return any(each.execution == self._row.execution_id for each in held)

    def _progress(self) -> str:
        execution = self._row.execution_id
        found = None if execution is None else self._store.progress(execution)
        if found is None:
            return ""
        done = f"{found.done:,.10g}"
        done += " done" if found.total is None else f" of {found.total:,.10g} done"
        return f"{done} ({first_line(found.text)})" if found.text else done

    def _deadline(self) -> str:
        timeout, started = self._row.timeout, self._row.started_at
        if timeout is None or started is None:
            return "without a deadline"
        deadline = started + timeout
        if deadline <= self._now:
            return f"past its deadline of {moment(deadline, self._now)}"
        return f"until its deadline at {moment(deadline, self._now)} at the latest"

    # Who could run it

    def _hands(self) -> _Hands:
        alive, elsewhere = [], 0
        for worker in self._store.open_workers():
            seen = self._store.liveness(worker)
            if seen is Liveness.ALIVE:
                alive.append(worker)
            elsewhere += seen is Liveness.ELSEWHERE
        return _Hands(service_holder(self._companions), alive, elsewhere)

    def _database(self) -> str:
        folder = self._companions.folder
        return str(folder.with_name(folder.name.removesuffix(".d")))


def _begun_elsewhere(worker: WorkerRow, who: str, since: str) -> Explanation:
    here = is_of_this_boot(worker.identity)
    where = "another container of this machine" if here else "another machine"
    return Explanation(
        f"It was begun at {since} on {who} of {where}, and nobody can see from here "
        "whether that is alive. If it is gone for good, take back what it held.",
        f"gigq reclaim {shlex.quote(worker.name)}",
        "elsewhere",
    )


def _other_jobs(count: int) -> str:
    if count >= MOST_COUNTED:
        return f"{count:,} or more other ready jobs"
    return f"{count:,} other ready job{'' if count == 1 else 's'}"


__all__ = ["Explanation", "explain"]
