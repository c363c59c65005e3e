"""What a storm leaves behind: the notes of all that took part, and the database, both read once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from storm.notes import parse

if TYPE_CHECKING:
    from pathlib import Path

FINAL = ("completed", "failed", "timeout", "cancelled")
UNSUCCESSFUL = FINAL[1:]
HELD = ("claimed", "running")


@dataclass
class Run:
    """One run of a job, as it noted itself. Times are seconds of the monotonic clock."""

    key: str
    execution: int
    pid: int
    ticks: int
    begin: float
    parents: dict[str, int | None] | None  # whose results it was given, and of which executions
    end: float | None = None
    how: str | None = None
    overlaps: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        """Say which run this is."""
        end = "no end" if self.end is None else f"{self.how} at {self.end:.3f}"
        return f"execution {self.execution} in pid {self.pid} from {self.begin:.3f}, {end}"


@dataclass
class Promise:
    """One submit: what was offered, and whether it was acknowledged."""

    jobs: dict[str, dict[str, Any]]  # by id: max_attempts, policy, parents
    offered: float
    acknowledged: float | None = None


class Request(NamedTuple):
    """One cancel, cancel of a running one, or requeue of a job."""

    what: str
    job: str
    asked: float
    answered: float | None  # None: whoever asked died or got an error
    answer: bool | None


class Execution(NamedTuple):
    """A row of the table."""

    id: int
    job: str
    attempt: int
    verdict: str | None
    result: str | None


class JobRow(NamedTuple):
    """A row of the table."""

    uuid: str
    name: str
    state: str
    attempts: int
    max_attempts: int
    waiting_on: int
    due_at: int | None
    begun: int
    execution_id: int | None
    policy: str
    cause: str | None
    cancelled_by: str | None


class Database:
    """All rows that matter, of one moment."""

    def __init__(self, path: Path) -> None:
        """Read it."""
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
            connection.execute("BEGIN")
            rows = connection.execute(
                "SELECT id, uuid, name, state, attempts, max_attempts, waiting_on, due_at, begun,"
                " execution_id, on_parent_failure, cause,"
                " (SELECT uuid FROM job p WHERE p.id = job.cancelled_by) FROM job"
            ).fetchall()
            self.jobs = {row[1]: JobRow(*row[1:]) for row in rows}
            uuids = {row[0]: row[1] for row in rows}
            self.executions = {
                row[0]: Execution(row[0], uuids.get(row[1], "?"), *row[2:])
                for row in connection.execute(
                    "SELECT id, job_id, attempt, verdict, result FROM execution"
                )
            }
            self.parents: dict[str, list[str]] = {}
            for parent, child in connection.execute("SELECT parent_id, child_id FROM edge"):
                if parent in uuids and child in uuids:
                    self.parents.setdefault(uuids[child], []).append(uuids[parent])
            self.telling = {
                uuids.get(parent)
                for (parent,) in connection.execute("SELECT parent_id FROM fanout")
            }
            self.asked_to_end = {
                row[0] for row in connection.execute("SELECT execution_id FROM cancellation")
            }
            self.miscounted = miscounted(connection)
            self.open_workers = connection.execute(
                "SELECT name FROM worker WHERE ended_at IS NULL"
            ).fetchall()
            self.integrity = [row[0] for row in connection.execute("PRAGMA integrity_check")]
            self.foreign_keys = connection.execute("PRAGMA foreign_key_check").fetchall()


def miscounted(connection: sqlite3.Connection) -> list[tuple[int, str, int, int]]:
    """Compare the counters with the rows: queue, state, counted, found, where they differ."""
    found = dict.fromkeys(
        connection.execute("SELECT queue_id, state FROM job GROUP BY 1, 2").fetchall(), 0
    )
    for queue, state, jobs in connection.execute(
        "SELECT queue_id, state, count(*) FROM job GROUP BY 1, 2"
    ):
        found[queue, state] = jobs
    counted = {
        (queue, state): jobs
        for queue, state, jobs in connection.execute("SELECT queue_id, state, jobs FROM job_count")
    }
    return [
        (*place, counted.get(place, 0), found.get(place, 0))
        for place in sorted({*found, *counted})
        if counted.get(place, 0) != found.get(place, 0)
    ]


class Notes:
    """What was noted, put together."""

    def __init__(self, folder: Path) -> None:
        """Read all notes in the folder."""
        self.runs: dict[str, list[Run]] = {}
        self.processes: list[dict[str, Any]] = []
        for path in sorted((folder / "jobs").glob("*.jsonl")):
            self._read_job(path.stem, parse(path.read_text()))
        self.promises: list[Promise] = []
        self.requests: dict[str, list[Request]] = {}
        self.clearable: set[str] = set()
        for path in sorted(folder.glob("submitter-*.jsonl")):
            self._read_submitter(parse(path.read_text()))
        self.offered = {job: facts for each in self.promises for job, facts in each.jobs.items()}
        driver = folder / "driver.jsonl"
        self.driver = parse(driver.read_text()) if driver.exists() else []
        for line in self.driver:
            if line["what"] == "clear":
                self.clearable.update(line["clearable"])

    def _read_job(self, key: str, lines: list[dict[str, Any]]) -> None:
        runs = self.runs.setdefault(key, [])
        last: dict[tuple[int, int], Run] = {}
        for line in lines:
            place = line["execution"], line["pid"]
            if line["what"] == "begin":
                run = Run(
                    key,
                    line["execution"],
                    line["pid"],
                    line["ticks"],
                    line["at"],
                    line["parents"],
                )
                last[place] = run
                runs.append(run)
            elif line["what"] == "end" and place in last and last[place].end is None:
                last[place].end, last[place].how = line["at"], line["how"]
            elif line["what"] == "overlap" and place in last:
                last[place].overlaps.append(line)
            elif line["what"] == "process":
                self.processes.append({**line, "key": key})

    def _read_submitter(self, lines: list[dict[str, Any]]) -> None:
        offers: dict[int, Promise] = {}
        asked: dict[int, dict[str, Any]] = {}
        answers: dict[int, dict[str, Any]] = {}
        for line in lines:
            if line["what"] == "offer":
                offers[line["number"]] = Promise(line["jobs"], line["at"])
            elif line["what"] == "acknowledged":
                offers[line["number"]].acknowledged = line["at"]
            elif line["what"] in ("cancel", "cancel_running", "requeue"):
                asked[line["number"]] = line
            elif line["what"] == "answer":
                answers[line["number"]] = line
        self.promises += offers.values()
        for number, ask in asked.items():
            answer = answers.get(number)
            self.requests.setdefault(ask["job"], []).append(
                Request(
                    ask["what"],
                    ask["job"],
                    ask["at"],
                    None if answer is None else answer["at"],
                    None if answer is None else answer["answer"],
                )
            )

    def ancestors(self, job: str) -> set[str]:
        """Give all that a job depends on, as it was submitted: edges may be cleared away."""
        found: set[str] = set()
        left = [job]
        while left:
            for parent in self.offered.get(left.pop(), {}).get("parents", ()):
                if parent not in found:
                    found.add(parent)
                    left.append(parent)
        return found

    def requeues(self, job: str) -> list[Request]:
        """List the requeues of a job that may have had effect."""
        return [
            each
            for each in self.requests.get(job, ())
            if each.what == "requeue" and each.answer is not False
        ]
