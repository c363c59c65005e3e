"""Worker.start and stop in threads, one job at a time and several."""

import re
import threading
import time

from gigq import Job, JobQueue, Worker

import office


def until(done):
    """Wait for something, not for ever."""
    end = time.monotonic() + 20
    while not done() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(done())


queue = JobQueue("gigq.db")
worker = Worker("gigq.db", worker_id="clerk", polling_interval=1)
print(worker.worker_id, worker.polling_interval, worker.concurrency, type(worker.db_path))
print(worker.running, worker.current_job_id)
ids = [queue.submit(Job("pause", office.pause, {"seconds": 0.05})) for _ in range(3)]
thread = threading.Thread(target=worker.start)
thread.start()
print(until(lambda: queue.stats()["completed"] == 3), worker.running, thread.is_alive())
worker.stop()
thread.join(20)
print(worker.running, worker.current_job_id, thread.is_alive())
print({run["worker_id"] for job in ids for run in queue.get_status(job)["executions"]})
worker.close()

several = Worker("gigq.db", worker_id="team", polling_interval=1, concurrency=3)
ids = [queue.submit(Job("pause", office.pause, {"seconds": 0.3})) for _ in range(6)]
thread = threading.Thread(target=several.start)
thread.start()
print(until(lambda: queue.stats()["running"] == 3))
several.stop()
thread.join(20)
told = [queue.get_status(job) for job in ids]
print(thread.is_alive(), {status["status"] for status in told} <= {"completed", "pending"})
names = {run["worker_id"] for status in told for run in status["executions"]}
print(sorted(names))
several.close()
print(office.drain("gigq.db") + len(names) >= 6, queue.stats()["completed"])

for concurrency in (0, -1):
    try:
        Worker("gigq.db", concurrency=concurrency)
    except ValueError:
        print("ValueError")
print(Worker("gigq.db", concurrency=2).concurrency)
print(bool(re.fullmatch(r"\S+", Worker("gigq.db").worker_id)))
print(Worker("gigq.db").worker_id != Worker("gigq.db").worker_id)
queue.close()
