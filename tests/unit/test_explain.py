"""What `gigq.queue.explain` says of a job, as the store has it."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gigq import Job
from gigq.queue import clock
from gigq.queue.explain import MOST_COUNTED, Explanation, explain
from gigq.queue.explanation import first_line, named
from gigq.queue.identity import Identity, own_identity
from gigq.queue.moments import moment, span
from gigq.queue.records import Claim, Outcome, Progress
from gigq.queue.service_lock import ServiceLock
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND = clock.MICROSECONDS
TIME = r"\d\d:\d\d:\d\d"


class Bench:
    """A store, and short words for what tests do with it."""

    def __init__(self, path: Path) -> None:
        """Open it; no worker is there yet."""
        self.path = path
        self.store = SqliteStore(path, durable=False)

    def submit(self, name: str = "job", **options: Any) -> str:  # noqa: ANN401
        """Submit a job; its id."""
        job = Job(name, print, **options)
        self.store.submit([job.to_record(clock.now())])
        return job.id

    def register(self, identity: Identity | None = None) -> int:
        """Begin a worker's life, in this process if no other is named."""
        return self.store.register("w", identity or own_identity())

    def take(self, worker: int) -> Claim:
        """Claim one job."""
        (claim,) = self.store.settle(worker, (), claim=1).claims
        return claim

    def end(self, verdict: Verdict, **fields: Any) -> Claim:  # noqa: ANN401
        """Claim one job as a worker that goes then, and end it so."""
        worker = self.register()
        claim = self.take(worker)
        self.store.settle(
            worker, [Outcome(claim.execution, claim.job, claim.queue_id, verdict, **fields)]
        )
        self.store.retire(worker, lambda held: pytest.fail(f"{held} is still open"))
        return claim

    def explain(self, uuid: str) -> Explanation:
        """Explain a job that is there."""
        row = self.store.job(uuid)
        assert row is not None
        return explain(self.store, self.store.companions, row)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Give a bench on a fresh database."""
    found = Bench(tmp_path / "my jobs.db")
    with closing(found.store):
        yield found


class TestPending:
    """Why a job has not been begun."""

    def test_nobody_is_there(self, bench: Bench) -> None:
        """Without a service and a worker, the command to start one is given, ready to be typed."""
        found = bench.explain(bench.submit())
        assert found == (
            f"It is ready to run, but no gigqd serves {bench.path} and no other worker is alive.",
            f"gigqd start '{bench.path}'",
            "no_service",
        )

    def test_dead_worker_is_nobody(self, bench: Bench) -> None:
        """A registered worker whose process is gone does not count."""
        bench.register(own_identity()._replace(start_ticks=1))
        assert bench.explain(bench.submit()).cause == "no_service"

    def test_worker_elsewhere(self, bench: Bench) -> None:
        """A worker that cannot be judged may be alive, so nobody is told to start a service."""
        bench.register(own_identity()._replace(pid_namespace=1))
        found = bench.explain(bench.submit())
        assert found == (
            "It is ready to run; its workers cannot be seen from here.",
            None,
            "ready",
        )

    def test_service_without_workers(self, bench: Bench) -> None:
        """A service that has no worker is named, with the command that tells more."""
        lock = ServiceLock(bench.store.companions)
        lock.describe({"pid": 812})
        found = bench.explain(bench.submit())
        lock.close()
        assert found.sentence == (
            "It is ready to run, but gigqd (pid 812) has no worker alive: "
            "it is drained, scaled to 0, or its workers do not start."
        )
        assert found.next_command == f"gigqd status '{bench.path}'"
        assert found.cause == "no_worker"

    def test_free_worker(self, bench: Bench) -> None:
        """With a free worker there is nothing to do but wait a moment."""
        bench.register()
        assert bench.explain(bench.submit()) == (
            "It is ready to run; a free worker takes it next.",
            None,
            "ready",
        )

    def test_busy_worker(self, bench: Bench) -> None:
        """A job at the head of the queue waits for the workers, which are counted."""
        bench.submit("first")
        bench.take(bench.register())
        job = bench.submit()
        assert bench.explain(job) == (
            "It is ready to run; the only worker is busy.",
            "gigq list --status running",
            "workers_busy",
        )

    def test_place_in_the_queue(self, bench: Bench) -> None:
        """Jobs that are older or more urgent stand before it, younger and less urgent ones not."""
        bench.submit("older")
        job = bench.submit()
        bench.submit("younger")
        bench.submit("urgent", priority=1)
        bench.submit("urgent elsewhere", priority=1, queue="other")
        bench.submit("lazy", priority=-1)
        bench.submit("not due", priority=9, delay=60)
        bench.register()
        found = bench.explain(job)
        assert found.cause == "behind"
        assert found.sentence == (
            "It is ready to run, behind 3 other ready jobs; a free worker takes it next."
        )

    def test_long_queue_is_not_counted_out(self, bench: Bench) -> None:
        """Of very many jobs before it only so many are counted."""
        now = clock.now()
        for priority in (0, 1):
            jobs = [Job("x", print, priority=priority) for _ in range(MOST_COUNTED)]
            bench.store.submit([job.to_record(now) for job in jobs])
        found = bench.explain(bench.submit())
        assert "behind 1,000 or more other ready jobs" in found.sentence

    def test_paused_queue(self, bench: Bench) -> None:
        """A job of a queue that is paused says so, whoever is alive."""
        job = bench.submit(queue="mail")
        with bench.store._connection as connection:
            connection.run("UPDATE queue SET paused = 1 WHERE name = 'mail'")
        assert bench.explain(job) == ("Its queue 'mail' is paused.", None, "queue_paused")

    def test_not_due(self, bench: Bench) -> None:
        """A delayed job tells when it is due, and how long that is."""
        found = bench.explain(bench.submit(delay=180))
        assert re.fullmatch(rf"It is not due until ([\d-]+ )?{TIME} \(in 3 min\)\.", found.sentence)
        assert found.cause == "not_due"

    def test_due_but_not_promoted(self, bench: Bench) -> None:
        """A job that is due waits for a worker like a ready one."""
        job = bench.submit(run_at=datetime.now(UTC) + timedelta(milliseconds=1))
        row = bench.store.job(job)
        assert row is not None
        while clock.now() <= (row.due_at or 0):
            pass
        assert bench.explain(job).cause == "no_service"

    def test_retry_later(self, bench: Bench) -> None:
        """A job that failed before tells when it is tried again, and after which error."""
        job = bench.submit(retry_delay=60)
        bench.end(Verdict.FAILED, error="no such host.\nand more", cause="raised")
        found = bench.explain(job)
        assert re.fullmatch(
            rf"It is tried again at ([\d-]+ )?{TIME} \(in 60 s\), attempt 2 of 3, "
            r"after: no such host\.",
            found.sentence,
        )
        assert found.next_command == f"gigq status {job} --show-executions"
        assert found.cause == "retry"

    def test_retry_at_once(self, bench: Bench) -> None:
        """A job that is ready for its next attempt tells what became of the last one."""
        job = bench.submit()
        bench.end(Verdict.LOST, error="worker died: SIGKILL", cause="signal:9")
        bench.register()
        assert bench.explain(job).sentence == (
            "It is ready to run again, attempt 2 of 3, after: worker died: SIGKILL; "
            "a free worker takes it next."
        )

    def test_stopped_and_given_back(self, bench: Bench) -> None:
        """A job that a shutdown stopped and that may run again says so."""
        job = bench.submit()
        bench.end(Verdict.STOPPED, cause="shutdown")
        found = bench.explain(job)
        assert found.sentence.startswith(
            "It is ready to run again, after a shutdown stopped it, but no gigqd"
        )
        assert found.cause == "no_service"


class TestParents:
    """Why a job that has parents waits, or was cancelled."""

    def test_names_parents(self, bench: Bench) -> None:
        """Parents that have not ended are named with what they do."""
        first, second = bench.submit("first"), bench.submit("second")
        done = bench.submit("done", priority=1)
        bench.end(Verdict.COMPLETED)
        job = bench.submit(dependencies=[done, first, second])
        bench.take(bench.register())
        assert bench.explain(job) == (
            "It waits for its parents 'first' (running) and 'second' (pending).",
            f"gigq status {first}",
            "waits_for_parents",
        )

    def test_counts_many_parents(self, bench: Bench) -> None:
        """Of many parents a few are named and the rest is counted."""
        parents = [bench.submit(f"p{number}") for number in range(6)]
        found = bench.explain(bench.submit(dependencies=parents))
        assert found.sentence == (
            "It waits for its parents 'p0' (pending), 'p1' (pending), 'p2' (pending) and 3 more."
        )

    def test_names_the_root_of_a_failure(self, bench: Bench) -> None:
        """A job cancelled through others names the one that failed, which is to be requeued."""
        root = bench.submit("extract", max_attempts=1)
        middle = bench.submit("clean", dependencies=[root])
        job = bench.submit("load", dependencies=[middle])
        bench.end(Verdict.FAILED, error="no", cause="raised")
        found = bench.explain(job)
        assert re.fullmatch(
            rf"It was cancelled at ([\d-]+ )?{TIME} \(now\) because 'extract', which it needs, "
            r"failed\.",
            found.sentence,
        )
        assert found[1:] == (f"gigq requeue {root}", "parent_failed")

    @pytest.mark.parametrize(
        ("how", "words"), [("timeout", "timed out"), ("cancelled", "was cancelled")]
    )
    def test_how_the_parent_ended(self, bench: Bench, how: str, words: str) -> None:
        """A parent's failure is named for what it was."""
        root = bench.submit("extract", max_attempts=1)
        job = bench.submit("load", dependencies=[root])
        if how == "cancelled":
            bench.store.cancel(root)
        else:
            bench.end(Verdict.TIMEOUT, cause="deadline")
        assert f"'extract', which it needs, {words}." in bench.explain(job).sentence

    def test_parent_was_cleared(self, bench: Bench) -> None:
        """A parent that is no longer there cannot be named, and nothing is to be typed."""
        root = bench.submit("extract")
        job = bench.submit("load", dependencies=[root])
        bench.store.cancel(root)
        with bench.store._connection as connection:
            connection.run("DELETE FROM edge")
            connection.run("DELETE FROM job WHERE uuid = ?", (root,))
        found = bench.explain(job)
        assert "because of a parent that was cleared away" in found.sentence
        assert found.next_command is None

    def test_blocked_by_policy(self, bench: Bench) -> None:
        """A job that asked to be blocked by a failed parent tells which one to requeue."""
        root = bench.submit("extract", max_attempts=1)
        job = bench.submit("load", dependencies=[root], on_parent_failure="block")
        bench.end(Verdict.FAILED, error="no", cause="raised")
        found = bench.explain(job)
        assert found.sentence == (
            "It is blocked by its parent 'extract', which failed, until that is requeued "
            '(on_parent_failure="block").'
        )
        assert found[1:] == (f"gigq requeue {root}", "parent_failed_blocks")


