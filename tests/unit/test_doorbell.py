"""The doorbell: one ring wakes one waiting worker."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import psutil
import pytest
from harness import until

from gigq import Job, JobQueue
from gigq.queue.doorbell import Bell, Doorbell
from gigq.worker.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Waits at the doorbell as a worker does, and says so each time it was woken.
WAITER = """
import os, sys
from pathlib import Path
from gigq.worker.wakeup import Wakeup
wakeup = Wakeup(Path(sys.argv[1]))
wakeup.silence()
print("waiting", flush=True)
while True:
    wakeup.wait(60)
    wakeup.silence()
    os.write(1, b"!")
"""


@pytest.fixture
def bell(tmp_path: Path) -> Path:
    """Give a doorbell."""
    path = tmp_path / "doorbell"
    os.mkfifo(path)
    return path


@pytest.fixture
def waiters(bell: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Give several processes that wait at the doorbell, asleep."""
    command = [sys.executable, "-c", WAITER, str(bell)]
    with ExitStack() as stack:
        found = []
        for _ in range(4):
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            found.append(process)
        for process in found:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
        wait_asleep(found)
        yield found


def wait_asleep(processes: list[subprocess.Popen[str]]) -> None:
    """Wait until all of them wait."""
    for process in processes:
        seen = psutil.Process(process.pid)
        until(lambda seen=seen: seen.status() == psutil.STATUS_SLEEPING)


def is_readable(descriptor: int) -> bool:
    """Tell whether there is something to read."""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(0))


class TestRinging:
    """Who rings."""

    def test_nobody_listens(self, bell: Path) -> None:
        """A ring that finds nobody, or no bell, is lost without harm."""
        Bell(bell).ring()
        Bell(bell.with_name("none")).ring()
        Bell(bell.parent).ring()
        assert list(bell.parent.iterdir()) == [bell]

    def test_never_waits(self, bell: Path) -> None:
        """However many rings nobody answers, the next one does not wait."""
        with closing(Doorbell(bell)) as door:
            for _ in range(70_000):
                door.ring()
            Bell(bell).ring()
            assert is_readable(door.fileno())

    def test_silence(self, bell: Path) -> None:
        """All rings are taken at once; later ones are heard."""
        with closing(Doorbell(bell)) as door:
            door.silence()
            for _ in range(3):
                Bell(bell).ring()
            assert is_readable(door.fileno())
            door.silence()
            assert not is_readable(door.fileno())
            Bell(bell).ring()
            assert is_readable(door.fileno())

    def test_full_bell_is_silenced_at_once(self, bell: Path) -> None:
        """One look empties the bell, however often it rang."""
        with closing(Doorbell(bell)) as door:
            for _ in range(70_000):
                door.ring()
            door.silence()
            assert not is_readable(door.fileno())

    def test_ringers_may_leave(self, bell: Path) -> None:
        """A listener sees no end when the last one who rang has gone."""
        with closing(Doorbell(bell)) as door:
            Bell(bell).ring()
            door.silence()
            assert not is_readable(door.fileno())

    def test_bell_that_is_hung_anew(self, bell: Path) -> None:
        """Who has rung before finds the FIFO that stands there now."""
        ringer = Bell(bell)
        ringer.ring()
        bell.unlink()
        os.mkfifo(bell)
        with closing(Doorbell(bell)) as door:
            assert not is_readable(door.fileno())
            ringer.ring()
            assert is_readable(door.fileno())

    def test_rings_nobody_else(self, bell: Path) -> None:
        """What took the place of its descriptor, as in a daemon, is neither rung nor closed."""
        ringer = Bell(bell)
        ringer.ring()
        descriptor = ringer._fifo.number
        reader, writer = os.pipe()
        os.dup2(writer, descriptor)
        with closing(Doorbell(bell)) as door:
            ringer.ring()
            assert is_readable(door.fileno())
            assert not is_readable(reader)
        os.write(descriptor, b"x")
        assert os.read(reader, 9) == b"x"
        for each in (reader, writer, descriptor):
            os.close(each)

    def test_what_is_no_bell(self, tmp_path: Path) -> None:
        """A file in its place is left as it is, and no descriptor stays open."""
        path = tmp_path / "file"
        path.write_text("x")
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        Bell(path).ring()
        assert path.read_text() == "x"
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208

    def test_bell_is_let_go(self, bell: Path) -> None:
        """A bell that was closed or forgotten leaves no descriptor behind."""
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        ringer = Bell(bell)
        ringer.ring()
        ringer.close()
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
        ringer.ring()
        del ringer
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208

    def test_submit_rings(self, tmp_path: Path) -> None:
        """A submit and a requeue ring; a look does not."""
        with JobQueue(tmp_path / "gigq.db") as queue:
            first = queue.submit(Job("job", print))
            with closing(Doorbell(tmp_path / "gigq.db.d" / "doorbell")) as door:
                door.silence()  # the first submit's ring waits while its queue is open
                queue.stats()
                assert not is_readable(door.fileno())
                queue.submit(Job("job", print))
                assert is_readable(door.fileno())
                door.silence()
                queue.cancel(first)
                door.silence()
                queue.requeue_job(first)
                assert is_readable(door.fileno())


