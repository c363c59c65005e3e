"""What root makes in somebody else's folder can be used by whom the folder belongs to."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gigq import Job, JobQueue
from gigq.queue.companions import Companions
from gigq.queue.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be root")


@pytest.fixture
def owner() -> pwd.struct_passwd:
    """Give a user who is not root."""
    return pwd.getpwnam("nobody")


@pytest.fixture(params=[0o2770, 0o700], ids=["shared", "private"])
def folder(request: pytest.FixtureRequest, owner: pwd.struct_passwd) -> Iterator[Path]:
    """Make a folder of that user's, shared with a group or not."""
    # Not below pytest's own folder, which is closed to others.
    made = Path(tempfile.mkdtemp(prefix="gigqd-owned-"))
    os.chown(made, owner.pw_uid, owner.pw_gid)
    made.chmod(request.param)
    yield made
    shutil.rmtree(made)


def can(owner: pwd.struct_passwd, access: str, path: Path) -> bool:
    """Tell whether that user has this access, by asking as that user."""
    asked = subprocess.run(
        ["test", access, str(path)],
        user=owner.pw_uid,
        group=owner.pw_gid,
        extra_groups=[],
        check=False,
    )
    return asked.returncode == 0


def test_all_files_can_be_written(folder: Path, owner: pwd.struct_passwd) -> None:
    """The database, its log while it is open, and all beside it belong to the folder's owner."""
    database = folder / "gigq.db"
    with JobQueue(database) as queue:
        queue.submit(Job("print", print))
        companions = Companions(database)
        for lock in (companions.service_lock, companions.checkpoint_lock):
            os.close(companions.open_lock(lock))
        connection = Connection(database, companions, synchronous="FULL")  # so that the log stays
        with connection:
            found = sorted(folder.rglob("*"))
            assert {path.name for path in found} == {
                *("gigq.db", "gigq.db-wal", "gigq.db-shm", "gigq.db.d"),
                *("doorbell", "output", "service.lock", "checkpoint.lock"),
            }
            for path in found:
                status = path.stat()
                assert (status.st_uid, status.st_gid) == (owner.pw_uid, owner.pw_gid), path
                assert can(owner, "-w", path), path
        connection.close()
    shared = stat.S_IMODE(folder.stat().st_mode) == 0o2770
    if shared:
        assert stat.S_IMODE(database.stat().st_mode) == 0o660
        assert stat.S_IMODE(companions.folder.stat().st_mode) == 0o2770
        assert stat.S_IMODE(companions.doorbell.stat().st_mode) == 0o660
        assert stat.S_IMODE(companions.service_lock.stat().st_mode) == 0o660


def test_no_link_is_followed(folder: Path, tmp_path: Path) -> None:
    """A link that lies where root would make a file does not give away what it leads to."""
    database = folder / "gigq.db"
    with JobQueue(database) as queue:
        queue.submit(Job("print", print))
    victim = tmp_path / "victim"
    victim.write_text("root's")
    victim.chmod(0o600)
    lock = Companions(database).checkpoint_lock
    lock.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        Companions(database).open_lock(lock)
    other = Companions(folder / "gigq.db").service_lock
    other.unlink(missing_ok=True)
    try:
        os.link(victim, other)
    except OSError:
        return  # another file system
    os.close(Companions(database).open_lock(other))
    assert (victim.stat().st_uid, stat.S_IMODE(victim.stat().st_mode)) == (0, 0o600)