class TestRunning:
    """What a running job does."""

    def test_names_worker_and_deadline(self, bench: Bench) -> None:
        """A running job tells its worker, its attempt and its deadline."""
        job = bench.submit(timeout=300)
        bench.take(bench.register())
        pid = own_identity().pid
        assert re.fullmatch(
            rf"It has been running since ([\d-]+ )?{TIME} \(now\) on worker w \(pid {pid}\), "
            rf"attempt 1 of 3, until its deadline at ([\d-]+ )?{TIME} \(in 5 min\) at the latest\.",
            bench.explain(job).sentence,
        )

    def test_says_progress(self, bench: Bench) -> None:
        """What the job says of its progress is repeated."""
        job = bench.submit(timeout=None)
        claim = bench.take(bench.register())
        bench.store.set_progress(claim.execution, Progress(1200, 5000, "rows", clock.now()))
        sentence = bench.explain(job).sentence
        assert sentence.endswith(", 1,200 of 5,000 done (rows), without a deadline.")
        bench.store.set_progress(claim.execution, Progress(7, None, "", clock.now()))
        assert ", 7 done, " in bench.explain(job).sentence

    def test_worker_died_unseen(self, bench: Bench) -> None:
        """A job whose worker is dead tells that it is taken back, and by what."""
        job = bench.submit()
        bench.take(bench.register(own_identity()._replace(start_ticks=1)))
        found = bench.explain(job)
        assert "which has died; its job is taken back when a service or worker" in found.sentence
        assert found[1:] == (f"gigqd start '{bench.path}'", "worker_dead")

    @pytest.mark.parametrize(
        ("identity", "where"),
        [
            ({"boot_id": "other", "machine_id": "other"}, "another machine"),
            ({"pid_namespace": 1}, "another container of this machine"),
        ],
    )
    def test_worker_that_cannot_be_seen(
        self, bench: Bench, identity: dict[str, Any], where: str
    ) -> None:
        """A job of a worker that nobody can see says so, and what to do when that is gone."""
        job = bench.submit()
        bench.take(bench.register(own_identity()._replace(**identity)))
        for _ in range(2):
            found = bench.explain(job)
            assert "on worker w (pid " in found.sentence
            assert f"of {where}, and nobody can see" in found.sentence
            assert found[1:] == ("gigq reclaim w", "elsewhere")
            bench.store.cancel(job, running=True)  # which nobody here can do

    def test_being_cancelled(self, bench: Bench) -> None:
        """A running job that somebody asked to cancel says so."""
        job = bench.submit()
        bench.take(bench.register())
        bench.store.cancel(job, running=True)
        found = bench.explain(job)
        assert found.sentence.startswith("Somebody asked to cancel it; worker w (pid ")
        assert found.cause == "cancelling"


