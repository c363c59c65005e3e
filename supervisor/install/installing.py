"""Installing, upgrading and removing a service of systemd."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gigq.queue.companions import Companions
from gigq.queue.errors import GigqError
from gigq.queue.service_lock import service_holder
from gigq.queue.settings import read_settings
from gigq.supervisor.install.obstacles import check_environment, check_manager, check_unit_is_ours
from gigq.supervisor.install.place import Place, Scope
from gigq.supervisor.install.steps import Command, Folder, TextFile, carry_out, exists, run_as
from gigq.supervisor.install.units import configuration_text, sysusers_line, unit_text
from gigq.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gigq.supervisor.install.steps import Step

_CANARY_WITHIN = 60.0  # seconds
_LOOK = 0.2
_BUSY_FOR = 10.0  # seconds with work for all, which is as good a sign as a canary
_LAST_LINES = 12
_CANARY = (sys.executable, "-P", "-m", "gigq.supervisor.install.canary")


def install(place: Place, *, dry_run: bool) -> None:
    """Have the service run, now and after each boot. Raises GigqError: what stands in the way."""
    if not dry_run:
        check_manager(place, "install")
        check_unit_is_ours(place)
    carry_out(_user_and_files(place), dry_run=dry_run)
    if place.user is not None and not dry_run:
        check_environment(place.user)
    database = _database(place)
    carry_out(_prepared(place, database), dry_run=dry_run)
    changed = not TextFile(place.unit, unit_text(place)).is_done or _runs_older(database)
    carry_out(_enabled(place), dry_run=dry_run)
    _start(place, database, "restart" if changed else "start", dry_run=dry_run)
    if not dry_run:
        _say_goodbye(place, database)


def upgrade(place: Place, *, dry_run: bool) -> None:
    """Let the installed service run this version. Raises GigqError."""
    if not dry_run:
        check_manager(place, "upgrade")
    if not place.unit.exists():
        message = f"{place.unit} is not there; install the service with: {place.command('install')}"
        raise GigqError(message)
    check_unit_is_ours(place)
    if place.user is not None and not dry_run:
        check_environment(place.user)
    carry_out(_enabled(place), dry_run=dry_run)
    _start(place, _database(place), "restart", dry_run=dry_run)
    if not dry_run:
        click.echo(f"{place.unit_name} runs gigqd {__version__}", err=True)


def uninstall(place: Place, *, dry_run: bool) -> None:
    """Stop and remove the service; data, configuration and user stay. Raises GigqError."""
    if not dry_run:
        check_manager(place, "uninstall")
    if not place.unit.exists():
        click.echo(f"{place.unit} is not there: nothing is to be removed", err=True)
        return
    check_unit_is_ours(place)
    database = _database(place, lenient=True)
    disable = (*place.systemctl, "disable", "--now", place.unit_name)
    carry_out([Command(disable)], dry_run=dry_run)
    if dry_run:
        click.echo(f"remove {place.unit}")
    else:
        place.unit.unlink()
        click.echo(f"removed {place.unit}", err=True)
    carry_out([Command((*place.systemctl, "daemon-reload"), quiet=True)], dry_run=dry_run)
    if not dry_run:
        # It fails where there is nothing to forget.
        forget = [*place.systemctl, "reset-failed", place.unit_name]
        subprocess.run(forget, capture_output=True, check=False)
    _tell_what_stays(place, database)


# The steps


def _user_and_files(place: Place) -> Iterator[Step]:
    if place.user is not None and not exists(place.user):
        if shutil.which("systemd-sysusers"):
            yield Command(("systemd-sysusers", "--inline", sysusers_line()))
        else:
            home = ("--home-dir", "/var/lib/gigq", "--shell", "/usr/sbin/nologin")
            yield Command(("useradd", "--system", "--user-group", *home, place.user))
    yield Folder(place.configuration.parent, 0o755, keep=True)
    yield TextFile(place.configuration, configuration_text(place), keep=True)
    mode = 0o2770 if place.scope is Scope.SYSTEM else 0o700
    yield Folder(place.database.parent, mode, place.user, keep=place.scope is Scope.USER)


def _prepared(place: Place, database: Path) -> Iterator[Step]:
    advice = f"Correct that, then: {place.command('install')}"
    yield Command((*_CANARY, "prepare", str(database)), place.user, advice, quiet=True)


def _enabled(place: Place) -> Iterator[Step]:
    yield TextFile(place.unit, unit_text(place))
    yield Command((*place.systemctl, "daemon-reload"), quiet=True)
    yield Command((*place.systemctl, "enable", "--quiet", place.unit_name), quiet=True)


def _runs_older(database: Path) -> bool:
    holder = service_holder(Companions(database)) or {}
    return str(holder.get("version", __version__)) != __version__


def _start(place: Place, database: Path, order: str, *, dry_run: bool) -> None:
    """Start it, wait until it is ready, and let it run a job."""
    words = (*place.systemctl, order, place.unit_name)
    if dry_run:
        click.echo(Command(words).plan())
        click.echo(Command((*_CANARY, "run", str(database), "60"), place.user).plan())
        return
    click.echo(f"waiting for {place.unit_name} to be ready", err=True)
    if subprocess.run(words, capture_output=True, check=False).returncode != 0:
        result = _shown(place, "Result")
        last_words = _last_words(place)
        # It would be tried again and again.
        subprocess.run([*place.systemctl, "stop", place.unit_name], check=False)
        message = (
            f"{place.unit_name} does not start ({result}). It said:\n{last_words}\n"
            f"  Correct that, then: {place.command('install')}"
        )
        raise GigqError(message)
    click.echo(_canary(place, database), err=True)


def _canary(place: Place, database: Path) -> str:
    """Run a job as the service's user; give what it says. Raises GigqError where it does not."""
    words = [*_CANARY, "run", str(database), str(_CANARY_WITHIN)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **run_as(place.user)
    ) as process:
        trouble, state, busy_since = "", "", time.monotonic()
        while process.poll() is None and not trouble:
            time.sleep(_LOOK)
            state = _shown(place, "StatusText")
            trouble = state if "workers do not start" in state else ""
            if not _all_are_busy(state):
                busy_since = time.monotonic()
            elif time.monotonic() > busy_since + _BUSY_FOR:
                process.terminate()  # which takes the canary back
                return f"no job of ours was tried, for all workers have others to run: {state}"
        if trouble:
            process.terminate()
        output, errors = process.communicate()
    done = json.loads(output) if output else {}
    if done.get("status") == "completed":
        result = done["result"]
        return f"a job ran as user {result['user']}, in {result['python']}"
    still = f"ours is still {done.get('status')} ({state})"
    why = trouble or done.get("error") or errors.strip() or still
    message = (
        f"{place.unit_name} runs, but no job does: {why}\n"
        f"  Its configuration: {place.configuration}; its log: {_log(place)}\n"
        f"  Correct that, then: {place.command('install')}"
    )
    raise GigqError(message)


