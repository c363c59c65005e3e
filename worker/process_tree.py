"""All that a job started: finding it and ending it, wherever in the process tree it went.

A child subreaper (prctl(2)) inherits the orphans below it instead of pid 1. Worker and supervisor
are both: a double-forked grandchild in a session of its own stays below its worker, and reaches
the supervisor when the worker has died.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_STRAYS_WITHIN = 2.0  # seconds
_EXEC_WITHIN = 0.05  # seconds
_ANY_CHILD = os.WEXITED | os.WNOHANG | os.WNOWAIT  # and it stays as it is
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD of the kernel's sched.h
_PAUSE = 0.0005  # seconds between two looks at processes that are dying
_LONGEST_PAUSE = 0.2

TREE_VARIABLE = "GIGQ_TREE"  # in the environment of each worker process and all it starts


_waitid = ctypes.CDLL(None).waitid

# A job may use up all descriptors, and what it started has to be found and ended all the same.
_spare: list[int] = []


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "prctl")


def become_subreaper() -> None:
    """Let orphans below this process become its children. Raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with suppress(ChildProcessError):  # where anything else is wrong, `has_children` cannot tell
        os.waitid(os.P_ALL, 0, _ANY_CHILD)
    if not _spare:
        _keep_spare()


def signal_when_parent_dies(number: int) -> None:
    """Ask for a signal at the death of the thread that started this process."""
    _prctl(_PR_SET_PDEATHSIG, number)


def has_children() -> bool:
    """Tell, with one system call, whether this process has any child, dead or alive."""
    # Mostly there is none, which `os.waitid` would raise as an exception after each job.
    failed = _waitid(os.P_ALL, 0, None, _ANY_CHILD)
    return not failed


def _keep_spare() -> None:
    with suppress(OSError):
        _spare.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


def children(pid: int | None = None) -> list[int]:
    """List the children of a process, else of this one, the unreaped among them.

    Raises OSError when the process is gone, or when there is not even one descriptor for it.
    """
    try:
        return _children(pid)
    except OSError as error:
        if error.errno != errno.EMFILE or not _spare:
            raise
    os.close(_spare.pop())
    try:
        return _children(pid)
    finally:
        _keep_spare()


def _children(pid: int | None) -> list[int]:
    tasks = f"/proc/{'self' if pid is None else pid}/task"
    threads = os.listdir(tasks)  # noqa: PTH208 (a hot look)
    try:
        found: list[int] = []
        for thread in threads:
            with open(f"{tasks}/{thread}/children") as listed:  # noqa: PTH123
                found += map(int, listed.read().split())
    except (FileNotFoundError, ProcessLookupError):
        # A kernel without CONFIG_PROC_CHILDREN, or a thread that has just ended.
        import psutil  # noqa: PLC0415 (rarely needed, and slow to import)

        with suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(pid).children()]
        return []
    return found


def descendants(pid: int) -> list[int]:
    """List all processes below one, as far as they are there to be seen."""
    found: list[int] = []
    parents = [pid]
    while parents:
        with suppress(OSError):
            below = children(parents.pop())
            found += below
            parents += below
    return found


def kill_children(spare: Callable[[int], bool] = lambda _: False) -> int:
    """Send SIGKILL to each child that is not spared, and reap those that are dead already.

    What those leave behind become children in turn: call it until it gives 0. Gives how many
    were still there.
    """
    left = 0
    for pid in children():
        if spare(pid):
            continue
        with suppress(ProcessLookupError, PermissionError):  # what became another user's lives on
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
            left += 1  # also where it was reaped: it may just have handed over its own children
    return left


def kill_all_children(patience: float) -> int:
    """Kill and reap until no child is left; gives how many were left after `patience` seconds."""
    give_up = time.monotonic() + patience
    while (left := kill_children()) and time.monotonic() < give_up:
        time.sleep(_PAUSE)
    return left


def tree_name(pid: int) -> str | None:
    """Tell which worker process's tree a process belongs to, by its environment.

    None also for one that is gone or another user's. Raises OSError when it cannot be seen, for
    want of descriptors: it must not pass for dead.
    """
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        give_up = time.monotonic() + _EXEC_WITHIN
        # In the middle of an execve(2) a process has none yet.
        while not environment and _may_get_one(pid) and time.monotonic() < give_up:
            time.sleep(_PAUSE)
            environment = Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    for entry in environment.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name == TREE_VARIABLE.encode():
            return value.decode(errors="replace")
    return None


def is_dead(pid: int) -> bool:
    """Tell whether nothing is left of a process but its exit status, if that."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] in (b"Z", b"X")


def _may_get_one(pid: int) -> bool:
    """Tell whether a process without an environment is neither dead nor one of the kernel's own."""
    state, *_, flags = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:7]
    return state not in (b"Z", b"X") and not int(flags) & _KERNEL_THREAD


def kill_tree(name: str) -> int:
    """Kill what a dead worker process left when no supervisor was there to inherit it.

    Waits up to two seconds until it is gone. Gives how many processes are left. Raises OSError
    when processes cannot be seen.
    """
    give_up = time.monotonic() + _STRAYS_WITHIN
    pause = _PAUSE
    while True:
        pids = [int(pid) for pid in os.listdir("/proc") if pid.isdecimal()]  # noqa: PTH208 (names)
        found = [pid for pid in pids if pid != os.getpid() and tree_name(pid) == name]
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found or time.monotonic() > give_up:
            return len(found)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)  # it may be there for days
