"""The jobs of a storm. Each notes its begin and its end, and what of an earlier run still lives.

A copy stands in the storm's folder. The notes of one job are one file: who begins writes that down
first and reads then, so of two runs at one time at least one sees the other.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from notes import NOTES, Book, own_ticks, ticks

import gigq

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = 1
LONG = 1000
OWN: dict = {}  # the queue of this process, for jobs that submit


class Run:
    """One run of a job."""

    def __init__(self, key: str) -> None:
        """Open the job's notes."""
        job = gigq.current_job()
        assert job is not None
        self.key = key
        self.job = job
        self.execution: int = job._execution
        self._book = Book(NOTES / "jobs" / f"{key}.jsonl")
        self._ended = False

    def begin(self, parents: dict[str, str | None] | None) -> None:
        """Note the begin; then what of other runs of this job is alive."""
        self._book.note(
            "begin",
            execution=self.execution,
            attempt=self.job.attempt,
            parents=parents,
            version=VERSION,
        )
        others: dict[tuple, dict] = {}
        for line in self._book.lines():
            execution = line.get("execution")
            if execution == self.execution:
                continue
            # What a job in a program's own `Worker` starts is not known to anybody.
            if line["what"] == "begin" or (line["what"] == "process" and line["tree"]):
                others[line["what"], execution, line.get("child", line["pid"])] = line
            elif line["what"] == "end":
                others.pop(("begin", execution, line["pid"]), None)
        for (what, execution, _), line in others.items():
            pid = line.get("child", line["pid"])
            started = line.get("child_ticks", line["ticks"])
            itself = (pid, started) == (os.getpid(), own_ticks())
            if not itself and started is not None and ticks(pid) == started:
                self._book.note(
                    "overlap", execution=self.execution, of=what, other=execution, alive=pid
                )

    def end(self, how: str) -> None:
        """Note the end, once."""
        if not self._ended:
            self._book.note("end", execution=self.execution, how=how)
            self._ended = True
            self._book.close()

    def started(self, pid: int) -> None:
        """Note a process of this run's."""
        self._book.note(
            "process",
            execution=self.execution,
            child=pid,
            child_ticks=ticks(pid),
            tree=os.environ.get("GIGQ_TREE"),
        )


def work(key: str, do: str = "return", parent_results: dict | None = None, **more: float) -> dict:
    """Run one job of the storm; `do` names what it does."""
    parents = None
    if parent_results is not None:
        parents = {uuid: each and each["by"] for uuid, each in parent_results.items()}
    run = Run(key)
    how = "raised"
    try:
        try:
            run.begin(parents)
            result = DEEDS[do](run, **more)
            how = "returned"
        finally:
            # An interruption comes at most once, but perhaps here.
            run.end(how)
    except BaseException:
        run.end("raised")
        raise
    return {"by": run.execution, **(result or {})}


# What they do


def _return(_: Run) -> None:
    pass


def _busy(_: Run, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def _print(run: Run) -> None:
    print("here is", run.key, "x" * random.randrange(200))


def _big(_: Run) -> dict:
    return {"filling": "x" * 150_000}


def _progress(run: Run) -> None:
    for step in range(3):
        run.job.progress(step, 3, "on the way")


def _tell(run: Run) -> None:
    while True:
        run.job._noted = 0  # more often than it would be stored
        run.job.progress(1, 2, "on the way")
        time.sleep(0.0002)  # else it fills the disk beside a long reader, in three seconds


def _submit(run: Run) -> None:
    """Submit a job, as submitters do, through a queue that stays open."""
    if not OWN:
        name = f"submitter-of-{os.getpid()}-{own_ticks()}.jsonl"
        OWN.update(queue=gigq.JobQueue(), book=Book(NOTES / name))
    OWN["number"] = number = OWN.get("number", 0) + 1
    job = gigq.Job("submitted", work)
    job.params.update(key=job.id, do="return")
    facts = {"do": "return", "parents": [], "policy": "cancel", "max_attempts": job.max_attempts}
    OWN["book"].note("offer", number=number, jobs={job.id: facts}, by=run.execution)
    OWN["queue"].submit(job)
    OWN["book"].note("acknowledged", number=number)


def _submit_on(run: Run) -> None:
    while True:
        _submit(run)
        time.sleep(0.005)


def _flaky(run: Run, good: int) -> None:
    if run.job.attempt < good:
        message = f"attempt {run.job.attempt} was to fail"
        raise RuntimeError(message)


def _fail(_: Run) -> None:
    message = "it was to fail"
    raise RuntimeError(message)


def _spin(_: Run) -> None:
    while True:
        pass


def _sleep(_: Run, seconds: float = LONG) -> None:
    time.sleep(seconds)


def _deaf(_: Run) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(LONG)


def _swallow(_: Run) -> None:
    while True:
        with suppress(BaseException):
            time.sleep(LONG)


def _hold_interpreter(_: Run) -> None:
    library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


def _family(run: Run) -> None:
    _start_child(run)
    _start_orphan(run)
    time.sleep(LONG)


def _leave(run: Run) -> None:
    _start_child(run)
    _start_orphan(run)


def _die(_: Run) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(_: Run) -> None:
    os._exit(7)


def _wait(run: Run) -> None:
    """Wait until the file `go-KEY` is there."""
    while not (NOTES / f"go-{run.key}").exists():
        time.sleep(0.005)


def _stop(run: Run) -> None:
    """End, as far as the notes say, and stop in the first run; wait in the next."""
    if len([line for line in run._book.lines() if line["what"] == "begin"]) > 1:
        _wait(run)
        return
    run.end("returned")
    os.kill(os.getpid(), signal.SIGSTOP)


DEEDS: dict[str, Callable] = {
    "return": _return,
    "busy": _busy,
    "print": _print,
    "big": _big,
    "progress": _progress,
    "tell": _tell,
    "submit": _submit,
    "submit on": _submit_on,
    "flaky": _flaky,
    "fail": _fail,
    "spin": _spin,
    "sleep": _sleep,
    "deaf": _deaf,
    "swallow": _swallow,
    "hold": _hold_interpreter,
    "family": _family,
    "leave": _leave,
    "die": _die,
    "exit": _exit,
    "wait": _wait,
    "stop": _stop,
}


def _start_child(run: Run) -> None:
    run.started(subprocess.Popen(["sleep", str(LONG)]).pid)


def _start_orphan(run: Run) -> None:
    """Start a grandchild in a session of its own, which is nobody's child."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
            os.execlp("sleep", "sleep", str(LONG))  # noqa: S606 (no shell wanted)
        os._exit(0)
    os.close(writer)
    os.waitpid(between, 0)
    grandchild = os.read(reader, 20)
    os.close(reader)
    if grandchild:
        run.started(int(grandchild))
