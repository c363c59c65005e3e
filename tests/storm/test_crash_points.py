"""At each named crash point a process kills itself, before and after the commit: nothing breaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from harness import until
from storm.checker import check
from storm.field import Field, StormService

from gigq import JobQueue
from gigq.queue import statements as sql
from gigq.queue.connection import CRASH_AT, Connection, connection_class
from gigq.queue.crash_points import CRASH_MARK, CRASH_POINTS, SIDES
from gigq.queue.errors import StoreError
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 60
UNFINISHED = (JobStatus.PENDING, JobStatus.RUNNING)
# These points are passed by whoever submits; all others by gigqd and its workers.
CLIENTS = ("set_up", "submit", "cancel", "cancel_running", "requeue", "clear")


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    """Give a folder with the jobs, on the disk that there is."""
    field = Field(tmp_path, small_disk=False)
    yield field
    field.close()


class Client:
    """The program that submits, cancels, requeues and clears; begun again when it has died."""

    def __init__(self, field: Field, environment: dict[str, str], *options: str) -> None:
        """Start it."""
        self._field = field
        self._environment = environment
        self._options = options
        self.deaths = 0
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "client.py", self._field.database, str(self.deaths), *self._options],
            cwd=self._field.folder,
            env={**os.environ, **self._environment},
        )

    def is_done(self) -> bool:
        """Tell whether it has done all; start it again when it has died."""
        code = self._process.poll()
        if code == -signal.SIGKILL:
            self.deaths += 1
            self._start()
        else:
            assert code in (None, 0), code
        return code == 0

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", CRASH_POINTS)
def test_a_crash_there_breaks_nothing(field: Field, name: str, side: str) -> None:
    """Whoever dies there is begun again, the same workload is finished, and no promise broken."""
    mark = field.mark()
    crash = {CRASH_AT: f"{name}:{side}", CRASH_MARK: str(mark)}
    service = StormService(field, environment={} if name in CLIENTS else crash)
    service.workers_wanted = 2
    service.configure()
    # A checkpoint that finds the lock taken is left to a later commit: let there be several.
    options = ("--much",) if name == "checkpoint" else ()
    client = Client(field, crash if name in CLIENTS else {}, *options)
    try:
        if name not in CLIENTS:
            service.start()
        give_up = time.monotonic() + SECONDS
        while not client.is_done():
            assert time.monotonic() < give_up
            _keep_running(field, service)
            time.sleep(0.01)
        with JobQueue(field.database) as queue:

            def finished() -> bool:
                _keep_running(field, service)
                counts = queue.stats()
                return not any(counts[status.value] for status in UNFINISHED)

            until(finished, seconds=SECONDS, what="all jobs finished")
        if name in ("retire", "reclaim"):  # a worker's end, which comes at the latest now
            service.stop(SECONDS)
            service.start()
            until(lambda: "worker_ready" in service.log.read_text(), seconds=SECONDS)
        assert service.stop(SECONDS)
        assert mark.exists(), f"nobody came to {name}"
        assert [*map(str, check(field.notes, field.database))] == []
    finally:
        client.close()
        service.kill()
        for worker in service.workers():
            worker.send(signal.SIGKILL)


def _keep_running(field: Field, service: StormService) -> None:
    """Start the service as soon as there is a database, and again when it has died."""
    how = service.ended()
    assert not how, how
    if how is not None or (service.process is None and field.database.exists()):
        service.start()


class TestCrashPoints:
    """The table of crash points, and what the variables may be."""

    def test_each_is_known_by_a_statement_of_the_store(self) -> None:
        """The statements that tell transactions apart are the store's."""
        ours = {value for name, value in vars(sql).items() if name.isupper()}
        for name, point in CRASH_POINTS.items():
            for statement in (point.beside, *point.without):
                assert statement in ("", *ours), name
            if name not in ("checkpoint", "set_up"):
                assert point.statement in ours, name

    def test_without_the_variable_the_connection_is_the_plain_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It costs nothing where nobody asks for it."""
        monkeypatch.delenv(CRASH_AT, raising=False)
        store = SqliteStore(tmp_path / "gigq.db")
        assert connection_class() is Connection
        assert type(store._connection) is Connection
        store.close()

    @pytest.mark.parametrize(
        "text", ["", "submit", "nowhere:before", "submit:beside", "claim:after:x"]
    )
    def test_a_point_that_is_not_there_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
    ) -> None:
        """A wrong name is an error that lists the right ones, not a test that tests nothing."""
        monkeypatch.setenv(CRASH_AT, text)
        with pytest.raises(StoreError, match=r"NAME of set_up, submit"):
            SqliteStore(tmp_path / "gigq.db")

    @pytest.mark.parametrize(("side", "there"), [("before", 1), ("after", 2)])
    def test_it_dies_on_that_side_of_that_commit(
        self, tmp_path: Path, side: str, there: int
    ) -> None:
        """The second submit is stored after, and not before."""
        code = (
            "from gigq import Job, JobQueue\n"
            "queue = JobQueue('gigq.db')\n"
            "for _ in range(9): queue.submit(Job('n', 'os.getpid'))\n"
        )
        environment = {**os.environ, CRASH_AT: f"submit:{side}:2"}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False
        )
        assert done.returncode == -signal.SIGKILL
        with JobQueue(tmp_path / "gigq.db") as queue:
            assert queue.stats()["total"] == there
