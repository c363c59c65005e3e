"""`python -P -m gigq.worker.probe [FOLDER…]` tells which functions this Python can import.

It looks as workers do, with the folders as `[workers] pythonpath`, and runs nothing but imports;
code that submits while it is imported is refused. Asked and answered in JSON:

- standard input: a list of objects with the keys of `Question`;
- standard output, a line each: who answers (`Probe`), then an `Answer` to each question, in their
  order. A question without an answer is one whose import ended or held up the process.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from typing import TYPE_CHECKING, NamedTuple

from gigq.queue.records import Claim
from gigq.version import __version__
from gigq.worker.import_roots import ImportRoots
from gigq.worker.resolve import FunctionLoadError, Loader

if TYPE_CHECKING:
    from collections.abc import Iterable


class Question(NamedTuple):
    """A function, and where its job would run. The keys of a claim; "" for no directory."""

    module: str
    name: str
    script: str | None
    import_root: str
    python: str = ""  # the one that submitted the job
    directory: str = ""


class Probe(NamedTuple):
    """Who answers."""

    python: str
    version: str  # of gigqd
    sqlite: str


class Answer(NamedTuple):
    """Why a function cannot be imported; nothing of it when it can."""

    error: str | None = None
    missing: str | None = None  # the module that was not found


def main() -> None:
    """Answer the questions of standard input."""
    questions = [Question(**question) for question in json.load(sys.stdin)]
    loader = Loader(ImportRoots(sys.argv[1:]))
    del sys.argv[1:]
    sys.dont_write_bytecode = True  # it only looks
    with os.fdopen(os.dup(1), "w") as answers:
        _set_streams_aside()
        for said in _said(loader, questions):
            answers.write(json.dumps(said._asdict()) + "\n")
            answers.flush()
    os._exit(0)  # what was imported may have started threads that do not end


def _set_streams_aside() -> None:
    """Keep what imports print from the answers, and let them read nothing, as in a worker."""
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _said(loader: Loader, questions: Iterable[Question]) -> Iterable[Probe | Answer]:
    yield Probe(sys.executable, __version__, sqlite3.sqlite_version)
    for question in questions:
        yield answer(loader, question)


def answer(loader: Loader, question: Question) -> Answer:
    """Try to import one function."""
    try:
        if question.directory:
            os.chdir(question.directory)
    except OSError as error:
        return Answer(f"the directory {question.directory} cannot be entered: {error.strerror}")
    try:
        loader.load(_claim(question))
    except FunctionLoadError as error:
        cause = error.__cause__
        missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
        return Answer(str(error), missing)
    return Answer()


def _claim(question: Question) -> Claim:
    """Make a claim of which only the function counts."""
    return Claim(
        execution=0,
        job=0,
        attempt=1,
        ready_since=0,
        uuid="",
        name="",
        params="{}",
        max_attempts=1,
        queue_id=0,
        priority=0,
        kind="function",
        function_module=question.module,
        function_name=question.name,
        script=question.script,
        import_root=question.import_root,
        directory=question.directory,
        job_directory=None,
        python=question.python,
        timeout=None,
        max_memory=None,
        pass_parent_results=None,
        parents=0,
    )


if __name__ == "__main__":
    main()
