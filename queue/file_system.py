"""Which file system a path lies on, as the kernel's list of mounts has it (proc(5), mountinfo)."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from gigq.queue.companions import real

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset(
    "nfs nfs4 cifs smb3 smbfs 9p virtiofs vboxsf afs ceph lustre gpfs beegfs ncpfs coda".split()  # noqa: SIM905
)
# In user space, and known to be a network underneath.
_NETWORK_FUSE = frozenset(
    {"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse"}
)


class Reach(Enum):
    """How far a file system's locks can be trusted."""

    LOCAL = "local"
    NETWORK = "network"  # locks or shared memory between machines do not work
    USER_SPACE = "user space"  # FUSE: it depends on the program behind it


class FileSystem(NamedTuple):
    """A mounted file system."""

    kind: str  # as in mount(8): ext4, nfs4, fuse.sshfs
    mount_point: str

    @property
    def reach(self) -> Reach:
        """Tell whether a database may lie on it."""
        if self.kind in _NETWORK or self.kind in _NETWORK_FUSE:
            return Reach.NETWORK
        return Reach.USER_SPACE if self.kind.partition(".")[0] == "fuse" else Reach.LOCAL


def file_system(path: Path, mounts: str | None = None) -> FileSystem | None:
    """Tell on what a path lies; None where the list of mounts cannot be read.

    `mounts` is the text of a mountinfo file, by default this process's own.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(errors="surrogateescape")
        except OSError:
            return None
    place, found = real(path), None
    for line in mounts.splitlines():
        mounted, separator, rest = line.partition(" - ")
        if not separator:
            continue
        point = Path(_unescaped(mounted.split()[4]))
        # The longest mount point wins; of several on one point, the last one covers the others.
        longest = found is None or len(point.parts) >= len(Path(found.mount_point).parts)
        if place.is_relative_to(point) and longest:
            found = FileSystem(rest.split()[0], str(point))
    return found


def _unescaped(text: str) -> str:
    """Undo the kernel's escapes of blanks, tabs, newlines and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
