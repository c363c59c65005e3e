"""Dependencies that are given twice, submitted twice, or not there."""

from gigq import Job, JobQueue, Workflow

import office

queue = JobQueue("gigq.db")
missing = Job("missing", office.nothing, dependencies=["never-there"])
# differs: nothing -> ValueError  (A dependency that does not exist counts as met.)
print(office.raised(queue.submit, missing))

job = Job("job", office.nothing)
queue.submit(job)
print(office.raised(queue.submit, job) != "nothing", queue.get_status(job.id)["name"])

workflow = Workflow("one")
shared = workflow.add_job(Job("shared", office.nothing))
workflow.submit_all(queue)
workflow.add_job(Job("more", office.nothing), depends_on=[shared])
# differs: Exception -> nothing  (`submit_all` called again submits everything again, and fails.)
print(office.raised(workflow.submit_all, queue))
# differs: nothing -> ValueError  (A job can be added to two workflows.)
print(office.raised(Workflow("two").add_job, shared))

own = Job("own", office.nothing, dependencies=["a"])
Workflow("three").add_job(own, depends_on=[shared])
# differs: 1 -> 2  (`add_job` replaces the job's own `dependencies`.)
print(len(own.dependencies))
queue.close()
