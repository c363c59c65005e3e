-- From GigQ 0.5.1's tables to ours, statement by statement, inside one transaction. Its tables have
-- been renamed before, and ours are there, empty. Functions of Python: `micros(text)` gives naive
-- local ISO text as microseconds UTC, `is_json(text)` and
-- `is_list(text)` tell whether Python can read it.
-- Parameters: :now, :directory, :python.

-- name: check_jobs
-- A row that 0.5.1 cannot have written: its id, and what is wrong with it.
SELECT id, CASE
         WHEN id IS NULL THEN 'it has no id'
         WHEN status NOT IN ('pending', 'running', 'completed', 'failed', 'cancelled', 'timeout')
           THEN 'there is no status ' || quote(status)
         WHEN micros(created_at) IS NULL OR micros(updated_at) IS NULL
           THEN 'created_at or updated_at is no time'
         WHEN dependencies IS NOT NULL AND NOT is_list(dependencies)
           THEN 'its dependencies are not a JSON list'
         WHEN params IS NOT NULL AND NOT is_json(params) THEN 'its params are not JSON'
         WHEN result IS NOT NULL AND NOT is_json(result) THEN 'its result is not JSON' END AS wrong
  FROM gigq_0_5_jobs WHERE wrong IS NOT NULL ORDER BY rowid LIMIT 1;

-- name: check_executions
SELECT job_id, CASE
         WHEN status NOT IN ('running', 'completed', 'failed', 'cancelled', 'timeout')
           THEN 'an execution has the status ' || quote(status)
         WHEN micros(started_at) IS NULL THEN 'an execution''s started_at is no time'
         WHEN completed_at IS NOT NULL AND micros(completed_at) IS NULL
           THEN 'an execution''s completed_at is no time'
         WHEN result IS NOT NULL AND NOT is_json(result)
           THEN 'an execution''s result is not JSON' END AS wrong
  FROM gigq_0_5_executions WHERE wrong IS NOT NULL ORDER BY rowid LIMIT 1;

-- name: convert

-- Jobs, the oldest first: our key is the age. A running one has no worker any more; its attempt is
-- charged, and it is tried again while attempts are left.
INSERT INTO job (id, uuid, name, queue_id, state, priority, attempts, max_attempts, due_at, cause,
                 created_at, updated_at)
SELECT row_number() OVER (ORDER BY created_at, rowid), id, name, 1,
       CASE WHEN status = 'pending' THEN 'ready'
            WHEN status <> 'running' THEN status
            WHEN coalesce(attempts, 0) < max_attempts THEN 'ready'
            ELSE 'failed' END,
       CAST(coalesce(priority, 0) AS INTEGER),
       max(0, CAST(coalesce(attempts, 0) AS INTEGER)),
       max(1, CAST(coalesce(max_attempts, 1) AS INTEGER)),
       -- Without an attempt it was requeued, and its time to retry is that of an earlier life.
       CASE WHEN status = 'pending' AND attempts > 0 THEN micros(retry_after)
            WHEN status = 'running' AND retry_delay > 0
              THEN :now + CAST(retry_delay * 1000000 AS INTEGER) END,
       CASE status WHEN 'failed' THEN 'raised' WHEN 'timeout' THEN 'deadline'
            WHEN 'cancelled' THEN 'cancelled' WHEN 'running' THEN 'worker_died' END,
       -- The last change of a finished job is its end.
       micros(created_at),
       CASE WHEN status = 'running' THEN :now
            WHEN status IN ('completed', 'failed', 'timeout')
              THEN coalesce(micros(completed_at), micros(updated_at))
            ELSE micros(updated_at) END
  FROM gigq_0_5_jobs;

-- What 0.5.1 took for a timeout of 300 s is one here: none, 0, and what is no number.
INSERT INTO job_spec (job_id, kind, function_module, function_name, import_root, directory, python,
                      params, timeout, retry_delay, pass_parent_results, parents, description)
