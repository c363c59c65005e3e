"""How each method may be called: names and order of what it takes."""

import inspect

from gigq import Job, JobQueue, Worker, Workflow, setup_logging
from gigq.db_utils import close_connection, close_connections, get_connection

CALLS = [
    (JobQueue, ["db_path", "initialize"]),
    (JobQueue.submit, ["self", "job"]),
    (JobQueue.cancel, ["self", "job_id"]),
    (JobQueue.get_status, ["self", "job_id"]),
    (JobQueue.get_result, ["self", "job_id"]),
    (JobQueue.list_jobs, ["self", "status", "limit"]),
    (JobQueue.stats, ["self"]),
    (JobQueue.clear_completed, ["self", "before_timestamp"]),
    (JobQueue.requeue_job, ["self", "job_id"]),
    (JobQueue.close, ["self"]),
    (Worker, ["db_path", "worker_id", "polling_interval", "concurrency"]),
    (Worker.start, ["self"]),
    (Worker.stop, ["self"]),
    (Worker.close, ["self"]),
    (Worker.process_one, ["self"]),
    (Workflow, ["name"]),
    (Workflow.add_job, ["self", "job", "depends_on"]),
    (Workflow.submit_all, ["self", "queue"]),
    (get_connection, ["db_path"]),
    (close_connection, ["db_path"]),
    (close_connections, []),
    (setup_logging, ["level"]),
]

for call, names in CALLS:
    signature = inspect.signature(call)
    signature.bind(**dict.fromkeys(names))
    bound = signature.bind(*names)
    positions = [n for n, v in bound.arguments.items() if n == v]
    print(call.__qualname__, positions == names or not names)

DEFAULTS = [
    (JobQueue, "initialize"),
    (JobQueue.list_jobs, "status"),
    (JobQueue.list_jobs, "limit"),
    (JobQueue.clear_completed, "before_timestamp"),
    (Worker, "worker_id"),
    (Worker, "polling_interval"),
    (Worker, "concurrency"),
    (Workflow.add_job, "depends_on"),
    (Workflow.add_task, "params"),
    (Workflow.add_task, "depends_on"),
    (Workflow.add_task, "pass_parent_results"),
    (Job, "params"),
    (Job, "priority"),
    (Job, "dependencies"),
    (Job, "max_attempts"),
    (Job, "timeout"),
    (Job, "description"),
    (Job, "pass_parent_results"),
    (Job, "retry_delay"),
]
for call, name in DEFAULTS:
    print(call.__qualname__, name, repr(inspect.signature(call).parameters[name].default))
