"""Making a database ours: set up when fresh, upgraded on request, refused when strange."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from gigq.queue.errors import ForeignDatabaseError, SchemaVersionError, StoreError
from gigq.queue.schema import APPLICATION_ID, VERSIONS

if TYPE_CHECKING:
    from pathlib import Path

    from gigq.queue.connection import Connection

CURRENT = len(VERSIONS)


def set_up(connection: Connection, path: Path) -> None:
    """Create the tables in a fresh or empty file; check those of a file that has some.

    Several processes may race into it: one transaction decides. Raises ForeignDatabaseError or
    SchemaVersionError, with what to do next.
    """
    if is_ours(connection, path):
        return
    connection.use_write_ahead_log()
    with connection:
        if not is_ours(connection, path):
            _upgrade(connection, 0)


def is_ours(connection: Connection, path: Path) -> bool:
    """Tell whether the tables are there; raise where they are somebody else's."""
    application_id = connection.row("PRAGMA application_id")[0]
    version = connection.row("PRAGMA user_version")[0]
    if application_id == APPLICATION_ID:
        _check_version(path, version)
        return True
    tables = {name for (name,) in connection.rows("SELECT name FROM sqlite_schema")}
    if not tables and application_id == 0:
        return False
    if {"jobs", "job_executions"} <= tables:
        message = f"{path} was made by GigQ 0.5; convert it with: gigq migrate {path}"
        raise ForeignDatabaseError(message)
    message = f"{path} belongs to another program (it has tables {_some(tables)}); choose another"
    raise ForeignDatabaseError(message)


def _check_version(path: Path, version: int) -> None:
    if version > CURRENT:
        message = (
            f"{path} was made by a newer gigqd (schema {version}, this one knows {CURRENT}); "
            "upgrade with: pip install -U gigqd"
        )
        raise SchemaVersionError(message)
    if version < CURRENT:
        message = f"{path} has schema {version}, not {CURRENT}; upgrade it with: gigq migrate"
        raise SchemaVersionError(message)


def _upgrade(connection: Connection, version: int) -> None:
    """Run the steps after `version` inside the caller's transaction."""
    for step in VERSIONS[version:]:
        for statement in _split(step):
            connection.run(statement)
    connection.run(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.run(f"PRAGMA user_version = {CURRENT}")


def _split(script: str) -> list[str]:
    """Cut a script into statements; executescript would commit first."""
    statements, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current.strip())
            current = ""
    if current.strip():
        message = f"unfinished statement in the schema: {current.strip()[:60]}"
        raise StoreError(message)
    return statements


def _some(tables: set[str]) -> str:
    names = sorted(tables)
    few = 3
    return ", ".join(names[:few]) + (" …" if len(names) > few else "")
