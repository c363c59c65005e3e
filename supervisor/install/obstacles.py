"""What stands in the way of a service, said before it is tried."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import gigq
from gigq.queue.errors import GigqError
from gigq.supervisor.install.place import Place, Scope
from gigq.supervisor.install.steps import run_as
from gigq.supervisor.install.units import WRITTEN

if TYPE_CHECKING:
    from collections.abc import Iterator

_BOOTED = Path("/run/systemd/system")  # sd_booted(3)
_PRIVATE = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 (where it must not lie)
_REMEDY = (
    "Install gigqd where everybody may read, such as /opt/gigqd:\n"
    "    python3 -m venv /opt/gigqd && /opt/gigqd/bin/pip install gigqd\n"
    "    sudo /opt/gigqd/bin/gigqd install --system\n"
    "  Or have a service of your own, which runs as you: gigqd install --user"
)


def check_manager(place: Place, order: str) -> None:
    """See that systemd can be told. Raises GigqError with the way to it."""
    if not _BOOTED.is_dir() or shutil.which("systemctl") is None:
        message = (
            "systemd does not run this machine, so there is nothing to install into; let what "
            "starts services here run: gigqd start DATABASE"
        )
        raise GigqError(message)
    if place.scope is Scope.SYSTEM:
        if os.geteuid() != 0:
            message = f"a service of the machine is installed by root: {place.command(order)}"
            raise GigqError(message)
        return
    if os.environ.get("SUDO_USER") and os.geteuid() == 0:
        message = f"--user means the one who types it: {place.command(order)} without sudo"
        raise GigqError(message)
    asked = subprocess.run(
        [*place.systemctl, "show", "--property=Version"], capture_output=True, check=False
    )
    if asked.returncode != 0:
        message = (
            f"no service manager of {getpass.getuser()} runs: log in as {getpass.getuser()} (su "
            f"and sudo start none), or have it run always: sudo loginctl enable-linger "
            f"{getpass.getuser()}"
        )
        raise GigqError(message)


def check_unit_is_ours(place: Place) -> None:
    """Refuse to touch a unit that somebody else has written. Raises GigqError."""
    if place.unit.exists() and WRITTEN not in place.unit.read_text(errors="replace"):
        message = (
            f"{place.unit} was not written by gigqd install, and stays as it is; "
            "move it away, or take another --name"
        )
        raise GigqError(message)


def check_environment(user: str) -> None:
    """See that `user` can run this Python with this gigqd. Raises GigqError."""
    for path in _needed():
        for folder in _PRIVATE:
            if path.is_relative_to(folder):
                message = (
                    f"{path} lies in {folder}, and a service has a {folder} of its own.\n  "
                    f"{_REMEDY}"
                )
                raise GigqError(message)
    words = [sys.executable, "-P", "-c", "import gigq.supervisor.main"]
    try:
        tried = subprocess.run(words, capture_output=True, text=True, check=False, **run_as(user))
        said = tried.stderr.strip().splitlines()[-1:] if tried.returncode else None
    except OSError as error:
        said = [str(error.strerror)]
    if said is not None:
        closed = _closed_to(user)
        why = f": {closed} is closed to others" if closed else f": {' '.join(said)}"
        message = f"user {user} cannot run gigqd with {sys.executable}{why}.\n  {_REMEDY}"
        raise GigqError(message)


def _needed() -> Iterator[Path]:
    """Give what has to be readable: this Python, as it is called and as it is, and this code."""
    yield Path(sys.executable)
    yield Path(sys.executable).resolve()
    yield Path(sys.base_prefix)
    yield Path(gigq.__file__).resolve()
    yield Path(__file__).resolve()


def _closed_to(user: str) -> Path | None:
    """Give the first folder on the way to what is needed that `user` cannot pass through."""
    for path in _needed():
        for folder in reversed(path.parents):
            test = subprocess.run(["test", "-x", str(folder)], check=False, **run_as(user))  # noqa: S607
            if test.returncode != 0:
                return folder
    return None
