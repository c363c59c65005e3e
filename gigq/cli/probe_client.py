"""The other side of `gigq.worker.probe`: asks a Python about functions, and survives their imports.

An import that ends or holds up the probing process is that function's answer; another process is
then asked about the rest.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gigq.worker.outcome import describe_exit
from gigq.worker.probe import Answer, Probe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from gigq.worker.probe import Question

_AT_ONCE = 65_536


class ProbeError(Exception):
    """The Python that was to be asked did not begin to answer; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Prober:
    """Which Python is asked, and how it is started: as a worker would be."""

    python: str
    pythonpath: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    patience: float  # seconds for one import
    user: int | None = None  # who it is to be, for root; None: as this process

    def ask(self, questions: Sequence[Question]) -> tuple[Probe, list[Answer]]:
        """Give who answered, and an answer to each question. Raises ProbeError."""
        probe, answers = self._ask_one_process(questions)
        while len(answers) < len(questions):
            answers += self._ask_one_process(questions[len(answers) :])[1]
        return probe, answers

    def _ask_one_process(self, questions: Sequence[Question]) -> tuple[Probe, list[Answer]]:
        """Ask until all is answered, or an import ends or holds up the process."""
        with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as errors:
            asked.write(json.dumps([question._asdict() for question in questions]).encode())
            asked.seek(0)
            try:
                process = subprocess.Popen(
                    [self.python, "-P", "-m", "gigq.worker.probe", *self.pythonpath],
                    stdin=asked,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=self.directory,
                    start_new_session=True,
                    **self._identity(),
                )
            except OSError as error:
                message = f"it cannot be started: {error.strerror}"
                raise ProbeError(message) from None
            try:
                lines = list(self._lines(process, 1 + len(questions)))
                complaint = self._complaint(process)
            finally:
                _end(process)
            errors.seek(0)
            words = errors.read().decode(errors="replace").strip().splitlines()
            if not lines:
                raise ProbeError(words[-1] if words else complaint)
        answers = [Answer(**line) for line in lines[1:]]
        if len(answers) < len(questions):
            said = f"; it last said: {words[-1]}" if words else ""
            answers.append(Answer(complaint + said))
        return Probe(**lines[0]), answers

    def _identity(self) -> dict[str, Any]:
        """Give what subprocess has to be told of the user that it is to be, and its variables."""
        if self.user is None:
            return {"env": self.environment}
        group, groups, home = self.user, [], "/"
        with suppress(KeyError):  # a user without an account
            entry = pwd.getpwuid(self.user)
            group, home = entry.pw_gid, entry.pw_dir
            groups = os.getgrouplist(entry.pw_name, group)
        env = {**self.environment, "HOME": home}
        return {"user": self.user, "group": group, "extra_groups": groups, "env": env}

    def _lines(self, process: subprocess.Popen[bytes], count: int) -> Iterator[dict[str, Any]]:
        """Give so many lines of JSON, or those that come in time before the process ends."""
        assert process.stdout is not None  # noqa: S101 (it is a pipe)
        descriptor, rest = process.stdout.fileno(), b""
        give_up = time.monotonic() + self.patience
        while count and select.select([descriptor], [], [], max(0, give_up - time.monotonic()))[0]:
            piece = os.read(descriptor, _AT_ONCE)
            if not piece:
                return
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                if line.startswith(b"{"):  # what is read at Python's own start may print, too
                    yield json.loads(line)
                    count -= 1
                    give_up = time.monotonic() + self.patience

    def _complaint(self, process: subprocess.Popen[bytes]) -> str:
        """Say why a process answered no more."""
        with suppress(subprocess.TimeoutExpired):
            # It has closed its output or will not end: there is nothing long to wait for.
            return f"its import ends the process ({describe_exit(process.wait(1))})"
        return f"its import takes longer than {self.patience:g} s"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it with what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None  # noqa: S101
    process.stdout.close()
