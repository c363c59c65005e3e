"""The channel between a supervisor and a worker: what cannot go does not hold up the rest."""

from __future__ import annotations

from gigq.worker.channel import Channel
from gigq.worker.reporter import Reporter


def test_message_that_is_too_long() -> None:
    """One that the kernel takes in no case is dropped, and those after it arrive."""
    here, there = Channel.pair()
    reporter = Reporter(here)
    reporter.tell("job_failed", error="x" * 8_000_000)
    reporter.tell("ready")
    assert there.receive() == [{"event": "ready"}]
    here.close()
    there.close()


def test_full_channel() -> None:
    """While the other side does not read, messages wait, in their order."""
    here, there = Channel.pair()
    reporter = Reporter(here)
    for number in range(100):
        reporter.tell("job_output", number=number, line="x" * 50_000)
    received = there.receive()
    assert 0 < len(received) < 100
    while len(received) < 100:
        reporter.tell("ready")
        received += [message for message in there.receive() if message["event"] != "ready"]
    assert [message["number"] for message in received] == list(range(100))
    here.close()
    there.close()
