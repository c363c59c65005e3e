"""The command line itself: help, mistakes, and which database is meant."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import click
import pytest
from cli.client import GIGQ, Client
from click.testing import CliRunner
from harness import GENEROUS

from gigq.cli.command_group import ENTRIES
from gigq.cli.main import gigq as root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cli.client import Examples

STARTS_WITHIN = 0.2 * GENEROUS
LOOKS_LIGHT = ("msgspec", "rich", "psutil", "structlog", "watchdog", "gigq.supervisor")


def commands(
    group: click.Group = root, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give each command with its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*above, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))


COMMANDS = list(commands())


def words(value: object) -> str:
    """Show the words of a command as a test's id."""
    return "-".join(value) if isinstance(value, tuple) else ""


class TestHelp:
    """What --help says."""

    @pytest.mark.parametrize(("name", "command"), COMMANDS, ids=words)
    def test_ends_with_an_example(self, name: tuple[str, ...], command: click.Command) -> None:
        """Each command's help ends with an example of that command."""
        del command
        done = CliRunner().invoke(root, [*name, "--help"])
        assert done.exit_code == 0
        last = done.output.rstrip().splitlines()[-1].strip()
        assert last.startswith(f"Example: gigq {' '.join(name)}")

    def test_of_all_ends_with_an_example(self) -> None:
        """So does the help of gigq itself."""
        lines = CliRunner().invoke(root, ["--help"]).output.rstrip().splitlines()
        assert lines[-1].strip().startswith("Example: gigq ")

    @pytest.mark.parametrize("name", ENTRIES)
    def test_summary_is_the_commands_own(self, name: str) -> None:
        """The summary in gigq --help is the first sentence of the command's help."""
        command = root.get_command(click.Context(root), name)
        assert command is not None
        assert command.name == name
        assert (command.help or "").partition("\n\n")[0] == ENTRIES[name].summary

    @pytest.mark.parametrize(("name", "command"), COMMANDS, ids=words)
    def test_every_option_has_a_word(self, name: tuple[str, ...], command: click.Command) -> None:
        """Each option says what it is for, and each command takes --db and --config."""
        context = click.Context(command, info_name=name[-1])
        options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
        assert [each.name for each in options if not each.help] == []
        assert {"db", "config"} <= {each.name for each in options}

    def test_starts_quickly(self, gigq: Client) -> None:
        """`gigq --help` is there before anybody waits for it."""
        took = []
        for _ in range(3):
            begun = time.monotonic()
            gigq("--help")
            took.append(time.monotonic() - begun)
        assert min(took) < STARTS_WITHIN


