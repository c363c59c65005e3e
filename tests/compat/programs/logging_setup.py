"""The library configures no logging; setup_logging does."""

import logging

root = logging.getLogger()
before = list(root.handlers)

import gigq  # noqa: E402

import office  # noqa: E402

logger = logging.getLogger("gigq")
print(root.handlers == before)
print([type(handler).__name__ for handler in logger.handlers], logger.propagate)
queue = gigq.JobQueue("gigq.db")
queue.submit(gigq.Job("job", office.nothing))
queue.submit(gigq.Job("bad", office.fail, max_attempts=1))
print(office.drain("gigq.db"))
print(root.handlers == before, logger.propagate)
gigq.setup_logging(logging.WARNING)
print(logger.getEffectiveLevel() == logging.WARNING or root.level == logging.WARNING)
gigq.setup_logging(level=logging.INFO)
print(logger.isEnabledFor(logging.INFO), logger.isEnabledFor(logging.DEBUG))
count = len(logger.handlers)
gigq.setup_logging(logging.DEBUG)
print(len(logger.handlers) == count, logger.isEnabledFor(logging.DEBUG))
gigq.setup_logging()
queue.close()
