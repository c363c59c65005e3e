"""On a terminal: drawn tables, colours, a bar while it waits."""

from __future__ import annotations

import re
import signal
import time
from typing import TYPE_CHECKING

import pexpect
import pytest
from cli.client import COLOUR, Client

if TYPE_CHECKING:
    from cli.client import Examples
    from cli.conftest import Served

RULE = "────"
PAINT = re.compile(r"\x1b\[[\d;]*m")
PAINTED = re.compile(r"\x1b\[[\d;]*3\dm")  # a foreground colour, and not only bold


def test_tables_are_drawn(look: Client, shown: Examples) -> None:
    """A terminal gets a drawn table with coloured statuses."""
    screen = look.on_terminal("list")
    assert RULE in screen
    assert PAINTED.search(screen)
    assert shown.completed[:8] in screen
    plain = PAINT.sub("", screen)
    assert "Attempts" in plain
    assert re.search(rf"{shown.failed[:8]} +bad +failed +1/3", plain)


@pytest.mark.parametrize("columns", [70, 40])
def test_narrow_terminal(look: Client, columns: int) -> None:
    """A narrow terminal shortens names, and never a status or an id."""
    plain = PAINT.sub("", look.on_terminal("workflow", "show", "etl", columns=columns))
    assert plain.count("pending") == 3  # in the sum too
    assert re.search(r"[0-9a-f]{8}", plain)


def test_no_color(shown: Examples) -> None:
    """NO_COLOR leaves the table and takes the colours, also against FORCE_COLOR."""
    gigq = Client(shown.path.parent, NO_COLOR="1", FORCE_COLOR="1")
    screen = gigq.on_terminal("list")
    assert RULE in screen
    assert not PAINTED.search(screen)
    assert COLOUR not in gigq("list").out
    assert COLOUR not in gigq("status", shown.failed).out


def test_dumb_terminal(shown: Examples) -> None:
    """A terminal that knows no colours gets none."""
    screen = Client(shown.path.parent, TERM="dumb").on_terminal("status", shown.failed)
    assert COLOUR not in screen


def test_force_color(shown: Examples) -> None:
    """FORCE_COLOR colours what goes into a pipe; it stays aligned text that scripts find."""
    gigq = Client(shown.path.parent, FORCE_COLOR="1")
    out = gigq("list").out
    assert COLOUR in out
    assert RULE not in out
    titles, *lines = PAINT.sub("", out).splitlines()
    assert len({line.index(line.split()[3]) for line in lines}) == 1
    assert titles.index("ATTEMPTS") == lines[0].index(lines[0].split()[3])
    assert "Status: failed" in gigq("status", shown.failed).out


def test_empty_variables_do_not_count(shown: Examples) -> None:
    """NO_COLOR and FORCE_COLOR that are empty are as if they were not there."""
    gigq = Client(shown.path.parent, NO_COLOR="", FORCE_COLOR="")
    assert PAINTED.search(gigq.on_terminal("list"))
    assert COLOUR not in gigq("list").out


def test_control_characters_are_shown(look: Client, shown: Examples) -> None:
    """What a job's error does to a terminal is shown, not done."""
    screen = look.on_terminal("status", shown.failed)
    assert "no \\x1b[31mred" in screen
    assert "no \x1b[31mred" not in screen
    wide = look.on_terminal("list", "-o", "wide")
    assert "no \\x1b[31mred line" in PAINT.sub("", wide)


def test_json_on_a_terminal(look: Client) -> None:
    """JSON is the same on a terminal."""
    assert look.on_terminal("stats", "-o", "json") == look("stats", "-o", "json").out


def test_bar_while_waiting(served: Served) -> None:
    """A wait shows the job, its own progress and a bar, and clears it at the end."""
    go = served.folder / "go-bar"
    job = served.gigq("submit", "-q", "jobs.wait", "-p", f"go={go}").out.strip()
    with served.gigq.spawn("wait", job) as terminal:
        terminal.expect("wait running nearly")
        terminal.expect("━")
        go.touch()
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus == 0


def test_bar_for_several(look: Client, shown: Examples) -> None:
    """A wait for several jobs counts them; ^C ends it with 130."""
    with look.spawn("wait", shown.completed, shown.running) as terminal:
        terminal.expect("1 of 2 jobs ended, 1 running")
        terminal.kill(signal.SIGINT)
        terminal.expect("the jobs go on")
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus == 130


def test_interrupt_key(look: Client, shown: Examples) -> None:
    """^C, typed, ends a follow with 130 and without a traceback."""
    with look.spawn("follow", shown.scheduled) as terminal:
        terminal.expect("waiting for later")
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
        told = terminal.before
    assert "Traceback" not in told
    assert terminal.exitstatus == 130


def test_follow_shows_lines_at_once(served: Served) -> None:
    """A follower on a terminal sees a line long before the job ends."""
    go = served.folder / "go-terminal"
    job = served.gigq("submit", "-q", "jobs.wait", "-p", f"go={go}").out.strip()
    begun = time.monotonic()
    with served.gigq.spawn("logs", "-f", job) as terminal:
        terminal.expect("it begins")
        assert time.monotonic() - begun < 30
        go.touch()
        terminal.expect("it ends")
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus == 0