def test_look_is_light(look: Client) -> None:
    """A look at a database that is named loads neither rich nor the settings nor the service."""
    code = f"""
import sys
from gigq.cli.main import main
for line in (["list"], ["status", "--help"], ["stats", "-o", "json"]):
    assert main([*line, "--db", "gigq.db"]) == 0
loaded = [name for name in {LOOKS_LIGHT!r} if name in sys.modules]
assert not loaded, loaded
assert "gigq.queue.settings" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=look.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_module_is_the_command(gigq: Client) -> None:
    """`python -m gigq` does the same as `gigq`."""
    done = subprocess.run(
        [sys.executable, "-m", "gigq", "version"],
        cwd=gigq.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == gigq("version").out
    assert done.stdout.startswith("gigq 0.")
    assert gigq("--version").out.startswith("gigq, version 0.")


class TestMistakes:
    """A mistake is told in words, with what to type instead."""

    @pytest.mark.parametrize(
        ("line", "meant"),
        [
            (["lits"], "'list'"),
            (["stauts", "x"], "'status'"),
            (["start"], "'gigqd start'"),
            (["retry", "x"], "'gigq requeue'"),
            (["workflow", "lst"], "'list'"),
            (["list", "--stauts", "failed"], "--status"),
        ],
    )
    def test_did_you_mean(self, line: list[str], meant: str) -> None:
        """A mistyped command or option gets a suggestion and exit code 2."""
        done = CliRunner().invoke(root, line)
        assert done.exit_code == 2
        assert meant in done.output

    @pytest.mark.parametrize(
        "line",
        [
            ["list", "--status", "nonsense"],
            ["list", "--since", "yesterday"],
            ["list", "--limit", "-1"],
            ["wait"],
            ["wait", "x", "--timeout", "soon"],
            ["clear", "--before", "-1"],
            ["run"],
            ["submit", "nodots"],
            ["submit", "os.getcwd", "-p", "novalue"],
            ["submit", "os.getcwd", "--max-attempts", "0"],
            ["submit", "os.getcwd", "--timeout", "0"],
            ["submit", "os.getcwd", "--delay", "1", "--run-at", "2030-01-01"],
            ["submit", "os.getcwd", "--run-at", "tomorrow"],
            ["submit", "os.getcwd", "--priority", "9" * 30],
            ["list", "--db", ""],
            ["worker", "--concurrency", "0"],
            ["completion", "tcsh"],
        ],
        ids=" ".join,
    )
    def test_wrong_command_line(self, line: list[str], tmp_path: Path) -> None:
        """A wrong command line is exit code 2, and nothing is created."""
        done = CliRunner().invoke(root, ["--db", str(tmp_path / "gigq.db"), *line])
        assert done.exit_code == 2
        assert "Traceback" not in done.output
        assert list(tmp_path.iterdir()) == []

    def test_messages_go_to_standard_error(self, gigq: Client) -> None:
        """A mistake writes nothing to standard output, and no traceback."""
        for line, code in (("lits", 2), ("submit nodots", 2), ("list", 1)):
            done = gigq(*line.split(), code=code)
            assert done.out == ""
            assert "Traceback" not in done.err
            assert done.err != ""

    def test_directory_that_is_gone(self, tmp_path: Path) -> None:
        """In a directory that somebody has removed, a command says so."""
        (tmp_path / "gone").mkdir()
        script = 'cd gone && rmdir ../gone && exec "$0" submit os.getcwd --db "$1"'
        done = subprocess.run(
            ["sh", "-c", script, GIGQ, str(tmp_path / "x.db")],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        told = "Error: the current directory was deleted; change to one that exists\n"
        assert done.stderr.endswith(told)
        assert "Traceback" not in done.stderr

    def test_reader_that_goes_away(self, look: Client) -> None:
        """A pipe that is closed early is no fault to complain of."""
        done = subprocess.run(
            ["sh", "-c", f"{GIGQ} list -o json --db {look.folder}/gigq.db | true"],
            env=look.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""


class TestDatabase:
    """Which database a command works on."""

    @pytest.mark.parametrize(
        "line",
        [
            "--db one.db list",
            "list --db one.db",
            "list --db=one.db",
            "--db other.db list --db one.db",
            "workflow --db one.db list",
            "--db one.db workflow list",
            "workflow list --db one.db",
        ],
    )
    def test_option_stands_anywhere(self, gigq: Client, line: str) -> None:
        """--db may stand before and after the command; the later one counts."""
        done = gigq(*line.split(), code=1)
        assert f"{gigq.folder}/one.db (from --db) does not exist" in done.err

    def test_order(self, tmp_path: Path, shown: Examples) -> None:
        """--db stands above GIGQ_DB, that above the configuration, and that above ./gigq.db."""
        (tmp_path / "mine.toml").write_text('database = "configured.db"\n')
        plain, told = Client(tmp_path), Client(tmp_path, GIGQ_DB="told.db")
        assert "/gigq.db (by default) does not exist" in plain("list", code=1).err
        assert "/told.db (from $GIGQ_DB) does not exist" in told("list", code=1).err
        for line in (["--config", "mine.toml", "list"], ["list", "--config", "mine.toml"]):
            assert "/configured.db (from " in plain(*line, code=1).err
            assert "/told.db (from $GIGQ_DB)" in told(*line, code=1).err
        assert told("list", "--db", str(shown.path)).out != ""
        (tmp_path / "gigqd.toml").write_text('database = "usual.db"\n')
        assert "/usual.db (from " in plain("list", code=1).err

    def test_broken_configuration(self, tmp_path: Path, shown: Examples) -> None:
        """A configuration with a mistake is told with its line, and not read when not needed."""
        (tmp_path / "gigqd.toml").write_text("\ndatabse = 3\n")
        gigq = Client(tmp_path)
        assert "gigqd.toml:2" in gigq("list", code=1).err
        assert gigq("list", "--db", str(shown.path)).out != ""

    @pytest.mark.parametrize(
        "line",
        [
            "list",
            "stats",
            "status 7f",
            "why 7f",
            "logs 7f",
            "follow 7f",
            "wait 7f",
            "wait --workflow etl",
            "cancel 7f",
            "requeue 7f",
            "clear",
            "workflow list",
            "workflow show etl",
            "submit os.getcwd --depends-on 7f",
            "doctor",
            "migrate",
        ],
    )
    def test_missing_one_is_not_created(self, gigq: Client, line: str) -> None:
        """A command that needs a database says that there is none, and creates nothing."""
        done = gigq(*line.split(), code=1)
        assert "gigq.db" in done.out + done.err
        assert "Traceback" not in done.err
        assert list(gigq.folder.iterdir()) == []

    def test_foreign_file(self, gigq: Client) -> None:
        """A file that is no database of ours is left alone, and named."""
        (gigq.folder / "gigq.db").write_text("not a database at all")
        for line in ("list", "submit os.getcwd"):
            done = gigq(*line.split(), code=1)
            assert done.err.startswith(f"gigq: {gigq.folder}/gigq.db")
            assert "Traceback" not in done.err
        assert (gigq.folder / "gigq.db").read_text() == "not a database at all"
