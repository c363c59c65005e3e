"""`python -m gigq.supervisor.install.canary`: does as the service's user what has to work as it.

    prepare DATABASE        sets the database up, with all that stands beside it
    run DATABASE SECONDS    submits a job, waits for its end, and prints what became of it as JSON

Errors that people can do something about are one line on standard error, and exit code 1.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import sys
import time
from pathlib import Path

from gigq.queue.companions import Companions
from gigq.queue.errors import GigqError, SchemaVersionError
from gigq.queue.job import Job
from gigq.queue.job_queue import JobQueue
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import JobStatus
from gigq.worker.canary import canary

_FIRST = 1_000_000  # its priority
_LOOK = 0.05  # seconds
_DEADLINE = 20  # seconds
_UNFINISHED = (JobStatus.PENDING.value, JobStatus.RUNNING.value)


def prepare(database: Path) -> None:
    """Set the database up. Raises GigqError."""
    # What gigq sees of a folder that is closed is worth a plain sentence.
    for access, verb in ((os.X_OK, "enter"), (os.W_OK, "write into")):
        if not os.access(database.parent, access):
            message = (
                f"user {_user()} cannot {verb} {database.parent}, the folder of the database; name "
                f"another in the configuration, or: sudo chown {_user()}: {database.parent}"
            )
            raise GigqError(message)
    if database.exists() and not os.access(database, os.R_OK | os.W_OK):
        message = (
            f"user {_user()} cannot write the database {database}; let it: "
            f"sudo chown -R {_user()}: {database}*"
        )
        raise GigqError(message)
    try:
        SqliteStore(database).close()
    except SchemaVersionError:  # the service upgrades it when it starts
        Companions(database.resolve()).create()


def run(database: Path, seconds: float) -> dict[str, object]:
    """Submit a canary and wait for it; what is not done in time is cancelled."""
    give_up = time.monotonic() + seconds
    with JobQueue(database) as queue:
        job = queue.submit(
            Job(
                "gigqd-canary",
                canary,
                priority=_FIRST,
                timeout=_DEADLINE,
                max_attempts=1,
                description="shows after an installation that jobs run",
            )
        )
        try:
            while (found := queue.get_status(job))["status"] in _UNFINISHED:
                if time.monotonic() > give_up:
                    break
                time.sleep(_LOOK)
        finally:
            queue.cancel(job, running=True)  # without effect on one that has ended
    return {"job": str(job), **{key: found[key] for key in ("status", "result", "error")}}


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


if __name__ == "__main__":
    order, path, *rest = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        if order == "prepare":
            prepare(Path(path))
        else:
            print(json.dumps(run(Path(path), float(rest[0])), default=str))  # noqa: T201
    except GigqError as error:
        sys.exit(str(error))
