"""Programs for GigQ 0.5.1 say the same under it and here, but for what they list.

A program lists a deliberate difference in a comment, whose reason is the beginning of a row of
docs/reference/differences.md:

    # differs: LINE IN 0.5.1 -> LINE HERE  (REASON)
"""

from __future__ import annotations

import re
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from .conftest import PROGRAMS, Both, program_names

if TYPE_CHECKING:
    from collections.abc import Callable

DIFFERENCES = Path(__file__).parents[2] / "docs" / "reference" / "differences.md"
DIFFERS = re.compile(r"^# differs: (?P<old>.*) -> (?P<here>.*?)  \((?P<reason>.*)\)$", re.MULTILINE)


class Listed(NamedTuple):
    """A difference that a program lists."""

    old: str
    here: str
    reason: str


def listed(program: str) -> list[Listed]:
    """Read the differences that a program lists."""
    return [Listed(*found.groups()) for found in DIFFERS.finditer((PROGRAMS / program).read_text())]


@pytest.mark.parametrize("program", program_names())
def test_says_the_same(program: str, both_said: Callable[[str], Both]) -> None:
    """A program prints the same lines and ends the same, but for what it lists."""
    old, here = both_said(program)
    pairs = [
        (left.strip(), right.strip())
        for left, right in zip_longest(old.lines, here.lines, fillvalue="(no line)")
        if left != right
    ]
    expected = {(difference.old, difference.here) for difference in listed(program)}
    assert set(pairs) == expected, f"0.5.1: {old.errors}\nhere: {here.errors}"
    assert old.lines[-1] == "exit code 0", old.errors


@pytest.mark.parametrize("program", program_names())
def test_reasons_are_documented(program: str) -> None:
    """Each listed difference has a reason that begins a row of the page of differences."""
    assert (PROGRAMS / program).read_text().count("differs:") == len(listed(program))
    rows = DIFFERENCES.read_text().splitlines()
    for difference in listed(program):
        assert any(row.startswith(f"| {difference.reason}") for row in rows), difference.reason
