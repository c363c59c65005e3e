"""`JobQueue`: the queue as its users see it."""

from __future__ import annotations

import builtins
import json
import os
import pickle
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from harness import until

from gigq import Job, JobHandle, JobQueue, JobStatus, Worker
from gigq.queue.errors import (
    DuplicateJobError,
    InvalidJobError,
    StoreError,
    UnknownJobError,
    WorkflowError,
)
from gigq.queue.identity import own_identity
from gigq.queue.sqlite_store import SqliteStore
from gigq.worker.outcome import released

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What GigQ 0.5.1 gives of a job, and of each of its executions.
# fmt: off
JOB_KEYS = {
    "id", "name", "function_name", "function_module", "params", "priority", "dependencies",
    "max_attempts", "timeout", "description", "status", "created_at", "updated_at", "attempts",
    "result", "error", "started_at", "completed_at", "worker_id", "pass_parent_results",
    "retry_delay", "retry_after",
}
EXECUTION_KEYS = {
    "id", "job_id", "worker_id", "status", "started_at", "completed_at", "result", "error",
}
# fmt: on


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    """Give a queue on no file yet."""
    with JobQueue(tmp_path / "gigq.db") as queue:
        yield queue


def run_all(queue: JobQueue, name: str = "me") -> None:
    """Run what is ready, here."""
    with closing(Worker(queue.db_path, worker_id=name)) as worker:
        while worker.process_one():
            pass


def failing(**options: Any) -> Job:  # noqa: ANN401
    """Make a job that fails."""
    return Job("fail", builtins.open, {"file": "/no/such"}, **{"max_attempts": 1, **options})


def is_recent(text: str) -> bool:
    """Tell whether naive local ISO text is a time of the last seconds."""
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo is None
    return timedelta(0) <= datetime.now() - moment < timedelta(seconds=20)  # noqa: DTZ005


