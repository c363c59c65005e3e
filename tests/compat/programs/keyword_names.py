"""The first argument of add_task and of task, by its name."""

from gigq import Workflow, task

import office


@task
def decorated(a=1):
    """Return a number."""
    return a


print(office.raised(Workflow("w").add_task, decorated_fn=decorated, params={"a": 2}))
