"""What `gigqd start` does: make sure that this is the one service of a good database, and serve."""

from __future__ import annotations

import faulthandler
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from gigq.queue.collision import REMEDY, colliding_distribution
from gigq.queue.companions import Companions
from gigq.queue.errors import GigqError, SchemaVersionError, SettingsError
from gigq.queue.file_system import Reach, file_system
from gigq.queue.identity import start_ticks
from gigq.queue.migrate import upgrade_if_older
from gigq.queue.ownership import refuse_to_be_root
from gigq.queue.service_lock import ServiceLock, service_holder
from gigq.queue.sqlite_store import SqliteStore, refuse_read_only
from gigq.supervisor.log import Log
from gigq.supervisor.supervisor import Supervisor
from gigq.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gigq.queue.migrate import Migrated
    from gigq.queue.settings import Settings


def serve(settings: Settings, configuration: Path | None, path: Path, count: int | None) -> bool:
    """Serve the database at `path` until told to stop. Raises GigqError: it cannot be served.

    Gives False when it had to end because the file is damaged.
    """
    with _place_of_service(path) as migrated:
        log = Log(settings.log.level, settings.log.format)
        try:
            if migrated is not None:
                log.event("database_upgraded", before=migrated.before, backup=migrated.backup)
            settings = msgspec.structs.replace(settings, database=str(path))
            companions = Companions(path)
            supervisor = Supervisor(settings, configuration, companions, log, count=count)
            supervisor.listen()
            # A watchdog that misses its signs of life sends SIGABRT: this tells where it hung.
            faulthandler.enable(all_threads=False)  # others may run on, and not be readable
            supervisor.run()
            if supervisor.is_replaced:
                message = f"{path} was replaced while it was served; start gigqd anew"
                raise GigqError(message)
            return not supervisor.is_damaged
        finally:
            log.close()


@contextmanager
def _place_of_service(path: Path) -> Iterator[Migrated | None]:
    """Hold the lock of the one service of a database that is ready to be served.

    Gives what was upgraded, if anything was.
    """
    other = colliding_distribution()
    if other is not None:
        message = f"{other} is installed beside gigqd, in the same folder; type: {REMEDY}"
        raise GigqError(message)
    _refuse_network(path)
    refuse_to_be_root(path, f"gigqd start {path}")
    companions = Companions(path)
    try:
        SqliteStore(path).close()
    except SchemaVersionError:  # older, to be upgraded below; or newer, to be refused there
        companions.create()
    try:
        lock = ServiceLock(companions)
    except BlockingIOError:
        pid = (service_holder(companions) or {}).get("pid", "unknown")
        message = f"gigqd (pid {pid}) serves {path} already; stop it with: gigqd stop {path}"
        raise GigqError(message) from None
    try:
        lock.describe(
            {
                "pid": os.getpid(),
                "start_ticks": start_ticks(os.getpid()),
                "started_at": time.time(),
                "version": __version__,
            }
        )
        migrated = upgrade_if_older(path)
        refuse_read_only(path)
        yield migrated
    finally:
        lock.close()


def _refuse_network(path: Path) -> None:
    found = file_system(path)
    if found is not None and found.reach is Reach.NETWORK:
        message = (
            f"{path} lies on {found.kind}, a network file system, where SQLite's locks do not "
            "hold; put the database on a disk of this machine"
        )
        raise SettingsError(message)
