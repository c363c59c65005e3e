"""One job as text: a line for each thing to know, then what was asked for.

The lines `Job:`, `Status:`, `Created:` … are those that scripts written for GigQ 0.5.1 look for.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from gigq.cli.show.documents import ended_at
from gigq.cli.show.job_list import run_time
from gigq.cli.show.style import look_of, out, paint
from gigq.cli.show.table import Cell, Column, print_table
from gigq.cli.show.words import local_time, memory, one_line, printable, seconds, span
from gigq.queue import clock
from gigq.queue.serialize import decode
from gigq.queue.sizes import size_text
from gigq.queue.states import PENDING, STATUS, State, Verdict
from gigq.worker.command import MODULE, NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gigq.queue.explanation import Explanation
    from gigq.queue.records import ExecutionRow, JobRow, Progress

_EXECUTION_COLUMNS = (
    Column("Attempt", right=True),
    *(Column(title) for title in ("Status", "Started", "Completed")),
    Column("Time", right=True),
    Column("CPU", right=True),
    Column("Memory", right=True),
    Column("Worker", fixed=False),
    Column("Error", fixed=False),
)
_COLOURS: dict[str | None, str] = {
    None: "cyan",
    Verdict.COMPLETED: "green",
    Verdict.CANCELLED: "magenta",
}


def print_job(
    row: JobRow,
    parents: list[tuple[str, str, str]],
    progress: Progress | None,
    explanation: Explanation | None,
) -> None:
    """Print what there is to know of a job."""
    for name, value in _lines(row, parents, progress):
        out(f"{paint(f'{name}:', bold=True)} {value}" if name != "Status" else _status(row))
    if explanation is not None:
        out(f"{paint('Why:', bold=True)} {printable(explanation.sentence)}")


def _status(row: JobRow) -> str:
    # In one colour: scripts find "Status: completed" even where colours are forced.
    return paint(f"Status: {STATUS[row.state].value}", look_of(row.state).colour)


def _lines(
    row: JobRow, parents: list[tuple[str, str, str]], progress: Progress | None
) -> Iterator[tuple[str, str]]:
    yield "Job", f"{one_line(row.name)} ({row.uuid})"
    yield "Status", ""
    if row.state in PENDING:
        yield "State", row.state
    if progress is not None:
        yield "Progress", _progress(progress)
    yield _what(row)
    yield from _where(row)
    if row.description:
        yield "Description", printable(row.description)
    yield "Queue", one_line(row.queue)
    if row.workflow is not None:
        yield "Workflow", one_line(row.workflow)
    for uuid, name, state in parents:
        yield "Parent", f"{one_line(name)} ({uuid}) {STATUS[state].value}"
    yield "Priority", str(row.priority)
    yield "Created", local_time(row.created_at)
    yield "Updated", local_time(row.updated_at)
    if row.due_at is not None:
        yield "Due", local_time(row.due_at)
    yield "Started", local_time(row.started_at)
    yield "Completed", local_time(ended_at(row))
    yield "Time", span(run_time(row, clock.now()))
    yield from _use(row)
    yield "Attempts", f"{row.attempts} / {row.max_attempts}"
    yield "Timeout", "none" if row.timeout is None else f"{seconds(row.timeout):g} s"
    if row.worker_name is not None:
        yield "Worker", one_line(row.worker_name)
    if row.error is not None:
        yield "Error", printable(row.error)


def _where(row: JobRow) -> Iterator[tuple[str, str]]:
    if row.job_directory is not None:
        yield "Directory", printable(row.job_directory)
    if row.directory:
        yield "Submitted in", printable(row.directory)
    if row.import_root is not None and row.import_root != row.directory:
        yield "Imports from", printable(row.import_root)


def _use(row: JobRow) -> Iterator[tuple[str, str]]:
    if row.cpu_time is not None:
        yield "CPU", span(row.cpu_time)
    if row.peak_memory is not None:
        yield "Memory", f"{size_text(row.peak_memory)} at most"
    if row.max_memory is not None:
        yield "Memory limit", size_text(row.max_memory)


def _what(row: JobRow) -> tuple[str, str]:
    if (row.function_module, row.function_name) == (MODULE, NAME):
        return "Command", printable(shlex.join(decode(row.params)["argv"]))
    name = f"{row.function_module}.{row.function_name}"
    return "Function", name if row.script is None else f"{row.function_name} of {row.script}"


def _progress(progress: Progress) -> str:
    told = f"{progress.done:g}"
    if progress.total:
        told += f" of {progress.total:g} ({progress.done / progress.total:.0%})"
    return f"{told} {one_line(progress.text)}".rstrip()


def print_params(row: JobRow) -> None:
    """Print the parameters by name."""
    _print_value("Parameters", decode(row.params))


def print_result(row: JobRow) -> None:
    """Print what the job's function returned, if it has."""
    if row.state == State.COMPLETED:
        _print_value("Result", decode(row.result))


def _print_value(title: str, value: object) -> None:
    out()
    out(paint(f"{title}:", bold=True))
    if isinstance(value, dict):
        for name, each in value.items():
            out(f"  {one_line(name)}: {_value(each)}")
    else:
        out(f"  {_value(value)}")


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text)


def print_executions(executions: list[ExecutionRow]) -> None:
    """Print a job's attempts, and below what is known of those that went wrong."""
    out()
    out(paint("Executions:", bold=True))
    now = clock.now()
    print_table(
        _EXECUTION_COLUMNS,
        [
            [
                str(each.attempt),
                Cell(each.verdict or "running", _COLOURS.get(each.verdict, "red")),
                local_time(each.started_at),
                local_time(each.ended_at),
                span((each.ended_at or now) - each.started_at),
                span(each.cpu_time),
                memory(each.peak_memory),
                one_line(each.worker_name),
                one_line(each.error or "-"),
            ]
            for each in executions
        ],
    )
    for each in executions:
        for title, text in (("traceback", each.traceback), ("stacks", each.stacks)):
            if text:
                out()
                out(paint(f"Attempt {each.attempt}, {title}:", bold=True))
                out(printable(text.rstrip()))
