"""A command line as a job: what `gigq run` submits."""

from __future__ import annotations

import os
import signal
import subprocess

from gigq.worker.process_tree import signal_when_parent_dies
from gigq.worker.time_limit import JobInterrupted

MODULE, NAME = __name__, "run"


class CommandFailed(Exception):  # noqa: N818 (what happened to the command)
    """The command ended with another exit code than 0."""


def run(argv: list[str], cwd: str | None = None) -> dict[str, int]:
    """Run a command in a directory until it ends; its output is the job's.

    Raises CommandFailed for an exit code that is not 0. When the job is interrupted, the command
    gets SIGTERM and the rest of the grace.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            cwd=cwd,
            preexec_fn=_end_with_worker,  # noqa: PLW1509
        )
    except OSError as error:
        message = f"{argv[0]} cannot be started in {cwd or os.getcwd()}: {error.strerror}"  # noqa: PTH109
        raise CommandFailed(message) from None
    try:
        code = process.wait()
    except JobInterrupted:
        process.terminate()
        process.wait()
        raise
    if code != 0:
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        message = f"{argv[0]} ended with {how}"
        raise CommandFailed(message)
    return {"exit_code": code}


def _end_with_worker() -> None:
    # Where no supervisor is left, nobody else would end it when its worker's timer goes off.
    signal_when_parent_dies(signal.SIGKILL)
