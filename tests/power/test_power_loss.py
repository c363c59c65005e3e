"""What is left when the power goes: the files as the disk had them, opened again.

Every write and sync of the database and its log is recorded. A loss of power is then played at each
sync and in between: what was synced is there, and of what was written since, nothing, some, or
torn parts. The database that comes back has to be the one after some transaction, and not one from
before the last that had to be durable.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from power.recording_vfs import NotPossibleError, RecordingVfs, Step

from gigq import Job, Workflow
from gigq.queue import clock
from gigq.queue.identity import own_identity
from gigq.queue.records import NewWorkflow, Output
from gigq.queue.sqlite_store import SqliteStore
from gigq.queue.states import Verdict
from gigq.worker import outcome as outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gigq.queue.records import Claim

SECTOR = 512  # bytes that a disk writes as a whole
CHECKPOINT_BYTES = 48 << 10  # so that the log is moved often
TABLES = ("job", "execution", "edge", "tally", "cancellation", "worker")


class Disk:
    """What is certainly on the disk, and what may be: a file's synced content and later steps."""

    def __init__(self) -> None:
        """Begin with no file."""
        self.synced: dict[str, bytearray] = {}
        self.since: dict[str, list[Step]] = {}

    def take(self, step: Step) -> None:
        """Let a step happen."""
        if step.kind == "sync":
            content = self.synced.setdefault(step.file, bytearray())
            for each in self.since.pop(step.file, []):
                apply(content, each)
        elif step.kind == "delete":  # SQLite deletes a log only when the database is synced
            self.synced.pop(step.file, None)
            self.since.pop(step.file, None)
        else:
            self.since.setdefault(step.file, []).append(step)

    def after_loss(self, chance: random.Random, kept: float, torn: float) -> dict[str, bytes]:
        """Give the files after a loss of power; of what was not synced, parts may be there."""
        files = {}
        for name in {*self.synced, *self.since}:
            content = bytearray(self.synced.get(name, b""))
            for step in self.since.get(name, ()):
                if chance.random() < kept:
                    apply(content, tear(step, chance) if chance.random() < torn else step)
            if name in self.synced or content:
                files[name] = bytes(content)
        return files


def apply(content: bytearray, step: Step) -> None:
    """Do a step to a file's content."""
    if step.kind == "truncate":
        del content[step.offset :]
        return
    if len(content) < step.offset:
        content.extend(bytes(step.offset - len(content)))
    content[step.offset : step.offset + len(step.data)] = step.data


