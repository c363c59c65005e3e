"""When a supervisor looks at the files it follows by itself."""

from __future__ import annotations

import os
import resource
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from gigq.queue import clock
from gigq.supervisor.followed_files import FollowedFiles
from gigq.supervisor.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MINUTE = 60_000_000_000  # nanoseconds


@contextmanager
def without_descriptors() -> Iterator[None]:
    """Let nothing more be opened: neither files nor watches."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def files(tmp_path: Path) -> Iterator[FollowedFiles]:
    """Follow a configuration, without watching it yet."""
    (tmp_path / "gigqd.toml").touch()
    with closing(
        FollowedFiles(tmp_path / "gigqd.toml", lambda: None, Log("info", "json"))
    ) as found:
        yield found


def test_nobody_wakes_for_the_net(files: FollowedFiles) -> None:
    """Where the system tells of changes, a service that rests is not woken to look."""
    files.start()
    assert files.next_look() == clock.NEVER


def test_what_lies_behind_a_link_is_looked_at(tmp_path: Path) -> None:
    """A configuration in a folder that may be swapped by a link is looked at as often."""
    for link, target in (("file.toml", "release/gigqd.toml"), ("current", "release")):
        (tmp_path / "release").mkdir(exist_ok=True)
        (tmp_path / "release" / "gigqd.toml").touch()
        (tmp_path / link).symlink_to(target)
    for path in (tmp_path / "file.toml", tmp_path / "current" / "gigqd.toml"):
        with closing(FollowedFiles(path, lambda: None, Log("info", "json"))) as files:
            files.start()
            assert files.next_look() < time.monotonic_ns() + MINUTE


def test_what_cannot_be_watched_is_looked_at(files: FollowedFiles) -> None:
    """Where it cannot tell, the files are looked at within a minute, however long a rest is."""
    with without_descriptors():
        files.start()
    assert files.next_look() < time.monotonic_ns() + MINUTE
