"""Each method with an id that no job has."""

from gigq import Job, JobQueue

import office

queue = JobQueue("gigq.db")
queue.submit(Job("there", office.nothing))
for unknown in ("nobody", "", "00000000-0000-4000-8000-000000000000"):
    print(queue.get_status(unknown))
    print(queue.cancel(unknown), queue.requeue_job(unknown))
    print(office.raised(queue.get_result, unknown))
print(queue.get_status("nobody").get("status"), queue.get_status("nobody")["exists"])
print(queue.stats()["total"])
queue.close()
