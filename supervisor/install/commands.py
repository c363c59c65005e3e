"""`gigqd install`, `gigqd upgrade` and `gigqd uninstall`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from gigq.queue.errors import GigqError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_EXIT_FAILED = 1
_EXIT_CONFIGURATION = 78


def _placed(function: Callable[..., None]) -> Callable[..., Any]:
    for option in (
        click.option("--dry-run", is_flag=True, help="Print each step, and change nothing."),
        click.option("--name", metavar="N", help="Of an instance beside others."),
        click.option("--user", "scope", flag_value="user", help="Your own service."),
        click.option("--system", "scope", flag_value="system", help="The machine's service."),
    ):
        function = option(function)
    return function


@click.command(epilog="Example: sudo /opt/gigqd/bin/gigqd install --system")
@_placed
def install(scope: str | None, name: str | None, *, dry_run: bool) -> None:
    """Install a service of systemd for this environment, start it and let it run a job.

    For the machine (the default for root) it runs as user gigq, with /etc/gigq/gigqd.toml and
    /var/lib/gigq/gigq.db; your own service (the default for others) runs as you, with
    ~/.config/gigq/gigqd.toml and ~/.local/state/gigq/gigq.db. An instance has N.toml and N.db. What
    is there already is kept: to repeat it is harmless, and no configuration is written over.
    """
    from gigq.supervisor.install import installing  # noqa: PLC0415 (others do without it)

    _carry_out(installing.install, scope, name, dry_run=dry_run)


@click.command(epilog="Example: pip install --upgrade gigqd && gigqd upgrade")
@_placed
def upgrade(scope: str | None, name: str | None, *, dry_run: bool) -> None:
    """Let the installed service run this version: renew its unit, restart it, let it run a job.

    Running jobs finish within the drain timeout. A database with an older schema is upgraded as the
    service starts, and a copy from before stays beside it.
    """
    from gigq.supervisor.install import installing  # noqa: PLC0415

    _carry_out(installing.upgrade, scope, name, dry_run=dry_run)


@click.command(epilog="Example: sudo gigqd uninstall --system")
@_placed
def uninstall(scope: str | None, name: str | None, *, dry_run: bool) -> None:
    """Stop and remove the installed service; data, configuration and user stay, and are named."""
    from gigq.supervisor.install import installing  # noqa: PLC0415

    _carry_out(installing.uninstall, scope, name, dry_run=dry_run)


def _carry_out(
    what: Callable[..., None], scope: str | None, name: str | None, *, dry_run: bool
) -> None:
    """Do it, and say a mistake in one sentence."""
    from gigq.supervisor.install.place import Place, Scope  # noqa: PLC0415

    usual = "system" if os.geteuid() == 0 else "user"
    try:
        what(Place(Scope(scope or usual), name), dry_run=dry_run)
    except SettingsError as error:
        click.echo(f"gigqd: {error}", err=True)
        sys.exit(_EXIT_CONFIGURATION)
    except GigqError as error:
        click.echo(f"gigqd: {error}", err=True)
        sys.exit(_EXIT_FAILED)
    except OSError as error:
        click.echo(f"gigqd: {error.filename or what.__name__}: {error.strerror}", err=True)
        sys.exit(_EXIT_FAILED)
