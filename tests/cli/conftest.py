"""What the tests of `gigq` share: a client in a folder of its own, and one with a real service."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from cli.client import Client, Examples, examples
from harness import Service, write_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS = '''
import os
import sys
import time
from pathlib import Path

from gigq import current_job


def quick(name="nobody"):
    """Print a line and return."""
    print("hello", name)
    return {"name": name}


def quiet():
    """Print nothing."""


def bad():
    """Print a line and fail."""
    print("before the fault")
    raise ValueError("a fault")


def bad_once(marker):
    """Fail the first time."""
    print("run", 2 if Path(marker).exists() else 1)
    if not Path(marker).exists():
        Path(marker).touch()
        raise ValueError("the first time")


def wait(go, progress=True):
    """Print, and wait until a file is there."""
    print("it begins")
    current_job().progress(3, 4, "nearly")
    while not Path(go).exists():
        time.sleep(0.01)
    print("it ends")


def hang():
    """Print, and never end."""
    print("it hangs")
    while True:
        time.sleep(0.01)


def die():
    """Print, and take the worker along."""
    print("last words")
    os.kill(os.getpid(), 9)
'''


class Served(NamedTuple):
    """A service that runs, and a client in its folder."""

    service: Service
    gigq: Client
    folder: Path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Give a service with two workers that all tests of the session share."""
    folder = tmp_path_factory.mktemp("served")
    write_jobs(folder, JOBS)
    with Service(folder, configuration="[workers]\ncount = 2\nkill_grace = 0.2\n") as service:
        service.wait_ready(2)
        yield Served(service, Client(folder), folder)


@pytest.fixture
def gigq(tmp_path: Path) -> Client:
    """Give a client in an empty folder."""
    return Client(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Client:
    """Give a client in a folder with jobs.py and no service."""
    write_jobs(tmp_path, JOBS)
    return Client(tmp_path)


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """Give a database with a job of each status; it is only looked at."""
    return examples(tmp_path_factory.mktemp("shown") / "gigq.db")


@pytest.fixture(scope="session")
def look(shown: Examples) -> Client:
    """Give a client in the folder of that database."""
    return Client(shown.path.parent)
