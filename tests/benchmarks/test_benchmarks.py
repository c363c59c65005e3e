"""The benchmarks run: in their quick form, which is too short for their bars to count."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
# How many of the promises each judges without peers; the last two judge nothing.
JUDGED = {
    "drain": 2,
    "submit": 3,
    "fairness": 3,
    "pickup": 2,
    "idle": 1,
    "growth": 2,
    "ideal": 6,
    "starts": 3,
    "claims": 0,
    "looks": 0,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder in which benchmarks leave their figures."""
    return tmp_path_factory.mktemp("results")


@pytest.mark.parametrize("name", JUDGED)
def test_benchmark_runs(name: str, results: Path) -> None:
    """It prints tables of figures, and tells of each of its bars whether it holds."""
    path = results / f"{name}.json"
    output = run(f"{name}.py", "--quick", "--json", str(path))
    found = json.loads(path.read_text())
    assert found["tables"]
    for table in found["tables"]:
        assert table["rows"]
        assert all(len(row) == len(table["header"]) for row in table["rows"])
        assert all(row[0] in output for row in table["rows"])
    assert len(found["bars"]) == JUDGED[name]
    assert all(bar["figure"] in output and bar["bar"] in output for bar in found["bars"])


def test_all_of_them_make_a_page(results: Path, tmp_path: Path) -> None:
    """The one command for all sums up what there is, runs the rest, and writes the page."""
    page = tmp_path / "page.md"
    output = run("all.py", "--quick", "--results", str(results), "--page", str(page))
    text = page.read_text()
    for name, judged in JUDGED.items():
        for bar in json.loads((results / f"{name}.json").read_text())["bars"]:
            assert f"| {bar['what']} | {bar['figure']} | {bar['bar']} | " in text
            assert bar["what"] in output
        assert (f"## {name}.py" in text) == (judged > 0)


PAGE_TYPES = """\
Free pages count per migrate type at order   0   1   2   3   4   5   6   7   8   9  10
Node    0, zone    DMA32, type      Movable   7   7   7   7   7   7   7   7   7   7   7
Node    0, zone   Normal, type    Unmovable   7   7   7   7   7   7   7   7   7   7   7
Node    0, zone   Normal, type      Movable >100000   2   0   0   0   0   0   0   1  98  99
Node    0, zone  Movable, type      Movable   7   7   7   7   7   7   7   7   7   7   7

Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic      Isolate
Node 0, zone   Normal          104         8154          190            0            0
"""


def test_pages_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is free for programs in pieces of less than 2 MiB is counted in pages."""
    monkeypatch.syspath_prepend(FOLDER)
    from common.whole_memory import in_pieces  # noqa: PLC0415

    assert in_pieces(PAGE_TYPES) == 100_000 + 2 * 2 + 256


def test_wrong_size_is_refused() -> None:
    """What is no number is told to whoever wrote it."""
    command = [sys.executable, str(FOLDER / "drain.py"), "--jobs", "many"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--jobs: invalid int value: 'many'" in done.stderr


def run(name: str, *arguments: str) -> str:
    """Run a benchmark; what it printed."""
    command = [sys.executable, str(FOLDER / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
