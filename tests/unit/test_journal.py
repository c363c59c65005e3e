"""Events as entries of the journal, received by a socket such as journald's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gigq.supervisor.journal import Journal, entry_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen as journald does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.settimeout(10)
        yield listening


def received(receiver: socket.socket) -> dict[str, bytes]:
    """Take one entry, sent as a datagram or as a file, apart."""
    data, passed, _, _ = socket.recv_fds(receiver, 1 << 20, 1)
    if passed:
        assert data == b""
        data = os.pread(passed[0], 1 << 24, 0)
        os.close(passed[0])
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + length], data[8 + length :]
            assert data[:1] == b"\n"
            data = data[1:]
        fields[name.decode()] = value
    return fields


EVENT = {"level": "error", "event": "job_failed", "pid": 7, "timestamp": "now", "version": "1"}


def test_fields(receiver: socket.socket) -> None:
    """Each field that is known becomes one of the entry, with line breaks and = in it."""
    journal = Journal(receiver.getsockname())
    event = {**EVENT, "job_id": "a=b", "error": "two\nlines", "attempt": 1, "queue": None}
    journal.send(entry_of(event, "it failed"))
    journal.close()
    assert received(receiver) == {
        "MESSAGE": b"it failed",
        "PRIORITY": b"3",
        "SYSLOG_IDENTIFIER": b"gigqd",
        "GIGQ_EVENT": b"job_failed",
        "GIGQ_VERSION": b"1",
        "GIGQ_JOB_ID": b"a=b",
        "GIGQ_ERROR": b"two\nlines",
        "GIGQ_ATTEMPT": b"1",
    }


def test_large_entry(receiver: socket.socket) -> None:
    """What is too large for a datagram goes as a file in memory that nobody can change."""
    journal = Journal(receiver.getsockname())
    journal.send(entry_of({**EVENT, "line": "x" * 5_000_000}, "large"))
    journal.close()
    assert received(receiver)["GIGQ_LINE"] == b"x" * 5_000_000


def test_journal_started_anew(receiver: socket.socket, tmp_path: Path) -> None:
    """A journal that was restarted is found again; one that is gone is an OSError."""
    journal = Journal(receiver.getsockname())
    receiver.close()
    (tmp_path / "socket").unlink()
    with pytest.raises(OSError):  # noqa: PT011 (which one is the system's affair)
        journal.send(b"A=1\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(str(tmp_path / "socket"))
        again.settimeout(10)
        journal.send(b"A=1\n")
        assert received(again) == {"A": b"1"}
    journal.close()


LOGS = """
import os, sys
stream = os.fstat(1)
if sys.argv[1] == "own":
    os.environ["JOURNAL_STREAM"] = f"{stream.st_dev}:{stream.st_ino}"
else:
    os.environ["JOURNAL_STREAM"] = "1:1"
from gigq.supervisor import journal, log
journal.Journal.__init__.__defaults__ = (sys.argv[2],)
opened = log.Log("info", "auto")
opened.event("service_stopped")
opened.configure("info", "text")
opened.event("watch_failed", error="a reason\\n\\x1b[31m")
opened.close()
"""


@pytest.mark.parametrize("stream", ["own", "other"])
@pytest.mark.parametrize("listens", [True, False])
def test_where_events_go(
    receiver: socket.socket, stream: str, *, listens: bool, tmp_path: Path
) -> None:
    """To the journal only where standard output leads there and it listens; else to the output."""
    path = receiver.getsockname() if listens else str(tmp_path / "nobody")
    done = subprocess.run(
        [sys.executable, "-c", LOGS, stream, path], capture_output=True, text=True, check=True
    )
    first, *rest = done.stdout.splitlines()
    if stream == "own" and listens:
        assert received(receiver)["GIGQ_EVENT"] == b"service_stopped"
        assert "watch_failed" in first
        assert rest == []
    else:
        assert '"event": "service_stopped"' in first
        assert "watch_failed" in rest[0]
        assert r"error='a reason\\n\\x1b[31m'" in rest[0]
        assert len(rest) == 1
