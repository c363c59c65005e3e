"""list_jobs and stats: which jobs, in which order, with what in them."""

from gigq import Job, JobQueue, JobStatus

import office

COLUMNS = [
    "id",
    "name",
    "function_name",
    "function_module",
    "params",
    "priority",
    "dependencies",
    "max_attempts",
    "timeout",
    "description",
    "status",
    "created_at",
    "updated_at",
    "attempts",
    "result",
    "error",
    "started_at",
    "completed_at",
    "worker_id",
    "pass_parent_results",
    "retry_delay",
    "retry_after",
]
queue = JobQueue("gigq.db")
print(queue.list_jobs(), queue.stats())
for number in range(3):
    queue.submit(Job(f"good {number}", office.add, {"a": number}))
for number in range(2):
    queue.submit(Job(f"bad {number}", office.fail, max_attempts=1))
office.drain("gigq.db")
stopped = queue.submit(Job("stopped", office.nothing))
queue.cancel(stopped)
waiting = [queue.submit(Job(f"waiting {n}", office.nothing, priority=n)) for n in range(2)]


def names(**options):
    """Name the jobs that are listed."""
    return [job["name"] for job in queue.list_jobs(**options)]


print(names())
print(names(limit=2), names(limit=1000) == names())
for status in JobStatus:
    print(status.value, names(status=status), names(status=status.value) == names(status=status))
print([job["name"] for job in queue.list_jobs(JobStatus.COMPLETED, 2)])
print([job["name"] for job in queue.list_jobs("pending", 1)])
print(dict(sorted(queue.stats().items())))
print(sum(n for word, n in queue.stats().items() if word != "total") == queue.stats()["total"])
newest = queue.list_jobs(limit=1)[0]
print(newest["id"] == waiting[-1], [name for name in COLUMNS if name not in newest])
print(office.kinds({name: newest[name] for name in COLUMNS}))
done = queue.list_jobs(status="completed", limit=1)[0]
print(done["params"], done["result"], done["dependencies"], done["status"], done["attempts"])
for _ in range(120):
    queue.submit(Job("many", office.nothing))
print(len(queue.list_jobs()), queue.stats()["pending"], queue.stats()["total"])
queue.close()
