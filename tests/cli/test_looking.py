"""Looks: status, list, stats, why, and the documents that programs read."""

from __future__ import annotations

import csv
import io
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from cli.client import COLOUR, SCHEMAS, Client, Database, checked, examples

from gigq.cli.show.documents import JOB
from gigq.queue.states import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cli.client import Done, Examples

OFFSET = re.compile(r"[+-]\d\d:\d\d$")


def times(value: object) -> Iterator[str]:
    """Give each time of a document."""
    if isinstance(value, dict):
        for name, each in value.items():
            if name.endswith("_at") and each is not None:
                yield each
            yield from times(each)
    elif isinstance(value, list):
        for each in value:
            yield from times(each)


class TestStatus:
    """`gigq status`."""

    def test_lines_that_scripts_look_for(self, look: Client, shown: Examples) -> None:
        """The lines of GigQ 0.5.1 are there, each with its value."""
        lines = look("status", shown.failed).out.splitlines()
        assert f"Job: bad ({shown.failed})" in lines
        assert "Status: failed" in lines
        assert "Attempts: 1 / 3" in lines
        assert "Worker: the-worker" in lines
        assert "Error: no \\x1b[31mred" in lines
        for name in ("Created", "Updated", "Started", "Completed"):
            assert any(
                re.fullmatch(rf"{name}: \d{{4}}-\d\d-\d\d [\d:]{{8}}", line) for line in lines
            )

    @pytest.mark.parametrize(
        ("field", "status", "state"),
        [
            ("completed", "completed", None),
            ("failed", "failed", None),
            ("timeout", "timeout", None),
            ("cancelled", "cancelled", None),
            ("running", "running", None),
            ("ready", "pending", "ready"),
            ("scheduled", "pending", "scheduled"),
            ("blocked", "pending", "blocked"),
        ],
    )
    def test_public_status(
        self, look: Client, shown: Examples, field: str, status: str, state: str | None
    ) -> None:
        """The public status is shown; of a pending job also why it is pending."""
        out = look("status", getattr(shown, field)).out
        assert f"\nStatus: {status}\n" in out
        assert (f"\nState: {state}\n" in out) == (state is not None)
        assert ("\nWhy: " in out) == (state is not None)

    def test_what_is_asked_for(self, look: Client, shown: Examples) -> None:
        """--show-params, --show-result and --show-executions add their parts."""
        plain = look("status", shown.completed).out
        assert not any(part in plain for part in ("Parameters:", "Result:", "Executions:"))
        done = look(
            "status", shown.completed, "--show-params", "--show-result", "--show-executions"
        ).out
        assert '\nParameters:\n  obj: [1, "é"]\n' in done
        assert "\nResult:\n  rows: 3\n" in done
        assert re.search(r"\nExecutions:\nATTEMPT +STATUS .*\n +1 +completed ", done)

    def test_attempts_with_traceback_and_stacks(self, look: Client, shown: Examples) -> None:
        """--show-executions shows the traceback of a failure and the stacks of a timeout."""
        failed = look("status", shown.failed, "--show-executions").out
        assert "\nAttempt 1, traceback:\nTrace\nback\n" in failed
        late = look("status", shown.timeout, "--show-executions").out
        assert "\nAttempt 1, stacks:\nThread 0x1\n" in late

    @pytest.mark.parametrize(
        "field", ["completed", "failed", "timeout", "cancelled", "running", "ready", "blocked"]
    )
    def test_document(self, look: Client, shown: Examples, field: str) -> None:
        """JSON has everything, in the form that the schema says, its times with an offset."""
        document = look("status", getattr(shown, field), "-o", "json").document("status")
        assert document["job"]["id"] == getattr(shown, field)
        assert document["job"]["params"] in ({"obj": [1, "é"]}, {"obj": 1}, {"obj": 2})
        assert list(times(document)) != []
        assert all(OFFSET.search(each) for each in times(document))

    def test_progress(self, tmp_path: Path) -> None:
        """How far a running job says that it is stands in text and document."""
        from gigq.queue.records import Progress  # noqa: PLC0415

        database = Database(tmp_path / "gigq.db")
        job = database.submit("busy")
        execution, _, _ = database.claim(job)
        database.store.set_progress(execution, Progress(3.0, 4.0, "rows", 1))
        gigq = Client(tmp_path)
        assert "\nProgress: 3 of 4 (75%) rows\n" in gigq("status", job).out
        progress = gigq("status", job, "-o", "json").document("status")["job"]["progress"]
        assert (progress["done"], progress["total"], progress["text"]) == (3, 4, "rows")
        database.close()


