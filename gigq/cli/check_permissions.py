"""Looks at who may write: whoever can write a job can run code as the service's user."""

from __future__ import annotations

import grp
import pwd
import stat
from typing import TYPE_CHECKING, NamedTuple

from gigq.cli.finding import Finding
from gigq.queue.ownership import user_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gigq.queue.companions import Companions


class _Owned(NamedTuple):
    """A path with its owner, group and mode."""

    path: Path
    owner: int
    group: int
    mode: int


def check_permissions(
    database: Path, companions: Companions, configuration: Path | None
) -> Iterator[Finding]:
    """Look at the file, its folder, what stands beside it, and the configuration."""
    looked_at = [_look(path) for path in _paths(database, companions, configuration)]
    found = [each for each in looked_at if each is not None]
    risk = "who can write it can run code as the service's user"
    by_others = [each.path for each in found if each.mode & stat.S_IWOTH]
    if by_others:
        names = " ".join(map(str, by_others))
        yield Finding("error", f"everybody may write {names}: {risk}", f"chmod o-w {names}")
    by_group: dict[str, list[Path]] = {}
    for each in found:
        if each.mode & stat.S_IWGRP and _has_others(each):
            by_group.setdefault(_group_name(each.group), []).append(each.path)
    folder = next((each for each in found if each.path == database.parent), None)
    shared = folder is not None and folder.mode & stat.S_ISGID and folder.mode & stat.S_IWGRP
    for group, paths in by_group.items():
        names = " ".join(map(str, paths))
        if shared and database in paths and configuration not in paths:
            # As `gigqd install --system` makes it, for those who are to submit.
            user = _user_name(found[0].owner)
            yield Finding("ok", f"group {group} may submit, and so run code as user {user}")
            continue
        yield Finding("warning", f"group {group} may write {names}: {risk}", f"chmod g-w {names}")
    if not by_others and not by_group:
        yield Finding(
            "ok", f"nobody but {_user_name(found[0].owner)} and root may write {database}"
        )


def _paths(database: Path, companions: Companions, configuration: Path | None) -> Iterator[Path]:
    yield database
    yield from (database.with_name(database.name + end) for end in ("-wal", "-shm", "-journal"))
    yield database.parent
    yield companions.folder
    if companions.folder.is_dir():
        yield from companions.folder.iterdir()
    if configuration is not None:
        yield configuration


def _look(path: Path) -> _Owned | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return _Owned(path, status.st_uid, status.st_gid, status.st_mode)


def _has_others(owned: _Owned) -> bool:
    """Tell whether the group is more than its owner's own."""
    try:
        members = set(grp.getgrgid(owned.group).gr_mem)
    except KeyError:
        return True
    members |= {user.pw_name for user in pwd.getpwall() if user.pw_gid == owned.group}
    return bool(members - {_user_name(owned.owner), "root"})


def _group_name(group: int) -> str:
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)


def _user_name(user: int) -> str:
    return user_name(user) or f"user {user}"
