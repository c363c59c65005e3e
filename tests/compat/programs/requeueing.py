"""requeue_job: what may be run again, and what is reset."""

from gigq import Job, JobQueue

import office

queue = JobQueue("gigq.db")
bad = queue.submit(Job("bad", office.fail_at_first, {"file": "a", "times": 2}, max_attempts=2))
pending = queue.submit(Job("pending", office.nothing, priority=-1))
print(queue.requeue_job(pending))
office.drain("gigq.db")
print(queue.get_status(bad)["status"], queue.get_status(bad)["attempts"])
print(queue.requeue_job(bad), queue.requeue_job(bad))
status = queue.get_status(bad)
print(status["status"], status["attempts"], status["error"], len(status["executions"]))
print(office.drain("gigq.db"), queue.get_result(bad))
status = queue.get_status(bad)
print(status["status"], status["attempts"], status["error"], len(status["executions"]))
print([execution["status"] for execution in status["executions"]])
print(queue.requeue_job(bad), queue.requeue_job(pending))

stopped = queue.submit(Job("stopped", office.mark, {"text": "ran"}))
queue.cancel(stopped)
print(queue.requeue_job(stopped), queue.get_status(stopped)["status"])
print(office.drain("gigq.db"), office.marks(), queue.get_status(stopped)["status"])
queue.close()
