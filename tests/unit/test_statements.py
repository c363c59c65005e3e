"""All SQL of the store: each statement prepares, and the hot ones use the index meant for them."""

from __future__ import annotations

import ast
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gigq.queue import statements
from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE = Path(__file__).parents[2] / "queue"
NAMED = {
    name: text
    for name, text in vars(statements).items()
    if name.isupper() and not name.startswith("_") and isinstance(text, str)
}
VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
WHOLE = {name: text for name, text in NAMED.items() if text.split()[0] in VERBS}
CONDITIONS = NAMED.keys() - WHOLE.keys()

# Tables with few rows, whatever the number of jobs, and a fan-out, of which the first row is read.
# `d` and json_each are the keys that a statement is given.
SMALL = {"queue", "q", "fanout", "f", "high_water", "CONSTANT", "d", "json_each"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """Give a connection to a fresh database."""
    path = tmp_path_factory.mktemp("statements") / "gigq.db"
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def completed(text: str) -> str:
    """Fill in what a statement leaves open: a list of values, or conditions."""
    fragments = [NAMED[name].format("?, ?") for name in sorted(CONDITIONS)]
    return text.format(" AND ".join(fragments) if "WHERE {}" in text else "?, ?")


def explain(database: sqlite3.Connection, kind: str, text: str) -> list[tuple[object, ...]]:
    """Let SQLite prepare a statement and explain it."""
    marks = re.findall(r"\?(\d*)", text)
    numbered = [int(mark) for mark in marks if mark]
    assert not numbered or all(marks), "numbered and plain parameters do not mix"
    values = [None] * (max(numbered) if numbered else len(marks))
    return database.execute(f"{kind} {text}", values).fetchall()


def plan(database: sqlite3.Connection, text: str) -> list[str]:
    """Give the steps of a statement's plan."""
    return [str(row[3]) for row in explain(database, "EXPLAIN QUERY PLAN", completed(text))]


@pytest.mark.parametrize("name", WHOLE)
def test_statement_prepares(database: sqlite3.Connection, name: str) -> None:
    """The statement is right for the tables of a fresh database."""
    assert explain(database, "EXPLAIN", completed(WHOLE[name]))


def test_every_statement_is_used() -> None:
    """The store uses each statement: none is left over."""
    used = {
        node.attr
        for file in QUEUE.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert NAMED.keys() <= used


def test_no_statement_elsewhere() -> None:
    """No other module of queue/ writes SQL about our tables; set-up alone makes them."""
    about = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH)\b.*\b(FROM|SET|VALUES)\b")
    found = [
        (file.name, node.value)
        for file in QUEUE.glob("*.py")
        if file.name not in ("statements.py", "schema.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and about.match(node.value.replace("\n", " "))
        and "sqlite_schema" not in node.value
    ]
    assert found == []


class TestPlans:
    """The plans of what runs for each job."""

    @pytest.mark.parametrize(
        ("name", "steps"),
        [
            (
                "PICK",
                [
                    r"SEARCH job USING INDEX job_live \(live=\? AND queue_id=\?\)",
                    r"SEARCH j USING INTEGER PRIMARY KEY",
                ],
            ),
            (
                "PICK_IN_QUEUE",
                [
                    r"SEARCH queue USING INTEGER PRIMARY KEY",
                    r"SEARCH j USING INDEX job_live \(live=\? AND queue_id=\?\)",
                ],
            ),
            (
                "SPEC",
                [r"SEARCH j USING INTEGER PRIMARY KEY", r"SEARCH s USING INTEGER PRIMARY KEY"],
            ),
            (
                "AHEAD",
                [
                    r"SEARCH j USING INDEX job_live \(live=\? AND queue_id=\?\)",
                    r"SEARCH s USING INTEGER PRIMARY KEY",
                ],
            ),
            (
                "PICK_WITH_SPECS",
                [
                    r"SEARCH queue USING INTEGER PRIMARY KEY",
                    r"SEARCH j USING INDEX job_live \(live=\? AND queue_id=\?\)",
                    r"SEARCH s USING INTEGER PRIMARY KEY",
                ],
            ),
            ("HOLD_JOB", [r"SEARCH job USING INTEGER PRIMARY KEY \(rowid=\?\)"]),
            ("COMPLETE_JOB", [r"SEARCH job USING INTEGER PRIMARY KEY \(rowid=\?\)"]),
            ("COMPLETE_CHILDLESS", [r"SEARCH job USING INTEGER PRIMARY KEY \(rowid=\?\)"]),
            ("CARRIED", [r"SEARCH job USING INTEGER PRIMARY KEY \(rowid=\?\)"]),
            ("END_JOB", [r"SEARCH job USING INTEGER PRIMARY KEY \(rowid=\?\)"]),
            ("END_EXECUTION", [r"SEARCH execution USING INTEGER PRIMARY KEY \(rowid=\?\)"]),
            ("ATTEMPTS", [r"SEARCH j USING INTEGER PRIMARY KEY", r"SEARCH s USING INTEGER PRIM"]),
            (
                "CHILDREN",
                [
                    r"SEARCH e USING PRIMARY KEY \(parent_id=\? AND child_id>\? AND child_id<\?\)",
                    r"SEARCH c USING INTEGER PRIMARY KEY",
                ],
            ),
            ("FANOUT", [r"SEARCH p USING INTEGER PRIMARY KEY"]),
            ("OUTLOOK", [r"SEARCH job USING (COVERING )?INDEX job_scheduled"]),
            (
                "PROMOTE",
                [
                    r"SEARCH job USING (COVERING )?INDEX job_scheduled \(due_at<\?\)",
                    r"SEARCH job USING INTEGER PRIMARY KEY",
                ],
            ),
            ("GLANCE", [r"SEARCH job USING (COVERING )?INDEX job_scheduled"]),
            ("OPEN_EXECUTIONS", [r"SEARCH j USING INDEX job_live \(live=\?\)"]),
            (
                "UNFINISHED_PARENTS",
                [
                    r"SEARCH e USING COVERING INDEX edge_child \(child_id=\?\)",
                    r"SEARCH p USING INTEGER PRIMARY KEY",
                ],
            ),
            (
                "EXECUTIONS",
                [r"SEARCH x USING INTEGER PRIMARY KEY \(rowid>\? AND rowid<\?\)"],
            ),
            (
                "PARENT_RESULTS",
                [
                    r"SEARCH e USING COVERING INDEX edge_child",
                    r"SEARCH p USING INTEGER PRIMARY KEY",
                    r"SEARCH x USING INTEGER PRIMARY KEY",
                ],
            ),
            ("PARENT", [r"SEARCH job USING INDEX sqlite_autoindex_job_1 \(uuid=\?\)"]),
            ("LAST_CHILD", [r"SEARCH edge USING PRIMARY KEY \(parent_id=\?\)"]),
            ("CANCELLED_BY", [r"SEARCH e USING PRIMARY KEY \(parent_id=\?\)"]),
            ("RECOUNT_CHILDREN", [r"SEARCH e USING PRIMARY KEY \(parent_id=\?\)"]),
            ("JOBS_AFTER", [r"SEARCH job USING INTEGER PRIMARY KEY \(rowid>\?\)"]),
            (
                "UNSUCCESSFUL_AFTER",
                [r"SEARCH job USING INDEX job_unsuccessful \(state=\? AND id>\?\)"],
            ),
            (
                "WORKFLOW_BEFORE",
                [r"SEARCH job USING COVERING INDEX job_workflow \(workflow_id=\? AND rowid<\?\)"],
            ),
            ("YOUNG_IN_WORKFLOW", [r"SEARCH j USING INDEX job_workflow \(workflow_id=\?\)"]),
            ("OVER_AMONG", [r"SEARCH j USING INTEGER PRIMARY KEY"]),
            (
                "PROTECTED_AMONG",
                [
                    r"SEARCH e USING PRIMARY KEY \(parent_id=\?\)",
                    r"SEARCH c USING INTEGER PRIMARY KEY",
                ],
            ),
            (
                "EDGES_AMONG",
                [
                    r"SEARCH edge USING PRIMARY KEY \(parent_id=\?\)",
                    r"SEARCH edge USING COVERING INDEX edge_child \(child_id=\?\)",
                ],
            ),
            (
                "EXECUTIONS_AMONG",
                [r"SEARCH x USING INTEGER PRIMARY KEY \(rowid>\? AND rowid<\?\)"],
            ),
            ("DROP_EXECUTIONS", [r"SEARCH execution USING INTEGER PRIMARY KEY"]),
            ("DROP_EDGES_BELOW", [r"SEARCH edge USING PRIMARY KEY \(parent_id=\?\)"]),
            ("DROP_EDGES_ABOVE", [r"SEARCH edge USING COVERING INDEX edge_child"]),
            ("DROP_SOME_EDGES_BELOW", [r"SEARCH edge USING PRIMARY KEY \(parent_id=\? AND"]),
            ("DROP_SOME_EDGES_ABOVE", [r"SEARCH edge USING PRIMARY KEY \(parent_id=\? AND"]),
            ("DROP_JOBS", [r"SEARCH job USING INTEGER PRIMARY KEY \(rowid=\?\)"]),
            (
                "DROP_WORKFLOWS",
                [
                    r"SEARCH workflow USING INTEGER PRIMARY KEY",
                    r"SEARCH job USING COVERING INDEX job_workflow \(workflow_id=\?\)",
                ],
            ),
            ("FIRST_JOB_FROM", [r"SEARCH job USING INTEGER PRIMARY KEY \(rowid>\?\)"]),
            (
                "LEFT_EXECUTIONS",
                [r"SEARCH execution USING INTEGER PRIMARY KEY \(rowid>\? AND rowid<\?\)"],
            ),
            ("ENDED_WORKERS", [r"SEARCH worker USING INTEGER PRIMARY KEY \(rowid>\?\)"]),
            ("DROP_WORKERS", [r"SEARCH worker USING INTEGER PRIMARY KEY"]),
            ("FIND", [r"SEARCH job USING COVERING INDEX .* \(uuid>\? AND uuid<\?\)"]),
            ("JOB", [r"SEARCH j USING INDEX sqlite_autoindex_job_1 \(uuid=\?\)"]),
        ],
        ids=lambda each: each if isinstance(each, str) else "",
    )
    def test_hot_statement(self, database: sqlite3.Connection, name: str, steps: list[str]) -> None:
        """The statement takes the index meant for it, and neither scans nor sorts what grows."""
        found = plan(database, NAMED[name])
        for step in steps:
            assert any(re.match(step, line) for line in found), (step, found)
        scans = [line for line in found if line.startswith("SCAN")]
        small = {*SMALL, "cancellation"}
        assert [s for s in scans if s.split()[1] not in small] == []
        sorts = [line for line in found if "TEMP B-TREE" in line]
        # Few rows each: the heads of the queues, the keys to delete, what workers hold.
        few = ("PICK", "OVER_AMONG", "OPEN_EXECUTIONS")
        assert sorts == ["USE TEMP B-TREE FOR ORDER BY"] * (name in few)

    def test_plans_stay_with_many_rows(self, tmp_path: Path) -> None:
        """Statistics of a large database (ANALYZE) turn no hot statement into a scan."""
        path = tmp_path / "gigq.db"
        SqliteStore(path).close()
        with closing(sqlite3.connect(path)) as filled:
            filled.execute(
                """
                INSERT INTO job (uuid, name, queue_id, state, priority, max_attempts, created_at,
                                 updated_at)
                WITH n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
                SELECT i, 'job', 1, iif(i % 50, 'completed', 'ready'), 0, 1, i, i FROM n"""
            )
            filled.execute("INSERT INTO edge SELECT id, id + 1, 0 FROM job WHERE id < 20000")
            filled.execute("ANALYZE")
            for name in ("PICK", "END_JOB", "CHILDREN", "UNFINISHED_PARENTS", "PARENT_RESULTS"):
                scans = [line for line in plan(filled, NAMED[name]) if line.startswith("SCAN")]
                assert [line for line in scans if line.split()[1] not in SMALL] == []
