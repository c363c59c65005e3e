"""Processes told apart by more than a pid."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from harness import until

from gigq.queue.identity import Identity, Liveness, liveness, own_identity, start_ticks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OUT_OF_DESCRIPTORS = """
import os, resource, sys
from gigq.queue.identity import Identity, liveness, own_identity

me = own_identity()
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (16, most))
held = []
try:
    while True:
        held.append(os.dup(0))
except OSError:
    pass
try:
    seen = liveness(me).name
except OSError as error:
    seen = type(error).__name__
try:
    again = own_identity()
except OSError:
    again = me
for descriptor in held:
    os.close(descriptor)
print(seen, again == me)
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that waits until its standard input ends."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def identity_of(pid: int) -> Identity:
    """Give the identity of a process that lives."""
    ticks = start_ticks(pid)
    assert ticks is not None
    return own_identity()._replace(pid=pid, start_ticks=ticks)


class TestIdentity:
    """Who a process is."""

    def test_own(self) -> None:
        """A process knows its pid, boot, namespace and start, and says the same each time."""
        me = own_identity()
        assert me == own_identity()
        assert me.pid == os.getpid()
        assert me.start_ticks == start_ticks(os.getpid()) != 0
        assert me.pid_namespace == os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116
        assert len(me.boot_id) == 36

    def test_another_process_is_another(self, process: subprocess.Popen[bytes]) -> None:
        """Two processes of one machine differ in nothing but their pid and start."""
        me, other = own_identity(), identity_of(process.pid)
        assert me[:3] == other[:3]
        assert me != other

    @pytest.mark.parametrize("name", ["a b", "x) S 1 (y", "((", ") Z 1 1"])
    def test_strange_commands(self, tmp_path: Path, name: str) -> None:
        """A command's name with spaces and brackets does not spoil the reading of its start."""
        command = tmp_path / name
        cat = shutil.which("cat")
        assert cat is not None
        command.symlink_to(cat)
        with subprocess.Popen([command], stdin=subprocess.PIPE) as process:
            known = own_identity().start_ticks
            assert liveness(identity_of(process.pid)) is Liveness.ALIVE
            assert (start_ticks(process.pid) or 0) >= known
            process.kill()

    def test_no_process(self) -> None:
        """A pid that nobody has, and one that nobody can have, have no start."""
        assert start_ticks(2**22 + 1) is None
        assert start_ticks(0) is None


class TestLiveness:
    """Whether a process lives."""

    def test_alive(self, process: subprocess.Popen[bytes]) -> None:
        """The process itself and another one that runs are alive."""
        assert liveness(own_identity()) is Liveness.ALIVE
        assert liveness(identity_of(process.pid)) is Liveness.ALIVE

    def test_dead(self, process: subprocess.Popen[bytes]) -> None:
        """A process that was killed is dead, already before it is reaped."""
        who = identity_of(process.pid)
        process.kill()
        until(lambda: liveness(who) is Liveness.DEAD)
        process.wait()
        assert liveness(who) is Liveness.DEAD

    def test_pid_used_again(self, process: subprocess.Popen[bytes]) -> None:
        """A process that has the pid but another start is not the one that is asked for."""
        who = identity_of(process.pid)
        assert liveness(who._replace(start_ticks=who.start_ticks - 1)) is Liveness.DEAD

    def test_stopped_is_alive(self, process: subprocess.Popen[bytes]) -> None:
        """A process that is stopped is alive: it may go on at any time."""
        who = identity_of(process.pid)
        process.send_signal(19)
        until(lambda: _state(process.pid) == "T")
        assert liveness(who) is Liveness.ALIVE

    def test_before_a_reboot(self) -> None:
        """Whatever ran on this machine before its last boot is dead, whoever has its pid now."""
        assert liveness(own_identity()._replace(boot_id="older")) is Liveness.DEAD

    @pytest.mark.parametrize("machine_id", ["0123456789abcdef0123456789abcdef", ""])
    def test_another_machine(self, machine_id: str) -> None:
        """A process of another machine, or of one that has no id, cannot be judged."""
        who = own_identity()._replace(boot_id="other", machine_id=machine_id)
        assert liveness(who) is Liveness.ELSEWHERE

    def test_another_namespace(self) -> None:
        """A process of another pid namespace cannot be judged by its pid."""
        here = own_identity()
        for pid in (here.pid, 2**22 + 1):
            who = here._replace(pid_namespace=here.pid_namespace + 1, pid=pid)
            assert liveness(who) is Liveness.ELSEWHERE

    def test_not_dead_for_want_of_descriptors(self) -> None:
        """A process that can open no file takes no living one for dead, itself neither."""
        done = subprocess.run(
            [sys.executable, "-c", OUT_OF_DESCRIPTORS], capture_output=True, text=True, check=True
        )
        seen, same = done.stdout.split()
        assert seen != "DEAD"
        assert same == "True"


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
        return stat.read().rpartition(")")[2].split()[0]
