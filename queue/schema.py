"""The tables, by version. The last entry of `VERSIONS` makes today's; a test proves both ways."""

from __future__ import annotations

APPLICATION_ID = 0x67696751  # "gigQ": tells our files from other programs' databases

_FIRST = """
CREATE TABLE queue (
  id      INTEGER PRIMARY KEY,
  name    TEXT NOT NULL UNIQUE,
  paused  INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE workflow (
  id          INTEGER PRIMARY KEY,
  uuid        TEXT NOT NULL UNIQUE,
  name        TEXT NOT NULL,
  created_at  INTEGER NOT NULL
) STRICT;

-- What changes with a job's state, and nothing long: an UPDATE rewrites the whole row.
CREATE TABLE job (
  id                 INTEGER PRIMARY KEY,  -- its order is the job's age
  uuid               TEXT NOT NULL UNIQUE,
  name               TEXT NOT NULL,
  queue_id           INTEGER NOT NULL REFERENCES queue (id),
  workflow_id        INTEGER REFERENCES workflow (id),
  -- Alternatives, in the order of how often: a list of values would be built anew each time.
  state              TEXT NOT NULL CHECK (
                       state = 'running' OR state = 'completed' OR state = 'ready'
                       OR state = 'claimed' OR state = 'scheduled' OR state = 'blocked'
                       OR state = 'failed' OR state = 'timeout' OR state = 'cancelled'
                       OR state = 'paused' OR state = 'limited'),
  priority           INTEGER NOT NULL,
  attempts           INTEGER NOT NULL DEFAULT 0,
  max_attempts       INTEGER NOT NULL,
  waiting_on         INTEGER NOT NULL DEFAULT 0,  -- parents that have not ended as needed
  due_at             INTEGER,                     -- not before: first run or retry
  begun              INTEGER NOT NULL DEFAULT 0,  -- executions in all: never counted back
  execution_id       INTEGER,                     -- the last one; while held, the fence
  on_parent_failure  TEXT NOT NULL DEFAULT 'cancel'
                       CHECK (on_parent_failure = 'cancel' OR on_parent_failure = 'run'
                              OR on_parent_failure = 'block'),
  cause              TEXT,                        -- machine-readable: why it stands where it is
  cancelled_by       INTEGER,                     -- the parent whose end cancelled it
  created_at         INTEGER NOT NULL,
  updated_at         INTEGER NOT NULL
) STRICT;

CREATE INDEX job_ready ON job (queue_id, priority DESC, id) WHERE state = 'ready';
CREATE INDEX job_scheduled ON job (due_at) WHERE state = 'scheduled';
-- Alternatives here as well: it is asked of each change of a state, twice.
CREATE INDEX job_unsuccessful ON job (state, id)
  WHERE state = 'failed' OR state = 'timeout' OR state = 'cancelled';
CREATE INDEX job_workflow ON job (workflow_id) WHERE workflow_id IS NOT NULL;

-- What a job is, written once.
CREATE TABLE job_spec (
  job_id               INTEGER PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
  kind                 TEXT NOT NULL CHECK (kind IN ('function', 'command')),
  function_module      TEXT NOT NULL,
  function_name        TEXT NOT NULL,
  script               TEXT,              -- the file of a function that lives in __main__
  import_root          TEXT NOT NULL,     -- the folder of its modules; '' where installed
  directory            TEXT NOT NULL,     -- where it was submitted
  job_directory        TEXT,              -- where it asks to run
  python               TEXT NOT NULL,     -- the interpreter that submitted it
  params               TEXT NOT NULL,
  timeout              INTEGER,
  retry_delay          INTEGER NOT NULL DEFAULT 0,
  pass_parent_results  INTEGER,
  parents              INTEGER NOT NULL DEFAULT 0,
  description          TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE edge (
  parent_id  INTEGER NOT NULL REFERENCES job (id),
  child_id   INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
  place      INTEGER NOT NULL,             -- in the child's list of dependencies
  PRIMARY KEY (parent_id, child_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX edge_child ON edge (child_id, place);

-- A job that ended with more children than one transaction may touch: those still to be told.
-- A child that is submitted later knows how its parent ended, and lies beyond `last_child`.
CREATE TABLE fanout (
  parent_id    INTEGER PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
  after_child  INTEGER NOT NULL,
  last_child   INTEGER NOT NULL
) STRICT;

-- One life of one worker.
CREATE TABLE worker (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  name           TEXT NOT NULL,
  machine_id     TEXT NOT NULL,
  boot_id        TEXT NOT NULL,
  pid_namespace  INTEGER NOT NULL,
  pid            INTEGER NOT NULL,
  start_ticks    INTEGER NOT NULL,
  tree           TEXT,                     -- marks all processes that it starts
  parent_pid     INTEGER,                  -- the supervisor that answers for it, if any
  parent_ticks   INTEGER,
  started_at     INTEGER NOT NULL,
  ended_at       INTEGER,
  lease_until    INTEGER                   -- for a store of several hosts; null here
) STRICT;
CREATE INDEX worker_open ON worker (id) WHERE ended_at IS NULL;

-- One attempt. The key is the fence, and is never given out twice: the job's own key, shifted by
-- 24 bits, and how often the job had been begun before. So a job's attempts lie side by side, and
-- no index and no sequence has to be written for them.
CREATE TABLE execution (
  id            INTEGER PRIMARY KEY,
  job_id        INTEGER NOT NULL,          -- no reference: it would want an index
  attempt       INTEGER NOT NULL,
  worker_id     INTEGER NOT NULL REFERENCES worker (id),
  started_at    INTEGER NOT NULL,
  ended_at      INTEGER,
  verdict       TEXT CHECK (
                  verdict = 'completed' OR verdict = 'failed' OR verdict = 'timeout'
                  OR verdict = 'cancelled' OR verdict = 'lost' OR verdict = 'stopped'
                  OR verdict = 'released'),
  cause         TEXT,
  result        TEXT,
  error         TEXT,
  traceback     TEXT,
  stacks        TEXT,                      -- of a job stopped at its deadline
  output_log    TEXT,                      -- a file of the output folder, and the part of it
  output_start  INTEGER,
  output_end    INTEGER,
  cpu_time      INTEGER,                   -- microseconds, user and system
  peak_memory   INTEGER                    -- bytes
) STRICT;
CREATE INDEX execution_open ON execution (worker_id) WHERE verdict IS NULL;

-- How far a running job says that it is.
CREATE TABLE progress (
  execution_id  INTEGER PRIMARY KEY REFERENCES execution (id) ON DELETE CASCADE,
  done          REAL NOT NULL,
  total         REAL,
  text          TEXT NOT NULL,
  updated_at    INTEGER NOT NULL
) STRICT;

-- Executions that somebody wants to end.
CREATE TABLE cancellation (
  execution_id  INTEGER PRIMARY KEY REFERENCES execution (id) ON DELETE CASCADE,
  requested_at  INTEGER NOT NULL
) STRICT;

-- The highest job key that was ever deleted: keys are not given out again.
CREATE TABLE high_water (
  one       INTEGER PRIMARY KEY CHECK (one = 1),
  last_job  INTEGER NOT NULL
) STRICT;
INSERT INTO high_water VALUES (1, 0);

-- How many jobs are in each state, kept by the transactions that move them; see job_count.
CREATE TABLE tally (
  queue_id  INTEGER NOT NULL REFERENCES queue (id),
  state     TEXT NOT NULL,
  jobs      INTEGER NOT NULL,
  PRIMARY KEY (queue_id, state)
) STRICT, WITHOUT ROWID;

INSERT INTO queue (id, name) VALUES (1, 'default');

-- The two tables of GigQ 0.5.1, for people who query by SQL.
CREATE VIEW jobs AS
SELECT j.uuid AS id, j.name, s.function_name, s.function_module, s.params, j.priority,
       (SELECT json_group_array(uuid) FROM (
          SELECT p.uuid FROM edge e JOIN job p ON p.id = e.parent_id
           WHERE e.child_id = j.id ORDER BY e.place)) AS dependencies,
       j.max_attempts, s.timeout / 1e6 AS timeout, s.description,
       CASE WHEN j.state IN ('ready', 'scheduled', 'blocked', 'paused', 'limited') THEN 'pending'
            WHEN j.state = 'claimed' THEN 'running' ELSE j.state END AS status,
       strftime('%Y-%m-%dT%H:%M:%f', j.created_at / 1e6, 'unixepoch', 'localtime') AS created_at,
       strftime('%Y-%m-%dT%H:%M:%f', j.updated_at / 1e6, 'unixepoch', 'localtime') AS updated_at,
       j.attempts, x.result, x.error,
       strftime('%Y-%m-%dT%H:%M:%f', x.started_at / 1e6, 'unixepoch', 'localtime') AS started_at,
       CASE WHEN j.state IN ('completed', 'failed', 'timeout', 'cancelled') THEN
         strftime('%Y-%m-%dT%H:%M:%f', j.updated_at / 1e6, 'unixepoch', 'localtime')
       END AS completed_at,
       w.name AS worker_id, s.pass_parent_results, s.retry_delay / 1e6 AS retry_delay,
       strftime('%Y-%m-%dT%H:%M:%f', j.due_at / 1e6, 'unixepoch', 'localtime') AS retry_after
  FROM job j JOIN job_spec s ON s.job_id = j.id
  LEFT JOIN execution x ON x.id = j.execution_id AND x.verdict IS NOT 'released'
  LEFT JOIN worker w ON w.id = x.worker_id;

CREATE VIEW job_executions AS
SELECT x.id, j.uuid AS job_id, w.name AS worker_id,
       CASE x.verdict WHEN 'lost' THEN 'failed' WHEN 'stopped' THEN 'cancelled'
            ELSE coalesce(x.verdict, 'running') END AS status,
       strftime('%Y-%m-%dT%H:%M:%f', x.started_at / 1e6, 'unixepoch', 'localtime') AS started_at,
       strftime('%Y-%m-%dT%H:%M:%f', x.ended_at / 1e6, 'unixepoch', 'localtime') AS completed_at,
       x.result, x.error
  FROM execution x JOIN job j ON j.id = x.job_id JOIN worker w ON w.id = x.worker_id
 WHERE coalesce(x.verdict, '') <> 'released';
"""

