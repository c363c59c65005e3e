"""One queue used by many threads at once, and several workers for it."""

import threading

from gigq import Job, JobQueue, Worker, close_connections

import office

queue = JobQueue("gigq.db")
ids = []


def submit(number):
    """Submit a few jobs from a thread."""
    jobs = [Job(f"{number}", office.add, {"a": number, "b": n}) for n in range(5)]
    ids.extend([queue.submit(job) for job in jobs])
    close_connections()


def work(number):
    """Run jobs in a thread until there are none."""
    worker = Worker("gigq.db", worker_id=f"thread {number}")
    while worker.process_one():
        pass
    worker.close()


for function in (submit, work):
    threads = [threading.Thread(target=function, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len(ids), len(set(ids)), queue.stats()["pending"], queue.stats()["completed"])
print(sorted(queue.get_result(job) for job in ids))
print({len(queue.get_status(job)["executions"]) for job in ids})
print({queue.get_status(job)["attempts"] for job in ids})
queue.close()
print(JobQueue("gigq.db").stats()["total"])
