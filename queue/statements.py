"""All SQL of the store, named. Tests prepare each one and read the plan of the hot ones.

Lists of columns follow the fields of `gigq.queue.records`, in their order.
"""

from __future__ import annotations

# Submitting

QUEUE_ID = "SELECT id FROM queue WHERE name = ?"
ADD_QUEUE = "INSERT INTO queue (name) VALUES (?)"
ADD_WORKFLOW = """
INSERT INTO workflow (uuid, name, created_at) VALUES (?, ?, ?) ON CONFLICT (uuid) DO NOTHING"""
WORKFLOW_ID = "SELECT id FROM workflow WHERE uuid = ?"
PARENT = "SELECT id, state FROM job WHERE uuid = ?"
_ADD_JOB = """
INSERT INTO job (id, uuid, name, queue_id, workflow_id, state, priority, max_attempts, waiting_on,
                 due_at, on_parent_failure, cause, cancelled_by, created_at, updated_at)
VALUES ({}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
ADD_JOB = _ADD_JOB.format("?")
ADD_NEXT_JOB = _ADD_JOB.format(  # behind all that are there, and all that were
    "1 + max(coalesce((SELECT max(id) FROM job), 0), (SELECT last_job FROM high_water))"
)
ADD_SPEC = """
INSERT INTO job_spec (job_id, kind, function_module, function_name, script, import_root, directory,
                      job_directory, python, params, timeout, max_memory, retry_delay,
                      pass_parent_results, parents, description)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
ADD_EDGE = "INSERT INTO edge (parent_id, child_id, place) VALUES (?, ?, ?)"

# Claiming. The head of each queue by the partial index; then the best of the heads.

_OWN = "j.uuid, j.name, s.params"
_SHARED = """j.max_attempts, j.queue_id, j.priority, s.kind, s.function_module, s.function_name,
       s.script, s.import_root, s.directory, s.job_directory, s.python, s.timeout, s.max_memory,
       s.pass_parent_results, s.parents"""
_SPEC = f"{_OWN}, {_SHARED}"
_HELD = "(j.id << 24) + j.begun, j.id, j.attempts + 1, j.updated_at"
_READY = """
 WHERE j.live = 1 AND j.queue_id = ?1 AND (SELECT paused FROM queue WHERE id = ?1) = 0
 ORDER BY j.priority DESC, j.id"""
PICK = f"""
SELECT {_HELD}
  FROM (SELECT (SELECT id FROM job INDEXED BY job_live
                 WHERE live = 1 AND queue_id = q.id
                 ORDER BY priority DESC, id LIMIT 1) AS id
          FROM queue q WHERE q.paused = 0) head
  JOIN job j ON j.id = head.id
 ORDER BY j.priority DESC, j.id LIMIT 1"""  # noqa: S608
PICK_IN_QUEUE = f"SELECT {_HELD} FROM job j INDEXED BY job_live {_READY} LIMIT 1"  # noqa: S608
OPEN_QUEUES = "SELECT id FROM queue WHERE paused = 0"
PICK_WITH_SPECS = f"""
SELECT {_HELD}, {_SPEC}
  FROM job j INDEXED BY job_live CROSS JOIN job_spec s ON s.job_id = j.id {_READY}
 LIMIT ?2"""  # noqa: S608
SPEC = f"SELECT {_SPEC} FROM job j JOIN job_spec s ON s.job_id = j.id WHERE j.id = ?"  # noqa: S608
_SHARED_VALUES = ", ".join(f"?{3 + place}" for place in range(_SHARED.count(",") + 1))
AHEAD = f"""
SELECT j.id, {_OWN},
       CASE WHEN ({_SHARED}) IS NOT ({_SHARED_VALUES}) THEN json_array({_SHARED}) END
  FROM job j INDEXED BY job_live CROSS JOIN job_spec s ON s.job_id = j.id
 WHERE j.live = 1 AND j.queue_id = ?1 ORDER BY j.priority DESC, j.id LIMIT ?2"""  # noqa: S608