ENDINGS = [
    (Verdict.FAILED, "raised", "no such host", "Its code raised an error (no such host), at "),
    (Verdict.FAILED, "import", "`x` is missing in p", "Its function could not be imported (`x` is"),
    (Verdict.FAILED, "directory", "the directory d is gone", "It could not run where it should ("),
    (Verdict.FAILED, "not_allowed", "a.b may not", "It was not run, for the service's settings do"),
    (Verdict.FAILED, "result_not_json", "result.when: a datetime", "It ran to its end, but what"),
    (Verdict.TIMEOUT, "deadline", "late", "It was killed at its deadline of 90 s, at "),
    (Verdict.STOPPED, "shutdown", "", "A shutdown stopped it, and it may be begun only once, at "),
    (
        Verdict.LOST,
        "signal:9",
        "",
        "Its worker died of SIGKILL, possibly because the system ran ou",
    ),
    (Verdict.LOST, "signal:11", "", "Its worker died of SIGSEGV, at "),
    (Verdict.LOST, "signal:77", "", "Its worker died of signal 77, at "),
    (
        Verdict.LOST,
        "exit:7",
        "",
        "Its worker's process ended with exit code 7 in the middle of the ",
    ),
    (Verdict.LOST, "worker_died", "", "Its worker died, and nobody saw how, at "),
    (Verdict.FAILED, "something_new", "who knows", "It failed (who knows), at "),
]


