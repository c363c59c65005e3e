"""From a claim to its function: import paths, scripts, fresh code, and failures that teach.

A worker process runs jobs of several projects. Each has an import root, the folder that made its
modules importable where it was submitted; modules loaded from one root are put aside while a job
of another runs, so that two projects with modules of the same name never see each other's.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gigq.queue.function_reference import SCRIPT_ATTRIBUTE
from gigq.queue.main_guard import loading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from gigq.queue.records import Claim

PARENT_RESULTS = "parent_results"
JOB_RESULTS = "job_results"  # the older name, accepted where nothing else fills it


class FunctionLoadError(Exception):
    """The job's function cannot be loaded; the text says where and by which Python."""


class Loaded(NamedTuple):
    """A function, and what it asks for."""

    call: Callable[..., Any]
    takes_parent_results: bool
    requires_job_results: bool
    file: str | None
    stamp: tuple[int, int, int] | None  # of the file, when it was loaded


class Loader:
    """Finds functions, and remembers them."""

    def __init__(self, pythonpath: Sequence[str] = (), *, swap_path: bool = True) -> None:
        """Look in `pythonpath` after a job's own import root.

        With `swap_path` false, sys.path and loaded modules are left as they are: the process
        belongs to somebody else.
        """
        self._pythonpath = list(pythonpath)
        self._own_path = [entry for entry in sys.path if entry not in self._pythonpath]
        self._swap_path = swap_path
        self._root: str | None = None
        self._modules: dict[str, dict[str, ModuleType]] = {}
        self._loaded: dict[tuple[str, str, str, str | None], Loaded] = {}

    def load(self, claim: Claim) -> Loaded:
        """Give the function of a claim. Raises FunctionLoadError."""
        if self._swap_path:
            self._enter(claim.import_root)
        key = (claim.import_root, claim.function_module, claim.function_name, claim.script)
        found = self._loaded.get(key)
        if found is None:
            found = self._loaded[key] = self._load(claim)
        return found

    def is_stale(self, claim: Claim) -> bool:
        """Tell whether the file of a function that was loaded before has changed since."""
        key = (claim.import_root, claim.function_module, claim.function_name, claim.script)
        found = self._loaded.get(key)
        return found is not None and found.file is not None and _stamp(found.file) != found.stamp

    def project_files(self) -> set[str]:
        """List the files of the current project that were loaded, to be watched for changes."""
        if not self._root:
            return set()
        return {file for file in _files_under(self._root) if "/site-packages/" not in file}

    # Import roots

    def _enter(self, root: str) -> None:
        """Make the modules of one project importable, and those of the last one not."""
        if root == self._root:
            return
        if self._root:
            leaving = self._modules.setdefault(self._root, {})
            for name in _files_under(self._root).values():
                leaving[name] = sys.modules.pop(name)
        sys.modules.update(self._modules.get(root, {}))
        front = [root] if root else []
        sys.path[:] = [*front, *(p for p in self._pythonpath if p != root), *self._own_path]
        importlib.invalidate_caches()
        self._root = root

    # Loading

    def _load(self, claim: Claim) -> Loaded:
        importlib.invalidate_caches()
        what = claim.script or claim.function_module
        file = claim.script
        stamp = None if file is None else _stamp(file)
        try:
            with loading(what):
                module = self._module(claim)
        except Exception as error:
            raise FunctionLoadError(_why_not_imported(claim, error)) from error
        except SystemExit as error:
            message = (
                f"{what} calls sys.exit while it is loaded; "
                f'guard this with: if __name__ == "__main__":'
            )
            raise FunctionLoadError(message) from error
        if file is None:
            file = getattr(module, "__file__", None)
            stamp = None if file is None else _stamp(file)
        return _look_at(_attribute(module, claim), file, stamp)

    def _module(self, claim: Claim) -> ModuleType:
        if claim.script is None:
            return importlib.import_module(claim.function_module)
        main = sys.modules["__main__"]
        if not self._swap_path and os.path.realpath(getattr(main, "__file__", "")) == claim.script:
            return main  # the process that runs its own script's jobs
        name = "gigq_script_" + hashlib.sha256(claim.script.encode()).hexdigest()[:16]
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, claim.script)
        if spec is None or spec.loader is None:
            message = f"{claim.script} is not a Python file"
            raise ImportError(message)
        module = importlib.util.module_from_spec(spec)
        setattr(module, SCRIPT_ATTRIBUTE, claim.script)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def _files_under(root: str) -> dict[str, str]:
    """Map files loaded from below `root`, to modules. Installed packages may stand there too."""
    inside = root.rstrip("/") + "/"
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        own = name == "__main__" or name.partition(".")[0] == "gigq"
        if isinstance(file, str) and file.startswith(inside) and not own:
            found[file] = name
    return found


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(file)  # noqa: PTH116 (once a job)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _attribute(module: ModuleType, claim: Claim) -> Callable[..., Any]:
    found: Any = module
    where = claim.script or f"module {claim.function_module} ({module.__dict__.get('__file__')})"
    for part in claim.function_name.split("."):
        if not hasattr(found, part):
            close = difflib.get_close_matches(part, dir(found), n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            message = f"there is no function {claim.function_name} in {where}{hint}"
            raise FunctionLoadError(message)
        found = getattr(found, part)
    found = getattr(found, "__wrapped_task__", found)
    if not callable(found):
        message = f"{claim.function_name} in {where} is a {type(found).__name__}, not a function"
        raise FunctionLoadError(message)
    return found  # type: ignore[no-any-return]


def _look_at(
    function: Callable[..., Any], file: str | None, stamp: tuple[int, int, int] | None
) -> Loaded:
    import inspect  # noqa: PLC0415 (slow, and not for who only submits)

    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions have none
        return Loaded(function, False, False, file, stamp)  # noqa: FBT003
    takes = PARENT_RESULTS in parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )
    older = parameters.get(JOB_RESULTS)
    requires = older is not None and older.default is older.empty
    return Loaded(function, takes, requires, file, stamp)


def _why_not_imported(claim: Claim, error: Exception) -> str:
    here = sys.executable
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        what = claim.script or claim.function_module
        return f"{what} cannot be imported by {here}: {type(error).__name__}: {error}"
    own = error.name == claim.function_module.partition(".")[0] or (
        claim.function_module == error.name
    )
    if own and claim.import_root:
        where = "is missing there now" if Path(claim.import_root).is_dir() else "which is gone"
        return f"`{error.name}` was imported from {claim.import_root}, and {where}"
    if claim.python == here:
        return f"`{error.name}` is missing in {here}; install it there"
    return (
        f"`{error.name}` is missing in {here}; the job was submitted from {claim.python}; "
        f"set [workers] python"
    )