def tear(step: Step, chance: random.Random) -> Step:
    """Give a write of which only some sectors arrived, from its first one on."""
    if step.kind != "write" or len(step.data) <= SECTOR:
        return step
    return step._replace(data=step.data[: SECTOR * chance.randrange(len(step.data) // SECTOR + 1)])


def dump(path: Path) -> tuple[Any, ...]:
    """Give all that counts of a database."""
    with closing(sqlite3.connect(path)) as opened:
        return tuple(
            tuple(opened.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall())  # noqa: S608
            for table in TABLES
        )


class Story:
    """Clients and a worker at work on one database, told step by step."""

    def __init__(
        self, path: Path, seed: int, *, durable: bool = True, full: bool = False, syncs: bool = True
    ) -> None:
        """Open the file; with `full`, the worker waits for the disk each time.

        With `durable` or `syncs` false, clients or that worker do not: two planted bugs.
        """
        self.path = path
        self.full = full
        self.syncs = syncs
        self.chance = random.Random(seed)
        self.vfs = RecordingVfs(path)
        self.states: list[tuple[Any, ...]] = []  # the database after each transaction
        self.durable: list[int] = []  # by note: the first state that may come back
        self.held: list[Claim] = []
        self.uuids: list[str] = []
        with self.vfs.installed():
            self.client = SqliteStore(path, durable=durable, checkpoint_bytes=CHECKPOINT_BYTES)
            self.server = SqliteStore(
                path, durable=False, create=False, checkpoint_bytes=CHECKPOINT_BYTES
            )
        self._note(certain=False)
        self.worker = self.server.register("w", own_identity())
        self._note(certain=False)

    def _note(self, *, certain: bool) -> None:
        """Remember the database as it is now; `certain`: no loss of power may take that away."""
        self.states.append(dump(self.path))
        newest = len(self.states) - 1
        self.durable.append(newest if certain else self.durable[-1] if self.durable else 0)
        self.vfs.note(newest)

    def tell(self, steps: int) -> None:
        """Do so many things, one transaction each."""
        acts = [
            self.submit,
            self.submit,
            self.work,
            self.work,
            self.work,
            self.cancel,
            self.requeue,
        ]
        with self.vfs.listening():
            for _ in range(steps):
                certain = self.chance.choice(acts)()
                self._note(certain=certain)
        self.client.close()
        self.server.close()
        self._note(certain=False)

    def submit(self) -> bool:
        """Submit a workflow of a parent and its children."""
        workflow = Workflow("w")
        most = self.chance.choice([1, 1, 3])
        parent = workflow.add_job(Job("parent", "jobs.f", {"text": "x" * 300}, max_attempts=most))
        for _ in range(self.chance.randrange(3)):
            workflow.add_job(Job("child", "jobs.f", max_attempts=most), depends_on=parent)
        now = clock.now()
        records = [job.to_record(now) for job in workflow.jobs]
        self.client.submit(records, NewWorkflow(workflow.id, workflow.name))
        self.uuids += [record.uuid for record in records]
        return True

    def work(self) -> bool:
        """Settle what runs and claim the next; what may be begun once is certain to be begun.

        With `full`, all of it is certain.
        """
        ended = [outcomes.completed(claim, '"x"') for claim in self.held]
        if self.held and self.chance.random() < 0.3:
            verdict = self.chance.choice([Verdict.FAILED, Verdict.TIMEOUT, Verdict.LOST])
            ended = [outcome._replace(verdict=verdict, result=None) for outcome in ended]
        self.held = self.server.settle(self.worker, ended, 1, Output("log", 0)).claims
        if self.full:
            self._note(certain=False)
            if self.syncs:
                self.server.sync()
            return True
        if self.held and self.held[0].max_attempts == 1:
            self._note(certain=False)
            self.server.begin(self.held[0].execution)
            return True
        return False

    def cancel(self) -> bool:
        """Cancel something, if it can be."""
        return bool(self.uuids) and self.client.cancel(self.chance.choice(self.uuids), running=True)

    def requeue(self) -> bool:
        """Requeue something, if it can be."""
        for uuid in self.chance.sample(self.uuids, min(5, len(self.uuids))):
            row = self.client.job(uuid)
            if row is not None and row.state in ("failed", "timeout") and not self._blamed(uuid):
                return self.client.requeue(uuid)
        return False

    def _blamed(self, uuid: str) -> bool:
        row = self.client.job(uuid)
        assert row is not None
        return any(state != "completed" for _, _, state in self.client.parents(row.job))


def losses(story: Story, chance: random.Random) -> Iterator[tuple[dict[str, bytes], int]]:
    """Play a loss of power at every sync and at some other steps.

    Gives the files, and the first state that they may hold.
    """
    disk, least = Disk(), 0
    for step in story.vfs.steps:
        if step.kind == "note":
            least = story.durable[step.offset]
        if step.kind in ("sync", "note") or chance.random() < 0.05:
            for kept, torn in ((0, 0), (1, 0), (0.5, 0.5)):
                yield disk.after_loss(chance, kept, torn), least
        if step.kind != "note":
            disk.take(step)


def violations(story: Story, folder: Path, chance: random.Random) -> Iterator[str]:
    """Say what was lost, or damaged, at any loss of power."""
    newest = {state: number for number, state in enumerate(story.states)}
    seen: set[int] = set()
    for number, (files, least) in enumerate(losses(story, chance)):
        found = hash((tuple(sorted(files.items())), least))
        if found in seen or not files.get(str(story.path)):
            continue
        seen.add(found)
        here = folder / str(number)
        here.mkdir()
        for name, content in files.items():
            (here / name.rpartition("/")[2]).write_bytes(content)
        problem = verdict_on(here / story.path.name, newest, least)
        if problem:
            yield f"loss {number}: {problem}"
        shutil.rmtree(here)


def verdict_on(database: Path, newest: dict[tuple[Any, ...], int], least: int) -> str:
    """Say what is wrong with a database that came back; `newest` numbers what it may be."""
    with closing(sqlite3.connect(database)) as opened:
        sound = opened.execute("PRAGMA integrity_check").fetchall()
        (tables,) = opened.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if sound != [("ok",)]:
        return f"damaged: {sound[:3]}"
    if not tables:
        return "all is lost" if least > 0 else ""
    state = newest.get(dump(database))
    if state is None:
        return "it is as it never was"
    return f"state {state} came back, {least} had been promised" if state < least else ""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a database."""
    return tmp_path / "gigq.db"


def tell(path: Path, seed: int, steps: int, **how: bool) -> Story:
    """Tell a story; skip where it cannot be recorded."""
    try:
        story = Story(path, seed, **how)
    except NotPossibleError as error:
        pytest.skip(str(error))
    story.tell(steps)
    return story


@pytest.mark.parametrize(
    ("seed", "full"), [(1, False), (2, False), (3, True)], ids=["1", "2", "full"]
)
def test_what_was_promised_is_there(
    path: Path,
    tmp_path: Path,
    seed: int,
    full: bool,  # noqa: FBT001
) -> None:
    """No loss of power takes a submit, a cancel, a requeue, or the begin of what may run once.

    Nor, with durability = "full", anything else.
    """
    story = tell(path, seed, 120, full=full)
    kinds = [step.kind for step in story.vfs.steps]
    assert kinds.count("sync") > 100
    checkpoints = [s for s in story.vfs.steps if s.kind == "sync" and s.file == str(path)]
    assert len(checkpoints) > 5
    assert list(violations(story, tmp_path, random.Random(seed))) == []


def test_submit_that_does_not_wait_is_found(path: Path, tmp_path: Path) -> None:
    """The same test tells of a client that returns before its work is on the disk."""
    story = tell(path, 1, 60, durable=False)
    found = list(violations(story, tmp_path, random.Random(1)))
    assert any("had been promised" in each for each in found)


def test_worker_that_does_not_wait_is_found(path: Path, tmp_path: Path) -> None:
    """It tells as well of a worker that goes on before its work is on the disk."""
    story = tell(path, 3, 60, full=True, syncs=False)
    found = list(violations(story, tmp_path, random.Random(1)))
    assert any("had been promised" in each for each in found)