WORKER_LIVES = "SELECT 1 FROM worker WHERE id = ? AND ended_at IS NULL"
ADD_EXECUTION = """
INSERT INTO execution (id, job_id, attempt, worker_id, started_at, output_log, output_start)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
HOLD_JOB = """
UPDATE job SET state = 'running', attempts = attempts + 1, begun = begun + 1, execution_id = ?,
               due_at = NULL, cause = NULL, updated_at = ?, uncounted = ?
 WHERE id = ? AND state = 'ready'"""
# Another value for certain: an update that changes nothing writes no page, and waits for no disk.
BEGIN_EXECUTION = "UPDATE execution SET started_at = max(started_at + 1, ?) WHERE id = ?"
OUTLOOK = """
SELECT EXISTS (SELECT 1 FROM fanout),
       (SELECT min(due_at) FROM job INDEXED BY job_scheduled WHERE state = 'scheduled'),
       (SELECT CASE count(*) WHEN 1 THEN max(id) END FROM queue WHERE paused = 0)"""
PROMOTE = """
UPDATE job SET state = 'ready', updated_at = ?1
 WHERE id IN (SELECT id FROM job INDEXED BY job_scheduled
               WHERE state = 'scheduled' AND due_at <= ?1 ORDER BY due_at LIMIT ?2)
