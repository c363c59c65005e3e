"""From a claim to its function: modules, scripts, fresh code, and failures that teach.

Where modules are looked for is decided in `gigq.worker.import_roots`; which function is meant, and
the sentence that says why it cannot be had, are decided here.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from gigq.queue.function_reference import SCRIPT_ATTRIBUTE, why_it_never_runs
from gigq.queue.main_guard import loading
from gigq.worker.allowed import Allowed, NotAllowedError
from gigq.worker.import_roots import FreshSourceLoader, ImportRoots, Stamp, stamp
from gigq.worker.outcome import text_of
from gigq.worker.time_limit import JobInterrupted

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from gigq.queue.records import Claim
    from gigq.worker.orders import Code

PARENT_RESULTS = "parent_results"
JOB_RESULTS = "job_results"  # the older name, accepted where nothing else fills it

_VAR_KEYWORD = 0x08  # code flags, as in inspect.CO_VARKEYWORDS


class FunctionLoadError(Exception):
    """The job's function cannot be loaded; the text says where and by which Python."""


class Loaded(NamedTuple):
    """A function, and what it asks for."""

    call: Callable[..., Any]
    takes_parent_results: bool
    requires_job_results: bool


class Loader:
    """Finds functions, and remembers them."""

    def __init__(
        self,
        roots: ImportRoots | None = None,
        on_load: Callable[[], None] | None = None,
        allowed: Allowed | None = None,
    ) -> None:
        """Find functions by `roots`; None: by what this process can import as it is.

        `on_load` is called after code was loaded, before it is used. What `allowed` does not name
        is not loaded; None: anything may be.
        """
        self._roots = roots
        self._on_load = on_load
        self._limits = allowed or Allowed()
        # By what a claim says; and the root that it was loaded from.
        self._loaded: dict[tuple[str, str, str, str | None], tuple[Loaded, str]] = {}
        # The file of each module, as it was when it was loaded; also of one without the function.
        self._stamps: dict[tuple[str, str, str | None], tuple[str | None, Stamp | None]] = {}

    def load(self, claim: Claim | Code) -> Loaded:
        """Give the function of a claim. Raises FunctionLoadError, NotAllowedError."""
        key = (claim.import_root, claim.function_module, claim.function_name, claim.script)
        known = self._loaded.get(key)
        if known is None:
            known = self._loaded[key] = self._load_allowed(claim)
            if self._on_load is not None:
                self._on_load()
        elif self._roots is not None:
            self._roots.enter(known[1])
        return known[0]

    def _load_allowed(self, claim: Claim | Code) -> tuple[Loaded, str]:
        refusal = self._limits.refusal(claim.function_module, claim.function_name, claim.script)
        if refusal is not None:
            raise NotAllowedError(refusal)
        root, _, _ = self._place(claim)
        if self._roots is not None:
            self._roots.enter(root)
        return self._load(claim), root

    def is_stale(self, claim: Claim | Code) -> bool:
        """Tell whether the file of a function's module has changed since it was loaded."""
        file, loaded_from = self._stamps.get(self._place(claim), (None, None))
        return file is not None and stamp(file) != loaded_from

    def _place(self, claim: Claim | Code) -> tuple[str, str, str | None]:
        root = self._limits.root(claim.import_root, claim.script)
        return root, claim.function_module, claim.script

    def _load(self, claim: Claim | Code) -> Loaded:
        importlib.invalidate_caches()
        what = claim.script or claim.function_module
        try:
            return self._found(claim, what)
        except (JobInterrupted, KeyboardInterrupt, FunctionLoadError, NotAllowedError):
            raise
        except SystemExit as error:
            message = (
                f"{what} calls sys.exit while it is loaded; "
                f'guard this with: if __name__ == "__main__":'
            )
            raise FunctionLoadError(message) from error
        except BaseException as error:
            raise FunctionLoadError(_why_not_imported(claim, error)) from error

    def _found(self, claim: Claim | Code, what: str) -> Loaded:
        """Find it. Raises whatever its module does, and what it has in place of a function."""
        file = claim.script
        loaded_from = None if file is None else stamp(file)
        with loading(what):
            module = self._module(claim)
        if file is None:
            file = getattr(module, "__file__", None)
            loaded_from = None if file is None else stamp(file)
        self._stamps[self._place(claim)] = (file, loaded_from)
        function = _attribute(module, claim)
        foreign = self._limits.foreign(claim, module, function)
        if foreign is not None:
            raise NotAllowedError(foreign)
        return _look_at(function)

    def _module(self, claim: Claim | Code) -> ModuleType:
        if claim.script is None and claim.function_module == "__main__" and self._roots is not None:
            message = (
                "nobody has noted which script's __main__ it is in; submit the job again by that "
                "script, and cancel this one"
            )
            raise FunctionLoadError(message)
        if claim.script is None:
            return importlib.import_module(claim.function_module)
        main = sys.modules["__main__"]
        own = getattr(main, "__file__", None)
        if self._roots is None and own and os.path.realpath(own) == os.path.realpath(claim.script):
            return main  # the process that runs its own script's jobs
        import hashlib  # noqa: PLC0415 (for scripts only)

        name = "gigq_script_" + hashlib.sha256(claim.script.encode()).hexdigest()[:16]
        if name in sys.modules:
            return sys.modules[name]
        loader = FreshSourceLoader(name, claim.script)
        spec = importlib.util.spec_from_file_location(name, claim.script, loader=loader)
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


