"""The channels between a supervisor and a worker: what cannot go does not hold up the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gigq.worker.channel import Channel
from gigq.worker.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Iterator


class Ends:
    """Both channels of one worker, and what tells over them."""

    def __init__(self) -> None:
        """Connect them."""
        channel, self.channel = Channel.pair()
        reports, self.reports = Channel.pair()
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
    assert ends.channel.receive() == [{"event": "ready"}]
    assert ends.reports.receive()[0]["number"] == 0
