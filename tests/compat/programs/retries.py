"""Attempts, their executions and errors, with and without a delay between them."""

import datetime as dt
import time

from gigq import Job, JobQueue, Worker

import office

queue = JobQueue("gigq.db")
worker = Worker("gigq.db", worker_id="clerk")


def show(job):
    """Print where a job is."""
    status = queue.get_status(job)
    runs = [(run["status"], run["worker_id"]) for run in status["executions"]]
    print(status["status"], status["attempts"], status["retry_after"] is None)
    print("  ", runs, "error" if status["error"] else None)


bad = queue.submit(Job("bad", office.fail))
for _ in range(4):
    print(worker.process_one())
    show(bad)
error = queue.get_status(bad)["error"]
print("no paper" in error, queue.get_result(bad))
print(["no paper" in run["error"] for run in queue.get_status(bad)["executions"]])

once = queue.submit(Job("once", office.fail, max_attempts=1))
print(worker.process_one(), worker.process_one())
show(once)

lucky = queue.submit(Job("lucky", office.fail_at_first, {"file": "lucky"}))
print(worker.process_one(), worker.process_one(), worker.process_one())
show(lucky)
print(queue.get_result(lucky))

slow = queue.submit(Job("slow", office.fail_at_first, {"file": "slow"}, retry_delay=2))
begun = time.monotonic()
print(worker.process_one(), worker.process_one())
show(slow)
after = queue.get_status(slow)["retry_after"]
wait = dt.datetime.fromisoformat(after) - dt.datetime.now()  # noqa: DTZ005
print(0 < wait.total_seconds() <= 2, queue.get_status(slow)["retry_delay"])
other = queue.submit(Job("other", office.nothing, priority=-5))
print(worker.process_one(), queue.get_status(other)["status"])
while not worker.process_one():
    time.sleep(0.02)
print(time.monotonic() - begun >= 2)
status = queue.get_status(slow)
print(status["status"], status["attempts"], status["result"])

last = queue.submit(Job("last", office.fail, max_attempts=1, retry_delay=3600))
print(worker.process_one(), queue.get_status(last)["status"])
wrong = queue.submit(Job("wrong", office.add, {"c": 1}, max_attempts=1))
print(worker.process_one(), queue.get_status(wrong)["status"])
print(
    "TypeError" in queue.get_status(wrong)["error"]
    or "argument" in queue.get_status(wrong)["error"]
)
worker.close()
queue.close()
