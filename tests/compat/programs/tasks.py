"""@task: the function stays what it was, and makes and submits jobs."""

import inspect

from gigq import Job, JobQueue, task
from gigq.decorators import TaskWrapper

import office


@task
def bare(a, b=2):
    """Add, undecorated in all but name."""
    return a + b


@task()
def called():
    """Return a word."""
    return "called"


@task(name="other", priority=3, max_attempts=7, timeout=11, description="why", retry_delay=13)
def full(queue="default", name="nobody"):
    """Return what it was given."""
    return [queue, name]


NAMES = ["name", "priority", "max_attempts", "timeout", "description", "retry_delay", "params"]

print(bare(1), bare(1, b=5), called(), full(name="x"))
print(bare.__name__, bare.__doc__, bare.__module__ == __name__)
print(inspect.signature(bare), inspect.isfunction(bare.__wrapped__), bare.__wrapped__(4, 4))
print(isinstance(bare, TaskWrapper), callable(bare))
for wrapper in (bare, called, full):
    job = wrapper.to_job()
    print(type(job) is Job, [getattr(job, name) for name in NAMES], job.dependencies)
print(bare.to_job(a=1, b=3).params, bare.to_job(a=1).id != bare.to_job(a=1).id)

queue = JobQueue("gigq.db")
ids = [bare.submit(queue, a=5), called.submit(queue), full.submit(queue, queue="q", name="n")]
print([isinstance(job, str) for job in ids])
status = queue.get_status(ids[2])
print([status[name] for name in NAMES])
ids.append(queue.submit(bare.to_job(a=40)))
ids.append(queue.submit(Job("wrapped", bare, {"a": 1})))
print(queue.get_status(ids[0])["function_name"], queue.get_status(ids[0])["function_module"])
print(office.drain("gigq.db"), [queue.get_result(job) for job in ids])
wrong = bare.submit(queue, c=1)
office.drain("gigq.db")
print(queue.get_status(wrong)["status"])
queue.close()
