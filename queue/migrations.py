"""Making a database ours: set up when fresh, upgraded on request, refused when strange."""

from __future__ import annotations

import sqlite3
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from gigq.queue.errors import ForeignDatabaseError, SchemaVersionError, StoreError
from gigq.queue.schema import APPLICATION_ID, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable
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
            upgrade(connection.run, 0)


def is_ours(connection: Connection, path: Path) -> bool:
    """Tell whether the tables are there; raise where they are somebody else's."""
    found = look(connection, path)
    if found.kind is Kind.GIGQ_0_5:
        message = f"{path} was made by GigQ 0.5; convert it with: gigq migrate {path}"
        raise ForeignDatabaseError(message)
    if found.kind is Kind.OURS:
        check_version(path, found.version)
        if found.version < CURRENT:
            message = (
                f"{path} has schema {found.version}, not {CURRENT}; "
                f"upgrade it with: gigq migrate {path}"
            )
            raise SchemaVersionError(message)
    return found.kind is Kind.OURS


class Kind(Enum):
    """Whose tables are in a file."""

    NOTHING = "nothing"
    OURS = "ours"
    GIGQ_0_5 = "GigQ 0.5"


class Found(NamedTuple):
    """What is in a file."""

    kind: Kind
    version: int = 0  # of our schema


def look(connection: Connection, path: Path) -> Found:
    """Tell what is in the file. Raises ForeignDatabaseError for another program's."""
    tables = {name for (name,) in connection.rows("SELECT name FROM sqlite_schema")}
    # After the tables: somebody may set it up in between, and ours would pass for another's.
    application_id = connection.row("PRAGMA application_id")[0]
    if application_id == APPLICATION_ID:
        return Found(Kind.OURS, connection.row("PRAGMA user_version")[0])
    if not tables and application_id == 0:
        return Found(Kind.NOTHING)
    if {"jobs", "job_executions"} <= tables:
        return Found(Kind.GIGQ_0_5)
    message = f"{path} belongs to another program (it has tables {_some(tables)}); choose another"
    raise ForeignDatabaseError(message)


def check_version(path: Path, version: int) -> None:
    """Refuse a database of a newer version. Raises SchemaVersionError."""
    if version > CURRENT:
        message = (
            f"{path} was made by a newer gigqd (schema {version}, this one knows {CURRENT}); "
            "upgrade with: pip install -U gigqd"
        )
        raise SchemaVersionError(message)


def upgrade(run: Callable[[str], object], version: int) -> None:
    """Run the steps after `version` inside the caller's transaction."""
    for step in VERSIONS[version:]:
        for statement in split(step):
            run(statement)
    run(f"PRAGMA application_id = {APPLICATION_ID}")
    run(f"PRAGMA user_version = {CURRENT}")


def split(script: str) -> list[str]:
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
