"""clear_completed: what goes, what stays, and how many."""

import datetime as dt

from gigq import Job, JobQueue

import office

queue = JobQueue("gigq.db")
print(queue.clear_completed())


def fill():
    """Leave a job of most kinds."""
    done = queue.submit(Job("done", office.nothing))
    queue.submit(Job("bad", office.fail, max_attempts=1))
    office.drain("gigq.db")
    queue.cancel(queue.submit(Job("stopped", office.nothing)))
    queue.submit(Job("waiting", office.nothing))
    return done


def left():
    """Name what is left."""
    return sorted(job["name"] for job in queue.list_jobs())


done = fill()
print(queue.clear_completed(), left(), queue.clear_completed())
print(queue.get_status(done), office.raised(queue.get_result, done))
office.drain("gigq.db")
print(left())
hour = dt.timedelta(hours=1)
now = dt.datetime.now()  # noqa: DTZ005
print(queue.clear_completed((now - hour).isoformat()), left())
print(queue.clear_completed(before_timestamp=(now + hour).isoformat()), left())
queue.close()

other = JobQueue("other.db")
other.cancel(other.submit(Job("stopped", office.nothing)))
later = (dt.datetime.now() + hour).isoformat()  # noqa: DTZ005
# differs: 0 1 -> 1 0  (`clear_completed(before)` leaves cancelled jobs and executions behind.)
print(other.clear_completed(later), other.stats()["total"])
other.close()