class TestWaking:
    """Who is woken."""

    def test_one_ring_wakes_one(self, bell: Path, waiters: list[subprocess.Popen[str]]) -> None:
        """Each ring wakes exactly one of several sleeping processes."""
        woken: list[int] = []
        with selectors.DefaultSelector() as selector:
            for number, process in enumerate(waiters):
                assert process.stdout is not None
                selector.register(process.stdout, selectors.EVENT_READ, number)
            for rings in range(1, 9):
                wait_asleep(waiters)
                Bell(bell).ring()
                (key, _), *others = selector.select(30)
                assert others == []
                assert os.read(key.fd, 100) == b"!"
                woken.append(key.data)
                assert len(woken) == rings
            wait_asleep(waiters)
            assert selector.select(0) == []

    def test_wake_from_another_thread(self, bell: Path) -> None:
        """A wait is ended from another thread, also when that came first."""
        with closing(Wakeup(bell)) as wakeup:
            wakeup.wake()
            start = time.monotonic()
            wakeup.wait(60)
            wakeup.silence()
            thread = threading.Thread(target=wakeup.wake)
            thread.start()
            wakeup.wait(60)
            thread.join()
            assert time.monotonic() - start < 30

    def test_silence_forgets(self, bell: Path) -> None:
        """What was heard before `silence` does not end the next wait."""
        with closing(Wakeup(bell)) as wakeup:
            Bell(bell).ring()
            wakeup.wake()
            wakeup.silence()
            start = time.monotonic()
            wakeup.wait(0.1)
            assert time.monotonic() - start >= 0.05

    def test_bell_that_is_hung_later(self, tmp_path: Path) -> None:
        """A worker that came before the bell listens to it at its next look."""
        path = tmp_path / "doorbell"
        with closing(Wakeup(path)) as wakeup:
            os.mkfifo(path)
            wakeup.silence()
            Bell(path).ring()
            start = time.monotonic()
            wakeup.wait(60)
            assert time.monotonic() - start < 30

    def test_watched_descriptor(self, bell: Path) -> None:
        """Another descriptor ends the wait too."""
        reader, writer = os.pipe()
        with closing(Wakeup(bell)) as wakeup:
            wakeup.watch(reader)
            os.write(writer, b"x")
            start = time.monotonic()
            wakeup.wait(60)
            assert time.monotonic() - start < 30
        os.close(reader)
        os.close(writer)

    def test_passing_on(self, bell: Path) -> None:
        """Who was woken and found more work wakes the next."""
        with closing(Wakeup(bell)) as first, closing(Doorbell(bell)) as second:
            first.ring_next()
            assert is_readable(second.fileno())

    def test_close(self, bell: Path) -> None:
        """A closed wakeup leaves no descriptor behind."""
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        Wakeup(bell).close()
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
