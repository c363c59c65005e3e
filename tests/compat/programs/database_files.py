"""What a database may be called, and what may be there before."""

from pathlib import Path

from gigq import Job, JobQueue, Worker

import office

Path("empty.db").touch()
print(JobQueue("empty.db").stats()["total"])
queue = JobQueue("empty.db")
job = queue.submit(Job("job", office.add, {"a": 2}))
print(office.drain("empty.db"), queue.get_result(job))
queue.close()

print(JobQueue("empty.db", initialize=False).get_result(job))
print(JobQueue(db_path="empty.db").stats()["completed"])
absolute = str(Path("absolute.db").absolute())
queue = JobQueue(absolute)
job = queue.submit(Job("job", office.add, {"a": 3}))
print(Worker("absolute.db").process_one(), JobQueue("absolute.db").get_result(job))
print(queue.db_path == absolute, Path(JobQueue("empty.db").db_path).name)
queue.close()
queue = JobQueue("with space & sign?.db")
queue.submit(Job("job", office.nothing))
print(office.drain("with space & sign?.db"), Path("with space & sign?.db").exists())
queue.close()
JobQueue("new.db")
# differs: True -> False  (`JobQueue(path)` creates the file.)
print(Path("new.db").exists())
print(office.raised(JobQueue, "no/such/folder/gigq.db") != "")
