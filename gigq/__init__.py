"""Jobs and workflows for one server: the library of gigqd.

Names are imported when they are first used, so that a program that only submits does not load what
runs jobs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from gigq.version import __version__

if TYPE_CHECKING:
    from gigq.queue.errors import GigqError
    from gigq.queue.handle import JobHandle
    from gigq.queue.job import Job
    from gigq.queue.job_queue import JobQueue
    from gigq.queue.logs import setup_logging
    from gigq.queue.states import JobStatus
    from gigq.queue.task import task
    from gigq.queue.user_connections import close_connections
    from gigq.queue.workflow import Workflow
    from gigq.worker.current_job import CurrentJob, current_job
    from gigq.worker.worker import Worker

_HOMES = {
    "CurrentJob": "gigq.worker.current_job",
    "GigqError": "gigq.queue.errors",
    "Job": "gigq.queue.job",
    "JobHandle": "gigq.queue.handle",
    "JobQueue": "gigq.queue.job_queue",
    "JobStatus": "gigq.queue.states",
    "Worker": "gigq.worker.worker",
    "Workflow": "gigq.queue.workflow",
    "close_connections": "gigq.queue.user_connections",
    "current_job": "gigq.worker.current_job",
    "setup_logging": "gigq.queue.logs",
    "task": "gigq.queue.task",
}

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


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        message = f"module 'gigq' has no attribute {name!r}"
        raise AttributeError(message)
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted({*globals(), *__all__})
