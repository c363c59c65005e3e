"""What else can be a job's function, and what a job sees while it runs."""

import json
import os
import shutil
import threading
from pathlib import Path

from gigq import Job, JobQueue, Worker

import office


class Counter:
    """Count calls."""

    calls = 0


def count():
    """Change what the program sees."""
    Counter.calls += 1
    return Counter.calls


def here():
    """Tell where it runs."""
    main = threading.current_thread() is threading.main_thread()
    return [os.getpid(), main, str(Path.cwd())]


def submit_more(path):
    """Submit a job from within a job."""
    return JobQueue(path).submit(Job("more", office.add, {"a": 6}))


queue = JobQueue("gigq.db")
worker = Worker("gigq.db")
where = queue.submit(Job("here", here))
print(worker.process_one(), queue.get_result(where) == here())
counted = [queue.submit(Job("count", count)) for _ in range(2)]
print(worker.process_one(), worker.process_one(), Counter.calls)
print([queue.get_result(job) for job in counted])
more = queue.submit(Job("submit", submit_more, {"path": "gigq.db"}))
print(worker.process_one(), worker.process_one(), queue.get_result(queue.get_result(more)))
standard = queue.submit(Job("dumps", json.dumps, {"obj": [1], "indent": None}))
which = queue.submit(Job("which", shutil.which, {"cmd": "no-such-command-here"}))
print(worker.process_one(), worker.process_one(), queue.get_result(standard))
print(queue.get_status(which)["status"], queue.get_result(which))
print(queue.get_status(standard)["function_module"], queue.get_status(standard)["function_name"])
gone = queue.submit(Job("gone", office.give, {"a": 1}, max_attempts=1))
kept, office.give = office.give, None
del office.give
print(worker.process_one(), queue.get_status(gone)["status"])
office.give = kept
odd = queue.submit(Job("odd", office.give, {"job_id": 1, "queue": 2, "self": 3, "name": 4}))
print(worker.process_one(), queue.get_result(odd))
worker.close()
queue.close()
