"""A workflow's jobs in an order that shows how they hang together, indented by their depth."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from gigq.cli.show.job_list import run_time, short_id, status_cell
from gigq.cli.show.style import look_of, out, paint
from gigq.cli.show.table import Cell, Column, print_table
from gigq.cli.show.words import age, local_time, one_line, plural, span
from gigq.queue import clock
from gigq.queue.states import STATUS, JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gigq.queue.records import JobRow, WorkflowRow

_COLUMNS = (
    Column(""),
    Column("Name", fixed=False),
    Column("Status"),
    Column("ID"),
    Column("Attempts"),
    Column("Time", right=True),
    Column("After", fixed=False),
)
_NAMED = 3  # parents; more are counted


class Node(NamedTuple):
    """A job of a workflow and its place in it."""

    row: JobRow
    parents: list[str]  # ids
    depth: int


def in_order(rows: Sequence[JobRow], edges: Iterable[tuple[str, str]]) -> list[Node]:
    """Order jobs so that each stands behind its parents, and as near to them as can be."""
    by_id = {row.uuid: row for row in sorted(rows, key=lambda row: row.job)}
    parents: dict[str, list[str]] = {uuid: [] for uuid in by_id}
    children: dict[str, list[str]] = {uuid: [] for uuid in by_id}
    for parent, child in edges:
        if child in by_id:
            parents[child].append(parent)
            children.setdefault(parent, []).append(child)
    missing = {uuid: sum(each in by_id for each in above) for uuid, above in parents.items()}
    depth = dict.fromkeys(by_id, 0)
    nodes = []
    waiting = [uuid for uuid in reversed(by_id) if not missing[uuid]]
    while waiting:
        uuid = waiting.pop()
        nodes.append(Node(by_id[uuid], parents[uuid], depth[uuid]))
        for child in reversed(children[uuid]):
            depth[child] = max(depth[child], depth[uuid] + 1)
            missing[child] -= 1
            if not missing[child]:
                waiting.append(child)
    return nodes


def print_workflow(workflow: WorkflowRow, nodes: Sequence[Node]) -> None:
    """Print a workflow: what it is, how far it is, and its jobs."""
    found = Counter(STATUS[node.row.state] for node in nodes)
    counts = {status.value: found[status] for status in JobStatus}
    out(f"{paint(one_line(workflow.name), bold=True)} ({workflow.uuid})")
    out(f"created {local_time(workflow.created_at)}, {_told(counts)}")
    out()
    now = clock.now()
    names = {node.row.uuid: one_line(node.row.name) for node in nodes}
    size = short_id(list(names))
    print_table(
        _COLUMNS,
        [
            [
                Cell(look_of(node.row.state).glyph, look_of(node.row.state).colour),
                "  " * node.depth + names[node.row.uuid],
                status_cell(node.row),
                node.row.uuid[:size],
                f"{node.row.attempts}/{node.row.max_attempts}",
                span(run_time(node.row, now)),
                _after(node.parents, names),
            ]
            for node in nodes
        ],
    )


def print_workflows(workflows: Sequence[WorkflowRow], counts: Sequence[Mapping[str, int]]) -> None:
    """Print workflows, one a line, with the counts of their jobs by status."""
    now = clock.now()
    size = short_id([each.uuid for each in workflows])
    columns = (
        Column("ID"),
        Column("Name", fixed=False),
        Column("Age", right=True),
        Column("Jobs", fixed=False),
    )
    print_table(
        columns,
        [
            [each.uuid[:size], one_line(each.name), age(now - each.created_at), _told(count)]
            for each, count in zip(workflows, counts, strict=True)
        ],
    )


def _told(counts: Mapping[str, int]) -> str:
    """Say how many jobs there are, and of which status."""
    told = [f"{jobs:,} {status}" for status, jobs in counts.items() if jobs]
    total = plural(sum(counts.values()), "job")
    return f"{total}: {', '.join(told)}" if told else total


def _after(parents: list[str], names: dict[str, str]) -> str:
    few = [names.get(uuid, uuid[:8]) for uuid in parents[:_NAMED]]
    if len(parents) > _NAMED:
        few.append(f"{len(parents) - _NAMED:,} more")
    return ", ".join(few)