class TestStatus:
    """get_status."""

    def test_unknown(self, queue: JobQueue) -> None:
        """An unknown id does not exist, with and without a database."""
        assert queue.get_status("nobody") == {"exists": False}
        queue.submit(Job("job", print))
        assert queue.get_status("nobody") == {"exists": False}

    def test_pending(self, queue: JobQueue) -> None:
        """A pending job has all of GigQ's keys, decoded, and what it was submitted with."""
        job = Job(
            "load",
            abs,
            {"x": [1, {"y": None}]},
            priority=4,
            max_attempts=2,
            timeout=60,
            description="why",
            pass_parent_results=True,
            retry_delay=1.5,
        )
        job_id = queue.submit(job)
        status = queue.get_status(job_id)
        assert status.keys() > JOB_KEYS | {"exists", "executions"}
        assert is_recent(status["created_at"])
        assert is_recent(status["updated_at"])
        expected = {
            "exists": True,
            "id": job.id,
            "name": "load",
            "function_name": "abs",
            "function_module": "builtins",
            "params": {"x": [1, {"y": None}]},
            "priority": 4,
            "dependencies": [],
            "max_attempts": 2,
            "timeout": 60,
            "description": "why",
            "status": "pending",
            "attempts": 0,
            "result": None,
            "error": None,
            "started_at": None,
            "completed_at": None,
            "worker_id": None,
            "pass_parent_results": True,
            "retry_delay": 1.5,
            "retry_after": None,
            "executions": [],
        }
        assert {key: status[key] for key in expected} == expected
        assert isinstance(status["timeout"], int)

    def test_completed(self, queue: JobQueue) -> None:
        """A completed job has its result, its times and the worker, and so has its execution."""
        job_id = queue.submit(Job("load", json.loads, {"s": "[1, 2]"}, priority=1))
        with closing(Worker(queue.db_path, worker_id="me")) as worker:
            worker.process_one()
        status = queue.get_status(job_id)
        assert (status["status"], status["result"], status["error"]) == ("completed", [1, 2], None)
        assert (status["attempts"], status["worker_id"]) == (1, "me")
        (execution,) = status["executions"]
        assert execution.keys() > EXECUTION_KEYS
        assert execution["job_id"] == job_id
        assert (execution["status"], execution["result"]) == ("completed", [1, 2])
        assert execution["worker_id"] == "me"
        for times in (status, execution):
            assert is_recent(times["started_at"])
            assert is_recent(times["completed_at"])
            assert times["started_at"] <= times["completed_at"]

    def test_failed(self, queue: JobQueue) -> None:
        """A failed job says why, in words and with the traceback of each attempt."""
        job_id = queue.submit(failing(max_attempts=2))
        run_all(queue)
        status = queue.get_status(job_id)
        assert (status["status"], status["attempts"]) == ("failed", 2)
        assert status["error"] == "[Errno 2] No such file or directory: '/no/such'"
        assert [each["status"] for each in status["executions"]] == ["failed", "failed"]
        assert all("FileNotFoundError" in each["traceback"] for each in status["executions"])
        assert is_recent(status["completed_at"])

    def test_retry(self, queue: JobQueue) -> None:
        """A job that waits for its next attempt is pending, and says until when."""
        job_id = queue.submit(failing(max_attempts=2, retry_delay=3600))
        run_all(queue)
        status = queue.get_status(job_id)
        assert (status["status"], status["completed_at"]) == ("pending", None)
        left = datetime.fromisoformat(status["retry_after"]) - datetime.now()  # noqa: DTZ005
        assert timedelta(minutes=59) < left <= timedelta(hours=1)

    def test_dependencies(self, queue: JobQueue) -> None:
        """Dependencies are ids, in the order in which they were given."""
        ids = [queue.submit(Job("parent", print)) for _ in range(5)]
        ids = [ids[number] for number in (3, 0, 4, 1, 2)]
        child = queue.submit(Job("child", print, dependencies=ids))
        assert queue.get_status(child)["dependencies"] == ids
        listed = {each["id"]: each for each in queue.list_jobs()}
        assert listed[child]["dependencies"] == ids

    def test_cancelled_after_an_attempt(self, queue: JobQueue) -> None:
        """A job cancelled between two attempts was completed when it was cancelled."""
        job_id = queue.submit(failing(max_attempts=2, retry_delay=3600))
        run_all(queue)
        attempt = queue.get_status(job_id)["executions"][0]["completed_at"]
        until(lambda: datetime.now() > datetime.fromisoformat(attempt))  # noqa: DTZ005
        assert queue.cancel(job_id)
        assert queue.get_status(job_id)["completed_at"] > attempt

    def test_given_back(self, queue: JobQueue) -> None:
        """A job that was claimed and never begun has not started."""
        job_id = queue.submit(Job("job", print))
        with closing(SqliteStore(queue.db_path)) as store:
            worker = store.register("worker", own_identity())
            (claim,) = store.settle(worker, (), claim=1).claims
            store.settle(worker, [released(claim)])
        status = queue.get_status(job_id)
        assert (status["status"], status["attempts"], status["executions"]) == ("pending", 0, [])
        assert (status["started_at"], status["worker_id"]) == (None, None)


class TestResult:
    """get_result."""

    @pytest.mark.parametrize("value", [0, "", [], None, {"a": [1.5]}, "ä\0", False])
    def test_value(self, queue: JobQueue, value: Any) -> None:  # noqa: ANN401
        """The result comes back as it was returned."""
        job_id = queue.submit(Job("job", json.loads, {"s": json.dumps(value)}))
        assert queue.get_result(job_id) is None
        run_all(queue)
        assert queue.get_result(job_id) == value

    def test_unknown(self, queue: JobQueue) -> None:
        """An unknown id is a KeyError that says so, with and without a database."""
        for _ in range(2):
            with pytest.raises(KeyError) as caught:
                queue.get_result("nobody")
            assert isinstance(caught.value, UnknownJobError)
            assert str(caught.value) == f"no job nobody in {queue.db_path}"
            queue.submit(Job("job", print))

    def test_failed(self, queue: JobQueue) -> None:
        """A failed job has no result."""
        job_id = queue.submit(failing())
        run_all(queue)
        assert queue.get_result(job_id) is None


