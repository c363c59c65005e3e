"""The faults of a storm: each is one function, counted by its name when it really happened.

A fault that lasts runs in a thread of its own and undoes what it did.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

from harness import GIGQD, replace
from storm.field import CLOCKS, pick

from gigq import GigqError, JobQueue
from gigq.queue import clock
from gigq.queue.connection import CRASH_AT
from gigq.queue.crash_points import CRASH_MARK, CRASH_POINTS, SIDES

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from storm.field import Field, Process, StormService, StormSubmitter

ENDS_WITHIN = 60  # seconds for a service that is told to go
DEATH_WITHIN = 10  # seconds for a SIGKILL on busy cores
CLIENT_POINTS = ("submit", "submit", "submit", "cancel", "cancel_running", "requeue", "requeue")
SERVICE_POINTS = ("retire", "reclaim", "reclaim")
WORKER_POINTS = tuple(sorted(set(CRASH_POINTS) - {*CLIENT_POINTS, "clear", "set_up"}))
_BAD_FILES = ("[workers]\ncount = many\n", "[worker]\n", "[workers]\ncount = 3\nfoo = 1\n", "= x")


_PROGRAM = """
import sys
from gigq import Worker

Worker(sys.argv[1], polling_interval=0.2).start()
"""
_CLEARABLE = """
SELECT uuid, updated_at FROM job
 WHERE id < ? AND updated_at < ? AND state IN ('completed', 'cancelled')
 ORDER BY updated_at LIMIT 200"""
_CLEARED = """
SELECT uuid FROM job WHERE updated_at < ? AND state IN ('completed', 'cancelled')"""


class Storm:
    """What faults act on."""

    def __init__(
        self, field: Field, service: StormService, submitters: list[StormSubmitter]
    ) -> None:
        """Hold them."""
        self.field = field
        self.service = service
        self.submitters = submitters
        self.marks: dict[Path, str] = {}
        self.spared = 1000  # of the newest jobs, which are not cleared

    def crash_environment(self, chance: random.Random, of: Sequence[str]) -> dict[str, str]:
        """Choose one of these crash points for the first process that comes there."""
        name, side = chance.choice(of), chance.choice(SIDES)
        times = chance.choice((1, 1, 1, 2, 4, 10))
        mark = self.field.mark()
        self.marks[mark] = f"crash {side} {name}"
        return {CRASH_AT: f"{name}:{side}:{times}", CRASH_MARK: str(mark)}

    def recover(self) -> None:
        """Want what is right again: the configuration, the time, workers that claim."""
        for whose in CLOCKS:
            self.field.set_clock(whose, 0)
        self.service.worker_environment = {}
        self.service.workers_wanted = 3
        self.service.max_jobs = 0
        self.service.configure()
        self.service.ask("scale", count=3)

    def processes(self) -> list[Process]:
        """List all processes of the service and the submitters that live."""
        others = self.service.own(), *(each.own() for each in self.submitters)
        return [*self.service.workers(), *(each for each in others if each is not None)]


class Fault(NamedTuple):
    """One kind."""

    name: str
    weight: float
    strike: Callable[[Storm, random.Random], bool]  # whether it happened
    lasts: bool = False


# Deaths


def _killed(storm: Storm, victim: Process, who: str) -> bool:
    asked = time.monotonic()
    if not victim.send(signal.SIGKILL):
        return False
    dead = victim.await_death(DEATH_WITHIN)
    storm.field.note("killed", who=who, victim=victim, asked=asked, dead=dead)
    storm.field.count("kills")
    return True


def _kill_worker(storm: Storm, chance: random.Random) -> bool:
    victim = pick(chance, storm.service.workers())
    return victim is not None and _killed(storm, victim, "worker")


def _kill_all_workers(storm: Storm, _: random.Random) -> bool:
    killed = [_killed(storm, victim, "worker") for victim in storm.service.workers()]
    return any(killed)


def _kill_service(storm: Storm, _: random.Random) -> bool:
    victim = storm.service.kill()
    if victim is None:
        return False
    storm.field.note("killed", who="service", victim=victim, dead=True)
    storm.field.count("kills")
    return True


def _kill_everything(storm: Storm, chance: random.Random) -> bool:
    return _kill_service(storm, chance) | _kill_all_workers(storm, chance)


def _kill_submitter(storm: Storm, chance: random.Random) -> bool:
    victim = pick(chance, storm.submitters)
    storm.field.count("kills", victim.kill())
    return True


# Standstill


def _stopped(victim: Process | None, seconds: float) -> bool:
    if victim is None or not victim.send(signal.SIGSTOP):
        return False
    time.sleep(seconds)
    victim.send(signal.SIGCONT)
    return True


def _stop_worker(storm: Storm, chance: random.Random) -> bool:
    seconds = chance.uniform(0.02, 1.5)
    return _stopped(pick(chance, storm.service.workers()), seconds)


def _stop_service(storm: Storm, chance: random.Random) -> bool:
    return _stopped(storm.service.own(), chance.uniform(0.02, 1.5))


def _stop_submitter(storm: Storm, chance: random.Random) -> bool:
    seconds = chance.uniform(0.02, 1)
    return _stopped(pick(chance, storm.submitters).own(), seconds)


# Other people's doing


def _second_service(storm: Storm, _: random.Random) -> bool:
    """Start another `gigqd`: it has to go at once, for the place is taken."""
    first = storm.service.own()
    second = subprocess.Popen(
        [*GIGQD, "start", str(storm.field.database)],
        cwd=storm.field.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _, errors = second.communicate(timeout=3)
    except subprocess.TimeoutExpired:
        # The first had died: then this one serves, and has to make room for the storm's own.
        second.terminate()
        _, errors = second.communicate(timeout=ENDS_WITHIN)
        return False
    return first is not None and second.returncode == 1 and b"serves" in errors


def _worker_by_hand(storm: Storm, chance: random.Random) -> bool:
    """Let `gigq worker` serve the same database for a while, and end it gently or not."""
    seconds, gently = chance.uniform(1, 3), chance.random() < 0.5
    worker = subprocess.Popen(
        [sys.executable, "-m", "gigq", "--db", str(storm.field.database), "worker"],
        cwd=storm.field.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **storm.field.clock("service")},
    )
    time.sleep(seconds)
    lived = worker.poll() is None
    worker.send_signal(signal.SIGTERM if gently else signal.SIGKILL)
    try:
        worker.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        storm.field.note("died", who="gigq worker", evidence="SIGTERM did not end it")
        worker.kill()
        worker.wait()
    storm.field.count("kills", lived and not gently)
    return lived


def _worker_in_program(storm: Storm, chance: random.Random) -> bool:
    """Let a program run jobs in its main thread for a while, and kill it."""
    seconds = chance.uniform(1, 3)
    words = storm.field.folder / f"program-{time.monotonic_ns()}.err"
    with words.open("wb") as errors:  # no pipe: what its jobs start would keep that open
        program = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(storm.field.database)],
            cwd=storm.field.folder,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={
                **os.environ,
                **storm.field.clock("workers"),
                "GIGQ_DB": str(storm.field.database),
            },
        )
    time.sleep(seconds)
    code = program.poll()  # its own jobs may have ended it, too
    program.kill()
    program.wait()
    said = words.read_text(errors="replace")
    if "Traceback" in said:
        storm.field.note("died", who="a program's Worker", evidence=said[-2000:])
    storm.field.count("kills", code is None)
    return True


def _with_database(storm: Storm, begin: str, seconds: float) -> bool:
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(storm.field.database, timeout=2, isolation_level=None)) as outsider,
    ):
        outsider.execute("PRAGMA wal_autocheckpoint = 0")
        outsider.execute(begin)
        try:
            outsider.execute("SELECT count(*) FROM job").fetchall()
            time.sleep(seconds)
        finally:
            outsider.execute("ROLLBACK")
        return True
    return False


def _lock_database(storm: Storm, chance: random.Random) -> bool:
    return _with_database(storm, "BEGIN IMMEDIATE", chance.uniform(0.5, 2.5))


def _read_long(storm: Storm, chance: random.Random) -> bool:
    return _with_database(storm, "BEGIN", chance.uniform(2, 6))


def _fill_disk(storm: Storm, chance: random.Random) -> bool:
    """Take all room of the small disk, and give it back."""
    seconds = chance.uniform(0.3, 1.5)
    if not storm.field.is_small:
        return False
    filler = storm.field.disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            with suppress(OSError):
                os.posix_fallocate(
                    file.fileno(), 0, max(1, shutil.disk_usage(storm.field.disk).free)
                )
            with suppress(OSError):
                while True:
                    file.write(bytes(4096))
        time.sleep(seconds)
    finally:
        filler.unlink()
    return True


def _fail_syncs(storm: Storm, chance: random.Random) -> bool:
    """Let fsync and fdatasync of one process fail for a while."""
    victim = pick(chance, storm.processes())
    strace = shutil.which("strace")
    if victim is None or strace is None:
        return False
    seconds = chance.uniform(0.3, 1.5)
    tracer = subprocess.Popen(
        [
            strace,
            "-f",
            "-qq",
            *("-p", str(victim.pid)),
            *("-e", "trace=fsync,fdatasync"),
            *("-e", "inject=fsync,fdatasync:error=EIO"),
            *("-o", "/dev/null"),
        ],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(0.2)
    attached = tracer.poll() is None  # else its victim was dead
    time.sleep(seconds)
    tracer.terminate()
    tracer.wait()
    victim.send(signal.SIGCONT)  # a tracer that is ended in the wrong moment leaves it stopped
    return attached


def _take_descriptors(storm: Storm, chance: random.Random) -> bool:
    """Let one process open nothing more for a while."""
    seconds = chance.uniform(0.3, 1.5)
    victim = pick(chance, storm.processes()) if chance.random() < 0.5 else storm.service.own()
    if victim is None:
        return False
    try:
        used = len(os.listdir(f"/proc/{victim.pid}/fd"))  # noqa: PTH208
        soft, hard = resource.prlimit(victim.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, (min(used, soft), hard))
        time.sleep(seconds)
        resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, (soft, hard))
    except OSError:  # it has died
        return False
    return True


# The administrator


def _scale(storm: Storm, chance: random.Random) -> bool:
    return storm.service.ask("scale", count=chance.choice((0, 1, 2, 3, 4, 5)))


def _reload(storm: Storm, chance: random.Random) -> bool:
    service = storm.service
    service.workers_wanted = chance.choice((2, 3, 3, 4))
    service.kill_grace = chance.choice((0.0, 0.1, 0.3))
    service.worker_environment = {}
    service.max_jobs = chance.choice((0, 0, 50, 200))
    service.batch = chance.choice((1, 1, 4, 16))
    service.configure()
    return service.ask("reload")


def _reload_badly(storm: Storm, chance: random.Random) -> bool:
    bad = chance.choice(_BAD_FILES)
    replace(storm.service.configuration, bad)
    taken = storm.service.ask("reload")
    # Another fault that goes on at the same time may have written a good file over it.
    taken = taken and storm.service.configuration.read_text() == bad
    storm.service.configure()
    if taken:
        storm.field.note("died", who="reload", evidence="a bad configuration was taken")
    return not taken


def _workers_crash(storm: Storm, chance: random.Random) -> bool:
    """Let the next workers have a crash point."""
    storm.service.worker_environment = storm.crash_environment(chance, WORKER_POINTS)
    storm.service.configure()
    return storm.service.ask("reload")


def _shift_clock(storm: Storm, chance: random.Random) -> bool:
    """Let the wall clock of some processes jump, while they run."""
    storm.field.set_clock(chance.choice(CLOCKS), chance.choice((-5, -1, 0, 0, 1, 5)))
    return True


def _change_code(storm: Storm, _: random.Random) -> bool:
    jobs = storm.field.folder / "jobs.py"
    before = jobs.read_text()
    head, _, tail = before.partition("VERSION = ")
    number, _, rest = tail.partition("\n")
    replace(jobs, f"{head}VERSION = {int(number) + 1}\n{rest}")
    return True


def _pause(storm: Storm, chance: random.Random) -> bool:
    seconds = chance.uniform(0.1, 1)
    drained = storm.service.ask("drain")
    time.sleep(seconds)
    storm.service.ask("resume")
    return drained


def _clear(storm: Storm, _: random.Random) -> bool:
    """Delete some of what has finished; first note what may go."""
    field = storm.field
    with field.clock_lock, suppress(GigqError, sqlite3.OperationalError):
        # What ends while this goes on must not seem to have ended before.
        return not field.is_clock_behind() and _clear_oldest(storm)
    return False


def _clear_oldest(storm: Storm) -> bool:
    with (
        closing(sqlite3.connect(storm.field.database, timeout=5, isolation_level=None)) as look,
        closing(JobQueue(storm.field.database)) as queue,
    ):
        look.execute("PRAGMA wal_autocheckpoint = 0")
        newest = look.execute("SELECT max(id) FROM job").fetchone()[0] or 0
        found = look.execute(_CLEARABLE, (newest - storm.spared, time.time_ns() // 1000)).fetchall()
        if not found:
            return False
        before = found[-1][1]
        gone = look.execute(_CLEARED, (before,)).fetchall()
        storm.field.note("clear", clearable=[uuid for (uuid,) in gone])
        cleared = queue.clear_completed(clock.offset_text(before))
        storm.field.count("jobs cleared", cleared)
    return True


def _back_up(storm: Storm, _: random.Random) -> bool:
    """Copy the database while all goes on; the checker looks into the copy."""
    began = time.monotonic()
    copy = storm.field.folder / f"backup-{time.monotonic_ns()}.db"
    done = subprocess.run(
        [sys.executable, "-m", "gigq", "--db", str(storm.field.database), "backup", str(copy)],
        cwd=storm.field.folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **storm.field.clock("service")},
    )
    if done.returncode == 0:
        storm.field.note("backup", began=began, path=str(copy))
    else:
        storm.field.note("backup refused", why=done.stderr[-300:])
    return done.returncode == 0


FAULTS = (
    Fault("kill a worker", 40, _kill_worker),
    Fault("kill all workers", 3, _kill_all_workers),
    Fault("kill the service", 4, _kill_service),
    Fault("kill service and workers", 2, _kill_everything),
    Fault("kill a submitter", 5, _kill_submitter),
    Fault("stop a worker", 5, _stop_worker, lasts=True),
    Fault("stop the service", 3, _stop_service, lasts=True),
    Fault("stop a submitter", 3, _stop_submitter, lasts=True),
    Fault("a second service", 1.5, _second_service, lasts=True),
    Fault("a worker by hand", 1.5, _worker_by_hand, lasts=True),
    Fault("a worker in a program", 1.5, _worker_in_program, lasts=True),
    Fault("lock the database", 2, _lock_database, lasts=True),
    Fault("a long reader", 1.5, _read_long, lasts=True),
    Fault("a full disk", 1.5, _fill_disk, lasts=True),
    Fault("fsync fails", 2, _fail_syncs, lasts=True),
    Fault("no descriptors", 3, _take_descriptors, lasts=True),
    Fault("the wall clock jumps", 3, _shift_clock),
    Fault("a crash point for workers", 4, _workers_crash, lasts=True),
    Fault("scale", 3, _scale, lasts=True),
    Fault("reload", 3, _reload, lasts=True),
    Fault("reload a bad file", 1.5, _reload_badly, lasts=True),
    Fault("change the code", 2, _change_code),
    Fault("drain and resume", 1, _pause, lasts=True),
    Fault("clear", 2, _clear, lasts=True),
    Fault("a backup", 0.7, _back_up, lasts=True),
)
