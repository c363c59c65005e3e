"""A job that runs longer than its timeout, while its worker has a second thread."""

import threading
import time

from gigq import Job, JobQueue, Worker

import office

queue = JobQueue("gigq.db")
worker = Worker("gigq.db", polling_interval=1, concurrency=2)
job = queue.submit(Job("long", office.pause, {"seconds": 4}, max_attempts=1, timeout=1))
thread = threading.Thread(target=worker.start)
thread.start()
end = time.monotonic() + 20
while queue.stats()["timeout"] == 0 and time.monotonic() < end:
    time.sleep(0.02)
status = queue.get_status(job)
print(status["status"], status["attempts"], status["error"])
print([(run["status"], run["error"]) for run in status["executions"]])
worker.stop()
thread.join(20)
worker.close()
# differs: completed paused -> timeout None  (A late finish overwrites what the row has become.)
print(queue.get_status(job)["status"], queue.get_result(job))
# differs: ['paused'] -> []  (A timeout puts the job back while its function goes on.)
print(office.marks())
print(queue.requeue_job(job) in {True, False})
queue.close()
