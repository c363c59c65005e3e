"""A new database's owner and permissions, before SQLite opens it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def create_for_group(path: Path) -> None:
    """Make a database that is missing so that all can write it who share its folder.

    In a folder whose files go to its group (setgid) and that the group may write, it is made for
    the group. What root makes belongs to the folder's owner, whose service has to write it; SQLite
    gives the log and its index the owner of the database by itself.
    """
    try:
        folder = os.stat(path.parent)  # noqa: PTH116
        shared = folder.st_mode & stat.S_ISGID and folder.st_mode & stat.S_IWGRP
        if not shared and os.geteuid() != 0:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC  # which follows no link
        descriptor = os.open(path, flags, 0o644)
    except OSError:
        return  # it is there, or SQLite says what is wrong
    try:
        if os.geteuid() == 0:
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
        if shared:
            os.fchmod(descriptor, 0o660)
    finally:
        # Nobody in this process has locks on a file that is this new.
        os.close(descriptor)
