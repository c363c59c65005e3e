"""Jobs and workflows for one server: the library of gigqd."""

from gigq.db_utils import close_connections
from gigq.queue.errors import GigqError
from gigq.queue.handle import JobHandle
from gigq.queue.job import Job
from gigq.queue.job_queue import JobQueue
from gigq.queue.logs import setup_logging
from gigq.queue.states import JobStatus
from gigq.queue.task import task
from gigq.queue.workflow import Workflow
from gigq.version import __version__
from gigq.worker.current_job import CurrentJob, current_job
from gigq.worker.worker import Worker

__all__ = [
    "CurrentJob",
    "GigqError",
    "Job",
    "JobHandle",
    "JobQueue",
    "JobStatus",
    "Worker",
    "Workflow",
    "__version__",
    "close_connections",
    "current_job",
    "setup_logging",
    "task",
]
