"""What the two commands share: standard streams that may be missing, and errors as sentences."""

from __future__ import annotations

import io
import os
import sqlite3
import sys

from gigq.queue.errors import GigqError

_NULL = {0: os.O_RDONLY, 1: os.O_WRONLY, 2: os.O_WRONLY}


def prepare_streams() -> None:
    """Make standard streams that can be written to, whatever the caller has left of them.

    A closed descriptor would go to the next file that is opened, and what the encoding lacks would
    end the writing: it is shown as an escape instead.
    """
    for descriptor, flags in _NULL.items():
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # the lowest that is free, which is this one
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115 (for good)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(descriptor, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def give_up_output() -> None:
    """Let nothing more be written: Python flushes once more at its end, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def sentence(error: BaseException) -> str | None:
    """Say what a user can do something about; None for what is a fault of this program."""
    if isinstance(error, GigqError):
        return str(error)
    if isinstance(error, sqlite3.Error):
        return f"the database cannot be used: {error}; examine it with: gigq doctor"
    if isinstance(error, UnicodeEncodeError):  # of what the command line has given
        return f"{ascii(error.object)[:200]} is not UTF-8 text"
    if isinstance(error, FileNotFoundError) and error.filename is None:
        # of os.getcwd, the one call that names no file
        return "the current directory has been removed; change to one that is there"
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.filename or 'standard output'}: {error.strerror}"
    return None
