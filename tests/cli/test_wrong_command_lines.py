"""Every command of gigq and gigqd with what nobody should type: a sentence, an exit code, no more.

Run in this process, for there are hundreds of lines; a traceback is an exception here.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from cli.client import GIGQ, Client, Examples, examples

from gigq.cli.command_group import ENTRIES
from gigq.cli.main import gigq, main
from gigq.supervisor.main import main as gigqd

if TYPE_CHECKING:
    from collections.abc import Iterator

GIGQD = str(Path(sys.executable).with_name("gigqd"))
WRONG = (
    os.fsdecode(b"\xff\xfe"),
    "",
    " ",
    "-",
    "\n",
    "x" * 100_000,
    "1e999",
    "-1",
    "9" * 20,
    "9" * 5_000,
    "nan",
    "/",
    "/dev/null",
    "%s",
    "'; DROP TABLE job --",
)
WRONG_OPTIONS = (os.fsdecode(b"\xff\xfe"), "", "9" * 20, "9" * 5_000, "nan")
# They serve until they are stopped, or change the machine; their own tests have such lines.
NOT_RUN = {"gigq worker", "gigqd start", "gigqd install", "gigqd upgrade", "gigqd uninstall"}
CODES = {0, 1, 2, 3, 4, 78, 124}


def commands(group: click.Group, *name: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give all commands with their names."""
    context = click.Context(group)
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *name, each)
        elif " ".join((*name, each)) not in NOT_RUN:
            yield (*name, each), command


COMMANDS = [*commands(gigq, "gigq"), *commands(gigqd, "gigqd")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with a database, to be in."""
    examples(tmp_path / "gigq.db")
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith("GIGQ")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def run(line: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command line; its exit code and what it complained of."""
    try:
        if line[0] == "gigq":
            code = main(line[1:])
        else:
            gigqd.main(line[1:], prog_name="gigqd")
            code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    return code, capfd.readouterr().err


def lines(name: tuple[str, ...], command: click.Command) -> Iterator[list[str]]:
    """Give lines with something wrong in each place."""
    needed = [
        "os.getcwd" for each in command.params if isinstance(each, click.Argument) and each.required
    ]
    for wrong in WRONG:
        yield [*name, *(["--"] if name[-1] == "run" else []), wrong]
    for wrong in WRONG_OPTIONS:
        for option in command.params:
            if isinstance(option, click.Option) and not option.is_flag and not option.is_eager:
                yield [*name, option.opts[-1], wrong, *needed]
    yield [*name, "--no-such-option"]
    yield [*name, *needed, *["too", "many"] * 20]


@pytest.mark.parametrize(
    ("name", "command"),
    COMMANDS,
    ids=lambda each: " ".join(each[:3]) if isinstance(each, tuple) else "",
)
def test_every_command(
    name: tuple[str, ...],
    command: click.Command,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever stands in an argument or option, the answer is an exit code and a sentence."""
    for line in lines(name, command):
        code, said = run(line, capfd)
        shown = [each[:40] for each in line]
        assert code in CODES, (shown, code, said)
        assert code == 0 or name[-1] in ("doctor", "health", "status", "check") or said, shown
        assert "Traceback" not in said, shown
    with closing(sqlite3.connect(folder / "gigq.db")) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]


def test_every_command_is_tried() -> None:
    """No command is left out by mistake."""
    tried = {name[1] for name, _ in COMMANDS if name[0] == "gigq"}
    assert set(ENTRIES) - tried == {"worker"}


@pytest.mark.parametrize("prefix", ["0", "zz", "%", "_"])
def test_ids(prefix: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An unknown id is said to be unknown, one that several jobs share lists these."""
    for command in ("status", "why", "logs", "follow", "cancel", "requeue", "wait"):
        code, said = run(["gigq", command, prefix * 40], capfd)
        assert code == 1, command
        assert said.startswith(f"gigq: no job's id begins with '{prefix}"), command
        code, said = run(["gigq", command, ""], capfd)
        assert code in (1, 2), command
        assert said, command
    assert (folder / "gigq.db").exists()


STREAMS = (
    ["gigq", "list", "-o", "json"],
    ["gigq", "--help"],
    ["gigqd", "status"],
)


@pytest.mark.parametrize("line", STREAMS, ids=" ".join)
@pytest.mark.parametrize(
    "end", ["| head -n 1 >/dev/null", ">/dev/full", ">&-", "2>&-", "<&- >&- 2>&-"]
)
def test_streams(line: list[str], end: str, look: Client) -> None:
    """A reader that goes away, a full disk and closed streams are no reason for a traceback."""
    program = GIGQ if line[0] == "gigq" else GIGQD
    done = subprocess.run(
        ["bash", "-c", f"{program} {' '.join(line[1:])} {end}"],
        cwd=look.folder,
        env=look.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if "full" in end:
        assert done.returncode == 1
        assert done.stderr == f"{line[0]}: standard output: No space left on device\n"
    else:
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr
        assert done.returncode in CODES


def test_submit_whose_id_cannot_be_printed(look: Client) -> None:
    """The id is said on standard error, for the job was submitted all the same."""
    done = subprocess.run(
        ["bash", "-c", f"{GIGQ} submit os.getpid > /dev/full"],
        cwd=look.folder,
        env=look.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    said = re.search(r"job (\S+) was submitted, and its id cannot be printed", done.stderr)
    assert said is not None
    assert said[1] in look("list", "--name", "getpid", "-o", "ids").out.split()


def test_worker_name(look: Client, shown: Examples) -> None:
    """A name for workers that is no text is refused before any is started."""
    name = os.fsdecode(b"\xff")
    done = look("worker", "--once", "--db", str(shown.path), "--worker-id", name, code=2)
    assert "a worker's name holds characters that are no text" in done.err
