"""A page of the documentation, taken apart: its fenced blocks, and the commands in them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SHELLS = ("bash", "console")

# Commands for a machine that systemd runs: tests/systemd/test_pages.py types them on one.
PAGES_OF_SYSTEMD = ("docs/how-to/install-as-a-service.md", "docs/how-to/upgrade.md")
_OF_SYSTEMD = re.compile("(sudo|systemctl|journalctl) ")

_DIRECTIVE = r"<!-- *(?P<directive>file|press): *(?P<value>\S+) *-->\s*"
_BLOCK = re.compile(
    rf"^(?:{_DIRECTIVE})?(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<code>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)
_NAMED = re.compile(r"# (\S+\.(?:py|toml))\n")  # as a first line: the block is this file


class Command(NamedTuple):
    """A command line, and what the page says that it prints."""

    text: str
    expected: list[str]


class Block(NamedTuple):
    """A fenced block."""

    where: str
    language: str
    code: str
    file: str | None = None  # to be written under this name
    press: str | None = None  # a key for the service before its output is looked at

    def commands(self) -> Iterator[Command]:
        """Give the commands of a shell's block; output before the first belongs to a service."""
        if self.language == "bash":
            for line in self.code.replace("\\\n", " ").splitlines():
                if line.strip() and not line.startswith("#"):
                    yield Command(line, [])
            return
        lines = self.code.splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
        stops = [*starts, len(lines)]
        if stops[0] > 0:
            yield Command("", lines[: stops[0]])
        for start, stop in zip(starts, stops[1:], strict=True):
            yield Command(lines[start].removeprefix("$ "), lines[start + 1 : stop])


def is_for_systemd(block: Block, command: Command) -> bool:
    """Tell whether a command needs a machine that systemd runs."""
    of_page = block.where.startswith(PAGES_OF_SYSTEMD)
    return of_page or _OF_SYSTEMD.match(command.text) is not None


def pages() -> list[Path]:
    """List the pages, below the repository."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page.relative_to(ROOT) for page in found]


def blocks(page: Path) -> Iterator[Block]:
    """Give a page's fenced blocks, in their order."""
    text = (ROOT / page).read_text()
    for found in _BLOCK.finditer(text):
        code = textwrap.dedent(found["code"])
        named = _NAMED.match(code)
        given = {found["directive"]: found["value"]} if found["directive"] else {}
        yield Block(
            f"{page}:{text.count(chr(10), 0, found.start('code')) + 1}",
            found["language"],
            code,
            given.get("file", named[1] if named else None),
            given.get("press"),
        )


def links(page: Path) -> Iterator[str]:
    """Give where a page's links lead, but for those to other sites."""
    text = _BLOCK.sub("", (ROOT / page).read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            yield target


def anchors(page: Path) -> set[str]:
    """Give the anchors of a page's headings, as they are made from the words."""
    text = _BLOCK.sub("", (ROOT / page).read_text())
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