class TestLists:
    """list_jobs and stats."""

    @pytest.fixture
    def ids(self, queue: JobQueue) -> dict[str, str]:
        """Give jobs of several statuses, oldest first."""
        ids = {"failed": str(queue.submit(failing()))}
        ids["completed"] = str(queue.submit(Job("done", json.loads, {"s": "1"})))
        run_all(queue)
        ids["cancelled"] = str(queue.submit(Job("cancelled", print)))
        ids["pending"] = str(queue.submit(Job("pending", print)))
        queue.cancel(ids["cancelled"])
        return ids

    def test_newest_first(self, queue: JobQueue, ids: dict[str, str]) -> None:
        """Jobs are listed newest first, with all keys but the executions."""
        listed = queue.list_jobs()
        assert [job["id"] for job in listed[:4]] == list(reversed(ids.values()))
        assert all(job.keys() >= JOB_KEYS for job in listed)

    def test_status(self, queue: JobQueue, ids: dict[str, str]) -> None:
        """A status, or its word, narrows the list."""
        for status in (JobStatus.PENDING, JobStatus.COMPLETED, JobStatus.CANCELLED):
            for each in (status, status.value):
                assert [job["id"] for job in queue.list_jobs(each)] == [ids[status.value]]
        assert queue.list_jobs("running") == queue.list_jobs(JobStatus.TIMEOUT) == []

    def test_limit(self, queue: JobQueue) -> None:
        """A hundred are listed unless another number, or None, is asked for."""
        queue.submit_many(Job("job", print) for _ in range(130))
        assert len(queue.list_jobs()) == 100
        assert len(queue.list_jobs(limit=7)) == 7
        assert queue.list_jobs(limit=0) == []
        assert len(queue.list_jobs("pending", None)) == 130

    def test_wrong_word(self, queue: JobQueue) -> None:
        """A word that is no status is refused, with those that are."""
        with pytest.raises(InvalidJobError, match=r"'done' is no status; .*pending, running, comp"):
            queue.list_jobs("done")

    def test_stats(self, queue: JobQueue, ids: dict[str, str]) -> None:
        """Each of the six statuses is counted, and all of them."""
        assert len(ids) == 4
        assert queue.stats() == {
            "pending": 1,
            "running": 0,
            "completed": 1,
            "failed": 1,
            "cancelled": 1,
            "timeout": 0,
            "total": 4,
        }

    def test_statuses(self, queue: JobQueue, ids: dict[str, str]) -> None:
        """The statuses of several jobs are told at once."""
        told = queue.statuses([*ids.values(), "nobody"])
        assert told == {job_id: JobStatus(status) for status, job_id in ids.items()}