class TestEnded:
    """How a job ended."""

    @pytest.mark.parametrize(("verdict", "cause", "error", "beginning"), ENDINGS)
    def test_causes(
        self, bench: Bench, verdict: Verdict, cause: str, error: str, beginning: str
    ) -> None:
        """Each cause has words of its own, and its command is about this job."""
        job = bench.submit(max_attempts=1, timeout=90)
        bench.end(verdict, cause=cause, error=error)
        found = bench.explain(job)
        assert found.sentence.startswith(beginning)
        assert found.sentence.endswith(".")
        assert found.cause == cause
        assert found.next_command in (
            f"gigq requeue {job}",
            f"gigq status {job} --show-executions",
        )

    def test_attempts_are_told(self, bench: Bench) -> None:
        """A job that failed again tells which attempt was the last."""
        job = bench.submit(max_attempts=2)
        for _ in range(2):
            bench.end(Verdict.FAILED, error="no", cause="raised")
        assert bench.explain(job).sentence.endswith(", on attempt 2 of 2.")

    def test_memory_is_suspected_for_sigkill_only(self, bench: Bench) -> None:
        """A deadline's kill, or another signal, is not taken for a lack of memory."""
        suspects = []
        for verdict, cause, *_ in ENDINGS:
            job = bench.submit(max_attempts=1)
            bench.end(verdict, cause=cause, error="x")
            if "memory" in bench.explain(job).sentence:
                suspects.append(cause)
        assert suspects == ["signal:9"]

    def test_completed(self, bench: Bench) -> None:
        """A completed job tells when, how long it took, and on which attempt."""
        job = bench.submit()
        bench.end(Verdict.COMPLETED)
        found = bench.explain(job)
        assert re.fullmatch(
            rf"It completed at ([\d-]+ )?{TIME} \(now\) after [\d.]+ s, on attempt 1 of 3\.",
            found.sentence,
        )
        assert found[1:] == (f"gigq status {job} --show-result", "completed")

    def test_cancelled_before_it_ran(self, bench: Bench) -> None:
        """A pending job that somebody cancelled is told from one that ran."""
        job = bench.submit()
        bench.store.cancel(job)
        found = bench.explain(job)
        assert found.sentence.startswith("Somebody cancelled it at ")
        assert found.sentence.endswith(", before it ran.")
        assert found[1:] == (f"gigq requeue {job}", "cancelled")

    def test_cancelled_between_attempts(self, bench: Bench) -> None:
        """A job cancelled while it waited for its next attempt is not said to have never run."""
        job = bench.submit()
        bench.end(Verdict.FAILED, error="no", cause="raised")
        bench.store.cancel(job)
        assert bench.explain(job).sentence.endswith(", between two attempts.")

    def test_cancelled_while_it_ran(self, bench: Bench) -> None:
        """A running job that somebody cancelled says that it ran."""
        job = bench.submit()
        bench.end(Verdict.CANCELLED, cause="cancelled")
        found = bench.explain(job)
        assert found.sentence.startswith("Somebody cancelled it while it ran; it was ended at ")
        assert found.cause == "cancelled_running"


