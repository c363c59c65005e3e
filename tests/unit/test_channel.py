"""The channels between a supervisor and a worker: what cannot go does not hold up the rest."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from harness import until

from gigq.worker.channel import Channel
from gigq.worker.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Iterator


BUFFER = 200_000  # bytes


class Ends:
    """Both channels of one worker, and what tells over them."""

    def __init__(self) -> None:
        """Connect them."""
        channel, self.channel = Channel.pair()
        reports, self.reports = Channel.pair()
        for end in (channel, reports):  # as where the system allows little
            with socket.socket(fileno=os.dup(end.fileno())) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._all = (channel, self.channel, reports, self.reports)
        self.reporter = Reporter(channel, reports)

    def close(self) -> None:
        """Close all."""
        for end in self._all:
            end.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Give channels that are closed in the end."""
    found = Ends()
    yield found
    found.close()


def test_message_that_is_too_long(ends: Ends) -> None:
    """One that the kernel takes in no case is dropped, and those after it arrive."""
    ends.reporter.tell("job_failed", error="x" * 8_000_000)
    ends.reporter.tell("ready")
    assert ends.channel.receive() == [{"event": "ready"}]


def test_full_channel(ends: Ends) -> None:
    """While the other side does not read, messages wait, in their order."""
    for number in range(100):
        ends.reporter.tell("job_output", number=number, line="x" * 50_000)
    received = ends.channel.receive()
    assert 0 < len(received) < 100
    while len(received) < 100:
        ends.reporter.tell("ready")
        received += [m for m in ends.channel.receive() if m["event"] != "ready"]
    assert [message["number"] for message in received] == list(range(100))


def test_full_reports(ends: Ends) -> None:
    """What is told of the worker arrives although nobody reads what became of its jobs."""
    for number in range(100):
        ends.reporter.report("job_failed", number=number, error="x" * 50_000)
    ends.reporter.tell("ready")
    assert ends.channel.receive()[-1] == {"event": "ready"}
    assert ends.reports.receive()[0]["number"] == 0


def test_reports_that_fill_the_channel(ends: Ends) -> None:
    """Where there is no room for another report, the supervisor is called to make some."""
    for number in range(300):
        ends.reporter.report("job_failed", number=number, error="x" * 5_000)
    assert {message["event"] for message in ends.channel.receive()} == {"look_soon"}
    received = ends.reports.receive()
    assert len(received) < 300
    until(lambda: received.extend(ends.reports.receive()) or ends.reporter.flush())
    received += ends.reports.receive()
    assert [message["number"] for message in received] == list(range(300))


def test_last_reports(ends: Ends) -> None:
    """Who leaves waits a little for the supervisor to read, and not where there is none."""
    for number in range(300):
        ends.reporter.report("job_failed", number=number, error="x" * 5_000)
    ends.reporter.finish(0.05)
    assert not ends.reporter.flush()
    ends.reports.close()
    ends.reporter.finish(1000)
    assert ends.reporter.flush()
