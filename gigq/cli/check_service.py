"""Looks at what runs: the service, its workers, the packages they are, and the clock."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gigq.cli.finding import Finding
from gigq.queue import clock
from gigq.queue.collision import REMEDY, colliding_distribution
from gigq.queue.identity import Liveness
from gigq.queue.life_lock import WITHOUT_LOCK, LifeLock
from gigq.queue.moments import moment, span
from gigq.queue.records import JobFilter
from gigq.queue.service_lock import service_holder
from gigq.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gigq.queue.companions import Companions
    from gigq.queue.store import Store

_LATEST_JOBS = 100
_TOLERATED = 60 * clock.MICROSECONDS


def check_packages() -> Iterator[Finding]:
    """Warn of GigQ's own package beside this one."""
    other = colliding_distribution()
    if other is None:
        yield Finding("ok", f"gigqd {__version__} is the only package called gigq here")
    else:
        told = f"{other} is installed beside gigqd {__version__}: they overwrite each other's files"
        yield Finding("error", told, REMEDY)


def check_service(companions: Companions, database: Path) -> Iterator[Finding]:
    """Say whether a service runs, and whether it is as new as this command."""
    holder = service_holder(companions)
    if holder is None:
        yield Finding("warning", f"no gigqd serves {database}", f"gigqd start {database}")
        return
    if not holder:
        yield Finding("warning", "a gigqd is starting or ending", f"gigqd status {database}")
        return
    pid, version = holder.get("pid"), holder.get("version")
    if version == __version__:
        yield Finding("ok", f"gigqd {version} (pid {pid}) serves {database}")
    else:
        yield Finding(
            "warning",
            f"gigqd {version} (pid {pid}) serves {database}, but this command is {__version__}",
            f"gigqd stop {database} && gigqd start {database}",
        )


def check_workers(store: Store, companions: Companions, database: Path) -> Iterator[Finding]:
    """Count the workers that live, that died unseen, and that cannot be judged from here."""
    if os.path.lexists(companions.workers_lock):  # a look makes none
        yield from _check_lock(companions)
    found: dict[Liveness, list[str]] = {each: [] for each in Liveness}
    for row in store.open_workers():
        found[store.liveness(row)].append(f"{row.name} (pid {row.identity.pid})")
    dead, elsewhere = found[Liveness.DEAD], found[Liveness.ELSEWHERE]
    if dead:
        served = service_holder(companions) is not None
        yield Finding(
            "warning",
            f"{_count(dead)} died and what it held was not yet taken back: {', '.join(dead)}",
            f"gigqd status {database}" if served else f"gigqd start {database}",
        )
    if elsewhere:
        yield Finding(
            "warning",
            f"{_count(elsewhere)} of another machine, or of a container without a lock, where "
            f"alone it can be told whether it lives: {', '.join(elsewhere)}; of one that is gone "
            "for good, what it held is taken back by",
            "gigq reclaim WORKER",
        )
    if found[Liveness.UNKNOWN]:
        unknown = ", ".join(found[Liveness.UNKNOWN])
        told = f"{_count(found[Liveness.UNKNOWN])} that cannot be seen now: {unknown}"
        yield Finding("warning", told)
    alive = found[Liveness.ALIVE]
    yield Finding("ok", f"{_count(alive)} alive" if alive else "no worker is alive")


def _check_lock(companions: Companions) -> Iterator[Finding]:
    """Warn where workers cannot hold the locks of their lives."""
    try:
        LifeLock(companions).close()
    except OSError as error:
        told = f"{companions.workers_lock}: {error.strerror}; a worker of this user has no lock"
        yield Finding("warning", f"{told}: {WITHOUT_LOCK}")


def check_clock(store: Store) -> Iterator[Finding]:
    """Warn of a clock that has gone back behind what jobs were stamped with."""
    now = clock.now()
    newest = max((row.created_at for row in store.jobs(JobFilter(limit=_LATEST_JOBS))), default=now)
    if newest > now + _TOLERATED:
        told = (
            f"a job was submitted at {moment(newest, now)}: the clock has been set back by "
            f"{span(newest - now)} or more, and delayed jobs wait longer by that"
        )
        yield Finding("warning", told, "timedatectl status")
    else:
        yield Finding("ok", "the clock agrees with the times of the jobs")


def _count(workers: list[str]) -> str:
    return "1 worker" if len(workers) == 1 else f"{len(workers)} workers"
