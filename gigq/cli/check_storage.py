"""Looks at what a database lies on: the file system and the room on it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from gigq.cli.finding import Finding
from gigq.queue.file_system import Reach, file_system

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MEGABYTE = 1_000_000
_NEEDED = 100 * _MEGABYTE
_COMFORTABLE = 1000 * _MEGABYTE


def check_storage(database: Path) -> Iterator[Finding]:
    """Look at the folder, whether the database is there yet or not."""
    yield from check_file_system(database)
    yield from check_space(database)


def check_file_system(database: Path, mounts: str | None = None) -> Iterator[Finding]:
    """Warn of a database that other machines may write without seeing our locks."""
    found = file_system(database, mounts)
    if found is None:
        yield Finding("warning", "the file system could not be looked up", f"df -T {database}")
        return
    where = f"{database} lies on {found.kind} (mounted on {found.mount_point})"
    remedy = f"gigq --db {database} backup /var/lib/gigq/{database.name}"
    if found.reach is Reach.NETWORK:
        yield Finding(
            "error", f"{where}: over a network, locks fail and jobs are lost; move it", remedy
        )
    elif found.reach is Reach.USER_SPACE:
        yield Finding(
            "warning",
            f"{where}: whether its locks work depends on the program behind it; better move it",
            remedy,
        )
    else:
        yield Finding("ok", f"{where}, a local file system")


def check_space(database: Path) -> Iterator[Finding]:
    """Warn of a disk that is about to be full."""
    folder = next((each for each in database.parents if each.is_dir()), database.parent)
    usage = shutil.disk_usage(folder)
    size = database.stat().st_size if database.exists() else 0
    told = f"{usage.free // _MEGABYTE:,} MB are free in {folder}"
    if usage.free < _NEEDED:
        # A clear makes room in the database only: it needs some on the disk itself.
        largest = f"du -ahx {folder} | sort -h | tail"
        yield Finding("error", f"{told}: too few to go on; delete something else there", largest)
    elif usage.free < max(_COMFORTABLE, 2 * size):
        yield Finding("warning", f"{told}: few for a database that grows", "gigq clear --before 7")
    else:
        yield Finding("ok", told)
