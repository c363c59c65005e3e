"""How a command ends: its exit code, and the sentence that goes with a failure."""

from __future__ import annotations

from enum import IntEnum
from typing import IO, Any

import click


class Exit(IntEnum):
    """Exit codes: what scripts learn; 2, a wrong command line, is click's."""

    DONE = 0
    FAILED = 1  # it could not be done, or there is no such thing
    UNSUCCESSFUL = 3  # a job that was waited for failed, timed out or was cancelled
    TIMED_OUT = 124  # the wait, not the job; as timeout(1) has it
    INTERRUPTED = 130  # ^C


class Failure(click.ClickException):
    """It cannot be done; the text says what, why, and what to type next."""

    exit_code = Exit.FAILED

    def show(self, file: IO[Any] | None = None) -> None:
        """Say it."""
        click.echo(f"gigq: {self.message}", file=file, err=True)
