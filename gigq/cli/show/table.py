"""Tables: drawn by rich on a terminal, aligned text everywhere else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from gigq.cli.show.style import coloured, out, paint
from gigq.cli.show.words import width

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GAP = "  "
_RULES = 3  # columns between two columns of a drawn table
_UNLIMITED = 10_000  # columns: the terminal breaks the lines


class Column(NamedTuple):
    """A column and how it may be narrowed."""

    title: str
    right: bool = False
    fixed: bool = True  # False: a long value may be cut short on a narrow terminal


class Cell(NamedTuple):
    """A value in colour."""

    text: str
    colour: str | None = None


Row = "Sequence[str | Cell]"


def print_table(
    columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]], *, narrow: bool = True
) -> None:
    """Print rows under their titles. On a terminal, `narrow` ones are fitted to its width."""
    cells = [[each if isinstance(each, Cell) else Cell(each) for each in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, cells, narrow=narrow)
    else:
        _align(columns, cells)


def _draw(columns: Sequence[Column], rows: list[list[Cell]], *, narrow: bool) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 (slow, and only for terminals)
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(
        highlight=False,
        force_terminal=True,  # rich takes an empty FORCE_COLOR for the wish to be none
        no_color=not coloured(sys.stdout),
    )
    room = console.width if narrow else _UNLIMITED
    sizes = _sizes(columns, rows, room)
    # Where even that is too wide the terminal breaks the lines, and nothing gets lost.
    console.width = max(room, sum(sizes) + _RULES * len(sizes))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column, size in zip(columns, sizes, strict=True):
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=size,
        )
    for row in rows:
        table.add_row(*(Text(cell.text, style=cell.colour or "") for cell in row))
    console.print(table)


def _sizes(columns: Sequence[Column], rows: list[list[Cell]], room: int) -> list[int]:
    """Give the columns' widths. Where there is too little room, those that may be narrowed share.

    Rich would narrow all of them, even a glyph to nothing.
    """
    titles = [width(column.title) for column in columns]
    sizes = [
        max([title, *(width(row[place].text) for row in rows)])
        for place, title in enumerate(titles)
    ]
    excess = sum(sizes) + _RULES * (len(sizes) - 1) - room
    flexible = [place for place, column in enumerate(columns) if not column.fixed]
    while excess > 0 and flexible:
        longest = max(flexible, key=lambda place: sizes[place] - titles[place])
        if sizes[longest] <= titles[longest]:
            break
        sizes[longest] -= 1
        excess -= 1
    return sizes


def _align(columns: Sequence[Column], rows: list[list[Cell]]) -> None:
    titles = [Cell(column.title.upper()) for column in columns]
    lines = [titles, *rows]
    widths = [max(width(line[place].text) for line in lines) for place in range(len(columns))]
    for line in lines:
        padded = [
            _padded(cell, size, column)
            for cell, size, column in zip(line, widths, columns, strict=True)
        ]
        out(_GAP.join(padded).rstrip())


def _padded(cell: Cell, size: int, column: Column) -> str:
    blanks = " " * (size - width(cell.text))
    text = paint(cell.text, cell.colour) if cell.colour else cell.text
    return blanks + text if column.right else text + blanks
