"""Times are naive local ISO text, and can be reckoned with."""

import datetime as dt

from gigq import Job, JobQueue

import office

queue = JobQueue("gigq.db")
job = queue.submit(Job("job", office.pause, {"seconds": 0.2}))
bad = queue.submit(Job("bad", office.fail, retry_delay=50))
office.drain("gigq.db")
status = queue.get_status(job)
run = status["executions"][0]
now = dt.datetime.now()  # noqa: DTZ005
for record, names in (
    (status, ("created_at", "updated_at", "started_at", "completed_at")),
    (run, ("started_at", "completed_at")),
    (queue.list_jobs()[-1], ("created_at", "updated_at", "started_at", "completed_at")),
):
    for name in names:
        when = dt.datetime.fromisoformat(record[name])
        seconds = (now - when).total_seconds()
        print(name, when.tzinfo, "T" in record[name], 0 <= seconds < 10)
took = dt.datetime.fromisoformat(status["completed_at"]) - dt.datetime.fromisoformat(
    status["started_at"]
)
print(0.2 <= took.total_seconds() < 5, status["created_at"] <= status["started_at"])
again = dt.datetime.fromisoformat(queue.get_status(bad)["retry_after"])
print(again.tzinfo, 40 < (again - now).total_seconds() <= 50)
queue.close()
