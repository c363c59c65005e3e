"""Workflows of jobs and of tasks: what is added, submitted and run in which order."""

from gigq import Job, JobQueue, Workflow, task

import office


@task(name="shout", priority=2, max_attempts=5, timeout=30, description="loud", retry_delay=4)
def shout(text):
    """Write it in capitals."""
    office.mark(text.upper())
    return text.upper()


@task
def last():
    """Write the end."""
    office.mark("END")


queue = JobQueue("gigq.db")
workflow = Workflow("letters")
print(workflow.name, workflow.jobs, workflow.job_map)
first = Job("first", office.mark, {"text": "first"})
print(workflow.add_job(first) is first)
second = workflow.add_job(Job("second", office.mark, {"text": "second"}), depends_on=[first])
third = workflow.add_job(Job("third", office.mark, {"text": "third"}), [first])
loud = workflow.add_task(shout, params={"text": "a"}, depends_on=[second, third])
end = workflow.add_task(last, depends_on=[loud], pass_parent_results=False)
print([job.name for job in workflow.jobs], len(workflow.job_map))
print(sorted(workflow.job_map) == sorted(job.id for job in workflow.jobs))
print([workflow.job_map[job.id] is job for job in workflow.jobs])
print(second.dependencies == [first.id], loud.dependencies == [second.id, third.id])
print(type(loud) is Job, loud.params, loud.priority, loud.max_attempts, loud.timeout)
print(loud.description, loud.retry_delay, loud.pass_parent_results, end.pass_parent_results)
print(end.params, end.name)
ids = workflow.submit_all(queue)
print(type(ids).__name__, ids == [job.id for job in workflow.jobs], queue.stats()["pending"])
print(office.drain("gigq.db"))
seen = office.marks()
print(seen[0], sorted(seen[1:3]), seen[3:])
print(queue.get_result(loud.id), queue.stats()["completed"])

print(Workflow("empty").submit_all(queue))
for wrong in (office.add, "text", None, 3):
    print(office.raised(Workflow("wrong").add_task, wrong))
alone = Workflow("alone")
alone.add_job(Job("x", office.nothing), depends_on=None)
alone.add_job(Job("y", office.nothing), depends_on=[])
print([job.dependencies for job in alone.jobs], len(alone.submit_all(queue)))

blocked = Workflow("blocked")
bad = blocked.add_job(Job("bad", office.fail, max_attempts=1))
child = blocked.add_job(Job("child", office.nothing), depends_on=[bad])
blocked.submit_all(queue)
office.drain("gigq.db")
# differs: failed pending -> failed cancelled  (A failed parent leaves its children pending for ever.)
print(queue.get_status(bad.id)["status"], queue.get_status(child.id)["status"])
queue.close()
