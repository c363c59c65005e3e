"""What a Job is made of: by name, by position, by default, and changed before it is submitted."""

import datetime as dt
import uuid

from gigq import Job, JobQueue

import office

NAMES = [
    "name",
    "function",
    "params",
    "priority",
    "dependencies",
    "max_attempts",
    "timeout",
    "description",
    "pass_parent_results",
    "retry_delay",
]


def show(job):
    """Print the attributes of a job."""
    for name in NAMES:
        value = getattr(job, name)
        print(" ", name, getattr(value, "__name__", value))
    print("  id", uuid.UUID(job.id).version, "created_at", type(job.created_at).__name__)


print("defaults")
show(Job("plain", office.nothing))
print("by name")
options = {
    "params": {"a": 1},
    "priority": -3,
    "dependencies": ["one"],
    "max_attempts": 1,
    "timeout": 9,
    "description": "because",
    "pass_parent_results": False,
    "retry_delay": 60,
}
show(Job(name="named", function=office.add, **options))
print("by position")
show(Job("placed", office.add, {"a": 2}, 4, ["two"], 5, 6, "seven", True, 8))  # noqa: FBT003

made = Job("now", office.nothing).created_at
when = made if isinstance(made, dt.datetime) else dt.datetime.fromisoformat(made)
print(when.tzinfo, abs((dt.datetime.now() - when).total_seconds()) < 5)  # noqa: DTZ005
print(Job("a", office.nothing).id != Job("a", office.nothing).id)
first, second = Job("a", office.nothing), Job("b", office.nothing)
first.params["x"] = 1
first.dependencies.append("y")
print(second.params, second.dependencies)

job = Job("before", office.add)
job.name, job.priority, job.timeout, job.description = "after", 8, 40, "changed"
job.params = {"a": 20}
job.params["b"] = 3
job.max_attempts = 2
job.retry_delay = 5
job.id = "chosen"
queue = JobQueue("gigq.db")
print(queue.submit(job))
status = queue.get_status("chosen")
for name in ("name", "priority", "timeout", "description", "params", "max_attempts", "retry_delay"):
    print(" ", name, status[name])
print(office.drain("gigq.db"), queue.get_result("chosen"))
print(office.raised(Job), office.raised(Job, "name"), office.raised(Job, "n", len, colour=1))
queue.close()