def _attribute(module: ModuleType, claim: Claim | Code) -> Callable[..., Any]:
    found: Any = module
    where = claim.script or f"module {claim.function_module} ({module.__dict__.get('__file__')})"
    for part in claim.function_name.split("."):
        if not hasattr(found, part):
            import difflib  # noqa: PLC0415 (for the unlucky only)

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


def _look_at(function: Callable[..., Any]) -> Loaded:
    why_not = why_it_never_runs(function)
    if why_not is not None:
        message = f"{function.__qualname__} {why_not}"
        raise FunctionLoadError(message)
    if _asks_for_nothing(function):
        return Loaded(function, takes_parent_results=False, requires_job_results=False)
    import inspect  # noqa: PLC0415 (slow, and rarely needed)

    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions have none
        return Loaded(function, takes_parent_results=False, requires_job_results=False)
    takes = PARENT_RESULTS in parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )
    older = parameters.get(JOB_RESULTS)
    requires = older is not None and older.default is older.empty
    return Loaded(function, takes, requires)


def _asks_for_nothing(function: Callable[..., Any]) -> bool:
    """Tell, for plain functions at once, that they take no parents' results by any name."""
    told_otherwise = hasattr(function, "__wrapped__") or hasattr(function, "__signature__")
    if type(function) is not FunctionType or told_otherwise:
        return False
    code = function.__code__
    parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    any_name = bool(code.co_flags & _VAR_KEYWORD)
    return not any_name and PARENT_RESULTS not in parameters and JOB_RESULTS not in parameters


def _why_not_imported(claim: Claim | Code, error: BaseException) -> str:
    here = sys.executable
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        what = claim.script or claim.function_module
        return f"{what} cannot be imported by {here}: {type(error).__name__}: {text_of(error)}"
    own = error.name == claim.function_module.partition(".")[0] or (
        claim.function_module == error.name
    )
    if own and claim.import_root:
        if claim.import_root not in sys.path:  # in a program that is not a service's worker
            return f"`{error.name}` is in {claim.import_root}, which is not on this program's path"
        gone = "is missing there now" if Path(claim.import_root).is_dir() else "that folder is gone"
        return f"`{error.name}` was imported from {claim.import_root}, and {gone}"
    if claim.python == here:
        return f"`{error.name}` is missing in {here}; install it there"
    return (
        f"`{error.name}` is missing in {here}; the job was submitted from {claim.python}; "
        f"set [workers] python"
    )
