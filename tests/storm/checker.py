"""Proves that a storm broke no promise, from the notes of all that took part and the database.

Each rule is one function that gives violations, each with its evidence. `check` runs them all.

About ends: a run notes its begin and its end. One that was killed has no end; whether it was over
when the next one began is answered by that next one, which looks, after it has noted its own
begin, whether processes of earlier runs without an end are alive. It is the strictest question that
can be asked: a run that lives beside another is seen by at least one of the two.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from storm.evidence import FINAL, HELD, UNSUCCESSFUL, Database, Notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from storm.evidence import Request, Run


LATE = 20  # seconds: the longest standstill of a storm, on busy cores


class Violation(NamedTuple):
    """A broken promise."""

    rule: str
    job: str  # or what else it is about
    evidence: str

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.rule}: {self.job}: {self.evidence}"


class Case(NamedTuple):
    """All evidence of one storm."""

    notes: Notes
    database: Database
    calm: bool  # at the end there was time to finish everything


def check(notes: Path, database: Path, *, calm: bool = True) -> list[Violation]:
    """Give all violations. The storm is over: nothing writes any more."""
    case = Case(Notes(notes), Database(database), calm)
    return [violation for rule in RULES for violation in rule(case)]


# Nothing is lost


def lost(case: Case) -> Iterator[Violation]:
    """Find acknowledged jobs that are gone, but for finished ones that somebody cleared."""
    for promise in case.notes.promises:
        for job in promise.jobs if promise.acknowledged is not None else ():
            if job not in case.database.jobs and job not in case.notes.clearable:
                yield Violation("lost", job, f"acknowledged at {promise.acknowledged:.3f}, gone")


def torn(case: Case) -> Iterator[Violation]:
    """Find submits that are there in part, acknowledged or not."""
    for promise in case.notes.promises:
        there = [
            job for job in promise.jobs if job in case.database.jobs or job in case.notes.clearable
        ]
        if 0 < len(there) < len(promise.jobs):
            missing = next(job for job in promise.jobs if job not in there)
            yield Violation(
                "torn", missing, f"of {len(promise.jobs)} jobs of one submit {len(there)} are there"
            )


def stuck(case: Case) -> Iterator[Violation]:
    """Find what is unfinished after a calm phase, and waits neither for a failed parent nor a time.

    A wall clock that was hours ahead made some jobs due in hours.
    """
    for job in case.database.jobs.values() if case.calm else ():
        if job.state in FINAL or job.state == "scheduled":
            continue
        parents = [case.database.jobs[each] for each in case.database.parents.get(job.uuid, ())]
        waits = any(
            parent.state not in FINAL or (parent.state in UNSUCCESSFUL and job.policy == "block")
            for parent in parents
        )
        if job.state != "blocked" or not waits:
            states = ", ".join(parent.state for parent in parents) or "none"
            yield Violation("stuck", job.uuid, f"{job.state} at the end; its parents: {states}")


def miscounted(case: Case) -> Iterator[Violation]:
    """Find blocked jobs whose count of unfinished parents is not what a look at them gives."""
    for job in case.database.jobs.values():
        if job.state != "blocked":
            continue
        parents = case.database.parents.get(job.uuid, ())
        done = FINAL if job.policy == "run" else FINAL[:1]
        waiting = sum(
            case.database.jobs[each].state not in done or each in case.database.telling
            for each in parents
        )
        if waiting != job.waiting_on:
            yield Violation(
                "miscounted",
                job.uuid,
                f"waits for {waiting} parents, its row says {job.waiting_on}",
            )


# Never two runs at once


def overlap(case: Case) -> Iterator[Violation]:
    """Find runs of one job that overlap, with all that they started."""
    for key, runs in case.notes.runs.items():
        for run in runs:
            for seen in run.overlaps:
                yield Violation(
                    "overlap",
                    key,
                    f"{run} saw pid {seen['alive']} ({seen['of']}) of execution {seen['other']}",
                )
        ended = sorted((run for run in runs if run.end is not None), key=lambda run: run.begin)
        for before, after in pairwise(ended):
            if before.end is not None and after.begin < before.end:
                yield Violation("overlap", key, f"{before}; {after}")


def begun_twice(case: Case) -> Iterator[Violation]:
    """Find executions begun twice, or that were not stored before they began."""
    for key, runs in case.notes.runs.items():
        seen: dict[int, Run] = {}
        for run in runs:
            if run.execution in seen:
                yield Violation("begun twice", key, f"{seen[run.execution]}; {run}")
            seen[run.execution] = run
            row = case.database.executions.get(run.execution)
            if row is None and key in case.database.jobs:
                yield Violation("begun unclaimed", key, f"{run} has no row")
            elif row is not None and row.job != key:
                yield Violation("begun unclaimed", key, f"{run} is of job {row.job}")


def early(case: Case) -> Iterator[Violation]:
    """Find children that began before each parent that they need was completed and stored."""
    for key, runs in case.notes.runs.items():
        facts = case.notes.offered.get(key, {})
        for run in runs:
            for parent in facts.get("parents", ()):
                evidence = _too_early(case.notes, run, parent, facts["policy"])
                if evidence:
                    yield Violation("early", key, f"{run}: {evidence}")


def _too_early(notes: Notes, run: Run, parent: str, policy: str) -> str | None:
    returned = {
        each.execution: each.end
        for each in notes.runs.get(parent, ())
        if each.how == "returned" and each.end is not None and each.end <= run.begin
    }
    if run.parents is not None:
        by = run.parents.get(parent)
        if by is not None and by not in returned:
            return f"has a result of parent {parent} from execution {by}, which had not returned"
        if by is None and policy != "run":
            return f"has no result of parent {parent}"
    if policy != "run" and not returned:
        return f"parent {parent} had not returned"
    return None


def charged(case: Case) -> Iterator[Violation]:
    """Find more charges than max_attempts, by the row and by what was begun."""
    begun_as: dict[str, list[str | None]] = {}
    for execution in case.database.executions.values():
        begun_as.setdefault(execution.job, []).append(execution.verdict)
    for job in case.database.jobs.values():
        if not 0 <= job.attempts <= job.max_attempts:
            yield Violation("charges", job.uuid, f"{job.attempts} of {job.max_attempts} attempts")
        verdicts = begun_as.get(job.uuid, [])
        most = job.max_attempts * (
            1 + len(case.notes.requeues(job.uuid)) + _revivals(case, job.uuid)
        )
        charges = sum(verdict not in ("released", "stopped") for verdict in verdicts)
        if charges > most:
            yield Violation("charges", job.uuid, f"{charges} charged executions, {most} allowed")
        begins = len(case.notes.runs.get(job.uuid, ()))
        if begins > most + (verdicts.count("stopped") if job.max_attempts > 1 else 0):
            yield Violation("charges", job.uuid, f"begun {begins} times, {most} allowed")


def _revivals(case: Case, job: str) -> int:
    """Count requeues that may have brought this job back: those of what it depends on."""
    return sum(len(case.notes.requeues(each)) for each in case.notes.ancestors(job))


# What is stored is what happened


def unrecorded(case: Case) -> Iterator[Violation]:
    """Find where state, execution and what the runs noted do not agree."""
    executions = case.database.executions
    for job in case.database.jobs.values():
        last = executions.get(job.execution_id or 0)
        if job.state in HELD and (last is None or last.verdict is not None):
            yield Violation("unrecorded", job.uuid, f"{job.state} without an open execution")
        if job.state == "completed":
            evidence = _no_result(case, job.uuid, job.execution_id)
            if evidence:
                yield Violation("unrecorded", job.uuid, f"completed, but {evidence}")
    for execution in executions.values():
        row = case.database.jobs.get(execution.job)
        held = row is not None and row.state in HELD and row.execution_id == execution.id
        if execution.verdict is None and not held:
            state = "gone" if row is None else row.state
            yield Violation(
                "unrecorded", execution.job, f"execution {execution.id} is open, the job is {state}"
            )


def _no_result(case: Case, job: str, execution: int | None) -> str | None:
    row = case.database.executions.get(execution or 0)
    if row is None or row.verdict != "completed":
        return f"execution {execution} ended as {row and row.verdict}"
    by = json.loads(row.result or "{}").get("by")
    returned = [run for run in case.notes.runs.get(job, ()) if run.how == "returned"]
    if by != execution or execution not in {run.execution for run in returned}:
        return f"execution {execution} holds the result of {by}; returned: {[*map(str, returned)]}"
    return None


def ran_cancelled(case: Case) -> Iterator[Violation]:
    """Find begins after an acknowledged cancellation, without a requeue."""
    for job, requests in case.notes.requests.items():
        for cancel in requests:
            if cancel.what != "cancel" or not cancel.answer or cancel.answered is None:
                continue
            if any(_may_undo(each, cancel.asked) for each in requests):
                continue
            for run in case.notes.runs.get(job, ()):
                if run.begin > cancel.answered:
                    yield Violation("ran cancelled", job, f"cancelled {cancel.answered:.3f}; {run}")


def _may_undo(request: Request, since: float) -> bool:
    return request.what == "requeue" and (request.answered is None or request.answered >= since)


def baseless(case: Case) -> Iterator[Violation]:
    """Find jobs that did not end well, and nobody and nothing made them."""
    for job in case.database.jobs.values():
        blamed = case.database.jobs.get(job.cancelled_by or "")
        if job.state == "cancelled" and job.cause == "parent_failed":
            if blamed is not None and blamed.state not in UNSUCCESSFUL:
                yield Violation("baseless", job.uuid, f"cancelled by {blamed.uuid}: {blamed.state}")
        elif job.state == "cancelled":
            asked = {each.what for each in case.notes.requests.get(job.uuid, ())}
            if not asked & {"cancel", "cancel_running"}:
                yield Violation("baseless", job.uuid, "cancelled, and nobody asked for it")
        elif job.state in UNSUCCESSFUL and job.attempts == 0:
            yield Violation("baseless", job.uuid, f"{job.state} without an attempt")


def late(case: Case) -> Iterator[Violation]:
    """Find runs that went on long after their deadline, though somebody may have been stopped."""
    for key, runs in case.notes.runs.items():
        timeout = case.notes.offered.get(key, {}).get("timeout")
        for run in runs if timeout is not None else ():
            if run.end is not None and run.end - run.begin > timeout + LATE:
                yield Violation("late", key, f"{run}; its timeout was {timeout} s")


def changed(case: Case) -> Iterator[Violation]:
    """Find changes after a final state that no requeue can have made."""
    last: dict[str, dict] = {}
    for line in case.notes.driver:
        if line["what"] == "execution changed":
            yield Violation(
                "changed", str(line["execution"]), f"{line['before']} → {line['after']}"
            )
        if line["what"] != "seen":
            continue
        before = last.get(line["job"])
        last[line["job"]] = line
        if before is None or before["row"] is None or before["row"] == line["row"]:
            continue
        if line["row"] is None and line["job"] in case.notes.clearable and line["gone"]:
            continue
        undone = before["row"][0] != "completed" and _requeued(case, line["job"], before, line)
        if not undone:
            yield Violation("changed", line["job"], f"{before['row']} → {line['row']}")


def _requeued(case: Case, job: str, before: dict, after: dict) -> bool:
    """Tell whether a requeue of the job, or of one that it depends on, may have come between."""
    return any(
        request.asked <= after["at"]
        and (request.answered is None or request.answered >= before["since"])
        for each in (job, *case.notes.ancestors(job))
        for request in case.notes.requeues(each)
    )


# Counters, files, processes


def counters(case: Case) -> Iterator[Violation]:
    """Find counters that differ from the rows, at the end and at each snapshot."""
    for queue, state, counted, found in case.database.miscounted:
        yield Violation("counters", state, f"queue {queue}: counted {counted}, found {found}")
    for line in case.notes.driver:
        if line["what"] == "miscounted":
            yield Violation("counters", "snapshot", str(line["rows"]))


def integrity(case: Case) -> Iterator[Violation]:
    """Find damage to the file, and rows that refer to one that is not there."""
    if case.database.integrity != ["ok"]:
        yield Violation("integrity", "database", "; ".join(case.database.integrity[:5]))
    for row in case.database.foreign_keys[:5]:
        yield Violation("integrity", "foreign key", str(row))
    for execution in case.database.asked_to_end:
        row = case.database.executions.get(execution)
        if row is None or row.verdict is not None:
            yield Violation("integrity", "cancellation", f"of execution {execution}, which ended")


def backup(case: Case) -> Iterator[Violation]:
    """Find copies of the database, made while it was used, that are damaged or lack something."""
    for line in case.notes.driver:
        if line["what"] != "backup":
            continue
        copy = Database(Path(line["path"]))
        if copy.integrity != ["ok"] or copy.foreign_keys or copy.miscounted:
            evidence = f"{copy.integrity[:3]}, {copy.foreign_keys[:3]}, {copy.miscounted[:3]}"
            yield Violation("backup", line["path"], evidence)
        for promise in case.notes.promises:
            if promise.acknowledged is not None and promise.acknowledged < line["began"]:
                for job in promise.jobs.keys() - copy.jobs.keys() - case.notes.clearable:
                    yield Violation("backup", line["path"], f"lacks job {job}")


def left_behind(case: Case) -> Iterator[Violation]:
    """Find what is left when the service has gone: a process of a job, a worker's life, a lock."""
    for line in case.notes.driver:
        if line["what"] in ("process left", "lock held", "file left"):
            yield Violation(line["what"], str(line["subject"]), line["evidence"])
    for (name,) in case.database.open_workers if case.calm else ():
        yield Violation("worker left", name, "its life has no end")


def died(case: Case) -> Iterator[Violation]:
    """Find what ended by itself: the service, or a submitter."""
    for line in case.notes.driver:
        if line["what"] == "died":
            yield Violation("died", line["who"], line["evidence"])


RULES: Iterable[Callable[[Case], Iterator[Violation]]] = (
    lost,
    torn,
    stuck,
    miscounted,
    overlap,
    begun_twice,
    early,
    charged,
    unrecorded,
    ran_cancelled,
    baseless,
    late,
    changed,
    counters,
    integrity,
    backup,
    left_behind,
    died,
)