_SECOND = """
ALTER TABLE job_spec ADD COLUMN max_memory INTEGER;  -- bytes, of the job with all its processes

-- One index for what a claim looks for (1: ready) and what a reclaim looks for (0: held). They
-- stand side by side, so that an end and the next claim write one page of it.
ALTER TABLE job ADD COLUMN live INTEGER GENERATED ALWAYS AS (
  CASE state WHEN 'ready' THEN 1 WHEN 'running' THEN 0 WHEN 'claimed' THEN 0 END) VIRTUAL;
CREATE INDEX job_live ON job (live, queue_id, priority DESC, id) WHERE live IS NOT NULL;
DROP INDEX job_ready;
DROP INDEX execution_open;

-- What has happened so far, for monitoring: counters and the buckets of histograms.
CREATE TABLE metric (
  queue_id  INTEGER NOT NULL,              -- 0: of the whole database
  name      TEXT NOT NULL,
  label     TEXT NOT NULL,                 -- an outcome, a bucket's upper bound, 'sum', or ''
  value     REAL NOT NULL,
  PRIMARY KEY (queue_id, name, label)
) STRICT, WITHOUT ROWID;
"""

_THIRD = """
-- Whether a job was ever submitted that waits for this one: else none has to be told of its end.
-- The trigger: also when a client of an older version submits, that has the file open.
ALTER TABLE job ADD COLUMN has_children INTEGER NOT NULL DEFAULT 0;
UPDATE job SET has_children = 1 WHERE id IN (SELECT parent_id FROM edge);
CREATE TRIGGER edge_marks_parent AFTER INSERT ON edge BEGIN
  UPDATE job SET has_children = 1 WHERE id = NEW.parent_id AND has_children = 0;
END;

-- What the tally does not have yet, and a job that is held carries: how many jobs of its queue its
-- worker has completed before it, one after the other, each followed by the claim of the next. So
-- the usual transaction of a worker writes no page for the counters. Who ends the job in another
-- way moves it into the tally.
ALTER TABLE job ADD COLUMN uncounted INTEGER NOT NULL DEFAULT 0;

CREATE VIEW job_count AS
SELECT queue_id, state, sum(jobs) AS jobs FROM (
  SELECT queue_id, state, jobs FROM tally
   UNION ALL
  SELECT queue_id, 'completed', uncounted FROM job INDEXED BY job_live WHERE live = 0
   UNION ALL
  SELECT queue_id, 'ready', -uncounted FROM job INDEXED BY job_live WHERE live = 0)
 GROUP BY queue_id, state;

-- Databases made before have it with a list of values, which is built anew for each changed row.
DROP INDEX job_unsuccessful;
CREATE INDEX job_unsuccessful ON job (state, id)
  WHERE state = 'failed' OR state = 'timeout' OR state = 'cancelled';
"""

_FOURTH = """
-- The lock that tells of its end where its process cannot be seen (gigq.queue.life_lock); without
-- it, that of a worker from before, or of a file system that has no such locks.
ALTER TABLE worker ADD COLUMN life_lock TEXT;
"""

VERSIONS: tuple[str, ...] = (_FIRST, _SECOND, _THIRD, _FOURTH)
