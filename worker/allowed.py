"""What may be run at all: `[workers] allow`, looked at before anything of a job is imported.

An entry is one of

- a module, `myapp.jobs`: what it and the modules below it define, but not what they import;
- a function, `myapp.jobs:load` or `myapp.jobs.load`, wherever it was defined;
- a script, by its absolute path: what it defines.

No entry at all allows everything. The canary of an installation may always run: it tells as whom
jobs run, and takes nothing from its submitter.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from gigq.queue.records import Claim
    from gigq.worker.orders import Code

_COMMAND = "gigq.worker.command"
_CANARY = "gigq.worker.canary.canary"


class NotAllowedError(Exception):
    """The settings do not allow to run this; the text says what would."""


class Allowed:
    """The entries, and questions to them."""

    def __init__(self, entries: Sequence[str] = ()) -> None:
        """Allow what the entries name; without any, everything."""
        self._scripts = frozenset(entry for entry in entries if entry.startswith("/"))
        self._modules = frozenset(
            entry for entry in entries if entry[:1] != "/" and ":" not in entry
        )
        named = frozenset(entries) - self._scripts
        self._functions = frozenset((_CANARY, *(entry.replace(":", ".") for entry in named)))
        self.is_limited = bool(entries)

    def refusal(self, module: str, name: str, script: str | None) -> str | None:
        """Say why a function of this name may not be run, None where it may."""
        if not self.is_limited:
            return None
        if script is not None:
            return None if script in self._scripts else _refusal(f"the script {script}", script)
        if self._has_module(module) or self._has_function(module, name):
            return None
        if module == _COMMAND:
            return _refusal("a command line", module)
        return _refusal(f"{module}.{name}", f"{module}:{name}")

    def foreign(self, claim: Claim | Code, module: ModuleType, function: object) -> str | None:
        """Say that a function was not defined in the module or script that is allowed, if so.

        Else `myapp.jobs` would allow `os.system` too, by way of what that module has imported.
        """
        name, named = claim.function_name, claim.function_module
        if not self.is_limited or (claim.script is None and self._has_function(named, name)):
            return None
        origin = getattr(function, "__module__", None)
        if isinstance(origin, str) and (origin == module.__name__ or self._has_module(origin)):
            return None
        if claim.script is not None:
            return f"{name} is not defined in the script {claim.script}, and may not be run here"
        return _refusal(f"{name} is imported by {named}, not defined there, and", f"{named}:{name}")

    def root(self, import_root: str, script: str | None) -> str:
        """Give the folder to look for a job's modules in, "" for none but those of the settings.

        With limits that is not the one that the job names: whoever submits it could have put a
        module with an allowed name there.
        """
        if not self.is_limited:
            return import_root
        return "" if script is None else str(Path(script).parent)

    def _has_module(self, module: str) -> bool:
        parts = module.split(".")
        return any(".".join(parts[:length]) in self._modules for length in range(1, 1 + len(parts)))

    def _has_function(self, module: str, name: str) -> bool:
        return f"{module}.{name}" in self._functions


def _refusal(what: str, entry: str) -> str:
    return f'{what} may not be run here; to allow it, add "{entry}" to [workers] allow'
