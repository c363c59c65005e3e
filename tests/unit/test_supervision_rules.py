"""What supervision relies on not being done anywhere: read from the source, for no run shows it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUPERVISION = [*sorted((ROOT / "supervisor").glob("*.py")), ROOT / "worker" / "child.py"]
TIMED = [
    *(ROOT / "worker" / f"{name}.py" for name in ("child", "kernel_timer", "slot", "process_tree")),
    *(ROOT / "supervisor" / f"{name}.py" for name in ("pool", "restart_policy", "followed_files")),
]
CODE = [path for name in ("queue", "worker", "supervisor") for path in (ROOT / name).glob("*.py")]


def names(path: Path) -> set[str]:
    """List the names and attributes that a module uses, and the modules that it imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            found.add(ast.unparse(node))
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.keyword):
            found.add(node.arg or "")
    return found


def test_names_are_found() -> None:
    """The search sees what it is to forbid, where it is allowed."""
    assert "os.fork" in names(ROOT / "tests" / "lifecycle" / "jobs.py")
    assert "preexec_fn" in names(ROOT / "worker" / "command.py")
    assert "time.time_ns" in names(ROOT / "queue" / "clock.py")


@pytest.mark.parametrize("path", SUPERVISION, ids=lambda path: path.name)
def test_supervisor_runs_no_code_between_fork_and_exec(path: Path) -> None:
    """A process with threads that runs Python in a fork of itself may find locks taken for ever."""
    assert not names(path) & {"os.fork", "os.forkpty", "preexec_fn"}


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.name)
def test_no_queue_is_shared_by_processes(path: Path) -> None:
    """Who is killed inside the lock of a shared queue takes all others with it."""
    assert not {each for each in names(path) if each.split(".")[0] == "multiprocessing"}


@pytest.mark.parametrize("path", TIMED, ids=lambda path: path.name)
def test_deadlines_know_no_wall_clock(path: Path) -> None:
    """Daylight saving, a step of the clock and a suspended machine move no deadline."""
    wall = {"time.time", "time.time_ns", "clock.now", "datetime.now", "CLOCK_REALTIME"}
    assert not names(path) & wall


def test_handlers_only_note() -> None:
    """A handler that logs, or takes any lock, may interrupt the code that holds it."""
    tree = ast.parse((ROOT / "supervisor" / "supervisor.py").read_text())
    handlers = [
        node.args[1]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "signal.signal"
    ]
    assert {ast.unparse(handler) for handler in handlers} == {
        "signal.SIG_DFL",
        "lambda received, _: self._signals.append(received)",
    }
