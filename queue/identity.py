"""Who is who on this machine: processes told apart by more than a pid.

A pid is reused; a pid with its start time in kernel ticks is not, within one boot and one pid
namespace. Ticks come from /proc/PID/stat (proc(5), field 22) and do not move with the wall clock.
"""

from __future__ import annotations

import os
from enum import Enum
from functools import cache
from pathlib import Path
from typing import NamedTuple

_AFTER_COMMAND = 20  # starttime is field 22; the command, field 2, may hold spaces and brackets


class Identity(NamedTuple):
    """One process of one boot of one machine."""

    machine_id: str
    boot_id: str
    pid_namespace: int
    pid: int
    start_ticks: int


class Liveness(Enum):
    """What can be said of a process from here."""

    ALIVE = "alive"
    DEAD = "dead"
    ELSEWHERE = "elsewhere"  # of another machine or pid namespace: its pid means nothing here
    UNKNOWN = "unknown"  # it cannot be seen now


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


@cache
def _here() -> tuple[str, str, int]:
    return (
        _read("/etc/machine-id"),
        _read("/proc/sys/kernel/random/boot_id"),
        os.stat("/proc/self/ns/pid").st_ino,  # noqa: PTH116
    )


def start_ticks(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; None when there is none or a zombie.

    Raises OSError when that cannot be seen, for instance for want of descriptors.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123
            fields = stat.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[_AFTER_COMMAND - 1])


def own_identity() -> Identity:
    """Who this process is."""
    return identity_of(os.getpid())


def identity_of(pid: int) -> Identity:
    """Who the process with this number is now."""
    return Identity(*_here(), pid, start_ticks(pid) or 0)


def is_here(who: Identity) -> bool:
    """Tell whether its pid means something here: it is of this boot, and of this pid namespace."""
    _, boot_id, pid_namespace = _here()
    return (who.boot_id, who.pid_namespace) == (boot_id, pid_namespace)


def is_of_this_boot(who: Identity) -> bool:
    """Tell whether it ran under the kernel that runs here now, perhaps in another container."""
    return who.boot_id == _here()[1]


def liveness(who: Identity) -> Liveness:
    """Judge whether the process lives, by identity and never by age."""
    machine_id, boot_id, _ = _here()
    if who.boot_id != boot_id:
        same_machine = machine_id != "" and who.machine_id == machine_id
        return Liveness.DEAD if same_machine else Liveness.ELSEWHERE
    if not is_here(who):
        return Liveness.ELSEWHERE
    try:
        return Liveness.ALIVE if start_ticks(who.pid) == who.start_ticks else Liveness.DEAD
    except OSError:
        return Liveness.UNKNOWN
