"""Looking whether a function that was named as text is there, before a job is submitted for it.

Nothing of the user's is imported: a module is found through its spec and read as text, for its
import may take long or do things. The workers' Python may differ from this one, so a module that is
not installed here is only worth a warning.
"""

from __future__ import annotations

import ast
import pkgutil
import sys
from difflib import get_close_matches
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Doubt(NamedTuple):
    """What is wrong with a function's name."""

    problem: str
    certain: bool  # False: another Python may find it


def doubt_about(dotted: str) -> Doubt | None:
    """Tell what is wrong with MODULE.FUNCTION, seen from the current directory; None: nothing."""
    module, _, function = dotted.rpartition(".")
    top, *below = module.split(".")
    if top in sys.stdlib_module_names and module in sys.modules:
        return None  # os.path: a name that only the import system knows
    spec = _find(top, None)
    if spec is None:
        close = _close(top, (each.name for each in pkgutil.iter_modules([str(Path.cwd())])))
        here = f"there is no module {top} here ({Path.cwd()}) nor in {sys.executable}.{close}"
        return Doubt(f"{here} The workers' Python decides.", certain=False)
    for part in below:
        folders = list(spec.submodule_search_locations or ())
        inner = _find(f"{spec.name}.{part}", folders)
        if inner is None:
            close = _close(part, (each.name for each in pkgutil.iter_modules(folders)), spec.name)
            where = ", ".join(folders) or spec.origin
            return Doubt(f"there is no {part} in {spec.name} ({where}).{close}", certain=True)
        spec = inner
    return _doubt_about_name(spec, function)


def _find(name: str, folders: Sequence[str] | None) -> ModuleSpec | None:
    """Find a module's spec without importing what is above it."""
    found = PathFinder.find_spec(name, [str(Path.cwd())] if folders is None else folders)
    for finder in sys.meta_path:
        found = found or finder.find_spec(name, folders)
    return found


def _doubt_about_name(spec: ModuleSpec, function: str) -> Doubt | None:
    if spec.origin is None or not spec.origin.endswith(".py"):
        return None  # what is not source cannot be read
    try:
        tree = ast.parse(Path(spec.origin).read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        return Doubt(f"{spec.origin} cannot be read: {error}.", certain=True)
    bound = list(_names(tree.body))
    for statement in tree.body:
        if isinstance(statement, ast.AsyncFunctionDef) and statement.name == function:
            if statement.decorator_list or bound.count(function) > 1:
                break  # perhaps it is wrapped
            wrapped = f"wrap it: def job(): return asyncio.run({function}())."
            return Doubt(f"{spec.name}.{function} is asynchronous; {wrapped}", certain=True)
    names = set(bound)
    if function in names or not names.isdisjoint(("*", "__getattr__")):
        return None
    close = _close(function, names, spec.name)
    return Doubt(f"there is no {function} in {spec.name} ({spec.origin}).{close}", certain=True)


def _names(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Give the names that statements at the top level of a module bind; * for unknown ones."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield statement.name
            continue
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                yield alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(node, ast.Call) and _is_dynamic(node.func):
                yield "*"
        # if, try, with, for: what stands in them is bound at the top level too.
        for part in ("body", "orelse", "finalbody"):
            yield from _names(getattr(statement, part, ()))
        for handler in getattr(statement, "handlers", ()):
            yield from _names(handler.body)


def _is_dynamic(function: ast.expr) -> bool:
    return isinstance(function, ast.Name) and function.id in ("globals", "exec", "vars", "setattr")


def _close(name: str, names: Iterable[str], package: str = "") -> str:
    close = get_close_matches(name, list(names), n=1)
    if not close:
        return ""
    return f" Did you mean {package}.{close[0]}?" if package else f" Did you mean {close[0]}?"
