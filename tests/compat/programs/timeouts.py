"""The timeout of a job, where it is told."""

from gigq import Job, JobQueue, task

import office


@task(timeout=7)
def timed():
    """Take no time."""


queue = JobQueue("gigq.db")
ids = [
    queue.submit(Job("default", office.nothing)),
    queue.submit(Job("short", office.nothing, timeout=1)),
    queue.submit(Job("long", office.nothing, timeout=10**6)),
    queue.submit(Job("part", office.nothing, timeout=1.5)),
    timed.submit(queue),
]
for job in ids:
    print(queue.get_status(job)["name"], queue.get_status(job)["timeout"])
print(office.drain("gigq.db"), queue.stats()["completed"], queue.stats()["timeout"])
# differs: nothing -> ValueError  (`Job(timeout=0)`, `max_attempts=0`)
print(office.raised(Job, "none", office.nothing, timeout=0))
queue.close()
