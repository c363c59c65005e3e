"""cancel: pending jobs only, and a cancelled job does not run."""

from gigq import Job, JobQueue

import office


def cancel_me(job_id):
    """Try to cancel the job that this is."""
    own = JobQueue("gigq.db")
    answer = own.cancel(job_id)
    return [answer, own.get_status(job_id)["status"]]


queue = JobQueue("gigq.db")
job = queue.submit(Job("job", office.mark, {"text": "ran"}))
print(queue.cancel(job), queue.cancel(job), queue.get_status(job)["status"])
print(office.drain("gigq.db"), office.marks(), queue.get_result(job))
status = queue.get_status(job)
print(status["attempts"], status["started_at"], status["executions"], status["worker_id"])
print(status["error"], status["retry_after"])
# differs: NoneType -> str  (`completed_at` of a cancelled job is None.)
print(type(status["completed_at"]).__name__)

done = queue.submit(Job("done", office.nothing))
bad = queue.submit(Job("bad", office.fail, max_attempts=1))
office.drain("gigq.db")
print(queue.cancel(done), queue.get_status(done)["status"])
print(queue.cancel(bad), queue.get_status(bad)["status"])

running = Job("running", cancel_me)
running.params = {"job_id": running.id}
queue.submit(running)
office.drain("gigq.db")
print(queue.get_result(running.id), queue.get_status(running.id)["status"])

delayed = queue.submit(Job("delayed", office.fail, retry_delay=3600))
office.drain("gigq.db")
print(queue.get_status(delayed)["status"], queue.cancel(delayed))
print(queue.get_status(delayed)["status"], queue.get_status(delayed)["attempts"])
queue.close()
