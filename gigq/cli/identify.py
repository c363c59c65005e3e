"""From what somebody typed to the one job or workflow that is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gigq.cli.exits import Failure
from gigq.cli.show.style import note
from gigq.cli.show.words import one_line
from gigq.queue.states import STATUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gigq.queue.records import JobRow, WorkflowRow
    from gigq.queue.sqlite_store import SqliteStore

_CANDIDATES = 5  # listed when an id is too short


def find_job(store: SqliteStore, prefix: str) -> JobRow:
    """Give the job whose id is, or alone begins with, `prefix`. Raises Failure."""
    found = store.find(prefix.strip().lower(), _CANDIDATES + 1) if prefix.strip() else []
    rows = [row for row in map(store.job, found) if row is not None]
    if not rows:
        message = f"no job's id begins with {prefix!r} in {store.path}; see: gigq list"
        raise Failure(message)
    if len(rows) > 1:
        listed = [
            f"  {row.uuid}  {one_line(row.name)}  {STATUS[row.state].value}"
            for row in rows[:_CANDIDATES]
        ]
        raise Failure(_ambiguous(prefix, "jobs", listed, more=len(rows) > _CANDIDATES))
    return rows[0]


def find_workflow(store: SqliteStore, wanted: str) -> WorkflowRow:
    """Give the newest workflow of that name, else the one whose id alone begins so.

    Raises Failure.
    """
    found = store.workflows(wanted)
    named = [row for row in found if row.name == wanted]
    if not found or not wanted:
        message = f"no workflow is called {wanted!r} in {store.path}; see: gigq workflow list"
        raise Failure(message)
    if len(named) > 1:
        note(
            f"{len(named):,} workflows are called {wanted!r}; this is the newest, {named[0].uuid}; "
            "see the others with: gigq workflow list"
        )
    if not named and len(found) > 1:
        listed = [f"  {row.uuid}  {one_line(row.name)}" for row in found[:_CANDIDATES]]
        raise Failure(_ambiguous(wanted, "workflows", listed, more=len(found) > _CANDIDATES))
    return (named or found)[0]


def _ambiguous(prefix: str, what: str, listed: Sequence[str], *, more: bool) -> str:
    lines = [*listed, "  …"] if more else listed
    return "\n".join((f"several {what} have ids that begin with {prefix!r}; type more:", *lines))
