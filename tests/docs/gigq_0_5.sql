-- What a reader of docs/how-to/move-from-gigq.md has: a database as GigQ 0.5.1 leaves it behind.
CREATE TABLE jobs (
  id TEXT PRIMARY KEY, name TEXT, function_name TEXT, function_module TEXT, params TEXT,
  priority INTEGER, dependencies TEXT, max_attempts INTEGER, timeout INTEGER, description TEXT,
  status TEXT, created_at TEXT, updated_at TEXT, attempts INTEGER, result TEXT, error TEXT,
  started_at TEXT, completed_at TEXT, worker_id TEXT, pass_parent_results INTEGER,
  retry_delay INTEGER DEFAULT 0, retry_after TEXT);
CREATE TABLE job_executions (
  id TEXT PRIMARY KEY, job_id TEXT, worker_id TEXT, status TEXT, started_at TEXT,
  completed_at TEXT, result TEXT, error TEXT);

INSERT INTO jobs (id, name, function_name, function_module, params, priority, dependencies,
                  max_attempts, timeout, description, status, created_at, updated_at, attempts,
                  result, error, started_at, completed_at, worker_id) VALUES
  ('b4c0ad51-6a0c-4bb8-9d4e-6a1c6f0b7a93', 'backup', 'backup', 'jobs', '{}', 0, '[]', 3, 300, '',
   'completed', '2026-02-27T01:00:00', '2026-02-27T02:15:00', 1, '"done"', NULL,
   '2026-02-27T01:00:00', '2026-02-27T02:15:00', 'worker-1'),
  ('f0a1de22-1b2c-4d3e-8f40-5a6b7c8d9e0f', 'extract', 'load', 'jobs', '{"path": "old.csv"}', 0,
   '[]', 1, 300, '', 'failed', '2026-02-28T08:00:00', '2026-02-28T08:00:01', 1, NULL,
   'no such file', '2026-02-28T08:00:00', '2026-02-28T08:00:01', 'worker-1'),
  ('ca11ed33-2c3d-4e5f-9a51-6b7c8d9e0f1a', 'report', 'load', 'jobs', '{"path": "old.csv"}', 0,
   '["f0a1de22-1b2c-4d3e-8f40-5a6b7c8d9e0f"]', 3, 300, '', 'pending', '2026-02-28T08:00:00',
   '2026-02-28T08:00:00', 0, NULL, NULL, NULL, NULL, NULL),
  ('5b0c7a52-3d5c-4e4e-9a7b-0d8c3f1f2a11', 'load', 'load', 'jobs', '{"path": "data.csv"}', 0,
   '[]', 3, 300, '', 'pending', '2026-02-28T09:00:00', '2026-02-28T09:00:00', 0, NULL, NULL, NULL,
   NULL, NULL);
INSERT INTO job_executions VALUES
  ('e1', 'b4c0ad51-6a0c-4bb8-9d4e-6a1c6f0b7a93', 'worker-1', 'completed', '2026-02-27T01:00:00',
   '2026-02-27T02:15:00', '"done"', NULL),
  ('e2', 'f0a1de22-1b2c-4d3e-8f40-5a6b7c8d9e0f', 'worker-1', 'failed', '2026-02-28T08:00:00',
   '2026-02-28T08:00:01', NULL, 'no such file');
