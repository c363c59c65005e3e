"""The page that worker and supervisor share: read whole, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gigq.worker.slot import Phase, Reason, Slot, Status, Stop

if TYPE_CHECKING:
    from collections.abc import Iterator

# Writes statuses whose every field says the same number, until its standard input ends.
WRITER = """
import os, select, sys
from gigq.worker.slot import Phase, Slot, Status
slot = Slot(int(sys.argv[1]))
number = 0
while not select.select([0], [], [], 0)[0]:
    for _ in range(500):
        number += 1
        text = str(number)
        same = (number,) * 6
        slot.write(Status(Phase.RUNNING, *same, text, text * 20))
    for _ in range(100):
        slot.write(Status())
"""

# Orders interruptions, with a stop in force all the time, until its standard input ends.
ORDERER = """
import select, sys
from gigq.worker.slot import Reason, Slot, Stop
slot = Slot(int(sys.argv[1]))
slot.order_stop(Stop.DRAIN)
print("ordered", flush=True)
number = 0
while not select.select([0], [], [], 0)[0]:
    for _ in range(1000):
        number += 1
        slot.order_interruption(number, Reason.DEADLINE if number % 2 else Reason.SHUTDOWN)
"""


@pytest.fixture
def slot() -> Iterator[Slot]:
    """Give a page."""
    with closing(Slot()) as slot:
        yield slot


def other_side(slot: Slot, code: str) -> subprocess.Popen[str]:
    """Start a process that maps the same page."""
    return subprocess.Popen(
        [sys.executable, "-c", code, str(slot.descriptor)],
        pass_fds=[slot.descriptor],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


class TestStatus:
    """What the worker writes and the supervisor reads."""

    def test_fresh_page_is_idle(self, slot: Slot) -> None:
        """Before anything is written, the worker is idle."""
        assert slot.read() == Status()

    @pytest.mark.parametrize("phase", Phase)
    def test_round_trip(self, slot: Slot, phase: Phase) -> None:
        """All fields come back as they were written, and overwrite the last."""
        for size in (1 << 62, 3):
            uuid = "12345678-1234-5678-1234-567812345678"
            status = Status(
                phase, size, size + 1, size + 2, size + 3, size + 4, size + 5, uuid, "näme"
            )
            slot.write(status)
            assert slot.read() == status
        slot.write(Status())
        assert slot.read() == Status()

    @pytest.mark.parametrize("name", ["x" * 1000, "ä" * 200, "x" + "ä" * 200, "\N{SNAKE}" * 100])
    def test_long_name(self, slot: Slot, name: str) -> None:
        """A long name is cut to what there is room for, also within a character."""
        slot.write(Status(name=name))
        status = slot.read()
        assert status is not None
        shown = status.name.rstrip("\N{REPLACEMENT CHARACTER}")
        assert name.startswith(shown)
        assert 250 < len(shown.encode()) <= 256

    def test_half_written_is_not_read(self, slot: Slot) -> None:
        """A status whose writer stopped half-way, or was killed there, is not taken for one."""
        slot.write(Status(Phase.RUNNING, 7))
        before = bytes(slot._memory)
        slot.write(Status(Phase.RUNNING, 8))
        after = bytes(slot._memory)
        changed = [place for place in range(len(before)) if before[place] != after[place]]
        for written in range(changed[0] + 1, changed[-1]):
            slot._memory[:] = after[:written] + before[written:]
            assert slot.read() in (None, Status(Phase.RUNNING, 7))

    def test_never_torn(self, slot: Slot) -> None:
        """Read as fast as it is written by another process, a status is whole or None."""
        seen: set[int] = set()
        idle = reads = 0
        with other_side(slot, WRITER) as writer:
            assert writer.stdin is not None
            while len(seen) < 5000 or idle < 100:
                status = slot.read()
                reads += 1
                if status is None:
                    continue
                number = status.execution
                if number == 0:
                    assert status == Status()
                    idle += 1
                    continue
                text = str(number)
                same = (number,) * 6
                whole = Status(Phase.RUNNING, *same, text, text * 20)
                assert status == whole
                seen.add(number)
            writer.stdin.close()
        assert writer.returncode == 0
        assert reads > len(seen)


class TestOrders:
    """What the supervisor writes and the worker reads."""

    def test_stop(self, slot: Slot) -> None:
        """Nothing is ordered at first; the last order counts."""
        assert slot.stop() is Stop.NO
        for stop in (Stop.DRAIN, Stop.RENEW):
            slot.order_stop(stop)
            assert slot.stop() is stop

    def test_interruption_is_meant_for_one(self, slot: Slot) -> None:
        """Only the execution that is named is to be interrupted."""
        assert slot.interruption_of(7) is Reason.NONE
        slot.order_interruption(7, Reason.DEADLINE)
        assert slot.interruption_of(7) is Reason.DEADLINE
        assert slot.interruption_of(8) is Reason.NONE
        slot.order_interruption(8, Reason.SHUTDOWN)
        assert slot.interruption_of(7) is Reason.NONE
        assert slot.interruption_of(8) is Reason.SHUTDOWN

    def test_orders_leave_each_other(self, slot: Slot) -> None:
        """A stop and an interruption do not undo each other, nor the status."""
        slot.write(Status(Phase.RUNNING, 7))
        slot.order_stop(Stop.DRAIN)
        slot.order_interruption(7, Reason.SHUTDOWN)
        slot.order_stop(Stop.RENEW)
        assert slot.stop() is Stop.RENEW
        assert slot.interruption_of(7) is Reason.SHUTDOWN
        assert slot.read() == Status(Phase.RUNNING, 7)

    def test_stop_is_never_unsaid(self, slot: Slot) -> None:
        """While interruptions are ordered, a stop that is in force is seen at every look."""
        with other_side(slot, ORDERER) as orderer:
            assert orderer.stdin is not None
            assert orderer.stdout is not None
            orderer.stdout.readline()
            looks = {slot.stop() for _ in range(300_000)}
            orderer.stdin.close()
        assert looks == {Stop.DRAIN}


class TestPage:
    """The memory itself."""

    def test_inherited(self, slot: Slot) -> None:
        """A second mapping of the descriptor is the same page."""
        slot.write(Status(Phase.SETTLING, 5))
        with closing(Slot(os.dup(slot.descriptor))) as again:
            assert again.read() == Status(Phase.SETTLING, 5)
            again.order_stop(Stop.RENEW)
        assert slot.stop() is Stop.RENEW

    def test_close(self) -> None:
        """A closed page leaves no descriptor behind."""
        slot = Slot()
        slot.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(slot.descriptor)

    def test_not_inherited_by_accident(self, slot: Slot) -> None:
        """A process started without being handed the page does not have it."""
        assert not os.get_inheritable(slot.descriptor)
