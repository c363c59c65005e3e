"""The channel between a supervisor and a worker: what cannot go does not hold up the rest."""

from __future__ import annotations

from gigq.queue.records import Claim, Outcome
from gigq.queue.states import Verdict
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


def test_one_that_is_too_long_with_another() -> None:
    """Of two that would go together, the one that is too long is dropped alone."""
    here, there = Channel.pair()
    assert here.send({"event": "a", "error": "x" * 8_000_000}, {"event": "b"}) == 1
    assert here.send({"event": "b"}) == 1
    assert there.receive() == [{"event": "b"}]
    here.close()
    there.close()


def test_completed_goes_with_the_next_start() -> None:
    """That a job has completed is one message with the next beginning; a failure goes at once."""
    here, there = Channel.pair()
    reporter = Reporter(here)
    claim = Claim(*range(len(Claim._fields)))  # type: ignore[arg-type]
    for verdict, seen in ((Verdict.COMPLETED, []), (Verdict.FAILED, ["job_failed"])):
        assert reporter.started(claim)
        assert [message["event"] for message in there.receive()] == ["job_started"]
        reporter.ended(claim, Outcome(1, 2, 3, verdict), 0.5, started_told=True)
        assert [message["event"] for message in there.receive()] == seen
        if verdict is Verdict.COMPLETED:
            reporter.started(claim)
            assert there._socket.recv(10_000).count(b"\n") == 1
    here.close()
    there.close()


def test_completed_does_not_wait_behind_a_start_that_is_not_told() -> None:
    """Where the next beginning is one of too many to be told, what is left over is sent."""
    here, there = Channel.pair()
    reporter = Reporter(here)
    claim = Claim(*range(len(Claim._fields)))  # type: ignore[arg-type]
    told = True
    while told:
        told = reporter.started(claim)
        there.receive()
        reporter.ended(claim, Outcome(1, 2, 3, Verdict.COMPLETED), 0.5, started_told=True)
    reporter.started(claim)
    assert [message["event"] for message in there.receive()] == ["job_completed"]
    here.close()
    there.close()
