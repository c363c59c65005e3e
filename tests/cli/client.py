"""What the tests of `gigq` share: running it as people and scripts do, and databases to look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pexpect
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

import gigq
from gigq import Job, JobQueue, Workflow
from gigq.queue.identity import own_identity
from gigq.queue.records import Outcome
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

GIGQ = str(Path(sys.executable).with_name("gigq"))
SCHEMAS = Path(gigq.__file__).parent / "cli" / "schemas"
COLOUR = "\x1b["


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    def document(self, schema: str) -> dict[str, Any]:
        """Give the JSON that was printed, once the schema has accepted it."""
        assert self.code == 0, self.err
        return checked(self.out, schema)


class Client:
    """`gigq`, run in one folder as a process of its own."""

    def __init__(self, folder: Path, **variables: str) -> None:
        """Run in `folder`, with these environment variables added."""
        self.folder = folder
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("GIGQ_") and name not in ("NO_COLOR", "FORCE_COLOR")
        }
        elsewhere = {"XDG_CONFIG_HOME": str(folder / "no configuration"), "TERM": "xterm"}
        self.environment = {**kept, **elsewhere, **variables}

    def __call__(self, *arguments: str, code: int | None = 0, seconds: float = 60) -> Done:
        """Run a command line; `code` is what it must exit with, None: with anything."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=seconds)
        assert code in (None, process.returncode), f"{arguments}: {process.returncode}\n{out}{err}"
        return Done(process.returncode, out, err)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command line."""
        return subprocess.Popen(
            [GIGQ, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def on_terminal(self, *arguments: str, columns: int = 120, code: int = 0) -> str:
        """Run a command line on a terminal; gives what the screen got."""
        with self.spawn(*arguments, columns=columns) as terminal:
            terminal.expect(pexpect.EOF)
            screen: str = terminal.before
        assert terminal.exitstatus == code, screen
        return screen.replace("\r\n", "\n")

    @contextmanager
    def spawn(self, *arguments: str, columns: int = 120) -> Iterator[pexpect.spawn]:
        """Start a command line on a terminal."""
        terminal = pexpect.spawn(
            GIGQ,
            list(arguments),
            cwd=str(self.folder),
            env=self.environment,
            dimensions=(50, columns),
            encoding="utf-8",
            timeout=30,
        )
        try:
            yield terminal
        finally:
            terminal.close(force=True)


def checked(text: str, schema: str) -> dict[str, Any]:
    """Parse JSON, and hold it against a schema; both ways: no field may be missing in that."""
    document: dict[str, Any] = json.loads(text)
    registry, schemas = _schemas()
    validator = Draft202012Validator(schemas[schema], registry=registry)
    problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
    assert problems == []
    assert document["version"] == 1
    assert _undescribed(document, schemas[schema]) == []
    return document


@cache
def _schemas() -> tuple[Registry[Any], dict[str, Any]]:
    schemas = {file.stem: json.loads(file.read_text()) for file in SCHEMAS.glob("*.json")}
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    resources = [(text["$id"], Resource.from_contents(text)) for text in schemas.values()]
    return Registry().with_resources(resources), schemas


def _undescribed(value: object, schema: dict[str, Any]) -> list[str]:
    """List the fields of objects that the schema does not name."""
    if isinstance(value, list) and "items" in schema:
        return [name for each in value for name in _undescribed(each, schema["items"])]
    properties = _properties(schema)
    if not isinstance(value, dict) or not properties:
        return []
    return [name for name in value if name not in properties] + [
        name
        for key in value
        if key in properties
        for name in _undescribed(value[key], properties[key])
    ]


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = dict(schema.get("properties", {}))
    for part in schema.get("allOf", ()):
        found |= _properties(part)
    if schema.get("$ref", "").endswith(".json"):
        found |= _properties(_schemas()[1][schema["$ref"].removesuffix(".json")])
    return found


class Database:
    """A database whose jobs stand where a test wants them, without a worker process."""

    def __init__(self, path: Path) -> None:
        """Create it."""
        self.path = path
        self.store = SqliteStore(path, durable=False)
        self.queue = JobQueue(path)
        self._worker = self.store.register("the-worker", own_identity())

    def submit(self, name: str, **options: Any) -> str:  # noqa: ANN401 (of Job)
        """Submit a job that nobody will run; its id."""
        return str(self.queue.submit(Job(name, "json.dumps", {"obj": [1, "é"]}, **options)))

    def claim(self, job: str) -> tuple[int, int, int]:
        """Let a worker claim the job, which has to be the next."""
        (claim,) = self.store.settle(self._worker, (), 1).claims
        assert claim.uuid == job
        return claim.execution, claim.job, claim.queue_id

    def end(self, job: str, verdict: Verdict, **fields: Any) -> str:  # noqa: ANN401 (of Outcome)
        """Let a worker run the job to such an end; gives its id."""
        retry = fields.pop("retry", False)
        outcome = Outcome(*self.claim(job), verdict, retry=retry, **fields)
        assert not self.store.settle(self._worker, [outcome]).dropped
        return job

    def close(self) -> None:
        """Let go of it."""
        self.queue.close()
        self.store.close()


class Examples(NamedTuple):
    """A database with a job of each status; the fields are their ids."""

    path: Path
    completed: str
    failed: str
    timeout: str
    cancelled: str
    running: str
    ready: str
    scheduled: str
    blocked: str
    workflow: str


def examples(path: Path) -> Examples:
    """Make such a database. The blocked job waits in a workflow `etl` for the ready one."""
    database = Database(path)
    completed = database.end(
        database.submit("done", description="it went well"), Verdict.COMPLETED, result='{"rows":3}'
    )
    failed = database.end(
        database.submit("bad"),
        Verdict.FAILED,
        error="no \x1b[31mred\nline",
        traceback="Trace\nback",
    )
    timeout = database.end(
        database.submit("late", max_attempts=1, timeout=1.5),
        Verdict.TIMEOUT,
        error="Job timed out after 1.5 seconds",
        cause="deadline",
        stacks="Thread 0x1",
    )
    cancelled = database.submit("unwanted")
    database.queue.cancel(cancelled)
    running = database.submit("busy")
    database.claim(running)
    workflow = Workflow("etl")
    ready = workflow.add_job(Job("extract", "json.dumps", {"obj": 1}, priority=2))
    blocked = workflow.add_job(Job("load", "json.dumps", {"obj": 2}), depends_on=ready)
    workflow.submit_all(database.queue)
    scheduled = database.submit("later", delay=3600, queue="night")
    database.close()
    return Examples(
        path,
        completed,
        failed,
        timeout,
        cancelled,
        running,
        ready.id,
        scheduled,
        blocked.id,
        workflow.id,
    )
