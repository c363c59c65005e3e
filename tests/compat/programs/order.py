"""Jobs run by priority, then by age; process_one runs exactly one of them."""

from gigq import Job, JobQueue, Worker

import office

queue = JobQueue("gigq.db")
for number, priority in enumerate([0, 5, -1, 10, 5, 0]):
    name = f"{priority}/{number}"
    queue.submit(Job(name, office.mark, {"text": name}, priority=priority))
worker = Worker("gigq.db")
print(worker.process_one(), office.marks())
queue.submit(Job("late", office.mark, {"text": "late"}, priority=7))
print(worker.process_one(), office.marks())
while worker.process_one():
    pass
print(office.marks())
print(worker.process_one(), queue.stats()["completed"])
worker.close()
queue.close()
