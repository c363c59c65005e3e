"""Keeping a script from submitting itself again while a worker loads it for its functions."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from gigq.queue.errors import UnguardedMainError

if TYPE_CHECKING:
    from collections.abc import Iterator

_loading: ContextVar[str | None] = ContextVar("gigq_loading", default=None)


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Mark that the code of `name` (a script or module) is being loaded to find a job."""
    token = _loading.set(name)
    try:
        yield
    finally:
        _loading.reset(token)


def refuse_while_loading(what: str) -> None:
    """Raise UnguardedMainError when called by code that a worker is only loading."""
    name = _loading.get()
    if name is not None:
        message = (
            f"{name} calls {what} while a worker loads it to find a job's function; "
            f'guard this with: if __name__ == "__main__":'
        )
        raise UnguardedMainError(message)
