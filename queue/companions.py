"""The files that stand beside a database, all in one folder `NAME.d`.

    service.lock     held by the one gigqd of this database; never unlinked
    checkpoint.lock  held by whoever moves the write-ahead log into the database
    workers.lock     a byte of it is held as long as a worker lives
    control          the service's socket, for its owner only
    doorbell         a FIFO: a byte wakes one waiting worker
    output/          what jobs printed

The folder takes the database's permissions, so that whoever may submit may also ring.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from gigq.queue.errors import StoreError
from gigq.queue.folders import sync_folder

_READ_TO_SEARCH = 2  # 0444 shifted gives the matching 0111


def real(path: Path) -> Path:
    """Follow symbolic links, as SQLite does; where they lead in a circle, opening it says so."""
    return Path(os.path.realpath(path))


class Companions:
    """Paths of one database's companion files."""

    def __init__(self, database: Path) -> None:
        """Name the files; nothing is created.

        A symbolic link to a database is that database, as it is for SQLite.
        """
        database = real(database)
        if not database.name:
            message = f"{database} is a folder; name the file in it that is the database"
            raise StoreError(message)
        self.folder = database.with_name(database.name + ".d")
        self.service_lock = self.folder / "service.lock"
        self.checkpoint_lock = self.folder / "checkpoint.lock"
        self.workers_lock = self.folder / "workers.lock"
        self.control = self.folder / "control"
        self.doorbell = self.folder / "doorbell"
        self.output = self.folder / "output"
        self._database = database

    def create(self) -> None:
        """Make the folder and its parts, as open to others as the database is.

        Raises StoreError.
        """
        try:
            self._create()
        except OSError as error:
            message = (
                f"{error.filename or self.folder}: {error.strerror}; {self.folder} has to be a "
                "folder to which each user of the database can write"
            )
            raise StoreError(message) from None

    def _create(self) -> None:
        mode = stat.S_IMODE(os.stat(self._database).st_mode)  # noqa: PTH116
        folder_mode = mode | (mode & 0o444) >> _READ_TO_SEARCH | 0o700
        for folder in (self.folder, self.output):
            with suppress(FileExistsError):
                folder.mkdir()
                self._adapt(folder, folder_mode, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(FileExistsError):
            os.mkfifo(self.doorbell)
            self._adapt(self.doorbell, mode | 0o600, os.O_RDONLY | os.O_NONBLOCK)

    def _adapt(self, path: Path, mode: int, flags: int) -> None:
        """Give what was just made its permissions and owner; a link in its place is not followed.

        The folder may belong to others, who must not have root give them what is not theirs.
        """
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._adapt_open(descriptor, mode)
        finally:
            os.close(descriptor)

    def _adapt_open(self, descriptor: int, mode: int) -> None:
        status = os.fstat(descriptor)
        if os.geteuid() == 0 and status.st_uid == 0:
            owner = os.stat(self._database)  # noqa: PTH116
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        # A folder's setgid bit is inherited, and lost to a chmod that does not name it. A sandbox
        # may refuse every chmod that does (RestrictSUIDSGID=), so none is made without need.
        wanted = mode | status.st_mode & stat.S_ISGID
        if stat.S_IMODE(status.st_mode) != wanted:
            with suppress(PermissionError):
                os.fchmod(descriptor, wanted)

    def make_once(self, path: Path, content: bytes) -> None:
        """Make a file with this content, unless there is one: whole and lasting, or not at all.

        As open to others as the database is. Raises OSError.
        """
        if os.path.lexists(path):
            return
        mode = stat.S_IMODE(os.stat(self._database).st_mode)  # noqa: PTH116
        beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(beside, flags, mode)
        try:
            self._adapt_open(descriptor, mode)
            os.write(descriptor, content)
            os.fsync(descriptor)
            with suppress(FileExistsError):  # somebody was faster
                path.hardlink_to(beside)
            sync_folder(self.folder)
        finally:
            os.close(descriptor)
            beside.unlink()

    def open_lock(self, path: Path) -> int:
        """Open a lock file for flock, creating it if need be; the caller closes it."""
        mode = stat.S_IMODE(os.stat(self._database).st_mode)  # noqa: PTH116
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, mode)
        if os.fstat(descriptor).st_nlink == 1:  # else somebody has linked another file there
            self._adapt_open(descriptor, mode)
        return descriptor
