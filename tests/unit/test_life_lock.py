"""A worker's life as a lock, for those that cannot see its process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from harness import until

from gigq import Worker
from gigq.queue.identity import Liveness, own_identity
from gigq.queue.life_lock import LifeLock, liveness_by
from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gigq.queue.companions import Companions

# Holds a lock, has a child that it forked hold it as well, and dies.
FORKING = """
import os, signal, sys
from pathlib import Path
from gigq.queue.companions import Companions
from gigq.queue.life_lock import LifeLock
lock = LifeLock(Companions(Path(sys.argv[1])))
child = os.fork()
if child:
    print(lock.mark, child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
signal.pause()
"""


@pytest.fixture
def companions(tmp_path: Path) -> Iterator[Companions]:
    """Give the folder beside a database."""
    with closing(SqliteStore(tmp_path / "gigq.db")) as store:
        yield store.companions


def test_held_and_let_go(companions: Companions) -> None:
    """A life lasts as long as its lock is held, and no other life is taken for it."""
    one, other = LifeLock(companions), LifeLock(companions)
    assert liveness_by(one.mark, companions) is Liveness.ALIVE
    one.close()
    assert liveness_by(one.mark, companions) is Liveness.DEAD
    assert liveness_by(other.mark, companions) is Liveness.ALIVE
    other.close()


def test_dies_with_the_last_that_has_it(companions: Companions) -> None:
    """What a worker has forked keeps the lock when the worker is dead, and no longer."""
    database = str(companions.folder.with_suffix(""))
    with subprocess.Popen(
        [sys.executable, "-c", FORKING, database], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        mark, child = process.stdout.readline().split()
        assert process.wait(30) == -signal.SIGKILL
        assert liveness_by(mark, companions) is Liveness.ALIVE
        os.kill(int(child), signal.SIGKILL)
        until(lambda: liveness_by(mark, companions) is Liveness.DEAD)


def test_others_open_and_close_the_file(companions: Companions) -> None:
    """Whoever opens and closes the file, in the same process too, drops no lock."""
    lock = LifeLock(companions)
    for _ in range(2):
        companions.workers_lock.read_bytes()
        with companions.workers_lock.open("r+b"):
            assert liveness_by(lock.mark, companions) is Liveness.ALIVE
    lock.close()


def test_another_file_tells_nothing(companions: Companions, tmp_path: Path) -> None:
    """A mark of another folder, of a copy of this one, or of none, is not judged."""
    with closing(SqliteStore(tmp_path / "other.db")) as store:
        other = LifeLock(store.companions)
    lock = LifeLock(companions)
    other.close()
    lock.close()
    assert liveness_by(other.mark, companions) is Liveness.ELSEWHERE
    moved = companions.folder.rename(tmp_path / "moved")
    assert liveness_by(lock.mark, companions) is Liveness.ELSEWHERE
    shutil.copytree(moved, companions.folder, ignore=shutil.ignore_patterns("doorbell"))
    assert liveness_by(lock.mark, companions) is Liveness.ELSEWHERE


@pytest.mark.parametrize(
    "mark", ["", ".", "7", "x.y", "{file}.", "{file}.-1", "{file}.²", "{file}." + "9" * 30]
)
def test_mark_that_was_tampered_with(companions: Companions, mark: str) -> None:
    """A mark that nobody wrote so is not judged."""
    lock = LifeLock(companions)
    file = lock.mark.rpartition(".")[0]
    lock.close()
    assert liveness_by(lock.mark, companions) is Liveness.DEAD
    assert liveness_by(mark.format(file=file), companions) is Liveness.ELSEWHERE


def test_held_without_a_descriptor(companions: Companions) -> None:
    """Who runs jobs, which may close any descriptor, holds it all the same."""
    code = """
import os, sys
from pathlib import Path
from gigq.queue.companions import Companions
from gigq.queue.life_lock import LifeLock
locks = [LifeLock(Companions(Path(sys.argv[1]))) for _ in range(2)]
for lock in locks:
    lock.pin()
os.closerange(3, 1000)
print(*(lock.mark for lock in locks), flush=True)
input()
locks[0].close()
print(flush=True)
input()
"""
    database = str(companions.folder.with_suffix(""))
    with subprocess.Popen(
        [sys.executable, "-c", code, database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        marks = process.stdout.readline().split()

        def seen() -> list[str]:
            return [liveness_by(mark, companions).value for mark in marks]

        assert seen() == ["alive", "alive"]
        print(file=process.stdin, flush=True)
        process.stdout.readline()
        assert seen() == ["dead", "alive"]
        process.kill()
        until(lambda: seen() == ["dead", "dead"])


def test_something_else_in_its_place(companions: Companions) -> None:
    """A FIFO, a link or a folder where the file should be holds nobody up, and nobody is judged."""
    lock = LifeLock(companions)
    lock.close()
    path = companions.workers_lock
    path.unlink()
    os.mkfifo(path)
    assert liveness_by(lock.mark, companions) is Liveness.ELSEWHERE
    path.unlink()
    path.symlink_to(companions.doorbell)
    assert liveness_by(lock.mark, companions) is Liveness.UNKNOWN
    with pytest.raises(OSError, match="symbolic links"):
        LifeLock(companions)
    path.unlink()
    path.mkdir()
    assert liveness_by(lock.mark, companions) is Liveness.ELSEWHERE


def test_many_make_the_file(companions: Companions) -> None:
    """Processes that make the file at the same moment hold their locks in one and the same."""
    assert not companions.workers_lock.exists()
    with ThreadPoolExecutor(8) as threads:
        locks = list(threads.map(LifeLock, [companions] * 8))
    assert {liveness_by(lock.mark, companions) for lock in locks} == {Liveness.ALIVE}
    for lock in locks:
        lock.close()
    assert [path.name for path in companions.folder.glob("workers.lock*")] == ["workers.lock"]


def test_worker_of_a_program(tmp_path: Path) -> None:
    """A `Worker` holds one from its first look until it is closed."""
    with closing(SqliteStore(tmp_path / "gigq.db")) as store:
        worker = Worker(tmp_path / "gigq.db")
        worker.process_one()
        (row,) = store.open_workers()
        assert row.life_lock is not None
        assert liveness_by(row.life_lock, store.companions) is Liveness.ALIVE
        worker.close()
        assert liveness_by(row.life_lock, store.companions) is Liveness.DEAD


class TestStore:
    """What a store says of its workers."""

    def test_by_process(self, companions: Companions, tmp_path: Path) -> None:
        """A process that can be seen is judged by itself, whatever its lock says."""
        free = LifeLock(companions)
        held = LifeLock(companions)
        free.close()
        dead = own_identity()._replace(start_ticks=1)
        with closing(SqliteStore(tmp_path / "gigq.db")) as store:
            store.register("alive", own_identity(), life_lock=free.mark)
            store.register("dead", dead, life_lock=held.mark)
            seen = {row.name: store.liveness(row).value for row in store.open_workers()}
        assert seen == {"alive": "alive", "dead": "dead"}
        held.close()

    @pytest.mark.parametrize("held", [True, False])
    def test_boot_of_its_own(self, companions: Companions, tmp_path: Path, *, held: bool) -> None:
        """A boot that is another one is no death where the lock is held: of a container's own."""
        lock = LifeLock(companions)
        with closing(SqliteStore(tmp_path / "gigq.db")) as store:
            another = own_identity()._replace(boot_id="another")
            store.register("worker", another, life_lock=lock.mark)
            (row,) = store.open_workers()
            if not held:
                lock.close()
            assert store.liveness(row) is (Liveness.ALIVE if held else Liveness.DEAD)
        if held:
            lock.close()

    def test_by_lock(self, companions: Companions, tmp_path: Path) -> None:
        """One of another container or boot is judged by its lock, and without one not at all."""
        free = LifeLock(companions)
        held = LifeLock(companions)
        free.close()
        here = own_identity()
        container = here._replace(pid_namespace=here.pid_namespace + 1)
        boot = here._replace(boot_id="another", machine_id="")
        with closing(SqliteStore(tmp_path / "gigq.db")) as store:
            for name, identity in (("container", container), ("boot", boot)):
                store.register(f"{name} held", identity, life_lock=held.mark)
                store.register(f"{name} free", identity, life_lock=free.mark)
                store.register(f"{name} without", identity)
            seen = {row.name: store.liveness(row).value for row in store.open_workers()}
        assert seen == {
            f"{name} {lock}": value
            for name in ("container", "boot")
            for lock, value in (("held", "alive"), ("free", "dead"), ("without", "elsewhere"))
        }
        held.close()
