"""The page of causes: it has those of the code, and no others."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from docs.page import ROOT

from gigq.queue import statements
from gigq.worker import outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "reference" / "causes.md"
NOTHING_MAKES_IT = {"queue_paused"}


def on_page(heading: str) -> set[str]:
    """Give the first column of the table below a heading."""
    (section,) = re.findall(rf"(?ms)^## {heading}$(.*?)(?:^## |\Z)", PAGE.read_text())
    return set(re.findall(r"(?m)^\| `([\w:]+)` \|", section))


def constants(node: ast.expr) -> set[str]:
    """Give the texts in an expression."""
    values = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    return {value for value in values if isinstance(value, str)}


def explained(path: str) -> Iterator[str]:
    """Give the causes that a module's explanations have."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        match node:
            case ast.Call(func=ast.Name("Explanation"), args=[_, _, cause]):
                yield from constants(cause)
            case ast.Call(func=ast.Attribute(attr="_unclaimed"), args=[_, cause]):
                yield from constants(cause)
            case ast.Assign([ast.Tuple([_, ast.Name("cause")])], ast.Tuple([_, cause])):
                yield from constants(cause)


def test_causes_of_an_attempt() -> None:
    """Those that outcomes are made with, and those that the ends of processes have."""
    code = {outcome._exit_cause(status) for status in (None, 1, -1)}
    named = {re.sub(r":1$", ":N", cause) for cause in code}
    for module in ("outcome", "attempt"):
        source = (ROOT / "worker" / f"{module}.py").read_text()
        named.update(re.findall(r'\bcause(?:: str)?\s*=\s*"(\w+)"', source))
    assert on_page("Of an attempt") == named


def test_causes_of_a_job() -> None:
    """Those that the store gives a job itself."""
    written = re.findall(r"cause = '(\w+)'", "\n".join(map(str, vars(statements).values())))
    assert on_page("Of a job") == set(written)


def test_causes_of_why() -> None:
    """Those that an explanation has, but for the ones that are the last attempt's."""
    code = {*explained("queue/explain.py"), *explained("queue/ending.py")}
    assert on_page("Of gigq why") == code - NOTHING_MAKES_IT
