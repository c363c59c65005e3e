"""Converting the tables of GigQ 0.5.1 into ours; the SQL stands in the file of the same name."""

from __future__ import annotations

import json
import os
import sys
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from gigq.queue import clock
from gigq.queue.errors import ForeignDatabaseError, StoreError
from gigq.queue.migrations import split, upgrade

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

_TABLES = {"jobs": "gigq_0_5_jobs", "job_executions": "gigq_0_5_executions"}
# Columns that 0.5.1 adds to a file of an older version when it opens it.
_ADDED = ("pass_parent_results INTEGER", "retry_delay INTEGER DEFAULT 0", "retry_after TEXT")
# fmt: off
_NEEDED = {
    "id", "name", "function_name", "function_module", "params", "priority", "dependencies",
    "max_attempts", "timeout", "description", "status", "created_at", "updated_at", "attempts",
    "result", "error", "started_at", "completed_at", "worker_id",
}
# fmt: on


class Converted(NamedTuple):
    """What was converted, and what became otherwise than it was."""

    jobs: int
    executions: int
    missing_parents: int
    abandoned: int
    running: int
    lost: int
    orphans: int
    of_main: int


def convert(connection: sqlite3.Connection, path: Path) -> Converted:
    """Turn the old tables into ours, inside the caller's transaction.

    The connection has `legacy_alter_table` on, so that views of other people go on reading `jobs`.
    Raises ForeignDatabaseError for tables that are not GigQ's, StoreError for a row that 0.5.1
    cannot have written; the caller rolls back then.
    """
    _take_aside(connection, path)
    for name, function in (("micros", _micros), ("is_json", _is_json), ("is_list", _is_list)):
        connection.create_function(name, 1, function, deterministic=True)
    script = _sections()
    for check in ("check_jobs", "check_executions"):
        found = connection.execute(script[check]).fetchone()
        if found is not None:
            message = f"{path}: job {found[0]}: {found[1]}; correct or delete it, and try again"
            raise StoreError(message)
    upgrade(connection.execute, 0)
    values = {"now": clock.now(), "directory": os.getcwd(), "python": sys.executable}  # noqa: PTH109
    for statement in split(script["convert"]):
        connection.execute(statement, values)
    converted = Converted(*connection.execute(script["count"]).fetchone())
    for table in _TABLES.values():
        connection.execute(f"DROP TABLE {table}")
    if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
        raise AssertionError(path)
    return converted


def _take_aside(connection: sqlite3.Connection, path: Path) -> None:
    """Rename the old tables, which have the names of our views."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(jobs)")}
    if not columns >= _NEEDED:
        message = (
            f"{path} has tables jobs and job_executions, but not those of GigQ "
            f"(no column {min(_NEEDED - columns)}); choose another"
        )
        raise ForeignDatabaseError(message)
    for column in _ADDED:
        if column.partition(" ")[0] not in columns:
            connection.execute(f"ALTER TABLE jobs ADD COLUMN {column}")
    for table, aside in _TABLES.items():
        connection.execute(f"ALTER TABLE {table} RENAME TO {aside}")


def _sections() -> dict[str, str]:
    """Read the SQL file: its named parts."""
    text = resources.files("gigq.queue").joinpath("from_gigq_0_5.sql").read_text("utf-8")
    _, *parts = text.split("\n-- name: ")
    return {name: body for name, _, body in (part.partition("\n") for part in parts)}


def _micros(text: object) -> int | None:
    """Give naive local ISO text as microseconds UTC; None for none and for what is no time."""
    try:
        return clock.from_text(text) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def _is_json(text: object) -> bool:
    try:
        json.loads(text)  # type: ignore[arg-type]
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _is_list(text: object) -> bool:
    return _is_json(text) and isinstance(json.loads(text), list)  # type: ignore[arg-type]
