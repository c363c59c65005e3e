"""The library's own logging: silent until it is asked for."""

from __future__ import annotations

import logging

_logger = logging.getLogger("gigq")
_logger.addHandler(logging.NullHandler())
_logger.propagate = False


def logger(name: str) -> logging.Logger:
    """Give a logger of the library: silent unless `setup_logging` was called."""
    return _logger.getChild(name)


def setup_logging(level: int | str = logging.INFO) -> None:
    """Let the library log to standard error, from `level` on. May be called again."""
    for handler in list(_logger.handlers):
        _logger.removeHandler(handler)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s"))
    _logger.addHandler(handler)
    _logger.setLevel(level)