def _all_are_busy(state: str) -> bool:
    found = re.search(r"(\d+) of \d+ workers, (\d+) busy", state)
    return found is not None and found[1] == found[2] != "0"


# What is told


def _database(place: Place, *, lenient: bool = False) -> Path:
    """Give the database that the configuration names. Raises SettingsError for an invalid one."""
    if not place.configuration.exists():
        return place.database
    try:
        return Path(read_settings(place.configuration).database)
    except GigqError:
        if lenient:
            return place.database
        raise


def _shown(place: Place, what: str) -> str:
    words = [*place.systemctl, "show", place.unit_name, f"--property={what}", "--value"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def _last_words(place: Place) -> str:
    words = [*place.journalctl, "--no-pager", "--output=cat", f"--lines={_LAST_LINES}"]
    said = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    return "\n".join(f"    {line}" for line in said.stdout.splitlines()) or "    nothing"


def _log(place: Place) -> str:
    return " ".join([*place.journalctl, "--lines=50"])


def _say_goodbye(place: Place, database: Path) -> None:
    says = [
        f"{place.unit_name} is installed: {' '.join(place.systemctl)} status {place.unit_name}",
        f"configuration {place.configuration}, database {database}, log: {_log(place)}",
    ]
    if place.name is not None:
        says.append(f"submit to it with: gigq --db {database} submit ...")
    if place.scope is Scope.SYSTEM:
        says.append(
            f"who is in group {place.user} may submit, and so run code as user {place.user}: "
            f"sudo usermod --append --groups {place.user} NAME"
        )
    elif not Path("/var/lib/systemd/linger", getpass.getuser()).exists():
        says.append(
            "it runs while you are logged in; to have it run always: sudo loginctl enable-linger "
            f"{getpass.getuser()}"
        )
    click.echo("\n".join(says), err=True)


def _tell_what_stays(place: Place, database: Path) -> None:
    says = [f"what stays: configuration {place.configuration}, data {database} and {database}.d"]
    drop_ins = place.unit.with_name(place.unit.name + ".d")
    if drop_ins.is_dir():
        says.append(f"and what you changed of the unit: {drop_ins}")
    if place.user is not None:
        says.append(
            f"and user {place.user}, whom the data belong to; once they are gone: "
            f"sudo userdel {place.user}"
        )
    click.echo("\n".join(says), err=True)


__all__ = ["install", "uninstall", "upgrade"]