SELECT j.id, 'function', o.function_module, o.function_name, :directory, :directory, :python,
       coalesce(nullif(o.params, 'null'), '{}'),
       CASE WHEN typeof(o.timeout) IN ('integer', 'real') AND o.timeout > 0
            THEN CAST(min(o.timeout, 3162240000) * 1000000 AS INTEGER) ELSE 300000000 END,
       CASE WHEN o.retry_delay > 0
            THEN CAST(min(o.retry_delay, 3162240000) * 1000000 AS INTEGER) ELSE 0 END,
       CASE WHEN o.pass_parent_results IN (0, 1) THEN CAST(o.pass_parent_results AS INTEGER) END,
       -- Also those that are not there: such a job is still given its (empty) parent_results.
       coalesce(json_array_length(o.dependencies), 0),
       coalesce(o.description, '')
  FROM gigq_0_5_jobs o JOIN job j ON j.uuid = o.id;

INSERT OR IGNORE INTO edge (parent_id, child_id, place)
SELECT p.id, c.id, d.key
  FROM gigq_0_5_jobs o JOIN json_each(o.dependencies) d
  JOIN job c ON c.uuid = o.id JOIN job p ON p.uuid = d.value ORDER BY c.id, d.key;

-- Each worker's name becomes one life, which has ended.
INSERT INTO worker (name, machine_id, boot_id, pid_namespace, pid, start_ticks, started_at,
                    ended_at)
SELECT name, '', '', 0, 0, 0, min(at), :now FROM (
  SELECT worker_id AS name, micros(started_at) AS at FROM gigq_0_5_executions
   UNION ALL
  SELECT coalesce(worker_id, 'unknown'), micros(created_at) FROM gigq_0_5_jobs
   WHERE status NOT IN ('pending', 'cancelled'))
 GROUP BY name ORDER BY min(at);
CREATE INDEX temporary_worker_name ON worker (name);

-- Attempts count from 1 in each life of a job, which a requeue begins: those of the last life are
-- the last `attempts` ones.
INSERT INTO execution (id, job_id, attempt, worker_id, started_at, ended_at, verdict, cause, result,
                       error)
SELECT (job_id << 24) + number - 1, job_id,
       iif(number > had - attempts, number - max(had - attempts, 0), number),
       worker, started_at, iif(verdict = 'lost', :now, coalesce(completed_at, started_at)), verdict,
       CASE verdict WHEN 'failed' THEN 'raised' WHEN 'timeout' THEN 'deadline'
            WHEN 'cancelled' THEN 'cancelled' WHEN 'lost' THEN 'worker_died' END,
       result,
       iif(verdict = 'lost', 'worker died: GigQ 0.5 had left it running', error)
  FROM (SELECT j.id AS job_id, j.attempts, w.id AS worker, micros(x.started_at) AS started_at,
               micros(x.completed_at) AS completed_at, x.result, x.error,
               iif(x.status = 'running', 'lost', x.status) AS verdict,
               row_number() OVER (PARTITION BY x.job_id ORDER BY x.started_at, x.rowid) AS number,
               count(*) OVER (PARTITION BY x.job_id) AS had
          FROM gigq_0_5_executions x JOIN job j ON j.uuid = x.job_id
          JOIN worker w ON w.name = x.worker_id);

UPDATE job SET begun = (SELECT count(*) FROM execution x
                         WHERE x.id BETWEEN job.id << 24 AND (job.id << 24) + 0xFFFFFF);

-- The execution that the job's result and error are those of: of a finished job the last that says
-- the same (0.5.1 let a late finish of another one win), else the last.
UPDATE job SET execution_id = CASE
    WHEN state IN ('completed', 'failed', 'timeout') AND coalesce(cause, '') <> 'worker_died' THEN (
      SELECT max(x.id) FROM execution x JOIN gigq_0_5_jobs o ON o.id = job.uuid
       WHERE x.id BETWEEN job.id << 24 AND (job.id << 24) + 0xFFFFFF
         AND x.verdict = job.state AND x.result IS o.result AND x.error IS o.error)
    ELSE (SELECT max(x.id) FROM execution x
           WHERE x.id BETWEEN job.id << 24 AND (job.id << 24) + 0xFFFFFF) END
 WHERE attempts > 0 OR state IN ('completed', 'failed', 'timeout');

-- A finished job without such an execution: what its own row says becomes one.
INSERT INTO execution (id, job_id, attempt, worker_id, started_at, ended_at, verdict, cause, result,
                       error)