class TestIds:
    """An id may be cut short."""

    def test_unique_beginning(self, look: Client, shown: Examples) -> None:
        """A beginning that only one job has is that job, in capitals too."""
        whole = look("status", shown.failed).out
        assert look("status", shown.failed[:13]).out == whole
        assert look("status", shown.failed[:13].upper()).out == whole

    def test_several_jobs(self, gigq: Client) -> None:
        """A beginning that several have lists them, and is a failure."""
        database = Database(gigq.folder / "gigq.db")
        jobs = [database.submit(f"job-{number}") for number in range(17)]
        database.close()
        first = next(c for c in "0123456789abcdef" if sum(j.startswith(c) for j in jobs) > 1)
        done = gigq("status", first, code=1)
        listed = [line.split()[:2] for line in done.err.splitlines()[1:] if "…" not in line]
        assert len(listed) > 1
        assert all(jobs[int(name.partition("-")[2])] == uuid for uuid, name in listed)
        assert "type more" in done.err

    @pytest.mark.parametrize("command", ["status", "why", "logs", "wait", "cancel", "requeue"])
    def test_unknown(self, look: Client, command: str) -> None:
        """An id that no job has is a failure that names the database."""
        done = look(command, "zzz", code=1)
        assert done.err.startswith("gigq: no job's id begins with 'zzz' in /")
        assert "gigq list" in done.err


def ids(done: Done) -> list[str]:
    """Give the ids of a list in JSON."""
    return [job["id"] for job in done.document("list")["jobs"]]


class TestList:
    """`gigq list`."""

    def test_table(self, look: Client, shown: Examples) -> None:
        """A pipe gets aligned text without a colour or a line, newest first, ids cut short."""
        out = look("list").out
        titles, *lines = out.splitlines()
        assert titles.split() == ["ID", "NAME", "STATUS", "ATTEMPTS", "AGE", "TIME"]
        assert lines[0].startswith(f"{shown.scheduled[:8]}  later ")
        assert lines[-1].startswith(f"{shown.completed[:8]}  done ")
        assert (
            len({line.index(word) for line, word in zip(lines, out_words(lines), strict=True)}) == 1
        )
        assert COLOUR not in out

    def test_wide(self, look: Client, shown: Examples) -> None:
        """The wide table has whole ids, the inner state, and the error in one line."""
        out = look("list", "-o", "wide").out
        titles, *lines = out.splitlines()
        assert {"STATE", "QUEUE", "WORKFLOW", "FUNCTION", "WORKER", "ERROR"} <= set(titles.split())
        assert len(lines) == 8
        states = {line.split()[0]: line.split()[6] for line in lines}
        assert states[shown.blocked] == "blocked"
        assert states[shown.scheduled] == "scheduled"
        assert states[shown.failed] == "-"
        assert any(line.endswith("no \\x1b[31mred line") for line in lines)

    @pytest.mark.parametrize(
        ("line", "fields"),
        [
            ("--status failed", ["failed"]),
            ("--status failed --status timeout", ["timeout", "failed"]),
            ("--status pending", ["scheduled", "blocked", "ready"]),
            ("--status running", ["running"]),
            ("--name b*", ["running", "failed"]),
            ("--name bad", ["failed"]),
            ("--queue night", ["scheduled"]),
            ("--workflow etl", ["blocked", "ready"]),
            ("--workflow etl --name load", ["blocked"]),
            ("--limit 2", ["scheduled", "blocked"]),
            ("--since 2040-01-01", []),
            ("--since 1s --name none", []),
        ],
    )
    def test_filters(self, look: Client, shown: Examples, line: str, fields: list[str]) -> None:
        """Filters narrow the list, and can be combined."""
        done = look("list", "-o", "json", *line.split())
        assert ids(done) == [getattr(shown, field) for field in fields]

    def test_since(self, look: Client) -> None:
        """--since takes a duration up to now or a time, local where it has no offset."""
        for since in ("3d", "2h", "2000-01-01", "2000-01-01T00:00:00+00:00"):
            assert len(ids(look("list", "-o", "json", "--since", since))) == 8
        ahead = datetime.fromtimestamp(time.time() + 3600).isoformat()  # noqa: DTZ006 (naive: local)
        assert ids(look("list", "-o", "json", "--since", ahead)) == []

    def test_limit_is_said(self, look: Client) -> None:
        """Who does not see all jobs is told on standard error how to."""
        assert "--limit 0" in look("list", "--limit", "3").err
        assert look("list", "--limit", "8").err == ""
        assert look("list", "--limit", "0").err == ""

    def test_nothing_found(self, look: Client) -> None:
        """An empty list is no failure: a message, and no data."""
        done = look("list", "--name", "none")
        assert (done.out, done.err) == ("", "gigq: no jobs found\n")
        assert look("list", "--name", "none", "-o", "jsonl").out == ""

    def test_lines(self, look: Client, shown: Examples) -> None:
        """With -o jsonl each line is a document."""
        lines = look("list", "-o", "jsonl").out.splitlines()
        documents = [checked(line, "list-line") for line in lines]
        assert len(documents) == 8
        assert documents[0]["id"] == shown.scheduled
        assert all(OFFSET.search(each) for each in times(documents))

    def test_csv(self, look: Client, shown: Examples) -> None:
        """CSV has a line of titles and the fields of the documents, line breaks in quotes."""
        rows = list(csv.DictReader(io.StringIO(look("list", "-o", "csv").out)))
        assert [*rows[0]] == list(JOB)
        failed = next(row for row in rows if row["id"] == shown.failed)
        assert failed["error"] == "no \x1b[31mred\nline"
        assert OFFSET.search(failed["created_at"])
        titles = look("list", "-o", "csv", "--name", "none").out
        assert titles.strip().split(",") == list(JOB)

    def test_other_encodings(self, shown: Examples) -> None:
        """What the output's encoding lacks is escaped; JSON stays JSON."""
        gigq = Client(shown.path.parent, PYTHONIOENCODING="iso-8859-1")
        assert gigq("workflow", "show", "etl").out.isascii()
        job = gigq("status", shown.completed, "-o", "json")
        assert job.out.isascii()
        assert job.document("status")["job"]["params"] == {"obj": [1, "é"]}


