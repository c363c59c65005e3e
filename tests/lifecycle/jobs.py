"""Jobs for the lifecycle tests; copied into each service's folder.

Each notes its begin and end in `runs.jsonl`, synced to the disk, so that what happened can be
told without the database. `lifecycle.oracle` reads it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import gigq
from gigq.db_utils import get_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTES = Path(__file__).with_name("runs.jsonl")
LONG = 1000


# Notes


def ticks(pid: int) -> int | None:
    """When a process was started, in kernel ticks; None where it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def notes() -> list[dict]:
    """Read all notes but one that is just being written: across two pages it comes in two parts."""
    lines = NOTES.read_text().splitlines(keepends=True) if NOTES.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def note(key: str, event: str, pid: int | None = None, **facts: object) -> None:
    """Write one line about a process, this one if no other is given."""
    pid = pid or os.getpid()
    line = {"key": key, "event": event, "at": time.monotonic(), "pid": pid, "ticks": ticks(pid)}
    descriptor = os.open(NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, json.dumps({**line, **facts}).encode() + b"\n")
    os.fsync(descriptor)
    os.close(descriptor)


@contextmanager
def noted(key: str) -> Iterator[None]:
    """Note the begin, with processes of earlier runs of `key` that are still alive, and the end."""
    unfinished = {}
    for each in notes():
        if each["key"] == key and each["event"] == "end":
            unfinished.pop((each["pid"], each["ticks"]), None)
        elif each["key"] == key:
            unfinished[each["pid"], each["ticks"]] = each
    alive = [pid for pid, began in unfinished if ticks(pid) == began and pid != os.getpid()]
    note(key, "begin", alive=alive)
    try:
        yield
    finally:
        note(key, "end")


# Jobs that end


def quick(key: str, seconds: float = 0) -> int:
    """Take so many seconds; the worker's pid."""
    with noted(key):
        time.sleep(seconds)
    return os.getpid()


def wait(key: str) -> int:
    """End when the file go-KEY is there; the worker's pid."""
    with noted(key):
        while not NOTES.with_name(f"go-{key}").exists():
            time.sleep(0.01)
    return os.getpid()


def wait_without_descriptors(key: str) -> int:
    """Close all that is open, as a program does that becomes a daemon, and `wait`."""
    os.closerange(3, 1000)
    return wait(key)


def wait_with_processes(key: str) -> int:
    """Start a child and an orphan, then `wait`; a second run waits only."""
    with noted(key):
        if not any(each["event"] == "process" for each in notes()):
            _start_child(key)
            _start_orphan(key)
        while not NOTES.with_name(f"go-{key}").exists():
            time.sleep(0.01)
    return os.getpid()


def exit_script(key: str) -> None:
    """Call sys.exit."""
    with noted(key):
        sys.exit(3)


_syncs: list[int] = []


def syncs() -> int:
    """Tell how often this process has waited for the disk since it first ran this."""
    fdatasync = os.fdatasync
    if fdatasync.__name__ != "counted":

        def counted(descriptor: int) -> None:
            fdatasync(descriptor)
            _syncs.append(descriptor)

        os.fdatasync = counted
    return len(_syncs)


def variable(name: str) -> str | None:
    """Tell an environment variable."""
    return os.environ.get(name)


def directory() -> str:
    """Tell the current directory."""
    return str(Path.cwd())


