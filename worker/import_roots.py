"""The folders that jobs' modules come from: one project's at a time, and always as new as on disk.

A worker process runs jobs of several projects. Each has an import root, the folder that made its
modules importable where it was submitted. Modules loaded from one root are put aside while a job of
another runs, so that two projects with modules of the same name never see each other's. Installed
packages stay: many cannot be loaded twice.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

_INSTALLED = ("/site-packages/", "/dist-packages/")

Stamp = tuple[int, int, int]  # modified (ns), size, inode


class FreshSourceLoader(SourceFileLoader):
    """Loads source; takes compiled code only where it is certainly that source's.

    Python compares the second in which a source was modified, and its size: a file that is edited
    twice within a second may be taken for what it was. Compiled code is used only when it was
    written in a later second than its source was changed; that time (ctime) nobody can set.
    """

    def get_data(self, path: str) -> bytes:
        """Give a file's content; OSError for compiled code that is in doubt."""
        if path != self.path and os.stat(path).st_mtime < int(os.stat(self.path).st_ctime) + 1:  # noqa: PTH116
            raise OSError(path)
        return super().get_data(path)


_finder = FileFinder.path_hook(
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (FreshSourceLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)


class ImportRoots:
    """Decides what `import` finds."""

    def __init__(self, pythonpath: Sequence[str]) -> None:
        """Look in `pythonpath` after the current root."""
        self._pythonpath = list(pythonpath)
        self._own_path = [entry for entry in sys.path if entry not in self._pythonpath]
        self._modules: dict[str, dict[str, ModuleType]] = {}
        self.current = ""
        sys.path_hooks.insert(0, self._hook)
        self._use("")

    def _hook(self, path: str) -> Any:  # noqa: ANN401 (importlib knows no public type for it)
        """Find modules of projects with the loader above; leave the rest to Python."""
        projects = [self.current, *self._pythonpath]
        if any(root and _is_under(path, root) for root in projects):
            return _finder(path)
        raise ImportError(path)

    def enter(self, root: str) -> None:
        """Make the modules of one project importable, and those of the last one not."""
        if root == self.current:
            return
        leaving = self._modules.setdefault(self.current, {})
        # Those of `pythonpath` too: one of them might hide the next project's own.
        for folder in (self.current, *self._pythonpath):
            for name in _modules_under(folder) if folder else ():
                leaving[name] = sys.modules.pop(name)
        sys.modules.update(self._modules.get(root, {}))
        self._use(root)

    def _use(self, root: str) -> None:
        self.current = root
        front = [root] if root else []
        sys.path[:] = [*front, *(p for p in self._pythonpath if p != root), *self._own_path]
        for path in [path for path in sys.path_importer_cache if root and _is_under(path, root)]:
            del sys.path_importer_cache[path]
        importlib.invalidate_caches()

    def files(self) -> set[str]:
        """List the project's files that were loaded, wherever they lie."""
        roots = [root for root in (self.current, *self._pythonpath) if root]
        return {file for root in roots for file in _modules_under(root).values() if file}


def stamp(file: str) -> Stamp | None:
    """Tell one state of a file from another; None where there is none."""
    try:
        status = os.stat(file)  # noqa: PTH116 (once a job)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _is_under(path: str, root: str) -> bool:
    inside = path == root or path.startswith(root.rstrip("/") + "/")
    return inside and not any(mark in path + "/" for mark in _INSTALLED)


def _modules_under(root: str) -> dict[str, str | None]:
    """Map modules that were loaded from below `root`, not installed there, to their files."""
    found: dict[str, str | None] = {}
    for name, module in list(sys.modules.items()):
        if name == "__main__" or name.partition(".")[0] == "gigq":
            continue
        facts = _facts(module)
        file = facts.get("__file__")
        places = [file] if isinstance(file, str) else list(facts.get("__path__") or ())
        if any(isinstance(place, str) and _is_under(place, root) for place in places):
            found[name] = file
    return found


def _facts(module: object) -> dict[str, Any]:
    """Give what a module holds without asking it: some load late, or raise, when they are asked."""
    try:
        facts: dict[str, Any] = object.__getattribute__(module, "__dict__")
    except AttributeError:  # something else that was put among the modules
        return {}
    return facts
