"""A list of jobs as a table: the few columns that fit, or all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gigq.cli.show.documents import ended_at
from gigq.cli.show.style import look_of
from gigq.cli.show.table import Cell, Column, print_table
from gigq.cli.show.words import age, local_time, memory, one_line, span
from gigq.queue import clock
from gigq.queue.states import HELD, PENDING, STATUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gigq.queue.records import JobRow

SHORT_ID = 8  # characters, where these tell apart what is shown

_FEW = (
    Column("ID"),
    Column("Name", fixed=False),
    Column("Status"),
    Column("Attempts"),
    Column("Age", right=True),
    Column("Time", right=True),
)
_WIDE = (
    *(Column(title) for title in ("ID", "Name", "Queue", "Workflow", "Function", "Status")),
    Column("State"),
    Column("Priority", right=True),
    *(Column(title) for title in ("Attempts", "Created", "Due", "Started", "Ended")),
    Column("Time", right=True),
    Column("CPU", right=True),
    Column("Memory", right=True),
    Column("Worker"),
    Column("Error"),
)


def print_jobs(rows: Sequence[JobRow], *, wide: bool) -> None:
    """Print jobs, one a line."""
    now = clock.now()
    if wide:
        print_table(_WIDE, [_all_of(row, now) for row in rows], narrow=False)
        return
    size = short_id([row.uuid for row in rows])
    print_table(_FEW, [_some_of(row, now, size) for row in rows])


def short_id(uuids: Sequence[str]) -> int:
    """Give how many characters tell these ids apart."""
    size = SHORT_ID
    while size < max(map(len, uuids), default=0) and len({u[:size] for u in uuids}) < len(uuids):
        size += 1
    return size


def status_cell(row: JobRow) -> Cell:
    """Give the status in its colour."""
    return Cell(STATUS[row.state].value, look_of(row.state).colour)


def run_time(row: JobRow, now: int) -> int | None:
    """Give how long the last attempt took, or has taken so far."""
    if row.started_at is None:
        return None
    if row.state in HELD:
        return now - row.started_at
    return None if row.ended_at is None else row.ended_at - row.started_at


def _attempts(row: JobRow) -> str:
    return f"{row.attempts}/{row.max_attempts}"


def _some_of(row: JobRow, now: int, size: int) -> list[str | Cell]:
    return [
        row.uuid[:size],
        one_line(row.name),
        status_cell(row),
        _attempts(row),
        age(now - row.created_at),
        span(run_time(row, now)),
    ]


def _all_of(row: JobRow, now: int) -> list[str | Cell]:
    return [
        row.uuid,
        one_line(row.name),
        one_line(row.queue),
        one_line(row.workflow or "-"),
        f"{row.function_module}.{row.function_name}",
        status_cell(row),
        str(row.state) if row.state in PENDING else "-",
        str(row.priority),
        _attempts(row),
        local_time(row.created_at),
        local_time(row.due_at),
        local_time(row.started_at),
        local_time(ended_at(row)),
        span(run_time(row, now)),
        span(row.cpu_time),
        memory(row.peak_memory),
        one_line(row.worker_name or "-"),
        one_line(row.error or "-"),
    ]
