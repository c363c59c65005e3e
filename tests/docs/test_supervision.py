"""The page on what goes wrong: each row names tests, and those are there."""

from __future__ import annotations

import ast
import re

from docs.page import ROOT

PAGE = ROOT / "docs" / "explanation" / "supervision.md"
_TEST = re.compile(r"`((?:lifecycle|unit|integration|cli|systemd)/\w+\.py)(?:::(\w+))?`")
_ROW = re.compile(r"^\| (?!What goes wrong \||---)(.*) \|$", re.MULTILINE)
_LEAST_ROWS = 32


def test_each_row_names_tests_that_are_there() -> None:
    """No accident is listed without a test, and none of the tests was renamed or removed."""
    rows = _ROW.findall(PAGE.read_text())
    assert len(rows) >= _LEAST_ROWS
    for row in rows:
        named = _TEST.findall(row.rpartition(" | ")[2])
        assert named, f"no test in the row: {row}"
        for file, name in named:
            path = ROOT / "tests" / file
            assert path.exists(), f"{file} is named in {PAGE.name}, and is not there"
            tree = ast.parse(path.read_text())
            functions = {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
            assert not name or name in functions, f"{file} has no {name}"
