"""Whether a service is live, and whether it is ready: each check by name, and what is wrong.

*Live*: the supervisor's loop turns. *Ready*: jobs that are submitted now will run; the database can
be written, a worker is ready, and the service neither drains nor is drained.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from gigq.queue.errors import GigqError
from gigq.queue.sqlite_store import SqliteStore
from gigq.supervisor.control import ask

if TYPE_CHECKING:
    from pathlib import Path

    from gigq.queue.companions import Companions

PATIENCE = 1.0  # seconds for the service to answer, and for the database to be had
READY = frozenset({"idle", "running", "settling"})  # states of workers that take jobs
_LEAST_ROOM = 1 << 20  # bytes on the database's disk


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    trouble: str | None = None  # None: it is well

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.name}: {self.trouble or 'ok'}"


def ask_health(companions: Companions) -> dict[str, Any]:
    """Give what the service says of itself; raises GigqError where it does not answer in time."""
    return ask(companions.control, "health", patience=PATIENCE)


def check_service(answer: dict[str, Any]) -> list[Check]:
    """Judge what the service says of itself."""
    return [Check("service", _service_trouble(answer)), Check("workers", _worker_trouble(answer))]


def _service_trouble(answer: dict[str, Any]) -> str | None:
    if answer["state"] != "running":
        return f"is {answer['state']}: it ends when the running jobs have ended"
    if answer["paused"]:
        return "was drained; it goes on after: gigqd resume"
    return f"claims nothing: {answer['trouble']['error']}" if answer["trouble"] else None


def _worker_trouble(answer: dict[str, Any]) -> str | None:
    if any(worker["state"] in READY for worker in answer["workers"]):
        return None
    why = f": {answer['start_trouble']}" if answer["start_trouble"] else ""
    return f"none is ready, {answer['wanted']} wanted{why}"


def check_database(path: Path) -> Check:
    """Try whether the database can be written, changing nothing."""
    try:
        with closing(SqliteStore(path, create=False, patience=PATIENCE)) as store:
            store.try_write()
        disk = os.statvfs(path)
    except (GigqError, OSError) as error:
        return Check("database", " ".join(str(error).split()))
    full = disk.f_bavail * disk.f_frsize < _LEAST_ROOM
    return Check("database", f"{path}: its disk is full" if full else None)
