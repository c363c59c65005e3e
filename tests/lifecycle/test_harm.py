"""The blow: a job does to its worker process what no job should."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from harness import GENEROUS, Service, until, write_jobs

if TYPE_CHECKING:
    from pathlib import Path

KILLED_WITHIN = 0.5 * GENEROUS  # seconds after the deadline
ONE_WORKER = "[workers]\ncount = 1\nreload = false\nkill_grace = 0\n"
HARM = '''
import ctypes, io, os, resource, signal, subprocess, sys, time

class Tee:
    """A stream as people write them: it can do no more than they need."""
    def write(self, text):
        return len(text)

class BrokenStream(Tee):
    def flush(self):
        raise RuntimeError("no")

def broken_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    stream.write("lost")
    return stream

class Lazy(type(sys)):
    def __getattr__(self, name):
        raise ImportError("an extra that is not installed")

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
    elif what == "swapped":
        os.dup2(0, 1)
    elif what == "limits":
        for limit, soft in (
            (resource.RLIMIT_FSIZE, 1000), (resource.RLIMIT_AS, 1 << 30), (resource.RLIMIT_CPU, 60)
        ):
            resource.setrlimit(limit, (soft, resource.getrlimit(limit)[1]))
    elif what == "detached":
        sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="utf-8")
        print("by the new one")
    elif what == "tee":
        sys.stdout = sys.stderr = Tee()
    elif what == "nothing":
        sys.stdout = None
    elif what == "deleted":
        del sys.stdout, sys.stderr
    elif what == "broken stream":
        sys.stdout = BrokenStream()
    elif what == "broken pipe":
        sys.stdout = broken_pipe()
    elif what == "mapping":
        os.environ = dict(os.environ, LEFT="by the job")
    elif what == "connection":
        from gigq.db_utils import get_connection
        get_connection("own.db").close()
        assert get_connection("own.db").execute("SELECT 1").fetchone()
        get_connection("own.db").close()
    elif what == "module":
        sys.modules["lazy"] = Lazy("lazy")
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
        "limits": [
            resource.getrlimit(limit) for limit in
            (resource.RLIMIT_FSIZE, resource.RLIMIT_AS, resource.RLIMIT_CPU)
        ],
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

def replace_descriptors():
    """Close what others have opened, as daemons do, and open something else."""
    os.closerange(3, 1024)
    global kept
    kept = [open(f"own{number}", "w+") for number in range(30)]

def close_descriptors():
    """Close what others have opened, and open nothing."""
    print("not yet written", end="")
    os.closerange(3, 1024)

def replace_all_and_wait():
    """Close all, open many files, each as long as much output, and do not end in time."""
    os.closerange(0, 1024)
    global kept
    kept = [open(f"own{number}", "wb") for number in range(25)]
    for file in kept:
        file.write(b"x" * (4 << 20))
        file.flush()
    time.sleep(60)

def close_log():
    """Close the descriptor of the database's log, and no other."""
    for name in os.listdir("/proc/self/fd"):
        if os.path.realpath(f"/proc/self/fd/{name}").endswith(".db-wal"):
            os.close(int(name))

def first_of_pool():
    """Need one answer of two, and have the pool end its processes then."""
    import multiprocessing
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return next(pool.imap_unordered(time.sleep, (0, 60)))

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

CHANGES = (  # and what is told of each
    ("umask", "umask"),
    ("environment", "environment"),
    ("mapping", "environment"),
    ("signals", "signals"),
    ("mask", "signals"),
    ("timer", "timer"),
    ("streams", "streams"),
    ("swapped", "streams"),
    ("detached", "streams"),
    ("tee", "streams"),
    ("nothing", "streams"),
    ("deleted", "streams"),
    ("broken stream", "streams"),
    ("broken pipe", "streams"),
    ("connection", ""),
    ("module", ""),
    ("directory", ""),
    ("limits", "limits"),
)


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
        for what, _ in CHANGES:
            found = outcome(service, "change", what=what)
            assert (found["status"], found["result"]) == ("completed", as_it_was["pid"]), what
            assert outcome(service, "look")["result"] == as_it_was, what
        service.wait_for("job_left_changes", changed=["limits"])
        told = [event["changed"] for event in service.events("job_left_changes")]
        assert told == [[name] for _, name in CHANGES if name]
        assert not service.events("store_waiting")
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


@pytest.mark.parametrize("function", ["close_descriptors", "replace_descriptors", "close_log"])
@pytest.mark.parametrize("batch", [1, 16])
def test_descriptors_of_the_database_are_closed(folder: Path, function: str, batch: int) -> None:
    """Nothing is written into what took their place: that job fails, and the database is whole."""
    configuration = f"{ONE_WORKER}batch = {batch}\n"
    with Service(folder, configuration=configuration) as service:
        assert outcome(service, "quick")["status"] == "completed"
        for deaths in range(1, 3):
            job = service.submit(f"harm.{function}", timeout=30, max_attempts=1)
            found = service.wait_status(job, "failed", seconds=60)
            told = (
                "worker died: exit code 4; it had ended, and what became of it was not stored yet"
            )
            assert found["error"] == told
            until(lambda deaths=deaths: len(service.events("worker_lost")) == deaths)
            assert "has closed descriptors" in service.events("worker_lost")[-1]["error"]
            assert outcome(service, "quick")["status"] == "completed"
        assert not any(path.stat().st_size for path in folder.glob("own*"))
    with closing(sqlite3.connect(folder / "gigq.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_files_in_place_of_the_worker_s_own(folder: Path) -> None:
    """Nothing is written into, or cut off, what has the numbers of its output and stack dumps."""
    configuration = f"{ONE_WORKER}kill_grace = 2\n".replace("kill_grace = 0\n", "")
    with Service(folder, configuration=configuration) as service:
        job = service.submit("harm.replace_all_and_wait", timeout=2, max_attempts=1)
        service.wait_status(job, "failed", "timeout", seconds=60)
        files = [(folder / f"own{number}").stat() for number in range(25)]
        assert {file.st_size for file in files} == {4 << 20}
        assert min(file.st_blocks for file in files) >= (4 << 20) // 512
        assert outcome(service, "quick")["status"] == "completed"


def test_processes_that_a_job_ends(folder: Path) -> None:
    """SIGTERM ends a child that a job has forked, as anywhere: pools rely on it."""
    with Service(folder, configuration=ONE_WORKER) as service:
        found = outcome(service, "first_of_pool")
        assert (found["status"], found["result"]) == ("completed", None)
