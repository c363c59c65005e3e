"""Where users of GigQ import task from."""

from gigq.queue.task import TaskWrapper, task

__all__ = ["TaskWrapper", "task"]
