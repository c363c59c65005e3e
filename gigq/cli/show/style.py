"""Colours and glyphs: which stands for which status, and whether colours are wanted at all."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

import click

from gigq.queue.states import STATUS, JobStatus

if TYPE_CHECKING:
    from typing import TextIO


class Look(NamedTuple):
    """How a status looks; colours have the names that click and rich share."""

    glyph: str
    colour: str


LOOKS = {
    JobStatus.PENDING: Look("…", "yellow"),
    JobStatus.RUNNING: Look("▶", "cyan"),
    JobStatus.COMPLETED: Look("✓", "green"),
    JobStatus.FAILED: Look("✗", "red"),
    JobStatus.TIMEOUT: Look("✗", "red"),
    JobStatus.CANCELLED: Look("⊘", "magenta"),
}


def look_of(state: str) -> Look:
    """Give the look of a state's status."""
    return LOOKS[STATUS[state]]


def coloured(stream: TextIO) -> bool:
    """Tell whether to write colours to `stream`: NO_COLOR and FORCE_COLOR count when not empty."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str | None = None, *, bold: bool = False) -> str:
    """Colour `text` for standard output, if colours are wanted there."""
    if not coloured(sys.stdout):
        return text
    return click.style(text, fg=colour, bold=bold or None)


def out(text: str = "") -> None:
    """Write data: a line of standard output."""
    click.echo(text, color=True)


def note(text: str) -> None:
    """Write a message: a line of standard error."""
    click.echo(f"gigq: {text}", err=True)
