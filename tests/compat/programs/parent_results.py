"""Which functions receive what their parents returned, and how."""

from gigq import Job, JobQueue, Workflow, task

import office


def named(parent_results):
    """Take them by name."""
    return sorted(parent_results.values())


def optional(parent_results=None):
    """Take them if there are any."""
    return parent_results if parent_results is None else sorted(parent_results.values())


def anything(**values):
    """Take whatever comes."""
    return {name: type(value).__name__ for name, value in values.items()}


def positional(factor, parent_results=None):
    """Take a parameter and them."""
    return [factor, parent_results and sorted(parent_results.values())]


def unaware(a=1):
    """Take none."""
    return a


@task
def decorated(parent_results, factor=2):
    """Take them in a task."""
    return sum(parent_results.values()) * factor


def pairs(parent_results):
    """Tell which parent returned what."""
    return sorted(parent_results.items())


queue = JobQueue("gigq.db")
workflow = Workflow("family")
mother = workflow.add_job(Job("mother", office.add, {"a": 1, "b": 2}))
father = workflow.add_job(Job("father", office.add, {"a": 10}))
both = [mother, father]
children = [
    workflow.add_job(Job("named", named), depends_on=both),
    workflow.add_job(Job("optional", optional), depends_on=both),
    workflow.add_job(Job("not", optional, pass_parent_results=False), depends_on=both),
    workflow.add_job(Job("anything", anything, {"x": 1}), depends_on=both),
    workflow.add_job(Job("no", anything, pass_parent_results=False), depends_on=both),
    workflow.add_job(Job("forced", anything, pass_parent_results=True), depends_on=both),
    workflow.add_job(Job("positional", positional, {"factor": 3}), depends_on=both),
    workflow.add_job(Job("unaware", unaware, {"a": 4}), depends_on=both),
    workflow.add_task(decorated, depends_on=both),
    workflow.add_task(decorated, {"factor": 5}, [mother]),
    workflow.add_task(decorated, depends_on=both, pass_parent_results=True),
    workflow.add_job(Job("pairs", pairs), depends_on=both),
]
orphan = workflow.add_job(Job("orphan", optional))
lonely = workflow.add_job(Job("lonely", anything, pass_parent_results=True))
forced = Job("forced unaware", unaware, max_attempts=1, pass_parent_results=True)
workflow.add_job(forced, depends_on=[mother])
own = Job("own", optional, {"parent_results": {"x": 5}}, max_attempts=1)
workflow.add_job(own, depends_on=[mother])
workflow.submit_all(queue)
print(office.drain("gigq.db"))
for job in children[:-1]:
    print(job.name, queue.get_result(job.id))
print(queue.get_result(children[-1].id) == sorted([[mother.id, 3], [father.id, 10]]))
print(queue.get_result(orphan.id), queue.get_result(lonely.id))
print(queue.get_status(forced.id)["status"], queue.get_result(own.id))

by_id = queue.submit(Job("by id", office.total, dependencies=[mother.id, father.id]))
print(office.drain("gigq.db"), queue.get_result(by_id))

chain = Workflow("chain")
one = chain.add_job(Job("one", office.nothing))
two = chain.add_job(Job("two", pairs), depends_on=[one])
three = chain.add_job(Job("three", pairs), depends_on=[two])
chain.submit_all(queue)
print(office.drain("gigq.db"), queue.get_result(two.id) == [[one.id, None]])
print(queue.get_result(three.id) == [[two.id, [[one.id, None]]]])
queue.close()
