"""The commands of the pages about systemd, typed on a machine that it runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from docs.page import PAGES_OF_SYSTEMD, SHELLS, blocks, is_for_systemd
from systemd.machine import ENVIRONMENT, Machine, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator

# What needs the package index; the machine has an environment already.
DONE_ALREADY = re.compile(r"(sudo )?(\S+/)?(python3 -m venv|pip install) ")
EVENTS = "docs/reference/events.md"


def commands(page: str) -> Iterator[str]:
    """Give the commands of a page that are for such a machine."""
    for block in blocks(Path(page)):
        if block.language in SHELLS:
            for command in block.commands():
                if is_for_systemd(block, command):
                    yield command.text


@pytest.mark.timeout(400)  # many commands, and the machine may be busy
def test_commands_do_what_the_pages_say() -> None:
    """From the installation to the removal of everything, each command succeeds."""
    if reason := why_not():
        pytest.skip(f"no systemd can be booted here: {reason}")
    with Machine() as machine:
        machine.ok("useradd", "--create-home", "ada")
        own = machine.start_manager_of("ada")
        own["PATH"] = f"{ENVIRONMENT}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        for page in (PAGES_OF_SYSTEMD[0], EVENTS, PAGES_OF_SYSTEMD[1]):
            for text in commands(page):
                if DONE_ALREADY.match(text):
                    continue
                if text.startswith("sudo "):
                    done = machine.run(*shlex.split(text)[1:])
                else:
                    done = machine.run(*shlex.split(text), user="ada", **own)
                assert done.returncode == 0, f"{page}: {text}\n{done.stdout}\n{done.stderr}"
        for gone in ("/etc/gigq", "/var/lib/gigq", "/etc/systemd/system/gigqd.service"):
            assert not machine.path(gone).exists()
