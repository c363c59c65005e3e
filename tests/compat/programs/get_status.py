"""All that get_status tells of a job, before and after it ran."""

from gigq import Job, JobQueue

import office

STAMPS = ("id", "created_at", "updated_at", "started_at", "completed_at", "job_id")
COLUMNS = [
    "exists",
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
    "executions",
]
EXECUTION = ["id", "job_id", "worker_id", "status", "started_at", "completed_at", "result", "error"]


def show(record, indent="  "):
    """Print a record, its keys in order."""
    for key in EXECUTION if "job_id" in record else COLUMNS:
        value = record[key]
        if key == "executions":
            print(indent + key, len(value))
            for execution in value:
                show(execution, indent + "  ")
        elif key in STAMPS:
            print(indent + key, None if value is None else isinstance(value, str))
        elif key == "worker_id" and "job_id" not in record:
            print(indent + "worker of the last attempt", value)
        else:
            print(indent + key, office.plain(repr(value)))


# differs: worker of the last attempt None -> worker of the last attempt clerk  (`worker_id` is None when a job does not run.)
queue = JobQueue("gigq.db")
parent = queue.submit(Job("parent", office.add, {"a": 1, "b": [2][0]}, description="adds"))
child = queue.submit(
    Job(
        "child",
        office.total,
        priority=5,
        dependencies=[parent],
        max_attempts=4,
        timeout=60,
        pass_parent_results=True,
        retry_delay=2,
    )
)
bad = queue.submit(Job("bad", office.fail, max_attempts=1, pass_parent_results=False))
for job in (parent, child, bad):
    print(queue.get_status(job)["name"])
    show(queue.get_status(job))
print(queue.get_status(child)["dependencies"] == [parent])
print(office.drain("gigq.db", name="clerk"))
for job in (parent, child, bad):
    status = queue.get_status(job)
    print(status["name"], status["id"] == job)
    print([e["job_id"] == job for e in status["executions"]])
    status["error"] = status["error"] and "no paper" in status["error"]
    for execution in status["executions"]:
        execution["error"] = execution["error"] and "no paper" in execution["error"]
    show(status)
print(queue.get_status("nobody"))
queue.close()
