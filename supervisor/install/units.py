"""The texts of units and of what goes with them, each made from one template.

systemd/ holds what they make for packages of distributions; `scripts/units` writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gigq.supervisor.install.place import Place, Scope, program

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITTEN = "Written by gigqd install, and written anew by gigqd upgrade."
_PACKAGED = "For packages of distributions; gigqd install writes the same for an environment."
_PACKAGED_PROGRAM = "/usr/bin/gigqd"
_HERE = Path(__file__).parent
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@:,=")


def unit_text(place: Place) -> str:
    """Give the unit of a service for the environment at hand."""
    command = quoted(str(program()))
    if program() == Path(sys.executable):
        command += " -P -m gigq.supervisor"
    return _unit(place.scope, command, WRITTEN, named=place.name is not None)


def configuration_text(place: Place) -> str:
    """Give the first configuration of a service."""
    values = {
        "UNIT": place.unit_name,
        "FILE": str(place.configuration),
        "FOLDER": str(place.configuration.parent),
        "DATABASE": str(place.database),
    }
    return _filled((_HERE / "system.toml").read_text(), values)


def packaged() -> Iterator[tuple[str, str]]:
    """Give path below systemd/ and text of each file for packagers."""
    for scope in Scope:
        folder = "system/" if scope is Scope.SYSTEM else "user/"
        for named in (False, True):
            unit = "gigqd@.service" if named else "gigqd.service"
            yield folder + unit, _unit(scope, _PACKAGED_PROGRAM, _PACKAGED, named=named)
    yield "sysusers.d/gigqd.conf", (_HERE / "sysusers.conf").read_text()
    yield "tmpfiles.d/gigqd.conf", (_HERE / "tmpfiles.conf").read_text()
    for drop_in in ("strict.conf", "hardened-home.conf"):
        yield f"drop-ins/{drop_in}", (_HERE / drop_in).read_text()


def sysusers_line() -> str:
    """Give the line of sysusers.d that makes the service's user."""
    lines = (_HERE / "sysusers.conf").read_text().splitlines()
    return next(line for line in lines if line.startswith("u "))


def _unit(scope: Scope, command: str, written: str, *, named: bool) -> str:
    folder = "/etc" if scope is Scope.SYSTEM else "%E"
    values = {
        "WRITTEN": written,
        "EDIT": f"systemctl {'--user ' * (scope is Scope.USER)}edit gigqd{'@NAME' * named}",
        "OF_INSTANCE": " of %i" * named,
        "GIGQD": command,
        "CONFIGURATION": f"{folder}/gigq/{'%i' if named else 'gigqd'}.toml",
    }
    lines = []
    for line in (_HERE / "gigqd.service.in").read_text().splitlines():
        of, marked, text = line.partition(":")
        if not marked or of not in {each.value for each in Scope}:
            lines.append(line)
        elif of == scope.value:
            lines.append(text.removeprefix(" "))
    text = "\n".join(lines) + "\n"
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return _filled(text, values)


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def quoted(path: str) -> str:
    """Give a path as a word of ExecStart=, in which % and $ are special (systemd.service(5))."""
    escaped = path.replace("%", "%%").replace("$", "$$")
    if _PLAIN.issuperset(escaped):
        return escaped
    inner = escaped.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'
