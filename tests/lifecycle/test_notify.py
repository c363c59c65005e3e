"""What a service manager is told, over a socket such as systemd's."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from harness import GENEROUS, Service, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Manager:
    """The receiving end, as systemd has it."""

    def __init__(self, address: str) -> None:
        """Listen at a path, or at an abstract name that begins with @."""
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._heard: list[str] = []

    def heard(self, pattern: str = "") -> list[str]:
        """List the messages so far that match."""
        while True:
            try:
                self._heard.append(self._socket.recv(65536).decode())
            except BlockingIOError:
                return [each for each in self._heard if re.search(pattern, each)]

    def wait(self, pattern: str, count: int = 1) -> list[str]:
        """Wait for so many messages that match."""
        return until(lambda: len(found := self.heard(pattern)) >= count and found, what=pattern)

    def fill(self) -> None:
        """Let no more messages be taken, until the next look."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other:
            other.connect(self.address)
            with suppress(BlockingIOError):
                while True:
                    other.send(b"X=x")

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


@pytest.fixture
def manager(folder: Path, request: pytest.FixtureRequest) -> Iterator[Manager]:
    """Listen for one service, at a path unless the test asks for an abstract name."""
    name = getattr(request, "param", "path")
    abstract = f"@gigqd-{secrets.token_hex(8)}"
    manager = Manager(abstract if name == "abstract" else str(folder / "notify"))
    yield manager
    manager.close()


@pytest.mark.parametrize("manager", ["path", "abstract"], indirect=True)
def test_life(folder: Path, manager: Manager) -> None:
    """Ready after the workers; reloading and ready again; stopping, with time asked for."""
    variables = {"NOTIFY_SOCKET": manager.address}
    settings = "[workers]\ncount = 2\nreload = false\n"
    with Service(folder, configuration=settings, environment=variables) as service:
        manager.wait("READY=1")
        until(lambda: len(service.events("worker_ready")) == 2, what="two workers' words")
        manager.wait("STATUS=2 of 2 workers, 0 busy")
        unset = service.submit("jobs.variable", {"name": "NOTIFY_SOCKET"})
        service.wait_status(unset, "completed")
        assert service.queue.get_result(unset) is None
        assert service.told("reload")[0] == 0
        found = manager.heard("READY=1|RELOADING=1")
        assert [each.partition("=")[0] for each in found] == ["READY", "RELOADING", "READY"]
        moment = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", found[1])
        assert moment is not None
        assert abs(int(moment[1]) / 1e6 - time.monotonic()) < 60
        service.configure("[workers]\ncount = -1\n")
        service.wait_for("configuration_refused")
        assert "changed configuration is refused" in manager.wait("refused: .*workers.count")[0]
        job = service.submit("jobs.quick", {"key": "last", "seconds": 3})
        service.wait_status(job, "running")
        service.process.send_signal(signal.SIGTERM)
        manager.wait("STOPPING=1\nEXTEND_TIMEOUT_USEC=[0-9]+$", 2)
        assert manager.wait("STATUS=stopping")
        assert service.process.wait(60) == 0
        assert service.queue.get_status(job)["status"] == "completed"


def test_sign_of_life(folder: Path, manager: Manager) -> None:
    """Signs of life come at least twice an interval while the loop turns, and no others."""
    interval = 1.0
    variables = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": str(int(interval * 1e6))}
    with Service(folder, environment=variables) as service:
        manager.wait("READY=1")
        before = len(manager.heard("WATCHDOG=1"))
        begun = time.monotonic()
        manager.wait("WATCHDOG=1", before + 6)
        assert time.monotonic() - begun < 6 * interval / 2 * GENEROUS
        service.process.send_signal(signal.SIGSTOP)
        until(lambda: "T" in stat_of(service.process.pid), what="it is stopped")
        before = len(manager.heard("WATCHDOG=1"))
        time.sleep(interval)  # long enough for several, did anybody else send them
        assert len(manager.heard("WATCHDOG=1")) == before


def test_last_words_of_a_service_that_hangs(folder: Path) -> None:
    """What a watchdog sends to a service that hangs makes it say where it is."""
    with Service(folder) as service:
        service.wait_ready(2)
        assert service.stop(signal.SIGABRT) == -signal.SIGABRT
        said = service.log.read_text()
        assert "Fatal Python error: Aborted" in said
        assert "in _turn" in said


def stat_of(pid: int) -> str:
    """Give a process's state."""
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
        return stat.read().rpartition(")")[2].split()[0]


def test_watchdog_of_another_process(folder: Path, manager: Manager) -> None:
    """Signs of life that are wanted of another process are not sent by this one."""
    variables = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "100000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    with Service(folder, environment=variables) as service:
        manager.wait("READY=1")
        assert service.stop() == 0
        assert manager.heard("WATCHDOG") == []


def test_ready_though_workers_do_not_start(folder: Path, manager: Manager) -> None:
    """A service whose workers cannot start is up all the same, and says why in its status."""
    settings = '[workers]\npython = "/bin/false"\n'
    variables = {"NOTIFY_SOCKET": manager.address}
    with Service(folder, configuration=settings, environment=variables):
        manager.wait("READY=1")
        assert manager.wait("STATUS=0 of 2 workers, 0 busy; workers do not start")


def test_manager_that_is_busy(folder: Path, manager: Manager) -> None:
    """What a busy manager does not take is told again, though nothing else happens."""
    manager.fill()
    variables = {"NOTIFY_SOCKET": manager.address}
    with Service(folder, configuration="[workers]\ncount = 1\n", environment=variables) as service:
        service.wait_ready()
        rests = time.monotonic() + 7  # and with nothing to tell would not turn for a minute
        until(lambda: time.monotonic() > rests)
        manager.heard()
        until(lambda: manager.heard("READY=1"), seconds=10)
        until(lambda: manager.heard("STATUS=1 of 1 workers, 0 busy"), seconds=10)
