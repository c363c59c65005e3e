"""Asks the workers' Python whether it could import what pending jobs are to run."""

from __future__ import annotations

import os
import shlex
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gigq.cli.check_file import check_sqlite
from gigq.cli.finding import Finding
from gigq.cli.probe_client import ProbeError, Prober
from gigq.queue.ownership import may_act_for, owner, user_name
from gigq.queue.service_lock import service_holder
from gigq.version import __version__
from gigq.worker.allowed import Allowed
from gigq.worker.probe import Question

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gigq.queue.companions import Companions
    from gigq.queue.records import WantedFunction
    from gigq.queue.settings import Settings
    from gigq.worker.probe import Answer, Probe

MOST_FUNCTIONS = 200
PATIENCE = 30.0  # seconds for one import


def check_functions(
    functions: Sequence[WantedFunction],
    settings: Settings,
    companions: Companions,
    database: Path,
    *,
    patience: float = PATIENCE,
) -> Iterator[Finding]:
    """Say which functions are not allowed or cannot be imported, and why.

    To import one is to run its module, so it is done by the user whose database it is, or not.
    """
    user = owner(database)
    if not may_act_for(database):
        name = user_name(user) or f"#{user}"
        told = f"whether user {name} can import what jobs are to run was not looked at"
        command = f"sudo -u {shlex.quote(name)} gigq --db {shlex.quote(str(database))} doctor"
        yield Finding("warning", told, command)
        return
    workers = settings.workers
    python = workers.python or sys.executable
    prober = Prober(
        python=python,
        pythonpath=workers.pythonpath,
        environment=_environment(companions) | settings.worker_environment(),
        directory=companions.output if companions.output.is_dir() else Path("/"),
        patience=patience,
        user=None if os.geteuid() == user else user,
    )
    limits = Allowed(workers.allow)
    refused = [(each, limits.refusal(each.module, each.name, each.script)) for each in functions]
    yield from (_not_allowed(function, why) for function, why in refused if why is not None)
    functions = [function for function, why in refused if why is None]
    questions = [_question(function, workers.directory, limits) for function in functions]
    try:
        probe, answers = prober.ask(questions)
    except ProbeError as error:
        yield Finding(
            "error",
            f"{python} cannot run workers: {error}",
            f"{python} -m pip install gigqd=={__version__}",
        )
        return
    yield from _check_probe(python, probe)
    failed = [each for each in zip(functions, questions, answers, strict=True) if each[2].error]
    for function, question, answer in failed:
        yield _failure(function, question, answer, python)
    if not failed and len(functions) == len(refused):
        what = "import the functions of all pending jobs" if functions else "run workers"
        yield Finding("ok", f"{python} can {what}")
    if len(refused) == MOST_FUNCTIONS:
        yield Finding("ok", f"of more than {MOST_FUNCTIONS} functions the rest was not looked at")


def _question(function: WantedFunction, configured_directory: str, limits: Allowed) -> Question:
    return Question(
        function.module,
        function.name,
        function.script,
        limits.root(function.import_root, function.script),
        function.python,
        function.job_directory or configured_directory or function.directory,
    )


def _environment(companions: Companions) -> dict[str, str]:
    """Give the service's variables, which its workers inherit; else those of this process."""
    pid = (service_holder(companions) or {}).get("pid")
    try:
        pairs = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes()).split("\0")
    except OSError:
        return dict(os.environ)
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _check_probe(python: str, probe: Probe) -> Iterator[Finding]:
    if probe.version != __version__:
        yield Finding(
            "error",
            f"{python} has gigqd {probe.version}, and this command is {__version__}",
            f"{python} -m pip install gigqd=={__version__}",
        )
    if probe.sqlite != sqlite3.sqlite_version:
        yield from check_sqlite(probe.sqlite, python)


def _not_allowed(function: WantedFunction, why: str) -> Finding:
    return Finding("error", f"{_jobs(function)} cannot run: {why}")


def _jobs(function: WantedFunction) -> str:
    return "1 pending job" if function.jobs == 1 else f"{function.jobs:,} pending jobs"


def _failure(function: WantedFunction, question: Question, answer: Answer, python: str) -> Finding:
    told = f"{_jobs(function)} cannot run {function.module}.{function.name}: {answer.error}"
    return Finding("error", told, _remedy(question, answer, python))


def _remedy(question: Question, answer: Answer, python: str) -> str:
    """Give the command that installs what is missing, or that shows the whole error."""
    top = question.module.partition(".")[0]
    if answer.missing is not None and (answer.missing != top or not question.import_root):
        return f"{python} -m pip install {answer.missing.partition('.')[0]}"
    if question.directory and not Path(question.directory).is_dir():
        return f"mkdir -p {shlex.quote(question.directory)}"
    code = f"import {question.module}"
    if question.script is not None:
        code = f"import runpy; runpy.run_path({question.script!r})"
    path = f"PYTHONPATH={shlex.quote(question.import_root)} " if question.import_root else ""
    return f"cd {shlex.quote(question.directory or '/')} && {path}{python} -c {shlex.quote(code)}"