def print_much(key: str, size: int) -> int:
    """Print so many bytes when the file go-KEY is there; the worker's pid."""
    wait(key)
    for _ in range(size // 100):
        print("x" * 99)
    return os.getpid()


# Jobs that do not end


def spin(key: str) -> None:
    """Keep the processor busy."""
    with noted(key):
        while True:
            pass


def sleep(key: str) -> None:
    """Sleep."""
    with noted(key):
        time.sleep(LONG)


def hold_interpreter(key: str) -> None:
    """Hold the GIL in C code that no signal wakes: lock a mutex twice."""
    library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    with noted(key):
        library.pthread_mutex_lock(mutex)
        library.pthread_mutex_lock(mutex)


def sleep_in_c(key: str) -> str:
    """Hold the GIL in C code that any signal cuts short."""
    with noted(key):
        ctypes.PyDLL(None).sleep(LONG)
    return "slept well"


def ignore_sigterm(key: str) -> None:
    """Ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with noted(key):
        time.sleep(LONG)


def leave_child(key: str) -> None:
    """Wait for a child that does not end."""
    with noted(key):
        _start_child(key).wait()


def leave_orphan(key: str) -> None:
    """Start a grandchild in a session of its own, which is nobody's child."""
    with noted(key):
        _start_orphan(key)
        time.sleep(LONG)


def swallow(key: str) -> None:
    """Go on, whatever is raised."""
    with noted(key):
        while True:
            with suppress(BaseException):
                time.sleep(LONG)


def clean_up(key: str) -> None:
    """Note that the clean-up ran."""
    try:  # around the note of the begin, for the blow may come right after that
        with noted(key):
            time.sleep(LONG)
    finally:
        note(key, "cleaned")


def oblige(key: str) -> str:
    """Return as soon as it is interrupted."""
    with noted(key), suppress(BaseException):
        time.sleep(LONG)
    return "obliged"


def tell() -> None:
    """Say how far it is, all the time."""
    job = gigq.current_job()
    while True:
        job._noted = 0  # more often than it would be stored
        job.progress(1, 2, "on the way")


QUEUES = []


def submit_and_be_cut_short(database: str) -> None:
    """Stand where an interruption comes right after a queue has taken the lock."""
    queue = gigq.JobQueue(database)
    QUEUES.append(queue)
    with queue._open() as store:
        store._connection.__enter__()
    raise KeyboardInterrupt


# Jobs that use much

KEPT = []


def hold_memory(key: str, mebibytes: int, seconds: float = 0) -> int:
    """Take so much memory, for so long; the worker's pid."""
    with noted(key):
        taken = os.urandom(1 << 20) * mebibytes
        time.sleep(seconds)
    return os.getpid() if taken else 0


def keep_memory(mebibytes: int) -> int:
    """Take so much memory and never give it back; the worker's pid."""
    KEPT.append(os.urandom(1 << 20) * mebibytes)
    return os.getpid()


def hold_memory_in_child(key: str, mebibytes: int) -> None:
    """Let a child take so much memory, for long."""
    with noted(key):
        code = f"import time; taken = b'x' * ({mebibytes} << 20); time.sleep({LONG})"
        child = subprocess.Popen([sys.executable, "-c", code])
        note(key, "process", child.pid)
        child.wait()


def share_memory(mebibytes: int, children: int, seconds: float) -> None:
    """Fork children that see the same memory."""
    taken = os.urandom(1 << 20) * mebibytes
    for _ in range(children):
        if os.fork() == 0:
            time.sleep(seconds if taken else 0)
            os._exit(0)
    for _ in range(children):
        os.wait()


def burn(seconds: float, *, in_child: bool = False) -> None:
    """Use so much processor time."""
    code = f"import time\nwhile time.process_time() < {seconds}: pass"
    if in_child:
        subprocess.run([sys.executable, "-c", code], check=True)
    else:
        until = time.process_time() + seconds
        while time.process_time() < until:
            pass


# Jobs that die


def exit_process(key: str) -> None:
    """Leave without a word."""
    with noted(key):
        os._exit(7)


def crash(key: str) -> None:
    """Read where nothing is."""
    with noted(key):
        ctypes.string_at(0)


# Jobs that do to their worker what no job should


def leave_signal_ignored(number: int) -> None:
    """Ignore a signal and return."""
    signal.signal(number, signal.SIG_IGN)


def leave_transaction(database: str) -> None:
    """Return in the middle of a write to the database."""
    get_connection(database).execute("BEGIN IMMEDIATE")


def leave_thread() -> None:
    """Return while a thread goes on."""
    threading.Thread(target=time.sleep, args=(LONG,)).start()


def fork_and_return(key: str) -> str:
    """Return twice."""
    child = os.fork()
    if child == 0:
        return "child"
    note(key, "process", child)
    with noted(key):
        while ticks(child) is not None and not NOTES.with_name(f"go-{key}").exists():
            time.sleep(0.01)
    return "parent"


def close_output(how: str) -> str:
    """Close standard output."""
    if how == "stream":
        sys.stdout.close()
    else:
        os.close(1)
    return "done"


def complain(text: str, times: int) -> None:
    """Raise an error with a long text."""
    raise RuntimeError(text * times)


def most_descriptors() -> int:
    """Tell how many this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _start_child(key: str) -> subprocess.Popen:
    child = subprocess.Popen(["sleep", str(LONG)])
    note(key, "process", child.pid)
    return child


def _start_orphan(key: str) -> None:
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
            os.execlp("sleep", "sleep", str(LONG))  # noqa: S606 (no shell wanted)
        os._exit(0)
    os.waitpid(between, 0)
    note(key, "process", int(os.read(reader, 20)))
    os.close(reader)
    os.close(writer)
