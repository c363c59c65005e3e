"""The worker processes of one service: as many as are wanted, replaced when they go.

What is wanted (how many, with which settings) is kept apart from what there is; `fill` and
`trim` bring the one nearer to the other, and are called as often as one likes.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from gigq.queue import clock
from gigq.queue.life_lock import WITHOUT_LOCK, LifeLock
from gigq.supervisor.restart_policy import restart_delay
from gigq.worker.child import Child, ChildState
from gigq.worker.orders import Code, Orders
from gigq.worker.out_of_memory import OutOfMemoryWatch
from gigq.worker.slot import Phase, Reason, Stop

if TYPE_CHECKING:
    from gigq.queue.companions import Companions
    from gigq.queue.settings import Settings
    from gigq.supervisor.log import Log

_SECOND = 1_000_000_000
_SPARE = 0  # the number of those that have no place yet
_MOST_PRELOADED = 50  # functions


class Pool:
    """The children, and how many there should be."""

    def __init__(
        self,
        settings: Settings,
        companions: Companions,
        log: Log,
        *,
        count: int | None = None,
        worker_name: str | None = None,
        once: bool = False,
    ) -> None:
        """Begin empty; `fill` spawns. `count` stands above the settings' number.

        `worker_name` is what workers are called, with a number if there are several; with `once`
        they run one job and are not replaced.
        """
        self.has_spawned = False
        self.paused = False
        self.restarts: Counter[str] = Counter()  # by reason
        self._claims_held = False
        self._goes_without_lock = False
        self.start_trouble: str | None = None  # why the last start failed, until one succeeds
        self.children: list[Child] = []
        self.out_of_memory = OutOfMemoryWatch()
        self.descriptors = (0, 0)  # see `Orders`
        self._settings = settings
        self._environment = settings.worker_environment()
        self._companions = companions
        self._log = log
        self._database = settings.database
        self._count = count
        self._worker_name = worker_name
        self._once = once
        self._wanted = self._count_of(settings)
        self._code: dict[Code, None] = {}  # that jobs had, the last at the end
        self._generation = 0  # counts changes of the settings that workers are started with
        self._were_ready: dict[int, int] = {}  # by number, the generation that has become ready
        self._failed_starts: dict[int, int] = {}
        self._not_before: dict[int, int] = {}
        self._host = socket.gethostname().partition(".")[0]

    @property
    def wanted(self) -> int:
        """How many workers there should be."""
        return self._wanted

    # Bringing what there is nearer to what is wanted

    def fill(self) -> list[Child]:
        """Spawn those that are missing and due, or call those that stand by; gives the new ones.

        Who takes another's place gets ready beside it, and is called only when it is gone: never
        do more of them run jobs than are wanted.
        """
        if self.paused or (self._once and self.has_spawned):
            return []
        self.has_spawned = True
        staying = {child.number: child for child in self._staying()}
        standing_by = {child.number: child for child in self._standing_by()}
        leaving = {child.number for child in self.mortal if child.stop is not Stop.NO}
        new = []
        for number in range(1, self._wanted + 1):
            old, next_one = staying.get(number), standing_by.get(number)
            if next_one is None and (old is None or old.worn):
                next_one = self._assign_spare(number, old)
            if next_one is not None:
                if old is None and number not in leaving:
                    next_one.call()
            elif old is None or old.worn:
                child = self._spawn_when_due(number, standby=old is not None or number in leaving)
                new += [child] if child is not None else []
        return new + self._fill_spares()

    def _fill_spares(self) -> list[Child]:
        """Have as many spares as are wanted beside the workers; they import what jobs needed."""
        spares = sum(child.number == _SPARE for child in self._standing_by())
        if not self._wanted or self._once or spares >= self._settings.workers.spare:
            return []
        child = self._spawn_when_due(_SPARE, standby=True)
        return [child] if child is not None else []

    def _assign_spare(self, number: int, old: Child | None) -> Child | None:
        """Let a spare, if one is ready, take this place; and the old one go, if there is one."""
        for child in self._standing_by():
            if child.number == _SPARE and child.state is not ChildState.STARTING:
                child.number = number
                self._not_before.pop(number, None)
                self._note_ready(child)
                if old is not None:
                    old.order(Stop.RENEW)
                return child
        return None

    def _note_ready(self, child: Child) -> None:
        """Note that this place had a ready worker; one that is late may be of older settings."""
        before = self._were_ready.get(child.number, -1)
        self._were_ready[child.number] = max(before, child.generation)

    def remember_code(self, code: list[Any]) -> None:
        """Let spares load what a job has needed, those that there are and those to come."""
        if Code(*code) not in self._code:
            for child in self._standing_by():
                child.channel.send({"event": "load", "code": code})
        self._code[Code(*code)] = None
        for forgotten in list(self._code)[:-_MOST_PRELOADED]:
            del self._code[forgotten]

    def _spawn_when_due(self, number: int, *, standby: bool) -> Child | None:
        if self._not_before.get(number, 0) > time.monotonic_ns():
            return None
        self._not_before.pop(number, None)
        return self._spawn(number, standby=standby)

    def trim(self) -> None:
        """Let those go that are too many: idle ones first, then the youngest."""
        staying = self._staying()
        staying.sort(key=lambda child: (child.is_idle, child.number))
        surplus = len(staying) - self._wanted
        for child in staying[len(staying) - surplus :] if surplus > 0 else ():
            child.order(Stop.DRAIN)
        for child in staying:
            # Numbers above the count are free again once the lower ones are taken.
            if child.stop is Stop.NO and child.number > self._wanted:
                child.number = self._free_number()
                if child.state is not ChildState.STARTING:
                    self._note_ready(child)
        going = [child for child in self.children if child.worn or child.stop is not Stop.NO]
        replaced = {child.number for child in going}
        for child in self._standing_by():
            if child.number > self._wanted or child.number not in {_SPARE, *replaced}:
                child.order(Stop.DRAIN)  # another gets ready for whoever needs it

    def _staying(self) -> list[Child]:
        """List those that serve, or start to, and are not told to go."""
        return [child for child in self._not_told_to_go() if not child.is_standby]

    def _standing_by(self) -> list[Child]:
        """List those that wait, or will, for another one to go."""
        return [child for child in self._not_told_to_go() if child.is_standby]

    def _not_told_to_go(self) -> list[Child]:
        return [
            child
            for child in self.children
            if child.stop is Stop.NO and child.state is not ChildState.EXITED and not child.is_stuck
        ]

    def _free_number(self) -> int:
        taken = {child.number for child in self._staying()}
        return next(number for number in range(1, len(taken) + 2) if number not in taken)

    def scale(self, count: int) -> None:
        """Want so many workers from now on."""
        if count != self._wanted:
            self._log.event("workers_scaled", workers=count, before=self._wanted)
            self._wanted = count
            self._were_ready = {n: g for n, g in self._were_ready.items() if n <= count}
            self.trim()

    def drain(self) -> None:
        """Want none, and let each finish its job."""
        self._wanted = 0
        self.pause()

    def pause(self) -> None:
        """Let each finish its job, and have none until `resume`."""
        self.paused = True
        self._were_ready.clear()
        for child in self.children:
            child.order(Stop.DRAIN)

    def resume(self) -> None:
        """Have as many as are wanted again."""
        self.paused = False

    def hold_claims(self, hold: bool) -> None:  # noqa: FBT001
        """Let no child claim anything for the time being; False lets them go on."""
        self._claims_held = hold
        for child in self.children:
            child.hold_claims(hold)

    def renew(self, children: list[Child], path: str) -> None:
        """Let no job begin any more in these, whose code is old; others take their places."""
        old = [child for child in self._staying() if child in children]
        if old:
            self._log.event("workers_renewed", reason="code", path=path, workers=len(old))
        for child in old:
            child.order(Stop.RENEW)
        for child in self._standing_by():
            if child in children:
                child.order(Stop.DRAIN)

    def replace_all(self, reason: str) -> None:
        """Let others take the places of all, each between two jobs, once the other is ready."""
        for child in self._standing_by():
            child.order(Stop.DRAIN)  # it is old as well
        old = self._staying()
        if old:
            self._log.event("workers_renewed", reason=reason, path=None, workers=len(old))
        for child in old:
            child.worn = reason

    def recycle(self, child: Child, reason: str, jobs: int) -> None:
        """Let another take the place of this one, which has served its time."""
        if not child.worn and child in self._staying() and not self._once:
            self._log.event("worker_recycled", worker=child.name, reason=reason, jobs=jobs)
            child.worn = reason

    def use(self, settings: Settings) -> None:
        """Spawn from now on with these settings; renew the workers that need it."""
        before, self._settings = self._settings, settings
        environment, self._environment = self._environment, settings.worker_environment()
        old, new = before.workers, settings.workers
        same = msgspec.structs.replace(old, count=new.count) == new
        same = same and before.durability == settings.durability
        if not same or environment != self._environment:
            self._not_before.clear()
            self._generation += 1
            self.replace_all("settings")
        if self._count_of(settings) != self._count_of(before):  # else `scale` has the last word
            self.scale(self._count_of(settings))

    def _count_of(self, settings: Settings) -> int:
        return settings.worker_count() if self._count is None else self._count

    # One child

    def _spawn(self, number: int, *, standby: bool) -> Child | None:
        workers = self._settings.workers
        token = secrets.token_hex(4)
        name = self._name(number, token)
        life_lock = self._hold_life()
        orders = Orders(
            database=self._database,
            name=name,
            tree=f"{os.getpid()}.{token}",
            supervisor=os.getpid(),
            descriptors=self.descriptors,
            log=f"{self._host}.{number}.{token}.log",
            life_lock=None if life_lock is None else life_lock.mark,
            pythonpath=tuple(workers.pythonpath),
            allow=tuple(workers.allow),
            durable=self._settings.durability == "full",
            directory=workers.directory,
            batch=workers.batch,
            kill_grace=workers.kill_grace,
            start_timeout=workers.start_timeout,
            reload=workers.reload,
            max_job_memory=self._settings.job_memory_limit(),
            max_jobs=_spread(workers.max_jobs),
            max_memory=self._settings.worker_memory_limit(),
            tells_code=workers.spare > 0,
            preload=tuple(self._code) if number == _SPARE else (),
            once=self._once,
        )
        python = workers.python or sys.executable
        try:
            child = Child(
                number,
                orders,
                python,
                self._environment,
                self._companions.output / orders.log,
                life_lock,
                self.out_of_memory,
                standby=standby,
            )
        except OSError as error:
            self._failed(number, None, None, f"{python} cannot be started: {error.strerror}")
            return None
        child.generation = self._generation
        child.hold_claims(self._claims_held)
        self.children.append(child)
        return child

    def _hold_life(self) -> LifeLock | None:
        """Hold the lock of the next child's life; None where that cannot be done, which is told."""
        try:
            lock = LifeLock(self._companions)
        except OSError as error:
            if not self._goes_without_lock:
                self._goes_without_lock = True
                file = self._companions.workers_lock
                self._log.event("lock_refused", error=f"{file}: {error.strerror}; {WITHOUT_LOCK}")
            return None
        self._goes_without_lock = False
        return lock

    def _name(self, number: int, token: str) -> str:
        if self._worker_name is None:
            return f"{self._host}.{number}.{token}"
        return self._worker_name if self._wanted == 1 else f"{self._worker_name}-{number - 1}"

    def is_ready(self, child: Child) -> None:
        """Note that a child became ready: the next start is not a retry."""
        self._failed_starts.pop(child.number, None)
        self.start_trouble = None
        self._note_ready(child)
        for old in self._staying():
            if child.is_standby and old.number == child.number and old.worn:
                old.order(Stop.RENEW)
        self._log.event("worker_ready", worker=child.name, worker_pid=child.pid)

    def remove(self, child: Child, *, was_ready: bool) -> None:
        """Forget a child that was reaped and whose tree is gone; say how it went."""
        self.children.remove(child)
        told = {"worker": child.name, "worker_pid": child.pid, "status": child.exit_status}
        if child.killed_for is not Reason.NONE:
            if child.killed_for is not Reason.SHUTDOWN:
                self.restarts[child.killed_for.name.lower()] += 1
            self._log.event("worker_killed", **told, reason=child.killed_for.name.lower())
        elif not was_ready and child.stop is Stop.NO:
            self._failed(child.number, child.pid, child.exit_status, child.why_not_ready())
        elif child.exit_status == 0 or child.renews:
            self.restarts["renewed"] += child.renews
            self._log.event("worker_exited", **told)
        else:
            self.restarts["lost"] += 1
            error = child.log.last_line() if child.exit_status and child.exit_status > 0 else None
            self._log.event("worker_lost", **told, error=error)

    def _failed(self, number: int, pid: int | None, status: int | None, error: str) -> None:
        self.start_trouble = error
        self.restarts["start_failed"] += 1
        failures = self._failed_starts[number] = self._failed_starts.get(number, 0) + 1
        delay = restart_delay(failures)
        self._not_before[number] = time.monotonic_ns() + int(delay * _SECOND)
        if number == _SPARE:
            self._code.clear()  # it may have died of what it loaded early
        self._log.event(
            "worker_start_failed",
            worker=f"{self._host}.{number}",
            worker_pid=pid,
            status=status,
            error=error,
            next_try=round(delay, 1),
        )

    # All children

    @property
    def is_settled(self) -> bool:
        """Whether as many as are wanted have become ready since that was last changed.

        Not whether all are ready now: where workers are replaced all the time, that may never be.
        """
        if self.paused:
            return True
        numbers = range(1, self._wanted + 1)
        return all(self._were_ready.get(n, -1) >= self._generation for n in numbers)

    @property
    def has_started(self) -> bool:
        """Whether each that was wanted at the start has become ready or has failed to start."""
        starting = any(child.state is ChildState.STARTING for child in self._staying())
        return self.has_spawned and not starting

    def describe_ready(self) -> str:
        """Tell how many of the wanted workers are there, and how many of them have a job."""
        there = [child for child in self._staying() if child.state is not ChildState.STARTING]
        return f"{len(there)} of {self._wanted} workers, {self.busy()} busy"

    def describe(self) -> list[dict[str, Any]]:
        """Tell of each child, and of each start that is put off, what people want to know."""
        told = [child.describe() for child in sorted(self.children, key=lambda child: child.number)]
        now = time.monotonic_ns()
        for number, when in self._not_before.items():
            if when > now and number <= self._wanted:
                failures = self._failed_starts.get(number, 0)
                wait = round((when - now) / _SECOND, 1)
                told.append(
                    {
                        "number": number,
                        "state": "waiting",
                        "failed_starts": failures,
                        "next_try": wait,
                    }
                )
        return told

    def next_look(self) -> int:
        """When something is due for a child or a start, in monotonic nanoseconds."""
        now = time.monotonic_ns()
        looks = [child.next_look() for child in self.children]
        # One whose time has come was started by now, unless it is no longer wanted.
        looks += [when for when in self._not_before.values() if when > now]
        return min(looks, default=clock.NEVER)

    def advance(self) -> None:
        """Let each child do what is due."""
        for child in self.children:
            child.advance()
            if child.is_stuck and not child.stuck_told:
                child.stuck_told = True
                self._log.event("worker_stuck", worker=child.name, worker_pid=child.pid)

    def interrupt(self) -> None:
        """Interrupt all jobs, because the service stops."""
        for child in self.children:
            # Its slot knows better than a message that it is ready, which may still be under way.
            if child.state is ChildState.STARTING and child.is_idle:
                child.kill(Reason.SHUTDOWN)
            child.interrupt(Reason.SHUTDOWN)

    def cancel(self, executions: list[int]) -> None:
        """Interrupt these, wherever they run."""
        for child in self.children:
            if child.status().execution in executions:
                child.interrupt(Reason.CANCELLATION)

    def wake_one(self) -> None:
        """Let one that waits look for work, without the doorbell."""
        serving = (child for child in self._staying() if child.state is ChildState.SERVING)
        idle = [child for child in serving if child.is_idle]
        if idle:
            random.choice(idle).wake()  # noqa: S311 (no secret; one may hang)

    def output_files(self) -> list[str]:
        """Name the files that the children print into, those too that have yet to register."""
        return [child.orders.log for child in self.children]

    def limit_output(self) -> None:
        """Keep head and tail of what jobs print that print much."""
        for child in self.children:
            child.limit_output()

    def kill(self) -> None:
        """Kill all children that are left."""
        for child in self.children:
            if child.state is not ChildState.EXITED:
                child.kill(Reason.SHUTDOWN)

    def give_up(self, tree: str) -> None:
        """Kill the worker of this tree, which cannot store what it has, unless it runs a job."""
        for child in self.children:
            runs = child.status().phase is Phase.RUNNING
            dies = child.state in (ChildState.KILLED, ChildState.EXITED)
            if child.orders.tree == tree and not runs and not dies:
                self._log.event("worker_given_up", worker=child.name, worker_pid=child.pid)
                child.kill()

    @property
    def mortal(self) -> list[Child]:
        """List those whose end is worth waiting for."""
        return [child for child in self.children if not child.is_stuck]

    def busy(self) -> int:
        """Count the children that run or settle a job."""
        return sum(child.status().phase is not Phase.IDLE for child in self.children)


def _spread(jobs: int) -> int:
    """Give up to a tenth less, so that workers that started together are not replaced together."""
    return jobs - random.randint(0, jobs // 10)  # noqa: S311 (no secret)
