"""What an explanation is, and the words that all of them share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gigq.queue.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED_HOW: dict[str, str] = {
    State.FAILED: "failed",
    State.TIMEOUT: "timed out",
    State.CANCELLED: "was cancelled",
}
_NAMED = 3  # of several things; the rest is counted
_LONGEST_LINE = 200


class Explanation(NamedTuple):
    """Why a job stands where it is."""

    sentence: str
    next_command: str | None  # to be typed as it is
    cause: str  # one word, for programs


def first_line(text: str) -> str:
    """Give the first line of an error, cut where it is long, without a full stop."""
    line = next(iter(text.strip().splitlines()), "")
    if len(line) > _LONGEST_LINE:
        line = line[:_LONGEST_LINE] + "…"
    return line.removesuffix(".")


def named(things: Sequence[str]) -> str:
    """Name a few things and count the rest."""
    few, more = list(things[:_NAMED]), len(things) - _NAMED
    if more > 0:
        few.append(f"{more} more")
    return " and ".join(filter(None, (", ".join(few[:-1]), few[-1])))
