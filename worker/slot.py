"""Who runs what until when: one page of memory that a worker process and its supervisor share.

The worker writes what it does, once for each phase of a job, without a system call; the supervisor
reads it when it has to decide about a deadline. In the other direction stand the orders: stop
between jobs, and which execution a SIGTERM is meant for.

The page is a memfd, handed over at the spawn: nothing on a disk that could be full, nothing left
behind when both are gone.
"""

from __future__ import annotations

import mmap
import os
import struct
from enum import IntEnum
from typing import NamedTuple

_PAGE = 4096
_STOP_AT = 0
_HOLD_AT = 1
_INTERRUPTION = struct.Struct("=qq")  # reason, execution it is meant for
_INTERRUPTION_AT = 8
_PEAK = struct.Struct("=qq")  # execution, bytes
_PEAK_AT = 24
_STATUS = struct.Struct("=qqqqqqqqH36sH256s")  # serial first
_PHASE = struct.Struct("=qq")  # its beginning
_STATUS_AT = 64
_SERIAL = struct.Struct("=q")
_SERIAL_AT_END = _STATUS_AT + _STATUS.size
_NAME_BYTES = 256
_BEGUN = struct.Struct("=q")  # an execution
_BEGUN_AT = 1024
BEGUN_KEPT = 256  # the last ones; more than a batch may hold


class Phase(IntEnum):
    """What a worker process is doing."""

    IDLE = 0
    RUNNING = 1
    SETTLING = 2  # the job has ended and waits to be recorded: it must not be killed


class Stop(IntEnum):
    """What is asked of a worker process between two jobs."""

    NO = 0
    DRAIN = 1  # finish the job, claim no more, go
    RENEW = 2  # the same, because its code or settings are old
    STANDBY = 3  # get ready, and wait for another word before the first claim


class Reason(IntEnum):
    """Why a job is interrupted."""

    NONE = 0
    DEADLINE = 1
    SHUTDOWN = 2
    CANCELLATION = 3
    MEMORY = 4


# By value: to ask the class costs five times as much, and each job does so four times.
_STOPS = tuple(Stop)
_REASONS = tuple(Reason)


class Status(NamedTuple):
    """What a worker process does at one moment. Times are nanoseconds of the monotonic clock."""

    phase: Phase = Phase.IDLE
    execution: int = 0
    begun_at: int = 0
    deadline: int = 0  # 0: none
    output_start: int = 0
    max_memory: int = 0  # bytes; 0: no limit
    cpu_time: int = 0  # microseconds that the process had used before
    uuid: str = ""
    name: str = ""


# Each job says so: as a plain tuple it takes half as long.
StatusFields = tuple[int, int, int, int, int, int, int, str, str]


class Slot:
    """The shared page. One side writes the status, the other the orders."""

    def __init__(self, descriptor: int | None = None) -> None:
        """Make a page, or map the one behind an inherited descriptor."""
        if descriptor is None:
            descriptor = os.memfd_create("gigq-slot")
            os.ftruncate(descriptor, _PAGE)
        self.descriptor = descriptor
        try:
            self._memory = mmap.mmap(descriptor, _PAGE)
        except OSError:  # it wants a descriptor of its own
            os.close(descriptor)
            raise
        self._serial = 0
        self._begun = 0

    # The worker's side

    def begin(self, status: StatusFields) -> None:
        """Say that an execution begins; of those that this was not said of, none has begun."""
        place = self._begun % BEGUN_KEPT
        self._begun += 1
        _BEGUN.pack_into(self._memory, _BEGUN_AT + place * _BEGUN.size, status[1])
        self.write(status)

    def write(self, status: StatusFields) -> None:
        """Say what is being done."""
        phase, execution, begun_at, deadline, output_start, max_memory, cpu_time, uuid, name = (
            status
        )
        uuid_bytes, name_bytes = uuid.encode(), name.encode()[:_NAME_BYTES]
        # A reader that sees the same serial behind and before the rest has seen one status whole:
        # the serial is written first and last, and read last and first.
        self._serial += 1
        _STATUS.pack_into(
            self._memory,
            _STATUS_AT,
            self._serial,
            phase,
            execution,
            begun_at,
            deadline,
            output_start,
            max_memory,
            cpu_time,
            len(uuid_bytes),
            uuid_bytes,
            len(name_bytes),
            name_bytes,
        )
        _SERIAL.pack_into(self._memory, _SERIAL_AT_END, self._serial)

    def write_phase(self, phase: Phase) -> None:
        """Say that nothing but the phase has changed."""
        self._serial += 1
        _PHASE.pack_into(self._memory, _STATUS_AT, self._serial, phase)
        _SERIAL.pack_into(self._memory, _SERIAL_AT_END, self._serial)

    def stop(self) -> Stop:
        """Read what is asked for between jobs."""
        return _STOPS[self._memory[_STOP_AT]]

    def claims_held(self) -> bool:
        """Read whether nothing is to be claimed for the time being."""
        return bool(self._memory[_HOLD_AT])

    def interruption_of(self, execution: int) -> Reason:
        """Why this execution, and no other, is to be interrupted."""
        reason, meant = _INTERRUPTION.unpack_from(self._memory, _INTERRUPTION_AT)
        return _REASONS[reason if meant == execution else 0]

    def peak_memory_of(self, execution: int) -> int:
        """Give the most memory that the supervisor saw this execution use; 0: it saw none."""
        meant, peak = _PEAK.unpack_from(self._memory, _PEAK_AT)
        return int(peak) if meant == execution else 0

    # The supervisor's side

    def read(self) -> Status | None:
        """Tell what is being done; None in the instant in which that changes."""
        (behind,) = _SERIAL.unpack_from(self._memory, _SERIAL_AT_END)
        _, phase, *numbers, uuid_length, uuid, name_length, name = _STATUS.unpack_from(
            self._memory, _STATUS_AT
        )
        (before,) = _SERIAL.unpack_from(self._memory, _STATUS_AT)
        if behind != before:
            return None
        texts = (uuid[:uuid_length], name[:name_length])
        return Status(Phase(phase), *numbers, *(text.decode(errors="replace") for text in texts))

    def has_begun(self, execution: int) -> bool:
        """Tell of one that was held at the end whether it had begun."""
        end = _BEGUN_AT + BEGUN_KEPT * _BEGUN.size
        return any(
            execution == begun for (begun,) in _BEGUN.iter_unpack(self._memory[_BEGUN_AT:end])
        )

    def order_stop(self, stop: Stop) -> None:
        """Ask for a stop between jobs."""
        self._memory[_STOP_AT] = stop

    def hold_claims(self, hold: bool) -> None:  # noqa: FBT001
        """Let nothing be claimed for the time being; False lets claiming go on."""
        self._memory[_HOLD_AT] = hold

    def order_interruption(self, execution: int, reason: Reason) -> None:
        """Say which execution the next SIGTERM is meant for, and why."""
        _INTERRUPTION.pack_into(self._memory, _INTERRUPTION_AT, reason, execution)

    def note_peak_memory(self, execution: int, peak: int) -> None:
        """Say how much memory, in bytes, this execution was seen to use at most."""
        _PEAK.pack_into(self._memory, _PEAK_AT, execution, peak)

    def close(self) -> None:
        """Unmap the page and let go of its descriptor."""
        self._memory.close()
        os.close(self.descriptor)
