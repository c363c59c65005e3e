"""The blow: a job does to its worker process what no job should."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from harness import GENEROUS, Service, until, write_jobs

if TYPE_CHECKING:
    from pathlib import Path

KILLED_WITHIN = 0.5 * GENEROUS  # seconds after the deadline
ONE_WORKER = "[workers]\ncount = 1\nreload = false\nkill_grace = 0\n"
HARM = '''
import ctypes, os, resource, signal, subprocess, sys, time

def change(what):
    """Leave something changed."""
    if what == "umask":
        os.umask(0o777)
    elif what == "environment":
        os.environ["LEFT"] = "by the job"
        del os.environ["PATH"]
    elif what == "signals":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    elif what == "mask":
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    elif what == "timer":
        signal.setitimer(signal.ITIMER_REAL, 0.2)
    elif what == "streams":
        for number in 0, 1, 2:
            os.close(number)
    elif what == "directory":
        os.mkdir("away")
        os.chdir("away")
        os.rmdir("../away")
    return os.getpid()

def look():
    """Tell what a job finds."""
    before = os.umask(0)
    os.umask(before)
    print("to the output")
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return {
        "pid": os.getpid(),
        "umask": before,
        "environment": [os.environ.get("LEFT"), os.environ.get("PATH")],
        "directory": os.getcwd(),
        "blocked": len(blocked),
        "handlers": [
            str(signal.getsignal(number)).split(" at ")[0] for number in
            (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
        ],
    }

def leave_descriptors():
    """Leave as many open as there may be."""
    try:
        while True:
            os.open("/dev/null", os.O_RDONLY)
    except OSError:
        return os.getpid()

def leave_descriptors_and_process():
    """The same, and a process."""
    subprocess.Popen(["sleep", "1000"])
    return leave_descriptors()

def leave(code):
    """Leave without a word."""
    os._exit(code)

def abort():
    """Crash as C code does."""
    ctypes.CDLL(None).abort()

def fill_pipe():
    """Wait for a child that waits for its reader."""
    nothing = subprocess.DEVNULL
    subprocess.Popen(["dd", "if=/dev/zero"], stdout=subprocess.PIPE, stderr=nothing).wait()

def hold_for_a_while():
    """Hold the interpreter in C code, within the time allowed."""
    ctypes.PyDLL(None).sleep(2)
    return os.getpid()

def busy_thread():
    """Leave a thread that computes."""
    import threading
    threading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()
    return os.getpid()

def raise_base():
    """Raise what no `except Exception` catches."""
    class Odd(BaseException):
        pass
    raise Odd("odd")

def quick():
    return os.getpid()
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with the jobs."""
    write_jobs(tmp_path, HARM, "harm.py")
    return tmp_path