def out_words(lines: list[str]) -> list[str]:
    """Give the status in each line of a table."""
    return [line.split()[2] for line in lines]


class TestStats:
    """`gigq stats`."""

    def test_counts(self, look: Client) -> None:
        """Each of the six statuses is counted, and all of them."""
        lines = [line.split() for line in look("stats").out.splitlines()]
        assert lines == [
            ["STATUS", "COUNT"],
            ["pending", "3"],
            ["running", "1"],
            ["completed", "1"],
            ["failed", "1"],
            ["cancelled", "1"],
            ["timeout", "1"],
            ["total", "8"],
        ]

    def test_document(self, look: Client) -> None:
        """JSON has the inner states too."""
        document = look("stats", "-o", "json").document("stats")
        assert document["total"] == 8
        assert document["statuses"]["pending"] == 3
        assert document["states"]["scheduled"] == 1


class TestWhy:
    """`gigq why`."""

    def test_text(self, look: Client, shown: Examples) -> None:
        """A sentence, and the command to type next."""
        lines = look("why", shown.blocked).out.splitlines()
        assert "extract" in lines[0]
        assert lines[1] == f"→ gigq status {shown.ready}"
        look("status", shown.ready)

    def test_another_database(self, look: Client, shown: Examples) -> None:
        """The command to type next finds the database that this one was given."""
        database = look.folder / "gigq.db"
        elsewhere = Client(look.folder.parent)
        done = elsewhere("--db", str(database), "why", shown.blocked)
        assert done.out.splitlines()[1] == f"→ gigq --db {database} status {shown.ready}"
        document = elsewhere("--db", str(database), "why", shown.blocked, "-o", "json")
        command = document.document("why")["next_command"]
        assert command == f"gigq --db {database} status {shown.ready}"

    def test_database_here_is_not_the_one(self, tmp_path: Path) -> None:
        """Where a configuration names another one, that is said; not where somebody chose it."""
        examples(tmp_path / "gigq.db")
        (tmp_path / "gigq").mkdir()
        other = tmp_path / "other.db"
        examples(other)
        (tmp_path / "gigq" / "gigqd.toml").write_text(f'database = "{other}"\n')
        gigq = Client(tmp_path, XDG_CONFIG_HOME=str(tmp_path))
        told = f"gigq: using {other}, as {tmp_path}/gigq/gigqd.toml says; for {tmp_path}/gigq.db"
        assert gigq("stats").err.startswith(told)
        for chosen in (("--db", "gigq.db"), ("--db", str(other))):
            assert gigq("stats", *chosen).err == ""

    @pytest.mark.parametrize("field", ["completed", "failed", "cancelled", "running", "scheduled"])
    def test_document(self, look: Client, shown: Examples, field: str) -> None:
        """JSON has sentence, command and a word for programs."""
        document = look("why", getattr(shown, field), "-o", "json").document("why")
        assert document["id"] == getattr(shown, field)
        assert document["sentence"].endswith(".")


def test_every_schema_is_used() -> None:
    """Each committed schema is held against some output by a test in this folder."""
    here = "".join(file.read_text() for file in SCHEMAS.parents[2].glob("tests/cli/*.py"))
    parts = {"job", "workflow", "times"}  # of the others
    names = {file.stem for file in SCHEMAS.glob("*.json")}
    assert parts < names
    assert [name for name in sorted(names - parts) if f'"{name}"' not in here] == []


def test_verdicts_are_in_the_schema() -> None:
    """The schema of attempts knows each verdict that a store shows."""
    text = (SCHEMAS / "status.json").read_text()
    assert [
        each for each in Verdict if each is not Verdict.RELEASED and f'"{each}"' not in text
    ] == []