SELECT (j.id << 24) + j.begun, j.id, max(j.attempts, 1), w.id,
       coalesce(micros(o.started_at), micros(o.completed_at), micros(o.updated_at)),
       iif(j.cause = 'worker_died', :now, coalesce(micros(o.completed_at), micros(o.updated_at))),
       iif(j.cause = 'worker_died', 'lost', j.state), j.cause, o.result,
       iif(j.cause = 'worker_died', 'worker died: GigQ 0.5 had left it running', o.error)
  FROM job j JOIN gigq_0_5_jobs o ON o.id = j.uuid
  JOIN worker w ON w.name = coalesce(o.worker_id, 'unknown')
 WHERE j.state IN ('completed', 'failed', 'timeout') AND j.execution_id IS NULL;
UPDATE job SET execution_id = (id << 24) + begun, begun = begun + 1
 WHERE state IN ('completed', 'failed', 'timeout') AND execution_id IS NULL;

UPDATE job SET cause = (SELECT x.cause FROM execution x WHERE x.id = job.execution_id)
 WHERE state = 'ready';

DROP INDEX temporary_worker_name;

-- Whoever waits for a job that failed would wait for ever: they are cancelled, as they would be now.
CREATE TEMP TABLE lost (child INTEGER, parent INTEGER, failed INTEGER);
INSERT INTO lost
WITH RECURSIVE waits (child, parent, failed) AS (
  SELECT c.id, p.id, 1 FROM job p JOIN edge e ON e.parent_id = p.id JOIN job c ON c.id = e.child_id
   WHERE p.state IN ('failed', 'timeout', 'cancelled') AND c.state = 'ready'
   UNION
  SELECT c.id, w.child, 0 FROM waits w JOIN edge e ON e.parent_id = w.child
    JOIN job c ON c.id = e.child_id WHERE c.state = 'ready')
SELECT child, parent, failed FROM waits;
CREATE INDEX temp.lost_child ON lost (child, failed DESC, parent);
UPDATE job SET state = 'cancelled', cause = 'parent_failed', due_at = NULL, updated_at = :now,
               cancelled_by = (SELECT l.parent FROM lost l WHERE l.child = job.id
                                ORDER BY l.failed DESC, l.parent LIMIT 1)
 WHERE id IN (SELECT child FROM lost);
DROP TABLE lost;

UPDATE job SET waiting_on = (SELECT count(*) FROM edge e JOIN job p ON p.id = e.parent_id
                              WHERE e.child_id = job.id AND p.state <> 'completed')
 WHERE id IN (SELECT child_id FROM edge);
UPDATE job SET due_at = NULL WHERE due_at <= :now OR state <> 'ready';
UPDATE job SET state = CASE WHEN waiting_on > 0 THEN 'blocked'
                            WHEN due_at IS NOT NULL THEN 'scheduled' ELSE 'ready' END
 WHERE state = 'ready';

INSERT INTO tally (queue_id, state, jobs) SELECT queue_id, state, count(*) FROM job GROUP BY 1, 2;

-- name: count
-- What was done, for people to know: jobs, executions, and what became otherwise than it was.
SELECT (SELECT count(*) FROM job),
       (SELECT count(*) FROM gigq_0_5_executions x JOIN job j ON j.uuid = x.job_id),
       (SELECT count(*) FROM gigq_0_5_jobs o JOIN json_each(o.dependencies) d
         WHERE NOT EXISTS (SELECT 1 FROM job p WHERE p.uuid = d.value)),
       (SELECT count(*) FROM job WHERE cause = 'parent_failed'),
       (SELECT count(*) FROM gigq_0_5_jobs WHERE status = 'running'),
       (SELECT count(*) FROM job WHERE cause = 'worker_died' AND state = 'failed'),
       (SELECT count(*) FROM gigq_0_5_executions x
         WHERE NOT EXISTS (SELECT 1 FROM job j WHERE j.uuid = x.job_id)),
       (SELECT count(*) FROM job j JOIN job_spec s ON s.job_id = j.id
         WHERE s.function_module = '__main__' AND j.state IN ('ready', 'scheduled', 'blocked'));
