"""The yardstick of a drain: one process that does nothing but end a job and claim the next.

    python bare_drain.py DATABASE NORMAL|FULL [carried]

The least that keeps a job's history and the counters of states in plain statements, without
conditions that never hold here, on the same tables with the same indexes. It runs nothing, checks
nothing, logs nothing. With `carried` it keeps the counters as a worker does, in the row of the job
that is claimed, which spares two statements and a page. Says "ready", and begins when it is told
anything; it ends when no job is ready.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from random import uniform

from gigq.queue.identity import own_identity
from gigq.queue.sqlite_store import SqliteStore

RETRY = (0.0001, 0.0006)  # seconds

END_JOB = """
UPDATE job SET state = 'completed', updated_at = ?
 WHERE id = ? AND execution_id = ? AND state = 'running'"""
END_EXECUTION = """
UPDATE execution SET verdict = 'completed', ended_at = ?, result = ?, cpu_time = ? WHERE id = ?"""
PICK = """
SELECT j.id, j.begun, s.params
  FROM job j INDEXED BY job_live CROSS JOIN job_spec s ON s.job_id = j.id
 WHERE j.live = 1 AND j.queue_id = 1 ORDER BY j.priority DESC, j.id LIMIT 1"""
ADD_EXECUTION = """
INSERT INTO execution (id, job_id, attempt, worker_id, started_at, output_log, output_start)
VALUES (?, ?, 1, ?, ?, 'log', 0)"""
HOLD_JOB = """
UPDATE job SET state = 'running', attempts = attempts + 1, begun = begun + 1, execution_id = ?,
               updated_at = ?
 WHERE id = ? AND state = 'ready'"""
HOLD_JOB_WITH_COUNT = HOLD_JOB.replace("updated_at = ?", "updated_at = ?, uncounted = ?")
END_JOB_WITH_COUNT = END_JOB.replace("updated_at = ?", "updated_at = ?, uncounted = 0")
COUNT = "UPDATE tally SET jobs = jobs + ? WHERE queue_id = 1 AND state = ?"
BORN = """
INSERT INTO tally (queue_id, state, jobs) VALUES (1, 'completed', 0) ON CONFLICT DO NOTHING"""


def connected(path: str, synchronous: str) -> sqlite3.Connection:
    """Connect as a program would that knows SQLite."""
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, cached_statements=256)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA wal_autocheckpoint = 2000")
    connection.execute("PRAGMA busy_timeout = 0")  # `begin` knows better
    return connection


def begin(connection: sqlite3.Connection) -> None:
    """Take the write lock."""
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            time.sleep(uniform(*RETRY))
        else:
            return


def drain(connection: sqlite3.Connection, worker: int, *, carries: bool) -> None:
    """End one and claim the next, until there is none; the claimed one may carry the counters."""
    run = connection.execute
    end_job = END_JOB_WITH_COUNT if carries else END_JOB
    hold_job = HOLD_JOB_WITH_COUNT if carries else HOLD_JOB
    held: tuple[int, int] | None = None
    uncounted = 0
    while True:
        begin(connection)
        now = time.time_ns() // 1000
        if held is not None:
            job, execution = held
            run(end_job, (now, job, execution))
            run(END_EXECUTION, (now, "1", 10, execution))
            uncounted += 1
        picked = run(PICK).fetchone()
        if uncounted and (picked is None or not carries):
            run(COUNT, (uncounted, "completed"))
            run(COUNT, (-uncounted, "ready"))
            uncounted = 0
        if picked is None:
            run("COMMIT")
            return
        job, begun, _ = picked
        execution = (job << 24) + begun
        run(ADD_EXECUTION, (execution, job, worker, now))
        run(hold_job, (execution, now, uncounted, job) if carries else (execution, now, job))
        run("COMMIT")
        held = (job, execution)


def main() -> None:
    """Register as a worker, wait for the word, and drain."""
    path, synchronous, *how = sys.argv[1:]
    store = SqliteStore(path, durable=False, create=False)
    worker = store.register("bare", own_identity())
    store.close()
    connection = connected(path, synchronous)
    begin(connection)
    connection.execute(BORN)
    connection.execute("COMMIT")
    print("ready", flush=True)
    sys.stdin.readline()
    drain(connection, worker, carries=bool(how))


if __name__ == "__main__":
    main()
