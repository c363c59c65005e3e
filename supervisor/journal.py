"""Events as entries of systemd's journal, each field of an event one of the entry.

The journal takes datagrams of its own form (systemd.io/JOURNAL_NATIVE_PROTOCOL). Unlike lines on
standard output they keep fields apart, so that `journalctl GIGQ_JOB_ID=...` finds a job.
"""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
_OF_THE_JOURNAL = frozenset({"timestamp", "level", "pid"})  # it has them itself


def journal_is_output() -> bool:
    """Tell whether standard output leads to the journal: systemd names the stream's inode."""
    try:
        output = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{output.st_dev}:{output.st_ino}"


class Journal:
    """The journal's socket."""

    def __init__(self, path: str = SOCKET) -> None:
        """Connect to it. Raises OSError when nobody listens there."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._path = path

    def send(self, entry: bytes) -> None:
        """Send an entry; waits while the journal is busy. Raises OSError when it is gone."""
        try:
            self._send(entry)
        except OSError:  # it has been started anew, perhaps
            self._socket.connect(self._path)
            self._send(entry)

    def _send(self, entry: bytes) -> None:
        try:
            self._socket.send(entry)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            self._send_as_file(entry)

    def _send_as_file(self, entry: bytes) -> None:
        """Hand over a sealed file in memory: a datagram has a limit, of about 200 KiB."""
        descriptor = os.memfd_create("gigqd-event", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(entry)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
            rights = array.array("i", [descriptor])
            self._socket.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of it."""
        with suppress(OSError):
            self._socket.close()


def entry_of(event: Mapping[str, Any], message: str) -> bytes:
    """Give an event as an entry: MESSAGE for people, and GIGQ_FIELD for each field that is known.

    Every byte is kept: a value with line breaks goes with its length in front.
    """
    fields = {
        "MESSAGE": message,
        "PRIORITY": str(_PRIORITIES[event["level"]]),
        "SYSLOG_IDENTIFIER": "gigqd",
    }
    for name, value in event.items():
        if name not in _OF_THE_JOURNAL and value is not None:
            fields[f"GIGQ_{name.upper()}"] = _text(value)
    return b"".join(_field(name, value.encode(errors="replace")) for name, value in fields.items())


def _text(value: object) -> str:
    if isinstance(value, (bool, list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"
