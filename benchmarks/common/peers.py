"""GigQ 0.5.1 and huey, in an environment of their own, each with two workers.

They get their natural best. GigQ: two processes, each with one thread, for threads of one process
share an interpreter's lock; it scans all pending jobs at each claim, so that fewer jobs are kinder
to it than many. huey: its consumer with two processes, without health checks and periodic tasks,
which have nothing to do here. Both look for jobs only when they found none, so that their pauses
do not matter while they drain.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
import venv
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from common.databases import JOBS
from common.rates import TookTooLongError, ended, rate, wait_for

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

_GIGQ = """
import sys
from gigq import Job, JobQueue
from jobs import noop
queue = JobQueue(sys.argv[1])
for number in range({jobs}):
    queue.submit(Job(name="noop", function=noop, params={{"number": number}}))
"""
_HUEY_TASKS = """
from huey import SqliteHuey
huey = SqliteHuey(filename="peer.db")

@huey.task()
def noop(number):
    return number
"""
_HUEY = """
from tasks import noop
for number in range({jobs}):
    noop(number)
"""
_COMPLETED = "SELECT count(*) FROM jobs WHERE status = 'completed'"
_DATABASE = "peer.db"
_PATIENCE = 1200  # seconds: with 50,000 jobs GigQ may finish a hundred a second
_LEFT = "SELECT count(*) FROM task"


class Peers(NamedTuple):
    """Where they are installed."""

    python: Path

    def gigq(self) -> list[list[str]]:
        """Give the commands of two workers of GigQ."""
        command = str(self.python.with_name("gigq"))
        return [[str(self.python), command, "--db", _DATABASE, "worker"]] * 2

    def huey(self) -> list[list[str]]:
        """Give the command of huey's consumer."""
        command = str(self.python.with_name("huey_consumer"))
        options = ["-w", "2", "-k", "process", "-C", "-n", "-q"]
        return [[str(self.python), command, "tasks.huey", *options]]

    def drain_gigq(self, folder: Path, jobs: int) -> float:
        """Let GigQ drain; jobs a second."""
        with self._draining(folder, _GIGQ.format(jobs=jobs), self.gigq(), _COMPLETED) as done:
            return rate(done, jobs, seconds=_PATIENCE)

    def drain_huey(self, folder: Path, jobs: int) -> float:
        """Let huey drain; jobs a second."""
        with self._draining(folder, _HUEY.format(jobs=jobs), self.huey(), _LEFT) as left:
            return rate(lambda: jobs - left(), jobs)

    def gigq_graph(self, folder: Path, script: str, seconds: float) -> float:
        """Let GigQ work off a workflow, whole or for so long; jobs a second from the first on."""
        with self._draining(folder, script, self.gigq(), _COMPLETED) as done:
            before = wait_for(done, 1)
            begin = time.monotonic()
            with closing(sqlite3.connect(folder / _DATABASE)) as connection:
                (jobs,) = connection.execute("SELECT count(*) FROM jobs").fetchone()
            with suppress(TookTooLongError):
                wait_for(done, jobs, seconds=seconds)
            return (done() - before) / (time.monotonic() - begin)

    @contextmanager
    def _draining(
        self, folder: Path, script: str, workers: list[list[str]], query: str
    ) -> Iterator[Callable[[], int]]:
        """Submit by a script, start workers, and give a look by a query."""
        folder.mkdir(exist_ok=True)
        (folder / "jobs.py").write_text(JOBS)
        (folder / "tasks.py").write_text(_HUEY_TASKS)
        (folder / "submit.py").write_text(script)
        surroundings = {"cwd": folder, "env": {**os.environ, "PYTHONPATH": str(folder)}}
        subprocess.run([self.python, "submit.py", _DATABASE], check=True, **surroundings)
        with (folder / "log").open("wb") as log:
            processes = [
                subprocess.Popen(each, stdout=log, stderr=log, **surroundings) for each in workers
            ]
        with (
            closing(sqlite3.connect(folder / _DATABASE, timeout=30)) as connection,
            ended(*processes),
        ):
            yield lambda: int(connection.execute(query).fetchone()[0])


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let a command have peers."""
    parser.add_argument(
        "--peers", action="store_true", help="install GigQ 0.5.1 and huey and measure them, too"
    )
    parser.add_argument(
        "--peers-python", type=Path, metavar="PATH", help="a Python that has both already"
    )


def chosen(options: argparse.Namespace, place: Path) -> Peers | None:
    """Give the peers that a command line asks for; installed below `place` if need be."""
    if options.peers_python is not None:
        return Peers(options.peers_python.absolute())  # no symbolic link of it is resolved
    return Peers(_installed(place / "peers")) if options.peers else None


def _installed(folder: Path) -> Path:
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "gigq==0.5.1"], check=True)
    subprocess.run([*install, "huey"], check=True)
    return python