class TestWords:
    """Times and lists as people read them."""

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "0 s"),
            (0.04, "0 s"),
            (3.21, "3.2 s"),
            (9.96, "10 s"),
            (45.4, "45 s"),
            (119, "119 s"),
            (180, "3 min"),
            (7199, "120 min"),
            (7200, "2 h"),
            (172_800, "2 days"),
        ],
    )
    def test_spans(self, seconds: float, text: str) -> None:
        """A length of time is short to read."""
        assert span(round(seconds * SECOND)) == text

    def test_moments(self) -> None:
        """A time of another day has its date, one of today has none."""
        noon = datetime(2026, 3, 4, 12, 0, 0).astimezone()
        now = round(noon.timestamp() * SECOND)
        assert moment(now + 65 * SECOND, now) == "12:01:05 (in 65 s)"
        assert moment(now - 7200 * SECOND, now) == "10:00:00 (2 h ago)"
        assert moment(now + 86_400 * 3 * SECOND, now) == "2026-03-07 12:00:00 (in 3 days)"
        assert moment(now + 1000, now) == "12:00:00 (now)"

    def test_lists(self) -> None:
        """A list reads like one."""
        assert named(["a"]) == "a"
        assert named(["a", "b"]) == "a and b"
        assert named(list("abc")) == "a, b and c"
        assert named(list("abcde")) == "a, b, c and 2 more"

    def test_errors_are_cut(self) -> None:
        """Of a long error the beginning of its first line is repeated."""
        assert first_line("no.\nmore") == "no"
        assert first_line("") == ""
        assert len(first_line("x" * 9999)) == 201
