"""All benchmarks of how fast it is, one after the other: a table of what holds, a plot, a page.

    python benchmarks/all.py --peers

With peers and in earnest it takes about twenty minutes of a machine that does nothing else. What it
finds becomes docs/reference/benchmarks.md, with a description of the machine. With --results FOLDER
the figures of each benchmark are kept there, and one whose figures are there is not run again: an
interrupted run goes on. With --whole-memory each begins with free memory in whole pieces, as after
the machine's start; that takes root, and a machine that nobody else uses. Exits 1 when a bar does
not hold or a benchmark fails.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import peers
from common.machine import described
from common.report import BAR_HEADER, bar_row, options, parsed, plotted, print_table, tell
from common.whole_memory import NotAllowedError, whole_memory

if TYPE_CHECKING:
    import argparse

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "reference" / "benchmarks.md"
BENCHMARKS = ("drain", "submit", "fairness", "pickup", "idle", "growth", "ideal", "starts")
# These rest or sleep in between, and run before the others have filled the disk's queue and caches.
_FIRST = ("pickup", "idle", "ideal", "starts")
WITH_PEERS = ("drain", "growth")
PROMISES = {
    1: "drain",
    2: "durable drain",
    3: "submit",
    4: "fairness",
    5: "pickup and rest",
    6: "growth",
    7: "ideal",
    8: "starts",
}
_INTRODUCTION = """\
# Benchmarks

What the last run of `python benchmarks/all.py --peers` found, which wrote this page. Absolute
figures move from machine to machine; compare ratios. Each benchmark is described in
[benchmarks/README.md](../../benchmarks/README.md).

A virtual machine's memory is lent by its host. Where a page that has rested takes far longer to
touch than another one, the host has taken it back meanwhile, and what waits or sleeps pays for that
when it goes on: an idle service, jobs of 1 to 100 ms, starts. How much depends on how scattered a
process's memory lies, and so it stands with each benchmark; `--whole-memory` puts free memory
together before each of them.
[What a job costs](../explanation/performance.md#where-memory-that-rests-is-slow) compares.
"""
_RESTED = """\
A page of memory that had rested for a second took {} µs to touch before this, and {} after it.
"""
_WHOLE = """\
Free memory was put together into whole pieces before it; {:,} pages were left in smaller ones.
"""
_SMALLER = "Some sizes were smaller than they are in a full run: {}.\n"


def main() -> None:
    """Run them all, and sum up."""
    parser = options(__doc__)
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="keep the figures there")
    parser.add_argument(
        "--whole-memory", action="store_true", help="put free memory together before each (as root)"
    )
    parser.add_argument("--page", type=Path, metavar="FILE", help=f"the page ({PAGE.name})")
    peers.add_options(parser)
    found = parsed(parser)
    with tempfile.TemporaryDirectory() as name:
        results = found.results or Path(name, "results")
        results.mkdir(exist_ok=True)
        others = peers.chosen(found, Path(name))
        for benchmark in sorted(BENCHMARKS, key=lambda each: each not in _FIRST):
            if not (results / f"{benchmark}.json").exists():
                try:
                    run(benchmark, results, others, found)
                except NotAllowedError as error:
                    parser.error(f"--whole-memory: {error}")
        all_found = {
            benchmark: json.loads(path.read_text())
            for benchmark in BENCHMARKS
            if (path := results / f"{benchmark}.json").exists()
        }
        page = found.page or (None if found.quick else PAGE)
        if page is not None:
            page.write_text(page_of(all_found, described(Path(name), others)))
    failed = [benchmark for benchmark in BENCHMARKS if benchmark not in all_found]
    holds = sum_up(all_found)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    sys.exit(0 if found.quick or holds else 1)


def run(
    benchmark: str, results: Path, others: peers.Peers | None, wanted: argparse.Namespace
) -> None:
    """Run one; its figures are in the folder afterwards, unless it failed."""
    path = results / f"{benchmark}.json"
    command = [sys.executable, str(HERE / f"{benchmark}.py"), "--json", str(path)]
    command += ["--quick"] if wanted.quick else []
    if others is not None and benchmark in WITH_PEERS:
        command += ["--peers-python", str(others.python)]
    tell(f"== {benchmark}")
    with whole_memory() if wanted.whole_memory else nullcontext() as left:
        subprocess.run(command, check=False)  # exits 1 also where a bar does not hold
    if left is not None and path.exists():
        path.write_text(json.dumps({**json.loads(path.read_text()), "pages_in_pieces": left}))


def sum_up(all_found: dict[str, Any]) -> bool:
    """Print the table of all that was promised, and the plot; True when all of it holds."""
    bars = judged(all_found)
    print("\nAll that was promised")
    rows = [[f"{bar['line']} {PROMISES[bar['line']]}", *bar_row(bar)] for bar in bars]
    print_table(("promise", *BAR_HEADER), rows)
    for plot in all_found.get("drain", {"plots": []})["plots"]:
        print(f"\n{plot['title']}\n" + "\n".join(plotted(plot["figures"])))
    return all(bar["holds"] for bar in bars)


def judged(all_found: dict[str, Any]) -> list[dict[str, Any]]:
    """List all bars by promise."""
    bars = [bar for found in all_found.values() for bar in found["bars"]]
    return sorted(bars, key=lambda bar: int(bar["line"]))


# The page


def page_of(all_found: dict[str, Any], machine: dict[str, str]) -> str:
    """Write the page."""
    smaller = [
        f"`{size}` of {benchmark}.py"
        for benchmark, found in all_found.items()
        for size in found["smaller"]
    ]
    parts = [
        _INTRODUCTION,
        *([_SMALLER.format(", ".join(smaller))] if smaller else []),
        "## The machine\n",
        markdown(("", ""), [list(each) for each in machine.items()]),
        "## What was promised\n",
        markdown(
            ("promise", *BAR_HEADER),
            [[PROMISES[bar["line"]], *bar_row(bar)] for bar in judged(all_found)],
        ),
    ]
    for benchmark, found in all_found.items():
        documentation = ast.get_docstring(ast.parse((HERE / f"{benchmark}.py").read_text())) or ""
        sizes = ", ".join(f"{name} {size:,}" for name, size in found["sizes"].items())
        parts += [f"## {benchmark}.py\n", documentation.partition("\n")[0] + f" ({sizes})\n"]
        if found.get("rested"):
            parts.append(_RESTED.format(*found["rested"]))
        if "pages_in_pieces" in found:
            parts.append(_WHOLE.format(found["pages_in_pieces"]))
        for table in found["tables"]:
            parts += [f"{table['title']}:\n", markdown(table["header"], table["rows"])]
        for plot in found["plots"]:
            lines = "".join(f"    {line}\n" for line in plotted(plot["figures"]))
            parts += [f"{plot['title']}:\n", lines]
    return "\n".join(parts)


def markdown(header: list[str] | tuple[str, ...], rows: list[list[str]]) -> str:
    """Write a table: its first column to the left, all others to the right."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
