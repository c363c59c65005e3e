"""Every name that programs import, and where from."""

import importlib

import gigq
from gigq import (
    Job,
    JobQueue,
    JobStatus,
    Worker,
    Workflow,
    close_connections,
    setup_logging,
    task,
)
from gigq.db_utils import close_connection, get_connection
from gigq.db_utils import close_connections as close_all
from gigq.decorators import TaskWrapper
from gigq.decorators import task as task_again
from gigq.job import Job as JobAgain

for name in ("Job", "JobQueue", "JobStatus", "Worker", "Workflow", "TaskWrapper"):
    home = gigq if hasattr(gigq, name) else importlib.import_module("gigq.decorators")
    print(name, isinstance(getattr(home, name), type))
for function in (close_connections, setup_logging, task, close_connection, get_connection):
    print(function.__name__, callable(function))
print(JobAgain is Job, task_again is task, close_all is close_connections)
print(isinstance(gigq.__version__, str), gigq.JobQueue is JobQueue, gigq.Worker is Worker)
print(gigq.Workflow is Workflow, gigq.JobStatus is JobStatus, TaskWrapper.__name__)

public = [
    "Job",
    "JobQueue",
    "JobStatus",
    "Worker",
    "Workflow",
    "close_connections",
    "setup_logging",
    "task",
]
print(sorted(set(public) - set(gigq.__all__)))
names = {}
exec("from gigq import *", names)  # noqa: S102
print(sorted(set(public) - set(names)))