class TestChanges:
    """Submitting, cancelling, requeueing, clearing."""

    def test_submit_gives_the_id(self, queue: JobQueue) -> None:
        """The id that comes back is the job's, and text: to print, store, send and compare."""
        job = Job("job", print)
        handle = queue.submit(job)
        assert handle == job.id
        assert isinstance(handle, str)
        assert json.dumps([handle]) == json.dumps([job.id])
        assert pickle.loads(pickle.dumps(handle)) == job.id  # noqa: S301 (our own)
        assert {handle: 1}[job.id] == 1

    def test_handle(self, queue: JobQueue) -> None:
        """What comes back can be asked for the job's status and result."""
        handle = queue.submit(Job("job", json.loads, {"s": "[7]"}))
        assert isinstance(handle, JobHandle)
        assert handle.status() is JobStatus.PENDING
        run_all(queue)
        assert handle.wait() is JobStatus.COMPLETED
        assert handle.result() == [7]

    def test_submit_many(self, queue: JobQueue) -> None:
        """Many jobs are submitted in one call, all or nothing."""
        jobs = [Job(f"job {number}", print) for number in range(50)]
        assert queue.submit_many(iter(jobs)) == [job.id for job in jobs]
        new = Job("new", print)
        with pytest.raises(DuplicateJobError):
            queue.submit_many([new, jobs[3]])
        assert queue.get_status(new.id) == {"exists": False}
        assert queue.submit_many([]) == []

    def test_submit_chunks(self, queue: JobQueue) -> None:
        """Any number of jobs is submitted in chunks, each after the one before."""
        there = []

        def jobs() -> Iterator[Job]:
            for _ in range(10):
                there.append(queue.stats()["total"])
                yield Job("job", print)

        assert queue.submit_chunks(jobs(), size=4) == 10
        assert there == [0] * 4 + [4] * 4 + [8] * 2
        assert queue.stats()["total"] == 10
        assert queue.submit_chunks([]) == 0
        for size in (0, 100_001):
            with pytest.raises(ValueError, match="size"):
                queue.submit_chunks([], size=size)

    def test_refused_chunk(self, queue: JobQueue) -> None:
        """A chunk that is refused leaves nothing of itself, and says how many came before it."""
        jobs = [Job("job", print) for _ in range(5)]
        with pytest.raises(DuplicateJobError) as refused:
            queue.submit_chunks([*jobs, jobs[0], Job("job", print)], size=3)
        assert refused.value.__notes__ == ["3 jobs had been submitted before this chunk"]
        assert queue.stats()["total"] == 3

    def test_same_job_twice(self, queue: JobQueue) -> None:
        """A job is submitted once, whatever its place in the list."""
        parent, child = Job("parent", print), Job("child", print)
        child.dependencies.append(parent.id)
        for jobs in ([parent, child, parent], [child, parent, parent]):
            with pytest.raises(DuplicateJobError):
                queue.submit_many(jobs)
            assert queue.stats()["total"] == 0

    def test_cancel(self, queue: JobQueue) -> None:
        """Only a pending job is cancelled."""
        assert not queue.cancel("nobody")
        job_id = queue.submit(Job("job", print))
        assert queue.cancel(job_id)
        assert not queue.cancel(job_id)
        assert queue.get_status(job_id)["status"] == "cancelled"
        run_all(queue)
        assert queue.get_status(job_id)["executions"] == []

    def test_requeue(self, queue: JobQueue) -> None:
        """An unsuccessful job is pending again with attempts at 0; its history stays."""
        assert not queue.requeue_job("nobody")
        job_id = queue.submit(failing())
        assert not queue.requeue_job(job_id)
        run_all(queue)
        assert queue.requeue_job(job_id)
        status = queue.get_status(job_id)
        assert (status["status"], status["attempts"], status["error"]) == ("pending", 0, None)
        assert [each["status"] for each in status["executions"]] == ["failed"]
        run_all(queue)
        assert len(queue.get_status(job_id)["executions"]) == 2

    def test_requeue_below_a_failed_parent(self, queue: JobQueue) -> None:
        """A child of a failed parent is refused, with the parent's name."""
        parent = queue.submit(failing())
        child = queue.submit(Job("child", print, dependencies=[parent]))
        run_all(queue)
        assert queue.get_status(child)["status"] == "cancelled"
        with pytest.raises(WorkflowError, match="its parent 'fail'"):
            queue.requeue_job(child)

    def test_clear(self, queue: JobQueue) -> None:
        """Completed and cancelled jobs are deleted and counted; all others stay."""
        ids = [
            queue.submit(Job("done", json.loads, {"s": "1"}, priority=1)),
            queue.submit(failing()),
        ]
        run_all(queue)
        ids.append(queue.submit(Job("cancelled", print)))
        ids.append(queue.submit(Job("pending", print)))
        queue.cancel(ids[2])
        assert queue.clear_completed() == 2
        assert [queue.get_status(each)["exists"] for each in ids] == [False, True, False, True]
        assert queue.stats()["total"] == 2

    @pytest.mark.parametrize("form", ["text", "naive", "aware"])
    def test_clear_before(self, queue: JobQueue, form: str) -> None:
        """A cutoff is ISO text or a datetime; naive ones are local."""
        first = queue.submit(Job("done", json.loads, {"s": "1"}))
        run_all(queue)
        moment = datetime.now(UTC)
        until(lambda: datetime.now(UTC) > moment)
        second = queue.submit(Job("done", json.loads, {"s": "1"}))
        run_all(queue)
        naive = moment.astimezone().replace(tzinfo=None)
        before = {"text": naive.isoformat(), "naive": naive, "aware": moment}[form]
        assert queue.clear_completed(before) == 1
        assert not queue.get_status(first)["exists"]
        assert queue.get_status(second)["exists"]

    def test_clear_before_nonsense(self, queue: JobQueue) -> None:
        """Text that is no time is a ValueError."""
        queue.submit(Job("job", print))
        with pytest.raises(ValueError, match="yesterday"):
            queue.clear_completed("yesterday")


