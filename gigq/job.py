"""Where users of GigQ import Job from."""

from gigq.queue.job import Job

__all__ = ["Job"]
