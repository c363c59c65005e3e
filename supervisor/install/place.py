"""Where a service of systemd has its files: for the machine or for one user, by name or without."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from gigq.queue.errors import GigqError

SERVICE_USER = "gigq"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TAKEN = ("gigq", "gigqd")  # by the files of the service without a name


class Scope(Enum):
    """Whose service manager runs it."""

    SYSTEM = "system"
    USER = "user"


@dataclass(frozen=True)
class Place:
    """The files of one service, and how it is called."""

    scope: Scope
    name: str | None  # of the instance

    def __post_init__(self) -> None:
        """Refuse a name that cannot be part of a unit's, or whose files are another service's."""
        if self.name is not None and (self.name in _TAKEN or not _NAME.fullmatch(self.name)):
            message = (
                f"an instance cannot be called {self.name!r}: take letters, digits, _ and -, and "
                f"none of {', '.join(_TAKEN)}, which are the files of the service without a name"
            )
            raise GigqError(message)

    @property
    def unit_name(self) -> str:
        """What systemctl calls it."""
        return "gigqd.service" if self.name is None else f"gigqd@{self.name}.service"

    @property
    def unit(self) -> Path:
        """The unit's file."""
        folder = Path("/etc") if self.scope is Scope.SYSTEM else _xdg("XDG_CONFIG_HOME", ".config")
        return folder / "systemd" / self.scope.value / self.unit_name

    @property
    def configuration(self) -> Path:
        """The configuration's file."""
        folder = Path("/etc") if self.scope is Scope.SYSTEM else _xdg("XDG_CONFIG_HOME", ".config")
        return folder / "gigq" / f"{self.name or 'gigqd'}.toml"

    @property
    def database(self) -> Path:
        """The database, as long as the configuration names no other."""
        file = f"{self.name or 'gigq'}.db"
        if self.scope is Scope.SYSTEM:
            return Path("/var/lib/gigq") / file
        return _xdg("XDG_STATE_HOME", ".local/state") / "gigq" / file

    @property
    def user(self) -> str | None:
        """The user it runs as; None: the one who installs it."""
        return SERVICE_USER if self.scope is Scope.SYSTEM else None

    @property
    def systemctl(self) -> list[str]:
        """How its service manager is given orders."""
        return ["systemctl"] if self.scope is Scope.SYSTEM else ["systemctl", "--user"]

    @property
    def journalctl(self) -> list[str]:
        """How its log is read."""
        by = "--unit" if self.scope is Scope.SYSTEM else "--user-unit"
        return ["journalctl", f"{by}={self.unit_name}"]

    def command(self, order: str) -> str:
        """Give the command line for this service, with sudo where it is needed."""
        words = ["sudo"] if self.scope is Scope.SYSTEM and os.geteuid() != 0 else []
        words += [str(program()), order, f"--{self.scope.value}"]
        return " ".join(words + ([] if self.name is None else ["--name", self.name]))


def program() -> Path:
    """Give the gigqd of this environment; Python itself where it has no such command."""
    beside = Path(sys.executable).with_name("gigqd")
    return beside if os.access(beside, os.X_OK) else Path(sys.executable)


def _xdg(variable: str, default: str) -> Path:
    given = Path(os.environ.get(variable, ""))
    return given if given.is_absolute() else Path.home() / default
