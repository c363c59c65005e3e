"""What programs read: JSON documents, each an object with `version`, and CSV.

`gigq/cli/schemas` describes them. Fields may be added without another version; times are ISO text
with an offset, durations are seconds.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import TYPE_CHECKING, Any

from gigq.cli.show.style import out
from gigq.cli.show.words import seconds
from gigq.queue.clock import offset_text
from gigq.queue.serialize import decode
from gigq.queue.states import FINAL, STATUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gigq.queue.records import ExecutionRow, JobRow, Progress, WorkflowRow

VERSION = 1


def print_document(**fields: object) -> None:
    """Print one document over several lines."""
    _print({"version": VERSION, **fields}, indent=2)


def print_line(fields: dict[str, Any]) -> None:
    """Print one document in one line."""
    _print({"version": VERSION, **fields}, indent=None)


def _print(document: dict[str, Any], indent: int | None) -> None:
    utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
    out(json.dumps(document, ensure_ascii=not utf8, indent=indent))


def print_csv(rows: Iterable[JobRow]) -> None:
    """Print jobs as CSV under a line of titles."""
    lines = io.StringIO()
    writer = csv.DictWriter(lines, JOB, lineterminator="\n")
    writer.writeheader()
    writer.writerows(job_document(row) for row in rows)
    out(lines.getvalue().removesuffix("\n"))


JOB: dict[str, Callable[[JobRow], Any]] = {
    "id": lambda row: row.uuid,
    "name": lambda row: row.name,
    "queue": lambda row: row.queue,
    "workflow": lambda row: row.workflow,
    "function": lambda row: f"{row.function_module}.{row.function_name}",
    "script": lambda row: row.script,
    "status": lambda row: STATUS[row.state].value,
    "state": lambda row: row.state,
    "cause": lambda row: row.cause,
    "priority": lambda row: row.priority,
    "attempts": lambda row: row.attempts,
    "max_attempts": lambda row: row.max_attempts,
    "timeout": lambda row: seconds(row.timeout),
    "retry_delay": lambda row: seconds(row.retry_delay),
    "description": lambda row: row.description,
    "created_at": lambda row: offset_text(row.created_at),
    "updated_at": lambda row: offset_text(row.updated_at),
    "due_at": lambda row: offset_text(row.due_at),
    "started_at": lambda row: offset_text(row.started_at),
    "ended_at": lambda row: offset_text(ended_at(row)),
    "worker": lambda row: row.worker_name,
    "error": lambda row: row.error,
    "max_memory": lambda row: row.max_memory,
    "cpu_time": lambda row: seconds(row.cpu_time),
    "peak_memory": lambda row: row.peak_memory,
}


def job_document(row: JobRow) -> dict[str, Any]:
    """Give what a list tells of a job."""
    return {name: value(row) for name, value in JOB.items()}


def ended_at(row: JobRow) -> int | None:
    """Give when a job ended for good; None while it has not."""
    if row.state not in FINAL:
        return None
    return row.updated_at if row.ended_at is None else row.ended_at


def job_details(
    row: JobRow,
    parents: list[tuple[str, str, str]],
    executions: list[ExecutionRow],
    progress: Progress | None,
) -> dict[str, Any]:
    """Give all that is known of a job."""
    passes = row.pass_parent_results
    return {
        **job_document(row),
        "params": decode(row.params),
        "result": decode(row.result),
        "traceback": row.traceback,
        "pass_parent_results": None if passes is None else bool(passes),
        "on_parent_failure": row.on_parent_failure,
        "cwd": row.job_directory,
        "submitted_in": row.directory,
        "import_root": row.import_root,
        "python": row.python,
        "parents": [
            {"id": uuid, "name": name, "status": STATUS[state].value}
            for uuid, name, state in parents
        ],
        "progress": None if progress is None else _progress_document(progress),
        "executions": [_execution_document(each) for each in executions],
    }


def _progress_document(progress: Progress) -> dict[str, Any]:
    return {
        "done": progress.done,
        "total": progress.total,
        "text": progress.text,
        "updated_at": offset_text(progress.updated_at),
    }


def _execution_document(row: ExecutionRow) -> dict[str, Any]:
    output = None
    if row.output_log is not None:
        output = {"log": row.output_log, "start": row.output_start, "end": row.output_end}
    return {
        "attempt": row.attempt,
        "verdict": row.verdict,
        "cause": row.cause,
        "worker": row.worker_name,
        "started_at": offset_text(row.started_at),
        "ended_at": offset_text(row.ended_at),
        "result": decode(row.result),
        "error": row.error,
        "traceback": row.traceback,
        "stacks": row.stacks,
        "output": output,
        "cpu_time": seconds(row.cpu_time),
        "peak_memory": row.peak_memory,
    }


def workflow_document(row: WorkflowRow, counts: dict[str, int]) -> dict[str, Any]:
    """Give what is told of a workflow; `counts` by status."""
    return {
        "id": row.uuid,
        "name": row.name,
        "created_at": offset_text(row.created_at),
        "jobs": counts,
    }
