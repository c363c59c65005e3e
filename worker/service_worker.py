"""The life of a worker process under a supervisor: register, claim, run, settle, drain, go.

`run` reads from top to bottom. Jobs run in the main thread, one at a time; a job's outcome and the
next claim are one transaction.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gigq.queue import clock
from gigq.queue.companions import Companions
from gigq.queue.connection import roll_back_interrupted
from gigq.queue.errors import DescriptorsLostError, ForeignDatabaseError, StoreDamagedError
from gigq.queue.records import Output
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import Verdict
from gigq.version import __version__
from gigq.worker import attempt
from gigq.worker import outcome as outcomes
from gigq.worker.batch import Batch
from gigq.worker.current_job import running
from gigq.worker.kernel_timer import KernelTimer
from gigq.worker.orders import Code
from gigq.worker.patient_store import PatientStore
from gigq.worker.process_tree import has_children, kill_all_children
from gigq.worker.progress_store import ProgressStore
from gigq.worker.reporter import Reporter
from gigq.worker.slot import Phase, Reason, Status, Stop
from gigq.worker.surroundings import Surroundings
from gigq.worker.time_limit import (
    CancellationRequested,
    DeadlinePassed,
    JobInterrupted,
    ShuttingDown,
)
from gigq.worker.usage import Meter, resident
from gigq.worker.wakeup import Wakeup
from gigq.worker.worker_code import WorkerCode

if TYPE_CHECKING:
    from gigq.queue.records import Claim, Outcome, Settled
    from gigq.worker.channel import Channel
    from gigq.worker.orders import Orders
    from gigq.worker.slot import Slot

_POLLING_INTERVAL = 300.0  # seconds; the net under the doorbell and its supervisor's looks
_LAST_JOBS = 20  # the last twentieth of its jobs is the time to start another
TICK = 0.5  # seconds after which a supervisor has looked at the slot of a job that begins
_BACKSTOP = 1.0  # seconds that the kernel's timer leaves the supervisor to act first
_NANOSECONDS = 1_000_000_000
_REAPING = 2.0  # seconds for killed children to die
_END_WITHIN = 5  # seconds
_WEIGHED_EACH = 100_000_000  # nanoseconds between looks at its own memory
_UNTOLD_FOR = 0.05  # seconds until the next try, where the supervisor has still to read
_LAST_WORDS = 1.0  # seconds in which it may read the last of it
_OWED_FOR = 5.0  # seconds until the next try, where something has to be stored or tried again

_INTERRUPTIONS = {
    Reason.DEADLINE: DeadlinePassed,
    Reason.SHUTDOWN: ShuttingDown,
    Reason.CANCELLATION: CancellationRequested,
}


class ExitCode(IntEnum):
    """How a worker process says why it went."""

    DRAINED = 0
    RENEW = 3  # its code or settings are old, or it has served its time: another takes its place
    CANNOT_STORE = 4  # a job has closed the descriptors of its database
    LEFT_PROCESSES = 5  # what a job has started outlives SIGKILL


class LeftProcessesError(Exception):
    """What the last attempt has started lives on; nobody must begin the next one meanwhile."""


class ServiceWorker:
    """One worker process."""

    def __init__(
        self, orders: Orders, channel: Channel, reports: Channel, slot: Slot, stacks: int
    ) -> None:
        """Prepare; `stacks` is the descriptor that stack dumps go to."""
        self._pid = os.getpid()
        self._orders = orders
        self._channel = channel
        self._slot = slot
        self._reporter = Reporter(channel, reports)
        self._code = WorkerCode(orders, self._reporter)
        self._progress = ProgressStore(orders.database)
        self._kill_timer = KernelTimer(signal.SIGKILL)
        self._backstop = int((orders.kill_grace + _BACKSTOP) * _NANOSECONDS)
        self._soft_timer = KernelTimer(signal.SIGTERM)
        self._orphaned = False
        self._interruptible = 0  # the execution that a SIGTERM may interrupt
        self._interrupted = Reason.NONE
        self._deadline = 0
        self._meter = Meter()
        self._jobs = 0  # that it has begun
        self._most_jobs = orders.max_jobs or sys.maxsize
        self._wears = bool(orders.max_jobs or orders.max_memory)
        self._last_told = False  # that it is to be replaced
        self._weigh_at = 0
        signal.signal(signal.SIGTERM, self._on_terminate)
        signal.signal(signal.SIGUSR2, self._on_orphaned)
        os.register_at_fork(after_in_child=self._be_as_any_process)
        self._surroundings = Surroundings(stacks)

    def run(self) -> ExitCode:
        """Run jobs until told to stop, or until the supervisor is gone."""
        try:
            return self._serve()
        except (StoreDamagedError, ForeignDatabaseError) as error:
            # Nothing can be stored in it. The supervisor drains, and says what is to be done.
            self._reporter.tell("store_damaged", error=str(error))
            return ExitCode.DRAINED
        except DescriptorsLostError as error:
            # Nothing was harmed, and what has ended cannot be stored by this process.
            self._say_at_last(str(error))
            return ExitCode.CANNOT_STORE
        except LeftProcessesError:
            # The supervisor inherits them, and lets the job be begun again when they are gone.
            self._say_at_last("a process that its job has started cannot be ended")
            return ExitCode.LEFT_PROCESSES

    def _serve(self) -> ExitCode:
        store = self._open_store()
        self._store = PatientStore(store, self._orders, self._slot, self._reporter)
        self._code.load_early(self._orders.preload)
        self._reporter.tell("ready", version=__version__, python=sys.executable)
        self._stand_by()
        self._wakeup = Wakeup(store.companions.doorbell)
        self._wakeup.watch(self._channel.fileno())
        if not self._store.register(self._stops):
            return ExitCode.DRAINED
        self._note_output(self._surroundings.output_end())
        self._batch = self._new_batch()
        ended: list[Outcome] = []
        idle = True
        while not self._stops():
            if idle:
                self._wakeup.silence()
            settled = self._settle(ended, claim=self._batch.size if self._batch else 1)
            if idle and settled.claims and self._store.glance().is_for_another:
                self._wakeup.ring_next()  # one ring may have announced many jobs
            ended = self._run(settled.claims)
            if self._orders.once:
                break
            if ended:
                idle = False
            else:
                self._wait()
                idle = True
        return self._leave(ended)

    def _open_store(self, *, durable: bool = False) -> SqliteStore:
        return SqliteStore(self._orders.database, durable=durable, create=False)

    def _new_batch(self) -> Batch | None:
        """Begin to take several jobs at a time, if that is wanted."""
        if self._orders.batch == 1:
            return None
        open_store = partial(self._open_store, durable=self._orders.durable)
        return Batch(self._orders.batch, open_store, self._wakeup.ring_next)

    def _stand_by(self) -> None:
        """Wait, ready, while another one still holds the place."""
        while self._slot.stop() is Stop.STANDBY and not self._orphaned:
            self._channel.wait()
            for message in self._channel.receive():
                if message["event"] == "load":
                    self._code.load_early((Code(*message["code"]),))
            if self._channel.at_end:
                self._orphaned = True

    def _leave(self, ended: list[Outcome]) -> ExitCode:
        """Settle, say goodbye, and pass on a ring that was perhaps taken and not answered."""
        self._settle(ended, claim=0)
        self._store.retire()
        self._wakeup.ring_next()
        self._reporter.finish(_LAST_WORDS)
        renew = self._is_used_up() or self._slot.stop() is Stop.RENEW
        return ExitCode.RENEW if renew else ExitCode.DRAINED

    def _say_at_last(self, text: str) -> None:
        """Add to the output, by its name: all descriptors may have been closed or replaced."""
        path = Companions(Path(self._orders.database)).output / self._orders.log
        with suppress(OSError), path.open("a") as output:
            output.write(f"{text}\n")

    def limit_its_end(self) -> None:
        """Let nothing that jobs have registered hold this process up for long."""
        self._kill_timer.start(_END_WITHIN * _NANOSECONDS)

    def _stops(self) -> bool:
        return self._orphaned or self._is_used_up() or self._slot.stop() is not Stop.NO

    def _is_used_up(self) -> bool:
        spoiled = self._surroundings.are_spoiled
        return self._code.is_stale or spoiled or self._jobs >= self._most_jobs

    # Its own replacement

    def _tell_wear(self) -> None:
        """Say once that it is to be replaced soon, so that another is ready by then."""
        most = self._orders.max_jobs
        if self._last_told:
            return
        if most and self._jobs > most - max(1, most // _LAST_JOBS):
            self._last_told = True
            self._reporter.tell("worn", reason="max_jobs", jobs=self._jobs)
        elif self._orders.max_memory and time.monotonic_ns() >= self._weigh_at:
            self._weigh_at = time.monotonic_ns() + _WEIGHED_EACH
            if resident("self") > self._orders.max_memory:
                self._last_told = True
                self._reporter.tell("worn", reason="max_memory", jobs=self._jobs)

    # The store

    def _settle(self, ended: list[Outcome], claim: int) -> Settled:
        """Settle and claim; what has to be stored is kept until it can be."""
        settled = self._store.settle(ended, claim, self._next_output)
        if settled.dropped:
            self._tell_dropped(settled.dropped)
        if settled.more:
            self._wakeup.ring_next()
        if self._orders.durable and (ended or settled.claims):
            self._store.sync()
        return settled

    def _tell_dropped(self, dropped: list[Outcome]) -> None:
        for outcome in dropped:
            self._reporter.report("claim_lost", job=outcome.job, execution=outcome.execution)

    def _wait(self) -> None:
        """Wait for work, unless some has come in the meantime."""
        has_told = self._reporter.flush()
        self._slot.write(Status())
        glance = self._store.glance()
        seconds = _OWED_FOR if self._store.owes else _POLLING_INTERVAL
        if not has_told:
            seconds = _UNTOLD_FOR
        if glance.next_due is not None:
            seconds = min(seconds, max(0, glance.next_due - clock.now()) / clock.MICROSECONDS)
        if not glance.ready:
            self._wakeup.wait(seconds)
        self._channel.receive()
        if self._channel.at_end:
            self._orphaned = True

    # Jobs

    def _run(self, claims: list[Claim]) -> list[Outcome]:
        """Process what was claimed; gives the outcomes to be stored."""
        if self._batch is None:
            return [self._process(claim) for claim in claims]
        ended, dropped = self._batch.run(self._store.worker, claims, self._process)
        self._tell_dropped(dropped)
        return ended

    def _process(self, claim: Claim) -> Outcome:
        """Run one claimed job and clean up behind it."""
        if self._stops() or self._code.is_too_old_for(claim):
            return outcomes.released(claim)
        if claim.max_attempts == 1 and not self._store.begin(claim.execution):
            return outcomes.released(claim)
        start = self._output_at
        told = self._reporter.started(claim)
        begun = self._begin(claim, start)
        self._jobs += 1
        if self._wears:
            self._tell_wear()
        if self._orders.tells_code:
            self._code.tell(claim)
        outcome = self._attempt(claim)
        if os.getpid() != self._pid:
            os._exit(1)  # the job forked, and this is its child: the loop is not its business
        roll_back_interrupted()
        self._kill_timer.stop()
        if self._end_children(claim) and outcome.verdict is not Verdict.COMPLETED:
            raise LeftProcessesError
        cpu_time, peak = self._meter.stop()
        peak = max(peak, self._slot.peak_memory_of(claim.execution))
        lasted = time.monotonic_ns() - begun
        self._put_back(claim, lasted)
        self._slot.write_phase(Phase.SETTLING)
        end = self._surroundings.output_end(start)
        output = None
        if end > start:
            self._note_output(end)
            self._surroundings.shorten_output(start, end)
            output = Output(self._orders.log, start, end)
        ended_at = clock.now()
        begun_at = ended_at - lasted // 1000
        outcome = outcome.measured(output, cpu_time, peak or None, begun_at, ended_at)
        self._reporter.ended(claim, outcome, lasted / _NANOSECONDS, started_told=told)
        return outcome

    def _begin(self, claim: Claim, output_start: int) -> int:
        """Say until when this job may run, and set the timer that does not need anybody."""
        now = time.monotonic_ns()
        self._deadline = 0
        if claim.timeout is not None:
            timeout = claim.timeout * 1000
            self._deadline = now + timeout
            self._kill_timer.start(timeout + self._backstop)
        max_memory = self._memory_limit(claim)
        started = self._meter.start()
        limits = now, self._deadline, output_start, max_memory, started
        self._slot.begin((Phase.RUNNING, claim.execution, *limits, claim.uuid, claim.name))
        if max_memory or (
            claim.timeout is not None and claim.timeout < 2 * TICK * clock.MICROSECONDS
        ):
            self._reporter.tell("look_soon")  # sooner than the supervisor's next look
        return now

    def _attempt(self, claim: Claim) -> Outcome:
        self._interrupted = Reason.NONE
        outcome = None
        try:
            self._interruptible = claim.execution
            try:
                with running(claim, self._progress.note, alone=True):
                    outcome = attempt.run(
                        claim,
                        self._code.loader,
                        self._store.parent_results,
                        change_directory=True,
                        configured_directory=self._orders.directory,
                    )
            except KeyboardInterrupt as error:
                outcome = outcomes.raised(claim, error)
            finally:
                self._interruptible = 0
        except JobInterrupted:
            pass  # it may have come on the very last step: `_interrupted` tells
        if not self._interrupted:
            self._interrupted = self._slot.interruption_of(claim.execution)
        if not self._interrupted and outcome is not None:
            return outcome
        if self._interrupted is Reason.SHUTDOWN:
            return outcomes.stopped(claim)
        if self._interrupted is Reason.CANCELLATION:
            return outcomes.cancelled(claim)
        if self._interrupted is Reason.MEMORY:
            used, limit = self._slot.peak_memory_of(claim.execution), self._memory_limit(claim)
            return outcomes.over_memory(claim, used, limit, self._surroundings.take_stacks())
        return outcomes.timed_out(claim, claim.timeout, self._surroundings.take_stacks())

    def _memory_limit(self, claim: Claim) -> int:
        job, all_jobs = claim.max_memory or 0, self._orders.max_job_memory
        return min(job, all_jobs) if job and all_jobs else job or all_jobs

    def _end_children(self, claim: Claim) -> int:
        """End what the job started and left: it is part of the job, and ends with it.

        Gives how many live on.
        """
        if not has_children():
            return 0
        left = kill_all_children(_REAPING)
        self._reporter.report("job_left_processes", job_id=claim.uuid, alive=left)
        self._surroundings.are_spoiled |= left > 0
        return left

    def _put_back(self, claim: Claim, lasted: int) -> None:
        """Let the next job find the process as this one did."""
        surroundings = self._surroundings
        try:
            error = surroundings.flush()
            if error is not None:
                self._store.tell_trouble(f"the output of jobs cannot be written: {error.strerror}")
            changed = surroundings.restore()
            self._code.notice_imports()
        except Exception as odd:  # noqa: BLE001 (what jobs leave may raise anything when looked at)
            changed = [type(odd).__name__]
            surroundings.are_spoiled = True
        if surroundings.is_crowded(lasted):
            changed.append("descriptors")
            surroundings.are_spoiled = True  # nobody knows which of them may be closed
        if changed:
            self._reporter.report(
                "job_left_changes", job_id=claim.uuid, job_name=claim.name, changed=changed
            )

    def _note_output(self, end: int) -> None:
        """Note where the output of the next job will begin."""
        self._output_at, self._next_output = end, Output(self._orders.log, end)

    def _be_as_any_process(self) -> None:
        """Let a child that a job forks end by a signal, as its parent expects."""
        for number, ours in (
            (signal.SIGTERM, self._on_terminate),
            (signal.SIGUSR2, self._on_orphaned),
        ):
            if signal.getsignal(number) == ours:  # else the job's own
                signal.signal(number, signal.SIG_DFL)

    # Signals: they note, and interrupt a job that is meant

    def _on_terminate(self, *_: object) -> None:
        execution = self._interruptible
        if not execution:
            return
        reason = self._slot.interruption_of(execution)
        if self._orphaned and self._deadline and time.monotonic_ns() >= self._deadline:
            reason = Reason.DEADLINE
        if reason is Reason.NONE:
            return
        self._interruptible = 0
        self._interrupted = reason
        raise _INTERRUPTIONS[reason]

    def _on_orphaned(self, *_: object) -> None:
        """Let a timer do at the deadline what the supervisor, which died, would have done."""
        self._orphaned = True
        if self._interruptible and self._deadline and self._orders.kill_grace > 0:
            self._soft_timer.start(self._deadline - time.monotonic_ns())
