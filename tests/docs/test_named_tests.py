"""The pages on what goes wrong: each row of their tables names tests, and those are there."""

from __future__ import annotations

import ast
import re

import pytest
from docs.page import ROOT

# A page, and how many rows it has at least.
PAGES = {"explanation/supervision.md": 32, "reference/bad-input.md": 45}
_TEST = re.compile(r"`((?:lifecycle|unit|integration|cli|systemd)/\w+\.py)(?:::(\w+))?`")
_ROW = re.compile(r"^\| (?!(?:What goes wrong|Input) \||---)(.*) \|$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_each_row_names_tests_that_are_there(page: str) -> None:
    """Nothing is listed without a test, and none of the tests was renamed or removed."""
    rows = _ROW.findall((ROOT / "docs" / page).read_text())
    assert len(rows) >= PAGES[page]
    for row in rows:
        named = _TEST.findall(row.rpartition(" | ")[2])
        assert named, f"no test in the row: {row}"
        for file, name in named:
            path = ROOT / "tests" / file
            assert path.exists(), f"{file} is named in {page}, and is not there"
            tree = ast.parse(path.read_text())
            functions = {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
            assert not name or name in functions, f"{file} has no {name}"
