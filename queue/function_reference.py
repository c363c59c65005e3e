"""How a function is named so that a worker process finds it again: module, name, script, root.

A function of a module is found by import; one of a script's `__main__` by the script's path. What
has no file to find it by (a prompt, `-c`, standard input) is refused when it is submitted.
"""

from __future__ import annotations

import os
import sys
from functools import cache, lru_cache
from pathlib import Path
from types import CodeType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from gigq.queue.errors import FunctionReferenceError
from gigq.queue.shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_GENERATOR = 0x20  # code flags, as in inspect.CO_GENERATOR
_ASYNCHRONOUS = 0x80 | 0x200  # CO_COROUTINE, CO_ASYNC_GENERATOR

_LONGEST_NAME = 1_000  # characters

SCRIPT_ATTRIBUTE = "__gigq_script__"  # on a script's module that a worker loaded: its path


class FunctionReference(NamedTuple):
    """Where a function is found again."""

    module: str
    name: str  # qualified: with its class, if any
    script: str | None  # path of the script whose __main__ it was defined in
    import_root: str  # the folder that makes `module` importable; "" where it is installed


def reference(
    function: Callable[..., Any] | str, directory: str | None = None
) -> FunctionReference:
    """Name `function`, or check the dotted name it is given as, to be found from `directory`.

    None is the current directory.

    Raises FunctionReferenceError, saying why a worker could not find it.
    """
    if isinstance(function, str):
        return _reference_by_name(function, directory or os.getcwd())  # noqa: PTH109 (as text)
    function = getattr(function, "__wrapped_task__", function)
    try:
        hash(function)
    except Exception:  # noqa: BLE001 (a stranger's code)
        return _reference.__wrapped__(function)
    return _reference(function)


@lru_cache(maxsize=512)
def _reference_by_name(dotted: str, directory: str) -> FunctionReference:
    module, _, name = dotted.rpartition(".")
    named = module and all(part.isidentifier() for part in dotted.split("."))
    if not named or len(dotted) > _LONGEST_NAME:
        message = (
            f"{shown(dotted)} does not name a function; write MODULE.FUNCTION, like myapp.jobs.load"
        )
        raise FunctionReferenceError(message)
    return FunctionReference(module, name, None, directory)


@lru_cache(maxsize=512)
def _reference(function: Callable[..., Any]) -> FunctionReference:
    name = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None)
    if not callable(function) or not isinstance(name, str) or not isinstance(module, str):
        _refuse(function, "is not a function: a worker finds functions by module and name")
    reason = why_not_a_job(function)
    if reason is not None:
        _refuse(function, reason)
    loaded = sys.modules.get(module)
    if loaded is None or not callable(_attribute(loaded, name)):
        _refuse(
            function, f"cannot be found as {name} in module {module}; define it at its top level"
        )
    script = getattr(loaded, SCRIPT_ATTRIBUTE, None)
    if script is not None:
        return FunctionReference("__main__", name, script, str(Path(script).parent))
    if module == "__main__":
        return _main_reference(function, loaded, name)
    return FunctionReference(
        module, name, None, import_root(module, loaded.__dict__.get("__file__"))
    )


def why_not_a_job(function: Callable[..., Any]) -> str | None:
    """Say what about a function keeps it from being a job, None when nothing does."""
    name = function.__qualname__
    if function.__name__ == "<lambda>":
        return "is a lambda, which a worker cannot find by name; write it as a function with def"
    if "<locals>" in name:
        return "is defined inside another function; move it to the top level of its module"
    if isinstance(function, MethodType) and not isinstance(function.__self__, type):
        return "is a method of an object, which stays in this process; use a function"
    return why_it_never_runs(function)


def why_it_never_runs(function: Callable[..., Any]) -> str | None:
    """Say why a call would run nothing of the function, None when it would."""
    code = getattr(function, "__code__", None)
    flags = code.co_flags if isinstance(code, CodeType) else 0
    if flags & _ASYNCHRONOUS:
        return "is asynchronous; wrap it: def job(): return asyncio.run(main())"
    if flags & _GENERATOR:
        return "is a generator, whose values a job cannot keep; return a list"
    return None


def _main_reference(function: Callable[..., Any], main: ModuleType, name: str) -> FunctionReference:
    spec = main.__spec__
    if spec is not None and spec.name != "__main__":  # python -m package.module
        return FunctionReference(spec.name, name, None, import_root(spec.name, spec.origin))
    file = spec.origin if spec is not None else getattr(main, "__file__", None)
    if file is None or not Path(file).is_file():
        _refuse(
            function,
            "was typed into a prompt, -c or standard input, where a worker cannot find it; "
            "save it to a file and import it from there",
        )
    script = Path(file).absolute()
    return FunctionReference("__main__", name, str(script), str(script.parent))


def import_root(module: str, file: str | None) -> str:
    """Give the folder that has to be on the path to import `module`; "" when it is installed."""
    if file is None:
        return ""
    path = Path(file).absolute()
    path = path.parent if path.stem == "__init__" else path.with_name(path.name.partition(".")[0])
    parts = module.split(".")
    if list(path.parts[-len(parts) :]) != parts:
        return ""
    root = str(path.parents[len(parts) - 1])
    return "" if root in _installed_roots() else root


@cache
def _installed_roots() -> frozenset[str]:
    import site  # noqa: PLC0415 (only for functions of modules)
    import sysconfig  # noqa: PLC0415

    paths = sysconfig.get_paths()
    roots = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    roots |= {*site.getsitepackages(), site.getusersitepackages()}
    roots |= {sysconfig.get_path("platstdlib") + "/lib-dynload"}
    return frozenset(roots | {os.path.realpath(root) for root in roots})


def _attribute(holder: object, name: str) -> object:
    for part in name.split("."):
        holder = getattr(holder, part, None)
    return holder


def _refuse(function: object, reason: str) -> NoReturn:
    name = getattr(function, "__qualname__", None)
    message = f"{name if isinstance(name, str) and name else shown(function)} {reason}"
    raise FunctionReferenceError(message)
