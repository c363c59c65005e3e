"""Whose a database is: its jobs are code, and run as whoever runs them."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from gigq.queue.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


def owner(path: Path) -> int:
    """Give the user id of the file's owner, or of its folder's while there is no file.

    Raises OSError.
    """
    try:
        return path.stat().st_uid
    except FileNotFoundError:
        return path.parent.stat().st_uid


def may_act_for(path: Path, *, as_root: bool = True) -> bool:
    """Tell whether this user is the file's owner; `as_root`: or root, who may become any.

    Raises OSError.
    """
    return os.geteuid() == owner(path) or (as_root and os.geteuid() == 0)


def user_name(user: int) -> str | None:
    """Give a user's name; None for one who has no account on this machine."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return None


def refuse_to_be_root(path: Path, command: str) -> None:
    """Let root run no jobs of a database of another user's: who may write it would be root.

    Raises SettingsError. An owner without an account is none of this machine's: in a container, a
    folder of its host.
    """
    if os.geteuid() != 0:
        return
    try:
        name = user_name(owner(path))
    except OSError:  # SQLite says what is wrong
        return
    if name is not None and name != user_name(0):
        message = (
            f"{path} belongs to {name}, and root would run the jobs of all who may write it; "
            f"start the installed service (systemctl start gigqd), or: sudo -u {name} {command}"
        )
        raise SettingsError(message)
