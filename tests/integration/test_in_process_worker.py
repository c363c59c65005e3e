"""The `Worker` of the API: jobs run in the threads of the program that made it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from harness import until

from gigq import (
    Job,
    JobQueue,
    JobStatus,
    Worker,
    Workflow,
    close_connections,
    task,
)
from gigq.db_utils import close_connection, get_connection
from gigq.queue import clock
from gigq.queue.companions import Companions
from gigq.queue.errors import SchemaVersionError, StoreUnusableError
from gigq.queue.identity import Identity, own_identity
from gigq.queue.service_lock import ServiceLock
from gigq.queue.sqlite_store import SqliteStore
from gigq.worker.current_job import CurrentJob
from gigq.worker.outcome import timed_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gigq.queue.records import Progress

# No file may grow beyond the size that the log has, for a second.
FULL_DISK = """
import os, resource, threading, time
from gigq import Job, JobQueue, Worker

queue = JobQueue("gigq.db")
job = queue.submit(Job("job", "os.getpid", max_attempts=1))
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat("gigq.db-wal").st_size, hard))
worker = Worker("gigq.db", polling_interval=0.1)

def make_room():
    time.sleep(1)
    assert queue.get_status(job)["status"] == "pending"
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    while queue.get_status(job)["status"] in ("pending", "running"):
        time.sleep(0.01)
    worker.stop()

threading.Thread(target=make_room).start()
worker.start()
worker.close()
found = queue.get_status(job)
print(found["status"], len(found["executions"]))
"""
seen: list[Any] = []  # what jobs of a test noted
gates: dict[str, threading.Event] = {}  # what jobs of a test wait for


# Jobs


def note(value: Any = None) -> Any:  # noqa: ANN401
    """Note that it ran, and give the value back."""
    seen.append(value)
    return value


def note_thread() -> str:
    """Note which thread runs it, and wait until two have."""
    seen.append(threading.current_thread().name)
    until(lambda: len(set(seen)) >= 2)
    return threading.current_thread().name


def wait_for(gate: str) -> str:
    """Say that it began, and wait until the test lets it go on."""
    seen.append(gate)
    assert gates[gate].wait(30)
    return gate


def fail(message: str) -> None:
    """Raise."""
    raise ValueError(message)


def leave() -> None:
    """Call sys.exit, as a script might."""
    sys.exit(3)


def be_interrupted() -> None:
    """Be interrupted by ^C."""
    raise KeyboardInterrupt


def spin() -> None:
    """Run for ever, in Python code."""
    seen.append("spin")
    while True:
        pass


def spin_and_swallow() -> str:
    """Run until interrupted, and go on as if nothing had happened."""
    try:
        spin()
    except BaseException:  # noqa: BLE001 (the case in question)
        seen.append("swallowed")
    return "late"


def wait_in_c(descriptor: int) -> str:
    """Wait in a call into C until the test writes into the pipe."""
    seen.append("waiting")
    os.read(descriptor, 1)
    return "late"


def give_object() -> object:
    """Give what is no JSON."""
    seen.append("object")
    return {"rows": [1, object()]}


def fork() -> str:
    """Leave a child that returns as well."""
    child = os.fork()
    if not child:
        return "child"
    seen.append(child)
    return "parent"


class Unwritable(dict[str, int]):
    """A dictionary that cannot be read."""

    def items(self) -> Any:  # noqa: ANN401
        """Raise."""
        message = "changed while it was read"
        raise RuntimeError(message)


def give_unwritable() -> Unwritable:
    """Give what raises while it is written as JSON."""
    return Unwritable(a=1)


class WordlessError(Exception):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        """Raise."""
        message = "no words"
        raise RuntimeError(message)


def fail_without_words() -> None:
    """Raise an error whose text raises."""
    raise WordlessError


def use_database(path: str, end: str) -> int:
    """Write a table of one's own into the queue's database."""
    connection = get_connection(path)
    connection.execute("CREATE TABLE IF NOT EXISTS mine (x)")
    connection.commit()
    connection.execute("INSERT INTO mine VALUES (1)")
    if end == "commit":
        connection.commit()
    elif end == "close all":
        connection.commit()
        close_connections()
    elif end == "close one":
        connection.commit()
        close_connection(path)
    elif end == "read":
        connection.commit()
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM mine").fetchall()
    return 7


def take_results(parent_results: Any) -> Any:  # noqa: ANN401
    """Ask for the results of parents."""
    return parent_results


def take_optional_results(parent_results: Any = "none") -> Any:  # noqa: ANN401
    """Ask for them, if there are any."""
    return parent_results


def take_anything(**anything: Any) -> Any:  # noqa: ANN401
    """Take whatever is given."""
    return anything


def take_job_results(job_results: Any) -> Any:  # noqa: ANN401
    """Ask for them by the older name."""
    return job_results


def take_optional_job_results(job_results: Any = "none") -> Any:  # noqa: ANN401
    """Have the older name as an option."""
    return job_results


def take_nothing() -> str:
    """Ask for nothing."""
    return "nothing"


@task
def take_as_task(parent_results: Any, factor: int) -> Any:  # noqa: ANN401
    """Ask for them as a task."""
    return [*parent_results.values(), factor]


# Tests


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    """Forget what jobs of the last test noted."""
    seen.clear()
    gates.clear()
    yield
    for gate in gates.values():
        gate.set()


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    """Give a queue."""
    with JobQueue(tmp_path / "gigq.db") as queue:
        yield queue


@pytest.fixture
def worker(queue: JobQueue) -> Iterator[Worker]:
    """Give a worker in this process."""
    with closing(Worker(queue.db_path, worker_id="me", polling_interval=30)) as worker:
        yield worker


@pytest.fixture
def start(queue: JobQueue) -> Iterator[Callable[..., Worker]]:
    """Give what starts workers in threads; they are stopped afterwards."""
    started: list[tuple[Worker, threading.Thread]] = []

    def start(**options: Any) -> Worker:  # noqa: ANN401
        worker = Worker(queue.db_path, **{"polling_interval": 30, **options})
        thread = threading.Thread(target=worker.start)
        started.append((worker, thread))
        thread.start()
        until(lambda: worker.running)
        return worker

    yield start
    for gate in gates.values():
        gate.set()
    for worker, thread in started:
        worker.stop()
        thread.join(30)
        assert not thread.is_alive()
        worker.close()


def gate(name: str) -> str:
    """Make what a job waits for."""
    gates[name] = threading.Event()
    return name


def status(queue: JobQueue, job_id: str) -> str:
    """Give a job's status."""
    found: str = queue.get_status(job_id)["status"]
    return found