class TestFile:
    """The queue and its file."""

    def test_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A relative path means the folder in which the queue was made."""
        monkeypatch.chdir(tmp_path)
        queue = JobQueue("gigq.db")
        monkeypatch.chdir("/")
        with queue:
            queue.submit(Job("job", print))
        assert (tmp_path / "gigq.db").exists()
        assert queue.db_path == str(tmp_path / "gigq.db")

    def test_close_and_reopen(self, queue: JobQueue) -> None:
        """A closed queue opens itself again at the next call; closing twice is harmless."""
        job_id = queue.submit(Job("job", print))
        for _ in range(2):
            queue.close()
            queue.close()
            assert queue.get_status(job_id)["exists"]
            queue.close()
            queue.submit(Job("job", print))
        assert queue.stats()["total"] == 3

    def test_close_lets_go(self, queue: JobQueue) -> None:
        """A closed queue holds no file open."""

        def held() -> list[str]:
            links = []
            for number in os.listdir("/proc/self/fd"):  # noqa: PTH208
                try:
                    links.append(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115
                except OSError:
                    continue
            return [link for link in links if link.startswith(queue.db_path)]

        queue.submit(Job("job", print))
        assert held()
        queue.close()
        assert held() == []

    def test_file_that_appears_later(self, tmp_path: Path) -> None:
        """A queue that found no database finds the one that somebody else makes."""
        with JobQueue(tmp_path / "gigq.db") as looker, JobQueue(tmp_path / "gigq.db") as queue:
            assert looker.stats()["total"] == 0
            job_id = queue.submit(Job("job", print))
            assert looker.stats()["total"] == 1
            assert looker.cancel(job_id)

    def test_initialize_false(self, tmp_path: Path) -> None:
        """Without `initialize` a missing database is refused, an existing one used."""
        path = tmp_path / "gigq.db"
        with JobQueue(path, initialize=False) as queue:
            for use in (lambda: queue.submit(Job("job", print)), queue.stats, queue.list_jobs):
                with pytest.raises(StoreError, match="there is no database"):
                    use()
            with JobQueue(path) as other:
                other.submit(Job("job", print))
            queue.submit(Job("job", print))
            assert queue.stats()["total"] == 2


class TestThreads:
    """One queue, many threads."""

    def test_shared_queue(self, queue: JobQueue) -> None:
        """Threads that share a queue submit, look, cancel and close without losing anything."""
        ids: list[str] = []
        errors: list[BaseException] = []

        def use() -> None:
            try:
                for number in range(25):
                    job_id = queue.submit(Job("job", print))
                    ids.append(job_id)
                    assert queue.get_status(job_id)["status"] == "pending"
                    queue.stats()
                    if number % 5 == 0:
                        queue.close()
                    if number % 3 == 0:
                        assert queue.cancel(job_id)
            except BaseException as error:  # noqa: BLE001 (told to the test)
                errors.append(error)

        threads = [threading.Thread(target=use) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(set(ids)) == 150
        stats = queue.stats()
        assert (stats["total"], stats["cancelled"]) == (150, 6 * 9)
