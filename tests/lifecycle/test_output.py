"""The blow: jobs print too much, too often, no text at all, or die while they print."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from harness import Service, until, write_jobs

from gigq import Job
from gigq.queue.output import HEAD, TAIL

if TYPE_CHECKING:
    from pathlib import Path

PRINTERS = """
import os, sys, time

def flood():
    for number in range(100):
        os.write(1, b"%03d" % number + b"x" * 1_048_572 + b"\\n")
    print("the end of the flood")

def many():
    for number in range(1_000_000):
        print(number)

def binary():
    os.write(1, bytes(range(256)) * 4000)
    print("after the bytes")

def killed():
    print("last words", flush=True)
    os.kill(os.getpid(), 9)

def small(number):
    print("small", number)
    return number

def child():
    os.system("echo from the shell; echo to its error >&2")
"""
PATIENCE = 90


def logs(service: Service, job: str) -> str:
    """Read a job's output as its users do."""
    command = [sys.executable, "-m", "gigq", "--db", str(service.database), "logs", job]
    done = subprocess.run(command, check=True, capture_output=True)
    return done.stdout.decode(errors="replace")  # a pipe gets the bytes as they are


@pytest.mark.timeout(3 * PATIENCE)
def test_floods_of_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Floods, bytes and last words are kept within limits and readable; other jobs go on."""
    write_jobs(tmp_path, PRINTERS, "printers.py")
    monkeypatch.chdir(tmp_path)  # where functions named as text are found
    with Service(tmp_path, configuration="[workers]\ncount = 3\n") as service:
        service.wait_ready(3)
        names = ("flood", "many", "binary", "killed", "child")
        jobs = {
            name: service.queue.submit(Job(name, f"printers.{name}", max_attempts=1))
            for name in names
        }
        begun = time.monotonic()
        small = [
            service.queue.submit(Job("small", "printers.small", {"number": number}))
            for number in range(200)
        ]
        for job in [*small, *(jobs[name] for name in names if name != "killed")]:
            service.wait_status(job, "completed", seconds=PATIENCE)
        service.wait_status(jobs["killed"], "failed", seconds=PATIENCE)
        assert time.monotonic() - begun < PATIENCE
        until(lambda: kept(tmp_path) < 4 * (HEAD + TAIL), what="no more than head and tail is kept")

        flood = logs(service, jobs["flood"])
        assert flood.startswith("000xxx")
        assert flood.rstrip().endswith("the end of the flood")
        assert "bytes were not kept" in flood
        assert HEAD < len(flood) < 2 * (HEAD + TAIL)

        many = logs(service, jobs["many"]).splitlines()
        assert many[:3] == ["0", "1", "2"]
        assert many[-1] == "999999"

        assert logs(service, jobs["binary"]).rstrip().endswith("after the bytes")
        assert logs(service, jobs["killed"]) == "last words\n"
        assert logs(service, jobs["child"]) == "from the shell\nto its error\n"
        assert [logs(service, job) for job in small[::50]] == [
            f"small {number}\n" for number in range(0, 200, 50)
        ]


def kept(folder: Path) -> int:
    """Count the bytes that output takes on the disk."""
    output = folder / "gigq.db.d" / "output"
    return sum(os.stat(file).st_blocks * 512 for file in output.iterdir())  # noqa: PTH116
