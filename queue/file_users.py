"""Who has a file open, as far as /proc tells: only root sees what other users' processes do."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_COMMAND = 80


class FileUser(NamedTuple):
    """A process that has the file open."""

    pid: int
    command: str

    def __str__(self) -> str:
        """Name it so that it can be found."""
        return f"pid {self.pid} ({self.command})"


def file_users(path: Path) -> list[FileUser]:
    """List the other processes that have the file open, by device and inode.

    The file itself is not opened: closing it would drop this process's locks on it.
    """
    wanted = path.stat()
    users = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            opened = ((status.st_dev, status.st_ino) for status in _open_files(process))
            if (wanted.st_dev, wanted.st_ino) in opened:
                users.append(FileUser(int(process.name), _command(process)))
    return sorted(users)


def _open_files(process: Path) -> Iterator[os.stat_result]:
    with suppress(OSError):  # it has gone, or is not ours to look at
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                yield descriptor.stat()


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        words = []
    command = b" ".join(words).decode(errors="replace") or "its command is unknown"
    return command if len(command) <= _LONGEST_COMMAND else command[:_LONGEST_COMMAND] + "…"