RETURNING queue_id"""
GLANCE = """
SELECT EXISTS (SELECT 1 FROM queue q WHERE q.paused = 0 AND EXISTS (
         SELECT 1 FROM job INDEXED BY job_live WHERE live = 1 AND queue_id = q.id))
       OR EXISTS (SELECT 1 FROM fanout),
       (SELECT min(due_at) FROM job INDEXED BY job_scheduled WHERE state = 'scheduled')"""
HOLDS_ANY = "SELECT EXISTS (SELECT 1 FROM job INDEXED BY job_live WHERE live = 0)"
PARENT_RESULTS = """
SELECT p.uuid, CASE WHEN p.state = 'completed' THEN x.result END
  FROM edge e JOIN job p ON p.id = e.parent_id LEFT JOIN execution x ON x.id = p.execution_id
 WHERE e.child_id = ? ORDER BY e.place"""

# Ending. The fence: the UPDATE names the execution and that it still holds the job.

END_JOB = """
UPDATE job SET state = ?, attempts = attempts - ?, due_at = ?, cause = ?, updated_at = ?,
               uncounted = 0
 WHERE id = ? AND execution_id = ? AND state IN ('running', 'claimed')"""
# What the ended job has carried: looked up before END_JOB, whose fence tells whether it counts.
CARRIED = "SELECT uncounted FROM job WHERE id = ?"
# The same of what most jobs are: completed, and nobody has asked for their end (MARK_TO_END).
_COMPLETE = """
UPDATE job SET state = 'completed', updated_at = ?1{}
 WHERE id = ?2 AND execution_id = ?3 AND state IN ('running', 'claimed') AND cause IS NULL"""
COMPLETE_JOB = _COMPLETE.format("") + " AND uncounted = 0"
# And nobody waits for it. Whoever holds the job says what it carries, and carries it on.
COMPLETE_CHILDLESS = (
    _COMPLETE.format(", uncounted = 0") + " AND uncounted = ?4 AND has_children = 0"
)
END_EXECUTION = """
UPDATE execution
   SET verdict = ?1, started_at = ?2, ended_at = ?3, cause = ?4, result = ?5, error = ?6,
       traceback = ?7, stacks = ?8,
       -- Nobody saw where the output of a lost one ended: what was known at its claim stays.
       output_log = coalesce(?9, CASE WHEN ?1 = 'lost' THEN output_log END),
       output_start = coalesce(?10, CASE WHEN ?1 = 'lost' THEN output_start END),
       output_end = ?11, cpu_time = ?12, peak_memory = ?13
 WHERE id = ?14"""
# The same of what most jobs are: completed. Each NULL that is handed over costs more than its
# column.
COMPLETE_EXECUTION = """
UPDATE execution
   SET verdict = 'completed', started_at = ?, ended_at = ?, result = ?, cpu_time = ?,
       peak_memory = ?, output_log = ?, output_start = ?, output_end = ?
 WHERE id = ?"""
STARTED_AT = "SELECT started_at FROM execution WHERE id = ?"
ATTEMPTS = """
SELECT j.attempts, j.max_attempts, s.retry_delay
  FROM job j JOIN job_spec s ON s.job_id = j.id WHERE j.id = ?"""

# Children of an ended job

CHILDREN = """
SELECT c.id, c.state, c.waiting_on, c.due_at, c.on_parent_failure, c.queue_id
  FROM edge e JOIN job c ON c.id = e.child_id
 WHERE e.parent_id = ? AND e.child_id > ? AND e.child_id <= ? ORDER BY e.child_id LIMIT ?"""
HAS_CHILDREN = "SELECT 1 FROM job WHERE id = ? AND has_children"
LAST_CHILD = "SELECT max(child_id) FROM edge WHERE parent_id = ?"
WAIT_FOR = """
UPDATE job SET state = ?, waiting_on = ?, updated_at = ? WHERE id = ? AND state = 'blocked'"""
ABANDON = """
UPDATE job SET state = 'cancelled', cause = 'parent_failed', cancelled_by = ?, updated_at = ?
 WHERE id = ? AND state = 'blocked'"""
# A parent that has ended but is still to tell this child counts as unfinished: it will be told.
_UNFINISHED_PARENTS = """
SELECT count(*) FROM edge e JOIN job p ON p.id = e.parent_id
  LEFT JOIN fanout f ON f.parent_id = p.id
       AND e.child_id > f.after_child AND e.child_id <= f.last_child
 WHERE e.child_id = {child} AND (f.parent_id IS NOT NULL OR CASE {policy}
   WHEN 'run' THEN p.state NOT IN ('completed', 'failed', 'timeout', 'cancelled')
   ELSE p.state <> 'completed' END)"""
UNFINISHED_PARENTS = _UNFINISHED_PARENTS.format(
    child="?1", policy="(SELECT on_parent_failure FROM job WHERE id = ?1)"
)
ADD_FANOUT = "INSERT INTO fanout (parent_id, after_child, last_child) VALUES (?, ?, ?)"
FANOUT = """
SELECT f.parent_id, f.after_child, f.last_child, p.state
  FROM fanout f JOIN job p ON p.id = f.parent_id LIMIT 1"""
DROP_FANOUT = "DELETE FROM fanout WHERE parent_id = ?"

# Cancelling and requeueing

JOB_FOR_CHANGE = """
SELECT id, state, queue_id, on_parent_failure, execution_id FROM job WHERE uuid = ?"""
CANCEL = """
UPDATE job SET state = 'cancelled', cause = 'cancelled', due_at = NULL, updated_at = ?
 WHERE id = ? AND state IN ('ready', 'scheduled', 'blocked', 'paused', 'limited')"""
UNSUCCESSFUL_PARENT = """
SELECT p.id, p.name, p.uuid, p.state FROM edge e JOIN job p ON p.id = e.parent_id
 WHERE e.child_id = ? AND p.state IN ('failed', 'timeout', 'cancelled') LIMIT 1"""
REQUEUE = """
UPDATE job SET state = ?, attempts = 0, waiting_on = ?, execution_id = NULL, due_at = NULL,
               cause = NULL, cancelled_by = NULL, updated_at = ?
 WHERE id = ? AND state IN ('failed', 'timeout', 'cancelled')"""
BLAME = "UPDATE job SET cancelled_by = ? WHERE id = ?"
# Only children that still wait: what became ready beside a failed parent goes on. All parents at
# once, for each of them may have the same children.
RECOUNT_CHILDREN = f"""
UPDATE job SET waiting_on = (
  {_UNFINISHED_PARENTS.format(child="job.id", policy="job.on_parent_failure")})
 WHERE state = 'blocked' AND id IN (
  SELECT e.child_id FROM json_each(?) d CROSS JOIN edge e ON e.parent_id = d.value)"""  # noqa: S608
REVIVE = """
UPDATE job SET state = ?, waiting_on = ?, cause = NULL, cancelled_by = NULL, updated_at = ?
 WHERE id = ? AND state = 'cancelled'"""
CANCELLED_BY = """
SELECT c.id, c.queue_id, c.due_at FROM edge e JOIN job c ON c.id = e.child_id
 WHERE e.parent_id = ?1 AND c.state = 'cancelled' AND c.cancelled_by = ?1"""

# Deleting

# Where the parameters 2 to 5 say until when a job of each status must have ended; 0 is never.
_OVER = """{job}.updated_at < CASE {job}.state WHEN 'completed' THEN ?2 WHEN 'failed' THEN ?3
                     WHEN 'timeout' THEN ?4 WHEN 'cancelled' THEN ?5 ELSE 0 END"""
JOBS_AFTER = """
SELECT id, state, workflow_id, created_at, updated_at FROM job WHERE id > ? ORDER BY id LIMIT ?"""
# The last condition is the one of the index, word by word.
UNSUCCESSFUL_AFTER = """
SELECT id, state, workflow_id, created_at, updated_at FROM job INDEXED BY job_unsuccessful
 WHERE state = ? AND id > ? AND (state = 'failed' OR state = 'timeout' OR state = 'cancelled')
 ORDER BY id LIMIT ?"""
WORKFLOW_BEFORE = """
SELECT id FROM job WHERE workflow_id = ? AND id < ? ORDER BY id DESC LIMIT ?"""
# The youngest first: it is the likeliest to keep the others.
YOUNG_IN_WORKFLOW = f"""
SELECT 1 FROM job j WHERE j.workflow_id = ?1 AND NOT {_OVER.format(job="j")}
 ORDER BY j.id DESC LIMIT 1"""  # noqa: S608
OVER_AMONG = f"""
SELECT j.id, j.state, j.queue_id, j.workflow_id
  FROM json_each(?1) d CROSS JOIN job j ON j.id = d.value
 WHERE {_OVER.format(job="j")} ORDER BY j.id DESC"""  # noqa: S608
# Not before its children that may still run, be it after a requeue: they need its result.
PROTECTED_AMONG = f"""
SELECT e.parent_id, e.child_id
  FROM json_each(?1) d CROSS JOIN edge e ON e.parent_id = d.value
 CROSS JOIN job c ON c.id = e.child_id
 WHERE c.state <> 'completed' OR NOT {_OVER.format(job="c")}"""  # noqa: S608
EDGES_AMONG = """
SELECT d.value, (SELECT count(*) FROM edge WHERE parent_id = d.value)
       + (SELECT count(*) FROM edge WHERE child_id = d.value) FROM json_each(?) d"""
REMEMBER_LAST_JOB = "UPDATE high_water SET last_job = ?1 WHERE last_job < ?1"
EXECUTIONS_AMONG = """
SELECT x.id, x.output_log, x.output_start, x.output_end
  FROM json_each(?) d CROSS JOIN execution x
    ON x.id BETWEEN d.value << 24 AND (d.value << 24) + 0xFFFFFF"""
BLAME_ANOTHER = """
UPDATE job SET cancelled_by = (
       SELECT p.id FROM edge e JOIN job p ON p.id = e.parent_id
        WHERE e.child_id = job.id AND p.id <> ?1
          AND p.state IN ('failed', 'timeout', 'cancelled') LIMIT 1)
 WHERE cancelled_by = ?1 AND id IN (SELECT child_id FROM edge WHERE parent_id = ?1)"""
DROP_PROGRESS = "DELETE FROM progress WHERE execution_id IN (SELECT value FROM json_each(?))"
DROP_WISHES = "DELETE FROM cancellation WHERE execution_id IN (SELECT value FROM json_each(?))"
DROP_EXECUTIONS = "DELETE FROM execution WHERE id IN (SELECT value FROM json_each(?))"
DROP_EDGES_BELOW = "DELETE FROM edge WHERE parent_id IN (SELECT value FROM json_each(?))"
DROP_EDGES_ABOVE = "DELETE FROM edge WHERE child_id IN (SELECT value FROM json_each(?))"
DROP_SOME_EDGES_BELOW = """
DELETE FROM edge WHERE parent_id = ?1
   AND child_id IN (SELECT child_id FROM edge WHERE parent_id = ?1 LIMIT ?2)"""
DROP_SOME_EDGES_ABOVE = """
DELETE FROM edge WHERE child_id = ?1
   AND parent_id IN (SELECT parent_id FROM edge WHERE child_id = ?1 LIMIT ?2)"""
DROP_FANOUTS = "DELETE FROM fanout WHERE parent_id IN (SELECT value FROM json_each(?))"
DROP_SPECS = "DELETE FROM job_spec WHERE job_id IN (SELECT value FROM json_each(?))"
DROP_JOBS = "DELETE FROM job WHERE id IN (SELECT value FROM json_each(?))"
DROP_WORKFLOWS = """
DELETE FROM workflow WHERE id IN (SELECT value FROM json_each(?))
   AND NOT EXISTS (SELECT 1 FROM job WHERE workflow_id = workflow.id)"""

# What deleted jobs have left

FIRST_JOB_FROM = "SELECT id, created_at FROM job WHERE id >= ? ORDER BY id LIMIT 1"
LAST_JOB_THERE = "SELECT max(id) FROM job"
LEFT_EXECUTIONS = """
SELECT id, worker_id, output_log FROM execution WHERE id > ? AND id < ? ORDER BY id LIMIT ?"""
ENDED_WORKERS = """
SELECT id FROM worker WHERE id > ? AND ended_at < ? ORDER BY id LIMIT ?"""
DROP_WORKERS = "DELETE FROM worker WHERE id IN (SELECT value FROM json_each(?))"

# Workers

REGISTER = """
INSERT INTO worker (name, machine_id, boot_id, pid_namespace, pid, start_ticks, tree, parent_pid,
                    parent_ticks, life_lock, started_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
RETIRE = "UPDATE worker SET ended_at = ? WHERE id = ? AND ended_at IS NULL"
OPEN_WORKERS = """
SELECT id, name, machine_id, boot_id, pid_namespace, pid, start_ticks, tree, parent_pid,
       parent_ticks, life_lock
  FROM worker INDEXED BY worker_open WHERE ended_at IS NULL ORDER BY id"""
# What is the same in every version of the schema.
OPEN_WORKERS_BEFORE_UPGRADE = """
SELECT name, machine_id, boot_id, pid_namespace, pid, start_ticks
  FROM worker INDEXED BY worker_open WHERE ended_at IS NULL ORDER BY id"""
OPEN_EXECUTIONS = """
SELECT x.id, x.job_id, j.queue_id, j.uuid, j.name, x.attempt, j.max_attempts, s.timeout,
       x.started_at
  FROM job j INDEXED BY job_live JOIN execution x ON x.id = j.execution_id
  JOIN job_spec s ON s.job_id = j.id
 WHERE j.live = 0 AND x.worker_id = ? ORDER BY x.id"""

# Wishes and words about running jobs

ASK_TO_END = """
INSERT INTO cancellation (execution_id, requested_at) VALUES (?, ?)
ON CONFLICT (execution_id) DO NOTHING"""
MARK_TO_END = "UPDATE job SET cause = 'cancelling' WHERE id = ?"
IS_TO_END = "SELECT 1 FROM cancellation WHERE execution_id = ?"
TO_END = "SELECT execution_id FROM cancellation"
NO_LONGER_TO_END = "DELETE FROM cancellation WHERE execution_id = ?"
# A thread that a job has left may tell of one that was deleted since.
SET_PROGRESS = """
INSERT INTO progress (execution_id, done, total, text, updated_at)
SELECT ?1, ?2, ?3, ?4, ?5 FROM execution WHERE id = ?1
ON CONFLICT (execution_id) DO UPDATE SET
  done = excluded.done, total = excluded.total, text = excluded.text,
  updated_at = excluded.updated_at"""
PROGRESS = "SELECT done, total, text, updated_at FROM progress WHERE execution_id = ?"

# Monitoring

TRY_WRITE = "UPDATE high_water SET last_job = last_job WHERE 0"

# Counters

_COUNT = """
INSERT INTO tally (queue_id, state, jobs) VALUES {}
ON CONFLICT (queue_id, state) DO UPDATE SET jobs = jobs + excluded.jobs"""
COUNT = _COUNT.format("(?, ?, ?)")
COUNT_PAIR = _COUNT.format("(?, ?, ?), (?, ?, ?)")  # what a move changes together
COUNTS = "SELECT state, sum(jobs) FROM job_count GROUP BY state"
COUNTERS = "SELECT queue_id, state, jobs FROM job_count WHERE jobs <> 0"
COUNTED = "SELECT queue_id, state, count(*) FROM job GROUP BY queue_id, state"
QUEUE_COUNTS = """
SELECT q.name, c.state, c.jobs FROM queue q LEFT JOIN job_count c ON c.queue_id = q.id
 ORDER BY q.name"""
ADD_TO_METRIC = """
INSERT INTO metric (queue_id, name, label, value) VALUES (?, ?, ?, ?)
ON CONFLICT (queue_id, name, label) DO UPDATE SET value = value + excluded.value"""
METRICS = """
SELECT coalesce(q.name, ''), m.name, m.label, m.value
  FROM metric m LEFT JOIN queue q ON q.id = m.queue_id"""
# Since when the oldest ready job of each queue waits, without a look at all of them: of each
# priority, the lowest first, only the next jobs are looked at. They need not be the oldest where
# many of them were tried again; who is next is claimed next, so that is soon over.
OLDEST_READY = """
WITH RECURSIVE level (queue_id, priority) AS (
  SELECT q.id, (SELECT j.priority FROM job j INDEXED BY job_live
                 WHERE j.live = 1 AND j.queue_id = q.id ORDER BY j.priority LIMIT 1)
    FROM queue q WHERE q.paused = 0
   UNION ALL
  SELECT l.queue_id, (SELECT j.priority FROM job j INDEXED BY job_live
                       WHERE j.live = 1 AND j.queue_id = l.queue_id
                         AND j.priority > l.priority ORDER BY j.priority LIMIT 1)
    FROM level l WHERE l.priority IS NOT NULL LIMIT ?1)
SELECT q.name, min((SELECT min(head.updated_at) FROM (
         SELECT j.updated_at FROM job j INDEXED BY job_live
          WHERE j.live = 1 AND j.queue_id = l.queue_id AND j.priority = l.priority
          ORDER BY j.id LIMIT ?2) head))
  FROM level l JOIN queue q ON q.id = l.queue_id WHERE l.priority IS NOT NULL GROUP BY q.id"""
# Due, and not yet made ready, for no worker came by.
OLDEST_DUE = """
SELECT q.name, min(late.due_at) FROM (
  SELECT queue_id, due_at FROM job INDEXED BY job_scheduled
   WHERE state = 'scheduled' AND due_at <= ?1 ORDER BY due_at LIMIT ?2) late
  JOIN queue q ON q.id = late.queue_id WHERE q.paused = 0 GROUP BY q.id"""

# Trying out whether one can write

TRY_ROW = "INSERT INTO workflow (uuid, name, created_at) VALUES ('', '', 0)"
DROP_TRY_ROW = "DELETE FROM workflow WHERE uuid = ''"

# Looks

FIND = "SELECT uuid FROM job WHERE uuid >= ?1 AND uuid < ?1 || '~' ORDER BY uuid LIMIT ?2"
_JOB = """
SELECT j.id, j.uuid, j.name, s.function_name, s.function_module, s.script, s.params, j.priority,
       j.max_attempts, s.timeout, s.max_memory, s.description, j.state, j.created_at, j.updated_at,
       j.attempts, s.pass_parent_results, s.retry_delay, j.due_at, j.cause, q.name, f.name,
       j.execution_id, w.name, x.started_at, x.ended_at, x.verdict, x.result, x.error, x.traceback,
       x.cpu_time, x.peak_memory, s.directory, s.job_directory, s.import_root, s.python,
       j.on_parent_failure
  FROM job j JOIN job_spec s ON s.job_id = j.id JOIN queue q ON q.id = j.queue_id
  LEFT JOIN workflow f ON f.id = j.workflow_id
  LEFT JOIN execution x ON x.id = j.execution_id LEFT JOIN worker w ON w.id = x.worker_id"""
JOB = _JOB + " WHERE j.uuid = ?"
# The conditions of a list, of which those that are asked for are joined.
JOBS = _JOB + " WHERE {} ORDER BY j.id DESC LIMIT ?"
ANY_JOB = "1"
JOB_STATE_IN = "j.state IN ({})"
JOB_NAME_LIKE = "j.name GLOB ?"
JOB_IN_QUEUE = "q.name = ?"
JOB_IN_WORKFLOW = "j.workflow_id = ?"
JOB_SINCE = "j.created_at >= ?"
STATES = "SELECT uuid, state FROM job WHERE uuid IN ({})"
WORKFLOWS = """
SELECT id, uuid, name, created_at FROM workflow
 WHERE name = ?1 OR (uuid >= ?1 AND uuid < ?1 || '~') ORDER BY id DESC"""
WORKFLOW_COUNTS = "SELECT state, count(*) FROM job WHERE workflow_id = ? GROUP BY state"
EDGES = """
SELECT p.uuid, c.uuid FROM job c JOIN edge e ON e.child_id = c.id JOIN job p ON p.id = e.parent_id
 WHERE c.workflow_id = ? ORDER BY c.id, e.place"""
PARENTS = """
SELECT p.uuid, p.name, p.state FROM edge e JOIN job p ON p.id = e.parent_id
 WHERE e.child_id = ? ORDER BY e.place"""
# Two ranges of the index of ready jobs, for one condition with OR would read all of it.
STANDING = """
SELECT j.on_parent_failure, q.paused,
       (SELECT count(*) FROM (
          SELECT 1 FROM queue o CROSS JOIN job r INDEXED BY job_live
              ON r.live = 1 AND r.queue_id = o.id AND r.priority > j.priority
           WHERE o.paused = 0 LIMIT ?2)),
       (SELECT count(*) FROM (
          SELECT 1 FROM queue o CROSS JOIN job r INDEXED BY job_live
              ON r.live = 1 AND r.queue_id = o.id AND r.priority = j.priority AND r.id < j.id
           WHERE o.paused = 0 LIMIT ?2))
  FROM job j JOIN queue q ON q.id = j.queue_id WHERE j.id = ?1"""
BLAMED = """
WITH RECURSIVE above (id) AS (
  SELECT cancelled_by FROM job WHERE id = ?
   UNION SELECT j.cancelled_by FROM above JOIN job j ON j.id = above.id)
SELECT j.uuid, j.name, j.state FROM above JOIN job j ON j.id = above.id
 WHERE j.cancelled_by IS NULL"""
WANTED_FUNCTIONS = """
SELECT s.function_module, s.function_name, s.script, s.import_root, s.directory, s.job_directory,
       s.python, count(*)
  FROM job j CROSS JOIN job_spec s ON s.job_id = j.id
 WHERE j.state IN ('ready', 'scheduled', 'blocked', 'paused', 'limited') AND s.kind = 'function'
 GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY min(j.id) LIMIT ?"""
EXECUTIONS = """
SELECT x.id, x.attempt, coalesce(w.name, ''), x.started_at, x.ended_at, x.verdict, x.cause,
       x.result, x.error, x.traceback, x.stacks, x.output_log, x.output_start, x.output_end,
       x.cpu_time, x.peak_memory
  FROM execution x LEFT JOIN worker w ON w.id = x.worker_id
 WHERE x.id BETWEEN ?1 << 24 AND (?1 << 24) + 0xFFFFFF AND coalesce(x.verdict, '') <> 'released'
 ORDER BY x.id"""

# Fails where nothing can be written, and writes nothing where something can.
WRITE_NOTHING = "DELETE FROM progress WHERE 0"
