"""The steps of an installation: each can be told beforehand, done, and done again without harm."""

from __future__ import annotations

import os
import pwd
import shlex
import stat
import subprocess
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import click

from gigq.queue.errors import GigqError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Step(Protocol):
    """Something that is done to the machine."""

    def plan(self) -> str:
        """Tell what would be done."""

    def do(self) -> str:
        """Do it and tell so; nothing is told where nothing was to be done. Raises GigqError."""


def carry_out(steps: Iterable[Step], *, dry_run: bool) -> None:
    """Do the steps, or print what they would do."""
    for step in steps:
        if dry_run:
            click.echo(step.plan())
        elif told := step.do():
            click.echo(told, err=True)


class Folder(NamedTuple):
    """A folder with its owner and permissions."""

    path: Path
    mode: int
    owner: str | None = None  # None: whoever installs
    keep: bool = False  # leave one that is there as it is

    def plan(self) -> str:
        """Tell what would be done."""
        return f"folder {self.path} ({self.mode:04o}, {self.owner or 'yours'})"

    def do(self) -> str:
        """Make it, or give it its owner and permissions."""
        there = self.path.is_dir()
        if there and self.keep:
            return ""
        self.path.mkdir(parents=True, exist_ok=True)
        before = self.path.stat()
        if self.owner is not None:
            user = pwd.getpwnam(self.owner)
            if (before.st_uid, before.st_gid) != (user.pw_uid, user.pw_gid):
                os.chown(self.path, user.pw_uid, user.pw_gid)
        # After the owner, for chown may take away a setgid bit.
        if there and stat.S_IMODE(self.path.stat().st_mode) == self.mode:
            return ""
        self.path.chmod(self.mode)
        return f"folder {self.path}" if there else f"made folder {self.path}"


class TextFile(NamedTuple):
    """A file with its text."""

    path: Path
    text: str
    keep: bool = False  # it is somebody's once it is there

    def plan(self) -> str:
        """Tell what would be done, with the whole text."""
        if self.keep and self.path.exists():
            return f"file {self.path}: is there, and stays as it is"
        return f"file {self.path}:\n{textwrap.indent(self.text, '    ', lambda _: True)}".rstrip()

    @property
    def is_done(self) -> bool:
        """Whether nothing is to be written."""
        return self.path.exists() and (self.keep or self.path.read_text() == self.text)

    def do(self) -> str:
        """Write it as a whole."""
        if self.is_done:
            return ""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.new")
        beside.write_text(self.text)
        beside.chmod(0o644)
        beside.replace(self.path)
        return f"wrote {self.path}"


class Command(NamedTuple):
    """A command line that is run."""

    words: tuple[str, ...]
    user: str | None = None  # whom it runs as; None: whoever installs
    advice: str = ""  # what to do after it has said what is wrong
    quiet: bool = False

    def plan(self) -> str:
        """Tell what would be done."""
        return f"run{f' as {self.user}' if self.user else ''}: {shlex.join(self.words)}"

    def do(self) -> str:
        """Run it. Raises GigqError with what it said."""
        try:
            done = subprocess.run(
                self.words,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                **run_as(self.user),
            )
        except OSError as error:
            message = f"{self.words[0]} cannot be run: {error.strerror}"
            raise GigqError(message) from None
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
            # With advice, what it said is a sentence of ours.
            told = f"{said}\n  {self.advice}" if self.advice else f"{self.plan()} failed: {said}"
            raise GigqError(told)
        return "" if self.quiet else f"ran {shlex.join(self.words)}"


def run_as(user: str | None) -> dict[str, Any]:
    """Give what subprocess has to be told to run something as this user; None: as it is."""
    if user is None:
        return {"cwd": "/"}
    entry = pwd.getpwnam(user)
    return {
        "user": entry.pw_uid,
        "group": entry.pw_gid,
        "extra_groups": [],
        "umask": 0o007,
        "cwd": "/",
        "env": {"PATH": os.environ.get("PATH", os.defpath), "HOME": entry.pw_dir},
    }


def exists(user: str) -> bool:
    """Tell whether there is such a user."""
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
