"""The documentation's code: every fenced block is run, and does what the page says."""

from __future__ import annotations

import json
import re
import sqlite3
import sysconfig
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from docs.page import ROOT, SHELLS, Block, anchors, blocks, is_for_systemd, links, pages
from docs.terminal import Terminal

from gigq.queue.settings import read_settings

# Commands that are not run, each with its reason.
NOT_RUN = {
    "scripts/demo": "installs from the package index into the checkout's .venv",
    "scripts/test": "would run these tests again",
    "python -m tests.storm --minutes 10 --seed 7": "lasts ten minutes; a test runs a short one",
    "pip uninstall --yes gigq": "would remove a package of these tests",
    "python3 -m venv /srv/gigqd": "writes outside the page's folder, as do the next two",
    "/srv/gigqd/bin/pip install --require-hashes -r requirements/build.txt "
    "-r requirements/runtime.txt": "installs from the package index",
    "/srv/gigqd/bin/pip install --no-deps --no-build-isolation .": "installs this checkout",
}

# Commands for which another one is run, which does the same without the package index.
STAND_INS = {
    r"python3 -m venv (\S+)": r"python3 -m venv --without-pip \1",
    r"(\S+/)?pip install gigqd( [a-z ]+)?": r"\1python install-gigqd\2",
}
# Lets a virtual environment that a page has made see what is installed for these tests. What else a
# page installs becomes a module with nothing in it but a version.
INSTALL = f"""
import sys, sysconfig
from pathlib import Path

site, bin = (Path(sysconfig.get_path(name)) for name in ("purelib", "scripts"))
if not site.is_relative_to(Path.cwd()):  # it is installed where these tests run
    sys.exit()
(site / "these.pth").write_text("import site; site.addsitedir({sysconfig.get_path("purelib")!r})")
for name, module in ("gigq", "gigq.cli.main"), ("gigqd", "gigq.supervisor.main"):
    (bin / name).write_text(f"#!{{sys.executable}}\\nfrom {{module}} import main\\nexit(main())")
    (bin / name).chmod(0o755)
for name in sys.argv[1:]:
    (site / (name + ".py")).write_text("__version__ = '1.0'")
"""

DIAGRAMS = ("graph", "flowchart", "stateDiagram-v2", "sequenceDiagram")


def old_database(folder: Path) -> None:
    """Make a database of GigQ 0.5.1, and the code of its jobs."""
    script = Path(__file__).with_name("gigq_0_5.sql").read_text()
    with closing(sqlite3.connect(folder / "gigq.db")) as connection:
        connection.executescript(script)
    (folder / "jobs.py").write_text("def load(path):\n    return len(open(path).read())\n")
    (folder / "data.csv").touch()


# What a page's reader has from elsewhere.
PREPARED = {"docs/how-to/move-from-gigq.md": old_database}


@pytest.mark.parametrize("page", pages(), ids=str)
def test_page(page: Path) -> None:
    """Every fenced block of the page runs, and prints what the page says."""
    with Terminal() as terminal:
        terminal.write("install-gigqd", INSTALL)
        if prepare := PREPARED.get(str(page)):
            prepare(terminal.folder)
        for block in blocks(page):
            run(block, terminal)


def run(block: Block, terminal: Terminal) -> None:
    """Run one block, or check it, as its language asks for."""
    if block.language == "toml":
        read_settings(terminal.write(block.file or "unnamed.toml", block.code))
    elif block.file is not None:
        path = terminal.write(block.file, block.code)
        if block.language == "python":
            compile(block.code, path, "exec")
    elif block.language == "python":
        terminal.python(block.where, block.code)
    elif block.language == "pycon":
        terminal.python(block.where, block.code, prompt=True)
    elif block.language in SHELLS:
        run_commands(block, terminal)
    elif block.language == "yaml":
        yaml.safe_load(block.code)
    elif block.language == "json":
        parse(block.code)
    elif block.language == "mermaid":
        assert block.code.split(maxsplit=1)[0] in DIAGRAMS, block.where
        assert ";" not in block.code, f"{block.where}: a ; ends a statement of mermaid"
    else:
        pytest.fail(f"{block.where}: nothing here can run a block of {block.language!r}")


def run_commands(block: Block, terminal: Terminal) -> None:
    """Run the commands of a shell's block, one after the other."""
    if block.press is not None:
        terminal.press(block.press)
    for command in block.commands():
        if command.text not in NOT_RUN and not is_for_systemd(block, command):
            terminal.run(block.where, command._replace(text=stand_in(command.text)))


def stand_in(text: str) -> str:
    """Give the command to be run for one of a page."""
    for pattern, instead in STAND_INS.items():
        if found := re.fullmatch(pattern, text):
            return found.expand(instead)
    return text


def parse(text: str) -> None:
    """Check one JSON document, or one a line."""
    try:
        json.loads(text)
    except ValueError:
        for line in text.splitlines():
            json.loads(line)


def test_no_exception_is_left_over() -> None:
    """Each command that is not run stands on a page."""
    shown = {
        command.text
        for page in pages()
        for block in blocks(page)
        if block.language in SHELLS
        for command in block.commands()
    }
    assert set(NOT_RUN) <= shown


@pytest.mark.parametrize("page", pages(), ids=str)
def test_links(page: Path) -> None:
    """Each link of the page to a file of the repository, or into one, leads somewhere."""
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (ROOT / page.parent / path).resolve() if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.relative_to(ROOT)), link


def test_every_page_is_on_the_map() -> None:
    """Each page of docs/ is linked to from docs/README.md."""
    here = ROOT / "docs"
    linked = {(here / link.partition("#")[0]).resolve() for link in links(here / "README.md")}
    assert {ROOT / page for page in pages()} - linked - {ROOT / "README.md"} == {here / "README.md"}
