"""Databases that are filled: with ready, finished, scheduled and blocked jobs, and workflows."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from gigq import Job, JobQueue
from gigq.queue.identity import own_identity
from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOBS = "def noop(number):\n    return number\n"
_CHUNK = 10_000
_FAR = 30 * 86_400.0  # seconds
_JOBS_OF_WORKFLOW = 10

# An execution's key: the job's, shifted, and how often it had been begun before.
_EXECUTE = """
INSERT INTO execution (id, job_id, attempt, worker_id, started_at, ended_at, verdict, result)
SELECT id << 24, id, 1, ?1, updated_at, updated_at, 'completed', '1' FROM job
 WHERE state = 'ready'"""
_FINISH = """
UPDATE job SET state = 'completed', attempts = 1, begun = 1, execution_id = id << 24
 WHERE state = 'ready'"""
_COUNT_FINISHED = """
INSERT INTO tally (queue_id, state, jobs)
SELECT queue_id, 'completed', jobs FROM tally WHERE state = 'ready'
ON CONFLICT (queue_id, state) DO UPDATE SET jobs = jobs + excluded.jobs"""
_ADD_WORKFLOWS = """
WITH RECURSIVE numbers (number) AS (
  SELECT 1 WHERE ?1 > 0 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?1)
INSERT INTO workflow (id, uuid, name, created_at)
SELECT number, lower(hex(randomblob(16))), 'workflow-' || number, 0 FROM numbers"""
_JOIN_WORKFLOWS = """
UPDATE job SET workflow_id = (id - 1) / ?1 + 1 WHERE state = 'ready' AND id <= ?1 * ?2"""
_COUNT_NO_READY = "UPDATE tally SET jobs = 0 WHERE state = 'ready'"


def fill(
    path: Path,
    *,
    pending: int = 0,
    finished: int = 0,
    scheduled: int = 0,
    blocked: int = 0,
    workflows: int = 0,
) -> Path:
    """Make a database with so many no-op jobs of each kind; its path.

    Their code is jobs.py beside the database. Of a workflow, all ten jobs have finished.
    """
    (path.parent / "jobs.py").write_text(JOBS)
    with JobQueue(path) as queue, contextlib.chdir(path.parent):  # where jobs find their code
        queue.submit_chunks(_noops(finished + workflows * _JOBS_OF_WORKFLOW), _CHUNK)
        if finished or workflows:
            _finish_all(path, workflows)
        queue.submit_chunks(_noops(scheduled, delay=_FAR), _CHUNK)
        if blocked:
            parent = Job("parent", "jobs.noop", {"number": 0}, delay=_FAR)
            queue.submit(parent)
            queue.submit_chunks(_noops(blocked, dependencies=[parent.id]), _CHUNK)
        queue.submit_chunks(_noops(pending), _CHUNK)
    tidy(path)
    return path


def _noops(jobs: int, **options: object) -> Iterator[Job]:
    return (Job("noop", "jobs.noop", {"number": n}, **options) for n in range(jobs))  # type: ignore[arg-type]


def submit_noops(queue: JobQueue, folder: Path, jobs: int) -> None:
    """Submit so many at once, as from `folder`."""
    with contextlib.chdir(folder):
        queue.submit_many(list(_noops(jobs)))


def _finish_all(path: Path, workflows: int) -> None:
    """Let all ready jobs have been run by one worker, at the time of their submit.

    Give the first of them to workflows, ten to each.
    """
    store = SqliteStore(path, durable=False)
    worker = store.register("filler", own_identity())
    store.close()
    with closing(bare_connection(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_ADD_WORKFLOWS, (workflows,))
        connection.execute(_JOIN_WORKFLOWS, (_JOBS_OF_WORKFLOW, workflows))
        connection.execute(_EXECUTE, (worker,))
        connection.execute(_FINISH)
        connection.execute(_COUNT_FINISHED)
        connection.execute(_COUNT_NO_READY)
        connection.execute("UPDATE worker SET ended_at = started_at WHERE id = ?", (worker,))
        connection.execute("COMMIT")


def tidy(path: Path) -> None:
    """Move the log of a database that nobody uses into it: it is one file then."""
    with closing(bare_connection(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def bare_connection(path: Path) -> sqlite3.Connection:
    """Connect to a database; what is done in it is the caller's business."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=60, cached_statements=256)
    connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    return connection


def copied(original: Path, folder: Path) -> Path:
    """Copy a tidy database and its jobs' code; on the disk when this returns."""
    folder.mkdir(exist_ok=True)
    shutil.copy(original.with_name("jobs.py"), folder)
    path = Path(shutil.copy(original, folder / "gigq.db"))
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)  # else it would be written in the middle of what is measured
    os.close(descriptor)
    return path


def counter(path: Path, state: str = "completed") -> Callable[[], int]:
    """Give a look at how many jobs of the database are in a state."""
    connection = bare_connection(path)
    query = "SELECT coalesce(sum(jobs), 0) FROM job_count WHERE state = ?"
    return lambda: int(connection.execute(query, (state,)).fetchone()[0])


def ends(path: Path, after: int = 0) -> list[tuple[int, int]]:
    """List (time, worker) of executions that were completed after a time, in their order."""
    query = """
        SELECT ended_at, worker_id FROM execution
         WHERE ended_at > ? AND verdict = 'completed' ORDER BY ended_at"""
    with closing(bare_connection(path)) as connection:
        return connection.execute(query, (after,)).fetchall()