def outcome(service: Service, function: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401
    """Run a job that may be begun once, and give all about it."""
    job = service.submit(f"harm.{function}", params, timeout=30, max_attempts=1)
    return service.wait_status(job, "completed", "failed", "timeout", seconds=60)


def test_changes_are_put_back_and_named(folder: Path) -> None:
    """Each change that a job leaves is gone for the next job, in the same worker, and told."""
    with Service(folder, configuration=ONE_WORKER) as service:
        as_it_was = outcome(service, "look")["result"]
        for what in ("umask", "environment", "signals", "mask", "timer", "streams", "directory"):
            found = outcome(service, "change", what=what)
            assert (found["status"], found["result"]) == ("completed", as_it_was["pid"]), what
            assert outcome(service, "look")["result"] == as_it_was, what
        service.wait_for("job_left_changes", changed=["streams"])
        told = [event["changed"] for event in service.events("job_left_changes")]
        assert told == [
            ["umask"],
            ["environment"],
            ["signals"],
            ["signals"],
            ["timer"],
            ["streams"],
        ]
        named = {event["job_name"] for event in service.events("job_left_changes")}
        assert named == {"harm.change"}
        assert len(service.events("worker_ready")) == 1


@pytest.mark.parametrize(
    ("function", "durability"),
    [
        ("leave_descriptors", "normal"),
        ("leave_descriptors_and_process", "normal"),
        ("leave_descriptors", "full"),
    ],
)
def test_descriptors_used_up(folder: Path, function: str, durability: str) -> None:
    """A job that leaves no descriptor free has its result, and the next one a new worker."""
    limit = (psutil.RLIMIT_NOFILE, (256, 256))
    configuration = f'durability = "{durability}"\n{ONE_WORKER}'
    with Service(folder, configuration=configuration) as service:
        service.wait_ready()
        (pid,) = service.worker_pids().values()
        psutil.Process(pid).rlimit(*limit)
        # The worker has noted half of the limit that it was started with as what is too many.
        found = outcome(service, function)
        assert (found["status"], found["result"]) == ("completed", pid)
        after = outcome(service, "quick")
        assert after["status"] == "completed"
        assert after["result"] != pid
        (event,) = service.events("job_left_changes")
        assert "descriptors" in event["changed"]
        assert not service.events("worker_lost")
        until(lambda: not [p for p in service.processes() if p.name() == "sleep"])


@pytest.mark.parametrize(
    ("function", "params", "error"),
    [
        ("leave", {"code": 0}, "worker died: exit code 0"),
        ("leave", {"code": 3}, "worker died: exit code 3"),
        ("abort", {}, "worker died: SIGABRT"),
        ("raise_base", {}, "Odd: odd"),
    ],
)
def test_ways_to_leave(folder: Path, function: str, params: dict[str, int], error: str) -> None:
    """A job that takes its process with it, by whatever exit code, has failed, and says how."""
    with Service(folder, configuration=ONE_WORKER) as service:
        found = outcome(service, function, **params)
        assert (found["status"], found["error"]) == ("failed", error)
        assert outcome(service, "quick")["status"] == "completed"


def test_full_pipe_of_a_job(folder: Path) -> None:
    """A job that waits for a pipe nobody reads ends at its deadline, with its child."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("harm.fill_pipe", timeout=1, max_attempts=1)
        service.wait_status(job, "timeout", seconds=1 + KILLED_WITHIN)
        until(lambda: not [p for p in service.processes() if p.name() == "dd"])


def test_silence_is_not_death(folder: Path) -> None:
    """A worker that cannot say anything for seconds, stopped or in C code, is let be."""
    with Service(folder, configuration=ONE_WORKER) as service:
        job = service.submit("harm.hold_for_a_while", timeout=60, max_attempts=1)
        service.wait_for("job_started")
        (pid,) = service.worker_pids().values()
        os.kill(pid, signal.SIGSTOP)
        code, output, _ = service.told("status")
        assert code == 0
        assert "1 busy" in output
        os.kill(pid, signal.SIGCONT)
        found = service.wait_status(job, "completed")
        assert found["result"] == pid
        assert len(service.events("worker_ready")) == 1


def test_terminate_of_a_worker_is_not_for_its_job(folder: Path) -> None:
    """SIGTERM from anybody but its supervisor interrupts no job and ends no worker."""
    with Service(folder, configuration=ONE_WORKER) as service:
        service.wait_ready()
        (pid,) = service.worker_pids().values()
        jobs = [service.submit("harm.quick") for _ in range(50)]
        for _ in range(200):
            os.kill(pid, signal.SIGTERM)
        for job in jobs:
            found = service.wait_status(job, "completed")
            assert (found["attempts"], found["result"]) == (1, pid)


def test_busy_thread_left_behind(folder: Path) -> None:
    """A thread that a job left computing neither keeps its worker from jobs nor from going."""
    with Service(folder, configuration=ONE_WORKER) as service:
        pid = outcome(service, "busy_thread")["result"]
        assert outcome(service, "quick")["result"] == pid
        assert service.stop(seconds=20) == 0
        assert not service.events("worker_lost")
