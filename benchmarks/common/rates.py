"""Jobs a second: of a real service, of bare loops, of whatever else drains."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from common.databases import counter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

GIGQD = [sys.executable, "-m", "gigq.supervisor"]
BARE_DRAIN = Path(__file__).with_name("bare_drain.py")
FULL = 'durability = "full"\n'
LONGEST = 300  # seconds
_LOOK = 0.01  # seconds between two looks
_WORKERS = 2


class TookTooLongError(Exception):
    """Not so many jobs were done in the time that is given."""

    def __init__(self, done: int, wanted: int, seconds: float) -> None:
        """Say how many were."""
        super().__init__(f"{done:,} of {wanted:,} jobs were done in {seconds:.0f} s")


class DiedError(Exception):
    """A process that was to drain has failed."""


def rate(
    done: Callable[[], int],
    jobs: int,
    processes: Sequence[subprocess.Popen[bytes]] = (),
    seconds: float = LONGEST,
) -> float:
    """Watch how many are done; jobs a second between the first tenth and the last twentieth.

    Raises TookTooLongError, and DiedError when one of the processes fails meanwhile.
    """
    at_begin = wait_for(done, jobs // 10, processes, seconds)
    begin = time.monotonic()
    at_end = wait_for(done, jobs - jobs // 20, processes, seconds)
    return (at_end - at_begin) / (time.monotonic() - begin)


def wait_for(
    done: Callable[[], int],
    count: int,
    processes: Sequence[subprocess.Popen[bytes]] = (),
    seconds: float = LONGEST,
    pause: float = _LOOK,
) -> int:
    """Wait until so many are done, with a pause between two looks, and give how many are."""
    give_up = time.monotonic() + seconds
    while (now := done()) < count:
        for process in processes:
            if process.poll() not in (None, 0):
                message = f"exit {process.returncode}: {process.args!r}"
                raise DiedError(message)
        if time.monotonic() > give_up:
            raise TookTooLongError(now, count, seconds)
        time.sleep(pause)
    return now


@contextlib.contextmanager
def ended(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    """End processes, however the block ends."""
    try:
        yield
    finally:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            if process.poll() is None:
                process.kill()
                process.wait()


@contextlib.contextmanager
def service(path: Path, configuration: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Run gigqd on a database; its log is the file `log` beside it."""
    (path.parent / "gigqd.toml").write_text(configuration)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    with (path.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            [*GIGQD, "start", str(path)],
            cwd=path.parent,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    with ended(process):
        yield process


def drained_by_service(path: Path, jobs: int, configuration: str = "") -> float:
    """Let gigqd drain with its default of two workers."""
    with service(path, configuration) as process:
        return rate(counter(path), jobs, [process])


def drained_by_bare_loop(path: Path, jobs: int, how: str = "NORMAL") -> float:
    """Let two processes drain that do nothing else; `how`: as `bare_drain.py` wants it."""
    command = [sys.executable, str(BARE_DRAIN), str(path), *how.split()]
    loops = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(_WORKERS)
    ]
    with ended(*loops):
        for loop in loops:
            assert loop.stdout is not None
            assert loop.stdout.readline() == b"ready\n"
        for loop in loops:
            assert loop.stdin is not None
            loop.stdin.close()
        found = rate(counter(path), jobs, loops)
        for loop in loops:
            loop.wait()
    assert counter(path)() == jobs, "the bare loop has not ended all of its jobs"
    return found
