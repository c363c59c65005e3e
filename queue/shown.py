"""Strangers' values in messages: short, and whatever their own code does."""

from __future__ import annotations

_LONGEST = 60  # characters


def shown(value: object) -> str:
    """Show a value in a message: its repr, cut where it is long, or else its type."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 (any code may stand in a stranger's repr)
        return f"an unprintable {type(value).__name__}"
    return shortened(text)


def in_one_line(text: str) -> str:
    """Show what would end a line, or steer a terminal, as an escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def shortened(text: str) -> str:
    """Cut a text where it is long."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
