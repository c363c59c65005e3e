"""One worker process seen from outside: spawning it, watching it, interrupting and killing it.

`advance` is to be called when `next_look` says so, and never blocks. The order of a kill is fixed:
ask for the stacks, ask the job to end, make sure that it is still this job, kill, reap. Whoever
owns the child then ends its tree, and only after that is anything decided in the database.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import ExitStack, suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gigq.queue import clock
from gigq.queue.identity import identity_of
from gigq.worker import outcome as outcomes
from gigq.worker.channel import Channel
from gigq.worker.memory_watch import MemoryWatch
from gigq.worker.output_log import OutputLog
from gigq.worker.process_tree import TREE_VARIABLE
from gigq.worker.service_worker import ExitCode
from gigq.worker.slot import Phase, Reason, Slot, Status, Stop
from gigq.worker.usage import cpu_time, resident

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gigq.queue.life_lock import LifeLock
    from gigq.queue.records import OpenExecution, Outcome
    from gigq.worker.orders import Orders
    from gigq.worker.out_of_memory import OutOfMemoryWatch

_MILLISECOND = 1_000_000  # in nanoseconds, as all times here
_SECOND = 1_000_000_000
_STACKS_WITHIN = 250 * _MILLISECOND  # half of one is the rule; busy cores need more
_HELD_WITHIN = 5 * _MILLISECOND
_STACKS_LONGEST = 1 << 16
_DEAD_WITHIN = 3 * _SECOND  # after SIGKILL

# What systemd tells the supervisor is not for its workers.
NOT_INHERITED = (
    *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "JOURNAL_STREAM"),
    *("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"),
)


class ChildState(Enum):
    """How far a child is in its life."""

    STARTING = "starting"  # spawned, not ready yet
    SERVING = "serving"  # ready: its slot says what it does
    DUMPING = "dumping"  # asked for the stacks of a job that is to be interrupted
    ENDING = "ending"  # SIGTERM sent; the job has its grace
    HELD = "held"  # SIGSTOP sent, to be sure which job the SIGKILL will hit
    KILLED = "killed"  # SIGKILL sent
    EXITED = "exited"  # reaped


class Child:
    """A worker process and what belongs to it. Times are nanoseconds of the monotonic clock."""

    def __init__(
        self,
        number: int,
        orders: Orders,
        python: str,
        environment: Mapping[str, str],
        log: Path,
        life_lock: LifeLock | None,
        out_of_memory: OutOfMemoryWatch,
        *,
        standby: bool = False,
    ) -> None:
        """Spawn it; with `standby`, it waits for `call`. Raises OSError: it cannot be done now.

        From the main thread only: the child is told when the thread that spawned it dies.
        """
        self.number = number
        self.is_standby = standby
        self.generation = 0  # of the settings that it was started with
        self.worn = ""  # why it is to be replaced between jobs, once another is ready
        self.orders = orders
        self.log = OutputLog(log)
        self.state = ChildState.STARTING
        self.exit_status: int | None = None  # negative: a signal
        self.spawned_at = time.monotonic_ns()
        self.stop = Stop.NO
        self._until = self.spawned_at + int(orders.start_timeout * _SECOND)
        self._killed_at = 0
        self._reaped_at = 0
        self.stuck_told = False
        self.was_late = False  # it was killed because it did not become ready
        self._reason = Reason.NONE
        self._execution = 0
        self._before = 0, Reason.NONE  # the execution that was interrupted last and has ended, why
        self._stacks_size = 0
        self._out_of_memory = out_of_memory
        self._blame = ""
        self._cpu_time = 0  # of its whole life, in microseconds, once it is reaped
        self._spawn(python, environment, life_lock)
        self._memory = MemoryWatch(self.pid, self.slot)

    def _spawn(
        self, python: str, environment: Mapping[str, str], life_lock: LifeLock | None
    ) -> None:
        inherited = {k: v for k, v in os.environ.items() if k not in NOT_INHERITED}
        with ExitStack() as mine, ExitStack() as meanwhile:
            if life_lock is not None:
                mine.callback(life_lock.close)
            self.slot = Slot()
            if self.is_standby:
                self.slot.order_stop(Stop.STANDBY)
            mine.callback(self.slot.close)
            self._stacks = os.memfd_create("gigq-stacks")
            mine.callback(os.close, self._stacks)
            self.channel, its_channel = Channel.pair()
            mine.callback(self.channel.close)
            meanwhile.callback(its_channel.close)
            self._reports, its_reports = Channel.pair()
            mine.callback(self._reports.close)
            meanwhile.callback(its_reports.close)
            self.channel.send(self.orders.as_message())
            output = self.log.open()
            meanwhile.callback(os.close, output)
            ends = (its_channel.fileno(), its_reports.fileno())
            descriptors = [*ends, self.slot.descriptor, self._stacks]
            if life_lock is not None:
                descriptors.append(life_lock.descriptor)
            self._process = subprocess.Popen(
                [python, "-P", "-m", "gigq.worker.entry", *map(str, descriptors)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=descriptors,
                start_new_session=True,
                cwd=self.log.path.parent,
                env={
                    **inherited,
                    "GIGQ_DB": self.orders.database,
                    **environment,
                    TREE_VARIABLE: self.orders.tree,
                },
            )
            self.pid = self._process.pid
            try:
                self.pidfd = os.pidfd_open(self.pid)
                mine.callback(os.close, self.pidfd)
                self.identity = identity_of(self.pid)
            except OSError:  # too few descriptors: nobody could watch it
                self._process.kill()
                self._process.wait()
                raise
            self._mine = mine.pop_all()

    # What it does

    @property
    def name(self) -> str:
        """Its name in the store."""
        return self.orders.name

    def status(self) -> Status:
        """Tell what it does; an idle status in the instant in which that changes."""
        return self.slot.read() or Status()

    @property
    def is_idle(self) -> bool:
        """Whether it would end at once if it were told to."""
        return self.status().phase is Phase.IDLE

    def receive(self) -> list[dict[str, Any]]:
        """Take its messages, and what it reports of its jobs; notes what is about itself."""
        messages = self.channel.receive() + self._reports.receive()
        for message in messages:
            if message["event"] == "ready" and self.state is ChildState.STARTING:
                self.state = ChildState.SERVING
        return messages

    # What it is told

    def order(self, stop: Stop) -> None:
        """Ask it to stop between two jobs."""
        self.stop = stop
        self.slot.order_stop(stop)
        self.channel.send({"event": "stop"})  # ends its wait

    def call(self) -> None:
        """Let it serve that has waited, ready, for another to go."""
        self.is_standby = False
        self.slot.order_stop(Stop.NO)
        self.channel.send({"event": "serve"})  # ends its wait

    def hold_claims(self, hold: bool) -> None:  # noqa: FBT001
        """Let it claim nothing for the time being; False lets it go on."""
        self.slot.hold_claims(hold)
        self.channel.send({"event": "claims"})  # ends its wait

    def wake(self) -> None:
        """Let it look for work if it waits."""
        self.channel.send({"event": "work"})  # ends its wait

    def interrupt(self, reason: Reason) -> None:
        """Interrupt the job that it runs, if any; one that is being settled is let be."""
        status = self.slot.read()
        running = status is not None and status.phase is Phase.RUNNING
        unharmed = self.state in (ChildState.STARTING, ChildState.SERVING)
        if unharmed and running and status is not None:
            self._interrupt(status.execution, reason, time.monotonic_ns())

    def kill(self, reason: Reason = Reason.NONE) -> None:
        """Send SIGKILL, whatever it does."""
        self._reason = self._reason or reason
        self._killed_at = self._killed_at or time.monotonic_ns()
        self.state = ChildState.KILLED
        self._signal(signal.SIGKILL)

    # Time

    def next_look(self) -> int:
        """When `advance` has something to do, if nothing else happens before."""
        now = time.monotonic_ns()
        if self.state is ChildState.SERVING:
            status = self.slot.read()
            if status is None:
                return now + _MILLISECOND
            if status.phase is not Phase.RUNNING:
                return clock.NEVER
            return min(status.deadline or clock.NEVER, self._memory.next_look(status))
        if self.state in (ChildState.DUMPING, ChildState.HELD):
            return now + _MILLISECOND
        if self.state is ChildState.ENDING:
            return min(self._until, now + 10 * _MILLISECOND)
        if self.state is ChildState.STARTING:
            return self._until
        return now + _SECOND

    def advance(self) -> None:
        """Do what is due."""
        action = _ACTIONS.get(self.state)
        if action is not None:
            action(self, time.monotonic_ns())

    def _while_starting(self, now: int) -> None:
        if now >= self._until:
            self.was_late = True
            self.kill()

    def _while_serving(self, now: int) -> None:
        status = self.slot.read()
        if status is None or status.phase is not Phase.RUNNING:
            return
        if status.deadline and now >= status.deadline:
            self._interrupt(status.execution, Reason.DEADLINE, now)
        elif self._memory.finds_too_much(status):
            self._interrupt(status.execution, Reason.MEMORY, now)

    def _interrupt(self, execution: int, reason: Reason, now: int) -> None:
        self._execution, self._reason = execution, reason
        # Before the first signal, for that already cuts short what sleeps in C: a function that
        # returns because of it has not done its work.
        self.slot.order_interruption(execution, reason)
        os.ftruncate(self._stacks, 0)
        os.lseek(self._stacks, 0, os.SEEK_SET)
        self._stacks_size = 0
        self.state = ChildState.DUMPING
        self._until = now + _STACKS_WITHIN
        self._signal(signal.SIGUSR1)

    def _while_dumping(self, now: int) -> None:
        if not self._runs_it_still():
            self._serve_again()
            return
        size = os.fstat(self._stacks).st_size
        # They are written piece by piece, and on busy cores with pauses.
        complete = 0 < size == self._stacks_size and os.pread(self._stacks, 1, size - 1) == b"\n"
        self._stacks_size = size
        if not complete and now < self._until:
            return
        if self.orders.kill_grace > 0 and self._reason is not Reason.MEMORY:
            self.state = ChildState.ENDING
            self._until = now + int(self.orders.kill_grace * _SECOND)
            self._signal(signal.SIGTERM)
        else:
            self._hold(now)

    def _while_ending(self, now: int) -> None:
        status = self._runs_it_still()
        if status is None:
            self._serve_again()
        elif now >= self._until or self._memory.finds_too_much(status):
            self._hold(now)

    def _hold(self, now: int) -> None:
        # The job may end in this very moment and the next one begin: a process that is stopped
        # cannot, so what the slot says then is what the SIGKILL hits.
        self.state = ChildState.HELD
        self._until = now + _HELD_WITHIN
        self._signal(signal.SIGSTOP)
        self._while_held(now)

    def _while_held(self, now: int) -> None:
        if not self._is_stopped() and now < self._until:
            return
        if self._runs_it_still():
            self._memory.look(self._execution)
            self.kill()
        else:
            self._serve_again()
            self._signal(signal.SIGCONT)

    def _serve_again(self) -> None:
        """Note that the job has ended by itself: what befalls the next one has other reasons."""
        self.state = ChildState.SERVING
        self._before = self._execution, self._reason
        self._execution, self._reason = 0, Reason.NONE

    def _interruption_of(self, execution: int) -> Reason:
        """Tell why an execution was interrupted; it may have ended, and not be stored yet."""
        for interrupted, reason in ((self._execution, self._reason), self._before):
            if interrupted == execution:
                return reason
        return Reason.NONE

    def _is_stopped(self) -> bool:
        with suppress(OSError):
            stat = Path(f"/proc/{self.pid}/stat").read_bytes()
            return stat.rpartition(b")")[2].split()[0] in (b"T", b"t", b"Z", b"X")
        return True

    def _runs_it_still(self) -> Status | None:
        """Give what it does if that is the execution to be interrupted."""
        status = self.slot.read()
        if status is None or status.phase is not Phase.RUNNING:
            return None
        return status if status.execution == self._execution else None

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # a job may become sudo by an exec
            signal.pidfd_send_signal(self.pidfd, number)

    # The end

    def reap(self) -> None:
        """Take the exit status of a process whose pidfd is readable, and end its process group."""
        # Before it is reaped: until then nobody else can get its group's number.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        self._reaped_at = time.monotonic_ns()
        self.exit_status = os.waitstatus_to_exitcode(status)
        self._cpu_time = cpu_time(usage)
        self._process.returncode = self.exit_status  # or Popen would wait for it again
        self.state = ChildState.EXITED
        if self.exit_status == -signal.SIGKILL and self._reason is Reason.NONE:
            self._blame = self._out_of_memory.blame()

    @property
    def is_stuck(self) -> bool:
        """Whether it, or what it started, outlives SIGKILL: in the kernel, waiting for a disk."""
        since = self._reaped_at or self._killed_at
        return 0 < since <= time.monotonic_ns() - _DEAD_WITHIN

    @property
    def killed_for(self) -> Reason:
        """Why its supervisor killed it, NONE where it died otherwise."""
        return self._reason if self.exit_status == -signal.SIGKILL else Reason.NONE

    @property
    def renews(self) -> bool:
        """Whether it went because its code or settings are old."""
        return self.exit_status == ExitCode.RENEW

    def judge(self, held: OpenExecution) -> Outcome:
        """Give the outcome of an execution that it held when it died."""
        if not self.slot.has_begun(held.execution):
            return outcomes.released(held)
        status = self.slot.read()
        if status is None:  # it died while it wrote
            return outcomes.lost(held, self.exit_status)
        if status.execution != held.execution:
            return outcomes.lost_unstored(held, self.exit_status)
        reason = self._interruption_of(held.execution)
        if reason is Reason.NONE and self._died_by_timer(status):
            reason = Reason.DEADLINE
        used = max(0, self._cpu_time - status.cpu_time)
        return self._outcome(held, reason, status)._replace(
            output=self.log.since(status.output_start) if status.phase is Phase.RUNNING else None,
            cpu_time=used + self._memory.cpu_of_others(status.execution),
            peak_memory=self._memory.peak_of(status.execution),
        )

    def _died_by_timer(self, status: Status) -> bool:
        """Tell whether its own timer was faster, because the supervisor was held up."""
        # The deadline may have passed since: the database is perhaps asked much later.
        ran = status.phase is Phase.RUNNING
        overran = ran and 0 < status.deadline <= self._reaped_at
        return overran and self.exit_status == -signal.SIGKILL

    def _outcome(self, held: OpenExecution, reason: Reason, status: Status) -> Outcome:
        if reason is Reason.SHUTDOWN:
            return outcomes.stopped(held)
        if reason is Reason.CANCELLATION:
            return outcomes.cancelled(held)
        # Else they are an earlier job's.
        dumped = held.execution in (self._execution, self._before[0])
        stacks = self._read_stacks() if dumped else None
        if reason is Reason.DEADLINE:
            return outcomes.timed_out(held, held.timeout, stacks)
        if reason is Reason.MEMORY:
            peak = self._memory.peak_of(held.execution) or 0
            return outcomes.over_memory(held, peak, status.max_memory, stacks)
        if status.phase is Phase.SETTLING and not self._blame:
            return outcomes.lost_unstored(held, self.exit_status)
        return outcomes.lost(held, self.exit_status, self._blame)

    def limit_output(self) -> None:
        """Keep head and tail of what a job prints that prints much."""
        status = self.status()
        if status.phase is Phase.RUNNING:
            self.log.limit(status.output_start)

    def _read_stacks(self) -> str:
        return os.pread(self._stacks, _STACKS_LONGEST, 0).decode(errors="replace")

    def describe(self) -> dict[str, Any]:
        """Tell what people want to know about it; times in seconds, memory in bytes."""
        status = self.status()
        now = time.monotonic_ns()
        told: dict[str, Any] = {
            "number": self.number,
            "name": self.name,
            "pid": self.pid,
            "up": round((now - self.spawned_at) / _SECOND, 3),
            "memory": resident(self.pid) or None,
        }
        if self.state in (ChildState.STARTING, ChildState.EXITED):
            return {**told, "state": self.state.value}
        if self.is_stuck:
            return {**told, "state": "stuck"}
        told["state"] = self._doing(status)
        if status.phase is Phase.RUNNING:
            deadline = round((status.deadline - now) / _SECOND, 3) if status.deadline else None
            told |= {
                "job_id": status.uuid,
                "job_name": status.name,
                "running_for": round((now - status.begun_at) / _SECOND, 3),
                "deadline_in": deadline,
                "job_memory": self._memory.peak_of(status.execution),
                "max_memory": status.max_memory or None,
            }
        return told

    def _doing(self, status: Status) -> str:
        if self.is_standby:
            return "standby"
        return "finishing" if self.stop is not Stop.NO else status.phase.name.lower()

    def why_not_ready(self) -> str:
        """Say why it ended before it was ready."""
        said = self.log.last_line()
        if not self.was_late:
            how = outcomes.describe_exit(self.exit_status)
            return said or f"it ended without a word ({how}); is [workers] python a Python?"
        late = f"not ready within {self.orders.start_timeout:g} s"
        return f"{late}; it said: {said}" if said else late

    def close(self) -> None:
        """Let go of everything that belongs to it; an output file without a word is removed."""
        self._mine.close()
        self.log.remove_if_empty()


_ACTIONS = {
    ChildState.STARTING: Child._while_starting,  # noqa: SLF001 (its own table)
    ChildState.SERVING: Child._while_serving,  # noqa: SLF001
    ChildState.DUMPING: Child._while_dumping,  # noqa: SLF001
    ChildState.ENDING: Child._while_ending,  # noqa: SLF001
    ChildState.HELD: Child._while_held,  # noqa: SLF001
}