def run_all(worker: Worker) -> int:
    """Run what is ready; how many jobs that were."""
    done = 0
    while worker.process_one():
        done += 1
    return done


def hold_claim(queue: JobQueue, identity: Identity) -> int:
    """Claim the next job as a worker of another process; the worker's key."""
    with closing(SqliteStore(queue.db_path)) as store:
        worker = store.register("other", identity)
        assert store.settle(worker, (), claim=1).claims
        return worker


def dead_process() -> Identity:
    """Give the identity of a process that lived a moment ago."""
    return own_identity()._replace(start_ticks=1)


class TestProcessOne:
    """One job, here and now."""

    def test_outcome_is_stored_on_return(self, queue: JobQueue, worker: Worker) -> None:
        """When it returns, the job has run in this thread and others can read its result."""
        job_id = queue.submit(Job("job", note, {"value": [1, "ä"]}))
        assert worker.process_one() is True
        assert seen == [[1, "ä"]]
        with JobQueue(queue.db_path) as other:
            assert other.get_result(job_id) == [1, "ä"]

    def test_nothing_to_do(self, queue: JobQueue, worker: Worker) -> None:
        """It gives False when no job is ready, and when there is no database."""
        assert worker.process_one() is False
        assert not Path(queue.db_path).exists()
        queue.submit(Job("later", note, delay=3600))
        assert worker.process_one() is False
        assert seen == []

    def test_order(self, queue: JobQueue, worker: Worker) -> None:
        """Jobs run by priority, then by age."""
        for value, priority in enumerate((0, 2, 0, 2, 1)):
            queue.submit(Job("job", note, {"value": value}, priority=priority))
        assert run_all(worker) == 5
        assert seen == [1, 3, 4, 0, 2]

    def test_workflow(self, queue: JobQueue, worker: Worker) -> None:
        """A workflow's jobs run in the order of their dependencies."""
        workflow = Workflow("diamond")
        top = workflow.add_job(Job("top", note, {"value": "top"}))
        sides = [workflow.add_job(Job(n, note, {"value": n}), depends_on=[top]) for n in "ab"]
        workflow.add_job(Job("bottom", note, {"value": "bottom"}, priority=9), depends_on=sides)
        workflow.submit_all(queue)
        assert run_all(worker) == 4
        assert seen == ["top", "a", "b", "bottom"]

    def test_failure_and_retry(self, queue: JobQueue, worker: Worker) -> None:
        """A job that raises is tried max_attempts times, then it has failed with its words."""
        job_id = queue.submit(Job("job", fail, {"message": "no ä"}, max_attempts=2))
        assert run_all(worker) == 2
        told = queue.get_status(job_id)
        assert (told["status"], told["error"], told["attempts"]) == ("failed", "no ä", 2)
        (first, _) = told["executions"]
        assert first["cause"] == "raised"
        assert "ValueError: no ä" in first["traceback"]
        assert "attempt.py" not in first["traceback"]

    def test_exit_is_a_failure(self, queue: JobQueue, worker: Worker) -> None:
        """A job that calls sys.exit fails; the program goes on."""
        job_id = queue.submit(Job("job", leave, max_attempts=1))
        assert worker.process_one()
        assert queue.get_status(job_id)["error"] == "SystemExit: 3"

    def test_function_that_is_gone(self, queue: JobQueue, worker: Worker) -> None:
        """A function that cannot be imported is a failure that says why."""
        job_id = queue.submit(Job("job", "no_such_module.work", max_attempts=1))
        assert worker.process_one()
        told = queue.get_status(job_id)
        assert told["status"] == "failed"
        assert told["error"].startswith("`no_such_module` ")
        assert told["executions"][0]["cause"] == "import"

    @pytest.mark.parametrize("function", [fail_without_words, give_unwritable])
    def test_strange_objects(
        self, queue: JobQueue, worker: Worker, function: Callable[[], object]
    ) -> None:
        """An error that cannot be shown, or a result that raises, fails the job and no more."""
        job_id = queue.submit(Job("job", function, max_attempts=1))
        assert worker.process_one()
        assert status(queue, job_id) == "failed"

    def test_deep_parameters(self, queue: JobQueue, worker: Worker) -> None:
        """Parameters nested as deep as a submit takes them run, or fail as a job does."""
        value: Any = None
        for _ in range(2000):
            value = [value]
        while True:
            job = Job("job", note, {"value": value}, max_attempts=1)
            try:
                job_id = queue.submit(job)
            except ValueError:
                (value,) = value
            else:
                break
        assert worker.process_one()
        assert status(queue, job_id) in ("completed", "failed")

    def test_result_that_is_no_json(self, queue: JobQueue, worker: Worker) -> None:
        """It fails the job once, with the value's path, and is not retried: the work was done."""
        job_id = queue.submit(Job("job", give_object, max_attempts=5))
        assert run_all(worker) == 1
        told = queue.get_status(job_id)
        assert (told["status"], told["attempts"]) == ("failed", 1)
        assert told["error"].startswith("result.rows[1]: a object is not JSON")
        assert told["executions"][0]["cause"] == "result_not_json"
        assert seen == ["object"]

    def test_current_job(self, queue: JobQueue, start: Callable[..., Worker]) -> None:
        """While a job runs, `current_job_id` is its id; otherwise None."""
        job_id = queue.submit(Job("job", wait_for, {"gate": gate("a")}))
        worker = start()
        until(lambda: seen)
        assert worker.current_job_id == job_id
        assert status(queue, job_id) == "running"
        gates["a"].set()
        until(lambda: status(queue, job_id) == "completed")
        until(lambda: worker.current_job_id is None)

    def test_worker_is_named(self, queue: JobQueue) -> None:
        """Executions carry the worker's id, given or made up."""
        for name in ("me", None):
            job_id = queue.submit(Job("job", note))
            with closing(Worker(queue.db_path, worker_id=name)) as worker:
                worker.process_one()
                assert worker.worker_id
                told = queue.get_status(job_id)
                assert told["worker_id"] == worker.worker_id
                assert told["executions"][0]["worker_id"] == worker.worker_id

    def test_single_runs_are_durable_first(self, queue: JobQueue, worker: Worker) -> None:
        """Before a job that may run once its claim is made durable; others are not waited for."""
        worker.process_one()
        queue.submit(Job("warm", note))
        worker.process_one()
        store = worker._lane._store
        assert store is not None
        statements: list[str] = []
        store._connection._sqlite.set_trace_callback(statements.append)
        for most, full in ((2, 0), (1, 1)):
            queue.submit(Job("job", note, max_attempts=most))
            statements.clear()
            worker.process_one()
            assert sum("synchronous = FULL" in text for text in statements) == full

    def test_start_outlasts_a_full_disk(self, tmp_path: Path) -> None:
        """While nothing can be written, `start` waits; then it runs the job, and only once."""
        done = subprocess.run(
            [sys.executable, "-c", FULL_DISK],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (0, "completed 1\n"), done.stderr

    def test_what_cannot_be_made_durable_is_given_back(
        self, queue: JobQueue, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A job that may run once and whose claim cannot be synced is pending again, uncharged."""
        queue.submit(Job("warm", note))
        worker.process_one()
        store = worker._lane._store
        assert store is not None
        job_id = queue.submit(Job("job", note, max_attempts=1))

        def fail(_: int) -> None:
            raise StoreUnusableError

        monkeypatch.setattr(store, "begin", fail)
        with pytest.raises(StoreUnusableError):
            worker.process_one()
        found = queue.get_status(job_id)
        assert (found["status"], found["attempts"]) == ("pending", 0)
        monkeypatch.undo()
        assert worker.process_one()
        assert status(queue, job_id) == "completed"

    def test_used_after_close(self, queue: JobQueue, worker: Worker) -> None:
        """A closed worker can be used again: it begins a new life."""
        for _ in range(2):
            job_id = queue.submit(Job("job", note))
            assert worker.process_one()
            worker.close()
            worker.close()
            assert status(queue, job_id) == "completed"
        with closing(SqliteStore(queue.db_path)) as store:
            assert store.open_workers() == []

    @pytest.mark.parametrize("concurrency", [0, -1])
    def test_concurrency_is_looked_at(self, queue: JobQueue, concurrency: int) -> None:
        """Less than one thread is a ValueError."""
        with pytest.raises(ValueError, match="at least 1"):
            Worker(queue.db_path, concurrency=concurrency)


class TestStart:
    """Working until stopped."""

    def test_stop_from_another_thread(self, queue: JobQueue) -> None:
        """`stop` ends `start` after the running job; the next ones stay pending."""
        ids = [queue.submit(Job("job", wait_for, {"gate": gate(n)})) for n in "ab"]
        worker = Worker(queue.db_path, polling_interval=30)
        thread = threading.Thread(target=worker.start)
        thread.start()
        until(lambda: seen == ["a"])
        worker.stop()
        assert not worker.running
        assert thread.is_alive()
        gates["a"].set()
        thread.join(30)
        worker.close()
        assert [status(queue, each) for each in ids] == ["completed", "pending"]
        assert queue.get_status(ids[1])["attempts"] == 0

    def test_close_waits_for_the_running_job(self, queue: JobQueue) -> None:
        """A worker that is closed while its thread runs a job ends neither that job nor its claim.

        It would be begun a second time then.
        """
        job = queue.submit(Job("job", wait_for, {"gate": gate("a")}, max_attempts=1))
        worker = Worker(queue.db_path)
        thread = threading.Thread(target=worker.start)
        thread.start()
        until(lambda: seen == ["a"])
        worker.stop()
        closing_it = threading.Thread(target=worker.close)
        closing_it.start()
        closing_it.join(0.3)
        assert status(queue, job) == "running"
        gates["a"].set()
        thread.join(30)
        closing_it.join(30)
        assert status(queue, job) == "completed"

    def test_error_of_a_thread(self, queue: JobQueue) -> None:
        """What ends one of several threads is raised by `start`, when all have ended."""
        queue.submit(Job("job", note))
        with closing(sqlite3.connect(queue.db_path)) as database:
            database.execute("PRAGMA user_version = 1000")
        with pytest.raises(SchemaVersionError, match="newer gigqd"):
            Worker(queue.db_path, concurrency=3).start()

    def test_stop_ends_the_wait(self, queue: JobQueue, start: Callable[..., Worker]) -> None:
        """A worker that waits for work stops at once, with and without a database."""
        begin, threads = time.monotonic(), threading.active_count()
        start(polling_interval=60).stop()
        queue.submit(Job("job", note))
        worker = start(polling_interval=60)
        until(lambda: seen)
        worker.stop()
        until(lambda: threading.active_count() == threads)
        assert time.monotonic() - begin < 30

    def test_submit_wakes_it(self, queue: JobQueue, start: Callable[..., Worker]) -> None:
        """A submitted job is begun long before the next look."""
        queue.submit(Job("job", note))
        start(polling_interval=600)
        until(lambda: len(seen) == 1)
        for number in range(2, 5):
            queue.submit(Job("job", note))
            until(lambda number=number: len(seen) == number)

    def test_due_job_wakes_it(self, queue: JobQueue, start: Callable[..., Worker]) -> None:
        """A job that becomes due is begun then, not at the next look."""
        queue.submit(Job("later", note, delay=0.3))
        start(polling_interval=600)
        until(lambda: seen)

    def test_file_that_appears(self, queue: JobQueue, start: Callable[..., Worker]) -> None:
        """A worker may be started before there is a database, and look while it is made."""
        start(polling_interval=0.0005)
        queue.submit(Job("job", note))
        until(lambda: seen, seconds=5)

    def test_restart_without_a_database_waits(
        self, queue: JobQueue, start: Callable[..., Worker]
    ) -> None:
        """Started again without a database, a worker still waits between its looks."""
        threads = threading.active_count()
        worker = start()
        worker.stop()
        until(lambda: threading.active_count() == threads)
        thread = threading.Thread(target=worker.start)
        begin, used = time.monotonic(), time.process_time()
        thread.start()
        until(lambda: time.monotonic() - begin > 0.4, pause=0.1)
        busy = time.process_time() - used
        worker.stop()
        thread.join()
        assert busy < 0.1
        assert not Path(queue.db_path).exists()

    def test_concurrency(self, queue: JobQueue, start: Callable[..., Worker]) -> None:
        """With several threads jobs run side by side, each thread under a name of its own."""
        ids = [queue.submit(Job("job", note_thread)) for _ in range(2)]
        ids += [queue.submit(Job("job", note)) for _ in range(20)]
        start(worker_id="pool", concurrency=3)
        until(lambda: queue.stats()["completed"] == 22)
        names = {queue.get_status(each)["worker_id"] for each in ids}
        assert names <= {"pool-0", "pool-1", "pool-2"}
        assert len({queue.get_status(each)["worker_id"] for each in ids[:2]}) == 2

    def test_stop_of_several_threads(self, queue: JobQueue) -> None:
        """All threads finish what they run and say goodbye; nothing is left half-way."""
        running = [queue.submit(Job("job", wait_for, {"gate": gate(n)})) for n in "ab"]
        pending = queue.submit(Job("job", note))
        worker = Worker(queue.db_path, concurrency=2)
        thread = threading.Thread(target=worker.start)
        thread.start()
        until(lambda: sorted(seen) == ["a", "b"])
        assert worker.current_job_id in running
        worker.stop()
        for each in gates.values():
            each.set()
        thread.join(30)
        worker.close()
        assert [status(queue, each) for each in (*running, pending)] == [
            "completed",
            "completed",
            "pending",
        ]
        with closing(SqliteStore(queue.db_path)) as store:
            assert store.open_workers() == []

    def test_more_ready_jobs_wake_more(self, queue: JobQueue, start: Callable[..., Worker]) -> None:
        """One ring for many jobs wakes one sleeping thread after the other."""
        queue.submit(Job("job", note))
        start(concurrency=2, polling_interval=600)
        until(lambda: seen)
        seen.clear()
        queue.submit_many(Job("job", note_thread) for _ in range(2))
        until(lambda: len(set(seen)) == 2)


SIGNALLED = """
import sys, time
from pathlib import Path
from gigq import Job, JobQueue, Worker

here = Path(sys.argv[1])

def work():
    (here / "begun").touch()
    while not (here / "go").exists():
        time.sleep(0.005)
    return "done"

if __name__ == "__main__":
    with JobQueue(here / "gigq.db") as queue:
        ids = [queue.submit(Job("job", work)) for _ in range(2)]
    worker = Worker(here / "gigq.db", polling_interval=60, concurrency=int(sys.argv[2]))
    worker.start()
    worker.close()
    import signal
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


class TestSignals:
    """`start` in the main thread."""

    @pytest.fixture
    def program(self, tmp_path: Path) -> Iterator[Callable[[int], subprocess.Popen[str]]]:
        """Give what starts a program with a worker of so many threads."""
        SqliteStore(tmp_path / "gigq.db").close()
        (tmp_path / "script.py").write_text(SIGNALLED)
        command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
        with ExitStack() as stack:

            def program(threads: int) -> subprocess.Popen[str]:
                process = stack.enter_context(
                    subprocess.Popen([*command, str(threads)], stdout=subprocess.PIPE, text=True)
                )
                stack.callback(process.kill)
                return process

            yield program

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signal_stops_it(
        self,
        tmp_path: Path,
        program: Callable[[int], subprocess.Popen[str]],
        number: signal.Signals,
    ) -> None:
        """A signal lets the running job finish and `start` return, and handlers are put back."""
        process = program(1)
        until((tmp_path / "begun").exists)
        process.send_signal(number)
        (tmp_path / "go").touch()
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert out == "True\n"
        with JobQueue(tmp_path / "gigq.db") as queue:
            stats = queue.stats()
            assert stats["completed"] >= 1
            assert stats["completed"] + stats["pending"] == 2

    def test_signal_stops_several_threads(
        self, tmp_path: Path, program: Callable[[int], subprocess.Popen[str]]
    ) -> None:
        """A signal stops all threads."""
        (tmp_path / "go").touch()
        process = program(3)
        with JobQueue(tmp_path / "gigq.db") as queue:
            until(lambda: queue.stats()["completed"] == 2)
        process.terminate()
        process.communicate(timeout=30)
        assert process.returncode == 0

    def test_signals_of_the_program_are_left_alone(
        self, queue: JobQueue, start: Callable[..., Worker]
    ) -> None:
        """In another thread than the main one no handler is touched."""
        before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
        start()
        queue.submit(Job("job", note))
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before

    @pytest.mark.parametrize(("most", "after"), [(3, "pending"), (1, "failed")])
    def test_interrupt_gives_the_claim_back(
        self, queue: JobQueue, worker: Worker, most: int, after: str
    ) -> None:
        """^C in a job goes on its way; the job is pending again, or stopped if it may run once."""
        job_id = queue.submit(Job("job", be_interrupted, max_attempts=most))
        with pytest.raises(KeyboardInterrupt):
            worker.process_one()
        told = queue.get_status(job_id)
        assert told["status"] == after
        assert told["attempts"] == (0 if most > 1 else 1)
        assert worker.current_job_id is None
        assert told["error"] == "stopped by shutdown"

    def test_no_thread_for_the_time_limit(
        self, queue: JobQueue, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A job that cannot be begun is given back, and the error goes on its way."""
        job_id = queue.submit(Job("job", note, max_attempts=1))

        def refuse(_: threading.Thread) -> None:
            message = "can't start new thread"
            raise RuntimeError(message)

        with monkeypatch.context() as without_threads:
            without_threads.setattr(threading.Timer, "start", refuse)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                worker.process_one()
        told = queue.get_status(job_id)
        assert (told["status"], told["attempts"], seen) == ("pending", 0, [])
        assert worker.process_one()
        assert status(queue, job_id) == "completed"

    def test_child_of_a_job_that_forks(self, queue: JobQueue, worker: Worker) -> None:
        """It ends where its job's function returns, and records nothing."""
        job_id = queue.submit(Job("job", fork))
        assert worker.process_one()
        _, code = os.waitpid(seen[0], 0)
        assert os.waitstatus_to_exitcode(code) == 1
        told = queue.get_status(job_id)
        assert (told["result"], len(told["executions"])) == ("parent", 1)

    @pytest.mark.parametrize("done", [float("nan"), float("-inf"), 3])
    def test_odd_progress(self, queue: JobQueue, done: float) -> None:
        """Whatever a job says of its progress, it does not fail for that."""
        with closing(SqliteStore(queue.db_path)) as store:
            queue.submit(Job("job", note))
            (claim,) = store.settle(store.register("w", own_identity()), (), claim=1).claims
            notes: list[Progress] = []
            job = CurrentJob(claim, lambda _, progress: notes.append(progress), clock.now())
            job.progress(done, float("inf"), "\udcff" * 5000)
            store.set_progress(claim.execution, notes[0])
            found = store.progress(claim.execution)
            assert found is not None
            assert found.done == (3 if done == 3 else 0)
            assert (found.total, len(found.text) > 1000) == (None, True)


class TestDeadline:
    """A job's time in a program that cannot kill it."""

    def test_endless_job(self, queue: JobQueue, worker: Worker) -> None:
        """A job that runs Python code is ended at its deadline, each attempt, with the words."""
        job_id = queue.submit(Job("job", spin, timeout=0.1, max_attempts=2))
        assert run_all(worker) == 2
        told = queue.get_status(job_id)
        assert (told["status"], told["attempts"]) == ("timeout", 2)
        assert told["error"] == "Job timed out after 0.1 seconds"
        assert [each["status"] for each in told["executions"]] == ["timeout"] * 2

    def test_words_for_long_timeouts(self, queue: JobQueue, worker: Worker) -> None:
        """However long the timeout was, it is written out in full."""
        queue.submit(Job("job", note, timeout=1_234_567))
        (claim,) = _claims(queue)
        assert timed_out(claim, claim.timeout, None).error == "Job timed out after 1234567 seconds"
        assert not worker.process_one()

    def test_swallowed(self, queue: JobQueue, worker: Worker) -> None:
        """A job that swallows its interruption has timed out; what it returns is dropped."""
        job_id = queue.submit(Job("job", spin_and_swallow, timeout=0.05, max_attempts=1))
        assert worker.process_one()
        assert seen == ["spin", "swallowed"]
        told = queue.get_status(job_id)
        assert (told["status"], told["result"]) == ("timeout", None)

    def test_overrun_keeps_the_claim(self, queue: JobQueue, start: Callable[..., Worker]) -> None:
        """A job that nobody can interrupt keeps its claim until it returns, and has timed out."""
        reader, writer = os.pipe()
        job = Job("job", wait_in_c, {"descriptor": reader}, timeout=0.05, max_attempts=3)
        job_id = queue.submit(job)
        worker = start()
        until(lambda: seen == ["waiting"])
        begun = time.monotonic()
        until(lambda: time.monotonic() > begun + 0.2, pause=0.05)
        with closing(Worker(queue.db_path)) as other:
            assert not other.process_one()
        assert status(queue, job_id) == "running"
        worker.stop()
        os.write(writer, b"x")
        until(lambda: status(queue, job_id) != "running")
        told = queue.get_status(job_id)
        assert (told["status"], told["attempts"], told["result"]) == ("pending", 1, None)
        assert told["executions"][0]["error"] == "Job timed out after 0.05 seconds"
        os.close(reader)
        os.close(writer)

    def test_other_threads_go_on(self, queue: JobQueue, start: Callable[..., Worker]) -> None:
        """A deadline ends the job that it is meant for, and no other."""
        job_id = queue.submit(Job("long", wait_for, {"gate": gate("a")}))
        start(concurrency=2)
        until(lambda: seen)
        short = queue.submit(Job("short", spin, timeout=0.05, max_attempts=1))
        until(lambda: status(queue, short) == "timeout")
        assert status(queue, job_id) == "running"
        gates["a"].set()
        until(lambda: status(queue, job_id) == "completed")

    def test_job_that_was_asked_to_end(self, queue: JobQueue, start: Callable[..., Worker]) -> None:
        """A running job that is cancelled ends as cancelled when its function returns."""
        job_id = queue.submit(Job("job", wait_for, {"gate": gate("a")}))
        start()
        until(lambda: seen)
        assert not queue.cancel(job_id)
        assert queue.cancel(job_id, running=True)
        gates["a"].set()
        until(lambda: status(queue, job_id) != "running")
        told = queue.get_status(job_id)
        assert (told["status"], told["result"]) == ("cancelled", None)


def _claims(queue: JobQueue) -> list[Any]:
    """Claim as a living worker of this process."""
    with closing(SqliteStore(queue.db_path)) as store:
        claims: list[Any] = store.settle(store.register("other", own_identity()), (), 1).claims
        return claims


class TestThreads:
    """Threads that each have a queue and a worker."""

    def test_each_to_the_end(self, tmp_path: Path) -> None:
        """As in the seed's page: each thread submits, works until nothing is left, and closes."""
        path = str(tmp_path / "workflows.db")
        errors: list[BaseException] = []

        def run(source: str) -> None:
            queue = JobQueue(path)
            try:
                workflow = Workflow(f"process_{source}")
                first = workflow.add_job(Job("first", note, {"value": source}))
                params = {"path": path, "end": "commit"}
                second = workflow.add_job(Job("second", use_database, params))
                workflow.add_job(Job("last", take_results), depends_on=[first, second])
                workflow.submit_all(queue)
                worker = Worker(path)
                try:
                    while worker.process_one():
                        pass
                finally:
                    worker.close()
            except BaseException as error:  # noqa: BLE001 (told to the test)
                errors.append(error)
            finally:
                queue.close()
                close_connections()

        threads = [threading.Thread(target=run, args=(f"source{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        with JobQueue(path) as queue:
            assert queue.stats()["completed"] == 12
            for job in queue.list_jobs():
                if job["name"] == "last":
                    assert list(job["result"]) == job["dependencies"]
        with closing(SqliteStore(path)) as store:
            assert store.open_workers() == []

    def test_no_job_runs_twice(self, queue: JobQueue, start: Callable[..., Worker]) -> None:
        """Many threads at one database run each job once."""
        queue.submit_many(Job("job", note, {"value": number}) for number in range(200))
        start(concurrency=4)
        start(concurrency=2)
        until(lambda: queue.stats()["completed"] == 200)
        assert sorted(seen) == list(range(200))


class TestConnections:
    """A job's connections are its own."""

    @pytest.mark.parametrize("end", ["commit", "close all", "close one", "read", "open"])
    def test_job_that_uses_the_same_database(
        self, queue: JobQueue, worker: Worker, end: str
    ) -> None:
        """However a job leaves its own connection to the database, the worker goes on."""
        params = {"path": queue.db_path, "end": end}
        ids = [queue.submit(Job("job", use_database, params, max_attempts=1)) for _ in range(2)]
        lane = worker._lane
        store = lane._open()
        assert store is not None
        store._connection.patience = 0.5  # so that a failure of this test is quick
        try:
            assert run_all(worker) == 2
            queue.submit(Job("job", note))
            assert worker.process_one()
        finally:
            close_connections()
        assert [queue.get_result(each) for each in ids] == [7, 7]

    def test_connections_are_of_a_thread(self, tmp_path: Path) -> None:
        """get_connection gives one connection for each thread and file, with rows by name."""
        path = tmp_path / "mine.db"
        connection = get_connection(path)
        assert get_connection(str(path)) is connection
        assert connection.execute("SELECT 1 AS one").fetchone()["one"] == 1
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        others: list[sqlite3.Connection] = []

        def other() -> None:
            others.append(get_connection(path))
            close_connections()

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert others[0] is not connection
        assert connection.execute("SELECT 1").fetchone()[0] == 1
        close_connection(path)
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
        close_connections()


DYING = """
import os, signal, sys
from gigq.queue.identity import own_identity
from gigq.queue.sqlite_store import SqliteStore
store = SqliteStore(sys.argv[1], durable=False)
worker = store.register("dying", own_identity())
claims = store.settle(worker, (), claim=1).claims
print(claims[0].uuid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

FORKING = """
import os, sys
from gigq import Job, JobQueue, Worker

if __name__ == "__main__":
    with JobQueue(sys.argv[1]) as queue:
        ids = [queue.submit(Job("job", print)) for _ in range(2)]
    worker = Worker(sys.argv[1])
    worker.process_one()
    if os.fork() == 0:
        worker.process_one()
        os._exit(0)
    os.wait()
"""


class TestReclaim:
    """What a dead process held."""

    def test_killed_process(self, queue: JobQueue, worker: Worker) -> None:
        """An idle worker takes back what a killed process held, at once, and runs it."""
        job_id = queue.submit(Job("job", note, max_attempts=2, timeout=3600))
        done = subprocess.run(
            [sys.executable, "-c", DYING, queue.db_path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL
        assert done.stdout.strip() == job_id
        assert status(queue, job_id) == "running"
        assert worker.process_one()
        told = queue.get_status(job_id)
        assert (told["status"], told["attempts"]) == ("completed", 2)
        lost = told["executions"][0]
        assert (lost["verdict"], lost["cause"]) == ("lost", "worker_died")
        assert lost["error"] == "worker died: nobody saw how"

    def test_last_attempt(self, queue: JobQueue, worker: Worker) -> None:
        """A job that may not run again has failed when its worker is found dead."""
        job_id = queue.submit(Job("job", note, max_attempts=1))
        hold_claim(queue, dead_process())
        assert not worker.process_one()
        assert status(queue, job_id) == "failed"
        assert seen == []

    @pytest.mark.parametrize("place", ["process", "namespace", "machine"])
    def test_others_are_left_alone(self, queue: JobQueue, worker: Worker, place: str) -> None:
        """What a living process holds, or one that cannot be judged, is never taken back."""
        me, dead = own_identity(), dead_process()
        identity = {
            "process": me,
            "namespace": dead._replace(pid_namespace=me.pid_namespace + 1),
            "machine": dead._replace(boot_id="x", machine_id="y"),
        }[place]
        job_id = queue.submit(Job("job", note))
        hold_claim(queue, identity)
        assert not worker.process_one()
        assert status(queue, job_id) == "running"

    def test_before_a_reboot(self, queue: JobQueue, worker: Worker) -> None:
        """What was held when the machine went down is taken back after the reboot."""
        job_id = queue.submit(Job("job", note))
        hold_claim(queue, own_identity()._replace(boot_id="before"))
        assert worker.process_one()
        assert status(queue, job_id) == "completed"

    def test_idle_worker_finds_it(self, queue: JobQueue, start: Callable[..., Worker]) -> None:
        """A worker that waits looks for dead ones at each of its looks."""
        job_id = queue.submit(Job("job", note))
        hold_claim(queue, dead_process())
        start(polling_interval=0.05)
        until(lambda: status(queue, job_id) == "completed")

    def test_worker_of_a_living_supervisor(self, queue: JobQueue, worker: Worker) -> None:
        """A dead worker whose supervisor lives is the supervisor's to judge."""
        job_id = queue.submit(Job("job", note))
        with closing(SqliteStore(queue.db_path)) as store:
            key = store.register("child", dead_process(), parent=own_identity())
            assert store.settle(key, (), claim=1).claims
        assert not worker.process_one()
        assert status(queue, job_id) == "running"

    def test_beside_a_service(self, queue: JobQueue, worker: Worker) -> None:
        """A service on the same database may start at any moment, though workers keep looking."""
        queue.submit(Job("job", note))
        worker.process_one()
        companions = Companions(Path(queue.db_path))
        stop = threading.Event()

        def look() -> None:
            while not stop.is_set():
                worker.process_one()

        looker = threading.Thread(target=look)
        looker.start()
        try:
            for _ in range(300):
                ServiceLock(companions).close()
        finally:
            stop.set()
            looker.join()

    def test_after_a_fork(self, queue: JobQueue) -> None:
        """A worker used in a forked child is known as the child, whose death frees its claims."""
        done = subprocess.run(
            [sys.executable, "-c", FORKING, queue.db_path], check=False, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        with closing(sqlite3.connect(queue.db_path)) as database:
            pids = database.execute(
                "SELECT DISTINCT w.pid FROM execution x JOIN worker w ON w.id = x.worker_id"
            ).fetchall()
        assert len(pids) == 2


class TestParentResults:
    """What a job is given of its parents' results."""

    @pytest.fixture
    def parents(self, queue: JobQueue, worker: Worker) -> dict[str, Any]:
        """Give completed jobs and their results, in the order of dependencies."""
        values = {"b": 2, "a": [1], "none": None}
        jobs = [Job(name, note, {"value": value}) for name, value in values.items()]
        ids = [str(each) for each in queue.submit_many(jobs)]
        run_all(worker)
        return dict(zip(ids, values.values(), strict=True))

    def result(self, queue: JobQueue, worker: Worker, job: Job) -> Any:  # noqa: ANN401
        """Run a job and give its result."""
        job.max_attempts = 1
        job_id = queue.submit(job)
        assert worker.process_one()
        told = queue.get_status(job_id)
        assert told["status"] == "completed", told["error"]
        return told["result"]

    @pytest.mark.parametrize(
        ("function", "passes", "given"),
        [
            (take_results, None, "results"),
            (take_results, True, "results"),
            (take_optional_results, None, "results"),
            (take_optional_results, False, "none"),
            (take_anything, None, {"parent_results": "results"}),
            (take_anything, True, {"parent_results": "results"}),
            (take_anything, False, {}),
            (take_job_results, None, "results"),
            (take_job_results, True, "results"),
            (take_optional_job_results, None, "none"),
            (take_nothing, None, "nothing"),
            (take_nothing, False, "nothing"),
        ],
    )
    def test_rules(
        self,
        queue: JobQueue,
        worker: Worker,
        parents: dict[str, Any],
        function: Callable[..., object],
        passes: bool | None,  # noqa: FBT001
        given: Any,  # noqa: ANN401
    ) -> None:
        """A function that asks for the results gets them by id; the option overrides that."""
        job = Job("child", function, dependencies=parents, pass_parent_results=passes)
        results = dict(parents)
        if isinstance(given, dict):
            expected: Any = dict.fromkeys(given, results)
        else:
            expected = results if given == "results" else given
        assert self.result(queue, worker, job) == expected

    def test_order(self, queue: JobQueue, worker: Worker, parents: dict[str, Any]) -> None:
        """Results come in the order of the dependencies."""
        ids = sorted(parents, reverse=True)
        job = Job("child", take_results, dependencies=ids)
        assert list(self.result(queue, worker, job)) == ids

    @pytest.mark.parametrize(("function", "passes"), [(take_nothing, True), (take_results, False)])
    def test_what_does_not_fit_fails(
        self,
        queue: JobQueue,
        worker: Worker,
        parents: dict[str, Any],
        function: Callable[..., object],
        passes: bool,  # noqa: FBT001
    ) -> None:
        """Results for a function that takes none, or none for one that needs them, is a failure."""
        job = Job(
            "child", function, dependencies=parents, pass_parent_results=passes, max_attempts=1
        )
        job_id = queue.submit(job)
        worker.process_one()
        assert "parent_results" in queue.get_status(job_id)["error"]

    def test_without_dependencies(self, queue: JobQueue, worker: Worker) -> None:
        """A job without dependencies is given nothing."""
        assert self.result(queue, worker, Job("job", take_optional_results)) == "none"
        assert self.result(queue, worker, Job("job", take_anything)) == {}
        job = Job("job", take_anything, pass_parent_results=True)
        assert self.result(queue, worker, job) == {}

    def test_own_parameters(self, queue: JobQueue, worker: Worker, parents: dict[str, Any]) -> None:
        """Parameters come along with the results; `job_results` is given unless it is one."""
        job = Job("child", take_anything, {"x": 1}, dependencies=parents)
        assert self.result(queue, worker, job) == {"x": 1, "parent_results": parents}
        job = Job("child", take_job_results, {"job_results": "own"}, dependencies=parents)
        assert self.result(queue, worker, job) == "own"

    def test_task(self, queue: JobQueue, worker: Worker) -> None:
        """A task of a workflow asks for them in the same way."""
        workflow = Workflow("tasks")
        first = workflow.add_job(Job("first", note, {"value": 5}))
        workflow.add_task(take_as_task, {"factor": 3}, depends_on=[first])
        _, last = workflow.submit_all(queue)
        run_all(worker)
        assert queue.get_result(last) == [5, 3]

    def test_failed_parent(self, queue: JobQueue, worker: Worker) -> None:
        """A clean-up job gets None for a parent that failed, and the result of the other."""
        bad = queue.submit(Job("bad", fail, {"message": "no"}, max_attempts=1))
        good = queue.submit(Job("good", note, {"value": 1}))
        run_all(worker)
        job = Job("child", take_results, dependencies=[bad, good], on_parent_failure="run")
        assert self.result(queue, worker, job) == {bad: None, good: 1}

    def test_failed_parent_cancels(self, queue: JobQueue, worker: Worker) -> None:
        """Without that wish the children of a failed job are cancelled, and their cause is told."""
        workflow = Workflow("chain")
        top = workflow.add_job(Job("top", fail, {"message": "no"}, max_attempts=1))
        middle = workflow.add_job(Job("middle", note), depends_on=[top])
        workflow.add_job(Job("bottom", note), depends_on=[middle])
        ids = workflow.submit_all(queue)
        assert run_all(worker) == 1
        told = [queue.get_status(each) for each in ids]
        assert [each["status"] for each in told] == ["failed", "cancelled", "cancelled"]
        assert [each["cause"] for each in told] == ["raised", "parent_failed", "parent_failed"]
        assert queue.requeue_job(ids[0])
        assert queue.stats()[JobStatus.PENDING.value] == 3
