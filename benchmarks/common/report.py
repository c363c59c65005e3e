"""What a benchmark is told and what it tells: its options, tables, bars that hold or not, JSON."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from common.machine import touched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_PLOT_WIDTH = 50  # characters of the longest bar


class Size(NamedTuple):
    """How much of something: in earnest, and with --quick."""

    full: float
    quick: float
    what: str


ROUNDS = Size(3, 1, "rounds, which are interleaved")


def options(documentation: str | None, **sizes: Size) -> argparse.ArgumentParser:
    """Make the parser of a benchmark's command; `parsed` reads it."""
    parser = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to see that it runs; bars do not count"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    for name, size in sizes.items():
        parser.add_argument(
            f"--{name}",
            type=type(size.full),
            metavar="N",
            help=f"{size.what} ({size.full:,}; quick: {size.quick:,})",
        )
    parser.set_defaults(sizes=sizes)
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line; a size that it does not give is the full or the quick one."""
    found = parser.parse_args()
    for name, size in found.sizes.items():
        if getattr(found, name) is None:
            setattr(found, name, size.quick if found.quick else size.full)
    return found


class Report:
    """What one benchmark has found. Prints at once; `end` writes JSON and exits."""

    def __init__(self, found: argparse.Namespace) -> None:
        """Begin empty, for a command line that was `parsed`."""
        self._quick: bool = found.quick
        self._json: Path | None = found.json
        self._sizes = {name: getattr(found, name) for name in found.sizes}
        self._smaller = [n for n, size in found.sizes.items() if self._sizes[n] < size.full]
        self._rested: list[float] = []  # microseconds to touch a page, before and after
        self._touch()
        self._tables: list[dict[str, object]] = []
        self._plots: list[dict[str, object]] = []
        self._bars: list[dict[str, object]] = []

    def _touch(self) -> None:
        """Note how slow memory is that has rested: on some machines it changes by the hour."""
        if not self._quick:
            self._rested.append(round(touched()[1], 2))

    def table(self, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table: its first column to the left, all others to the right."""
        listed = [list(row) for row in rows]
        print(f"\n{title}" if title else "")
        print_table(header, listed)
        self._tables.append({"title": title, "header": list(header), "rows": listed})

    def plot(self, title: str, figures: Mapping[str, float]) -> None:
        """Print horizontal bars."""
        print(f"\n{title}")
        print("\n".join(plotted(figures)), flush=True)
        self._plots.append({"title": title, "figures": dict(figures)})

    def at_least(self, line: int, what: str, figure: float, least: float, unit: str = "") -> None:
        """Judge a figure that has to be high; `line` numbers what was promised."""
        self._judge(line, what, figure, least, unit, holds=figure >= least, sign="≥")

    def at_most(self, line: int, what: str, figure: float, most: float, unit: str = "") -> None:
        """Judge a figure that has to be low."""
        self._judge(line, what, figure, most, unit, holds=figure <= most, sign="≤")

    def _judge(
        self, line: int, what: str, figure: float, bar: float, unit: str, *, holds: bool, sign: str
    ) -> None:
        self._bars.append(
            {
                "line": line,
                "what": what,
                "figure": f"{shown(figure)}{unit}",
                "bar": f"{sign} {bar:g}{unit}",
                "holds": holds,
            }
        )

    def end(self) -> None:
        """Print what holds and what does not; exits 1 when a bar does not hold."""
        self._touch()
        if self._bars:
            print()
            print_table(BAR_HEADER, [bar_row(bar) for bar in self._bars])
        if self._json is not None:
            found = {
                "sizes": self._sizes,
                "smaller": self._smaller,
                "rested": self._rested,
                "tables": self._tables,
                "plots": self._plots,
                "bars": self._bars,
            }
            self._json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        if self._quick:
            print("(quick: too little was measured for the bars to count)")
        sys.exit(0 if self._quick or all(bar["holds"] for bar in self._bars) else 1)


BAR_HEADER = ("figure", "found", "bar", "holds")


def bar_row(bar: Mapping[str, object]) -> list[str]:
    """Give a judged figure as a row below `BAR_HEADER`."""
    return [str(bar["what"]), str(bar["figure"]), str(bar["bar"]), "yes" if bar["holds"] else "NO"]


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as need be."""
    widths = [max(len(row[place]) for row in (header, *rows)) for place in range(len(header))]
    for row in (header, *rows):
        first, *others = (
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join((first, *others)).rstrip(), flush=True)


def plotted(figures: Mapping[str, float]) -> list[str]:
    """Give horizontal bars, a line for each figure."""
    longest, widest = max(figures.values()), max(map(len, figures))
    numbers = max(len(f"{figure:,.0f}") for figure in figures.values())
    return [
        f"{name:<{widest}}  {figure:>{numbers},.0f}  "
        + "█" * max(1, round(figure / longest * _PLOT_WIDTH))
        for name, figure in figures.items()
    ]


def shown(figure: float) -> str:
    """Give a figure with three digits or more."""
    size = abs(figure)
    return f"{figure:,.0f}" if size >= 100 else f"{figure:.1f}" if size >= 10 else f"{figure:.2f}"


def percentile(figures: Sequence[float], percent: float) -> float:
    """Give the figure that so many percent do not exceed."""
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def interleaved(
    contestants: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Measure each in turn, and that so often: what drifts drifts for all of them."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name, measure in contestants.items():
            found[name].append(measure())
            tell(f"round {number + 1} of {rounds}: {name}: {shown(found[name][-1])}")
    return found


def tell(what: str) -> None:
    """Say how far it is, to who waits."""
    print(f"    {what}", file=sys.stderr, flush=True)


def medians(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Give the median of each contestant's rounds."""
    return {name: statistics.median(figures) for name, figures in found.items()}


def spread(figures: Sequence[float]) -> str:
    """Give the lowest and the highest of the rounds."""
    return f"{shown(min(figures))} to {shown(max(figures))}"
