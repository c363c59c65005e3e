"""A machine with systemd for tests: this one's files, in namespaces of its own."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click
import pytest
from harness import until

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).parents[2]
MANAGER = Path("/lib/systemd/systemd")
ENVIRONMENT = Path("/opt/gigqd")
PYTHON = ENVIRONMENT / "bin" / "python"
GIGQD = ENVIRONMENT / "bin" / "gigqd"
GIGQ = ENVIRONMENT / "bin" / "gigq"

_TOOLS = ("systemctl", "journalctl", "systemd-analyze", "unshare", "nsenter", "setpriv")
_OUTSIDE = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")  # where cgroup v2 may be
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def why_not() -> str:
    """Tell why no systemd can be booted here; nothing where it can."""
    if os.geteuid() != 0:
        return "it takes root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    missing += [] if MANAGER.exists() else [str(MANAGER)]
    if missing:
        return f"not installed: {' '.join(missing)}"
    for path in (ROOT / "gigq" / "__init__.py", Path(click.__file__)):
        if not path.stat().st_mode & stat.S_IROTH:
            return f"{path} cannot be read by other users"
    if _hierarchy() is None:
        return "no cgroup v2 hierarchy that can be written is mounted"
    # In namespaces of its own, so that nothing of this stays.
    script = (
        'mount -t tmpfs tmpfs "$0" && mkdir "$0/u" "$0/w" "$0/r" && mount -t overlay -o '
        '"lowerdir=/,upperdir=$0/u,workdir=$0/w" overlay "$0/r" && mount -t proc proc "$0/r/proc"'
    )
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--net", "sh", "-c", script, folder],
            capture_output=True,
            text=True,
            check=False,
        )
    return f"no overlay can be mounted: {tried.stderr.strip()}" if tried.returncode else ""


def _hierarchy() -> Path | None:
    for place in map(Path, _OUTSIDE):
        if (place / "cgroup.procs").exists() and os.access(place / "cgroup.procs", os.W_OK):
            return place
    return None


class Machine:
    """The machine, booted, with gigqd in /opt/gigqd."""

    def __init__(self) -> None:
        """Boot it."""
        hierarchy = _hierarchy()
        assert hierarchy is not None
        self._folder = Path(tempfile.mkdtemp(prefix="gigqd-machine-"))
        self._cgroup = hierarchy / self._folder.name
        self._cgroup.mkdir()
        with (self._folder / "boot.log").open("wb") as self._log:
            self._boot = subprocess.Popen(
                [
                    Path(__file__).with_name("boot"),
                    self._folder,
                    self._cgroup,
                    sys.base_prefix,
                    ROOT,
                    sysconfig.get_path("purelib"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._first = until(self._first_process, what="the first process")
            until(self._is_up, seconds=60, what="systemd is up", pause=0.1)
            self._make_environment()
        except BaseException:
            self.close()
            raise

    def _first_process(self) -> int | None:
        assert self._boot.poll() is None, self._said()
        children = Path(f"/proc/{self._boot.pid}/task/{self._boot.pid}/children").read_text()
        return int(children.split()[0]) if children.strip() else None

    def _said(self) -> str:
        # Its folder is the mount point of the overlay's memory in there, but not out here.
        return (self._folder / "boot.log").read_text(errors="replace")

    def _is_up(self) -> bool:
        assert self._boot.poll() is None, self._said()
        return self.run("systemctl", "is-active", "tested.target").stdout.strip() == "active"

    def _make_environment(self) -> None:
        """Make a virtual environment with this checkout's code, which everybody may read."""
        base = getattr(sys, "_base_executable", sys.executable)
        self.ok(base, "-m", "venv", "--without-pip", str(ENVIRONMENT))
        packages = f"lib/python{platform.python_version().rpartition('.')[0]}/site-packages"
        self.write(ENVIRONMENT / packages / "these.pth", "/opt/code\n/opt/packages\n")
        for path, module in ((GIGQ, "gigq.cli.main"), (GIGQD, "gigq.supervisor.main")):
            self.write(path, f"#!{PYTHON}\nfrom {module} import main\nexit(main())\n", mode=0o755)

    def close(self) -> None:
        """Take it down with all that runs in it."""
        self._boot.kill()  # which kills the first process of its namespace, and that all others
        self._boot.wait()
        until(lambda: not (self._cgroup / "cgroup.procs").exists() or self._swept(), what="its end")
        shutil.rmtree(self._folder)

    def _swept(self) -> bool:
        """Remove its control groups; False while something is left in them."""
        try:
            for folder, _, _ in os.walk(self._cgroup, topdown=False):
                Path(folder).rmdir()
        except OSError:
            return False
        return True

    def __enter__(self) -> Self:
        """Use it in a with block, which ends it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take it down."""
        self.close()

    # What is done in it

    def start(
        self, *words: object, user: str | None = None, **variables: str
    ) -> subprocess.Popen[str]:
        """Start a command in it, by default as root."""
        as_user = ["runuser", "-u", user, "--"] if user else []
        environment = ["env", "-i", "-C", "/", f"PATH={_PATH}", "LC_ALL=C.UTF-8", "HOME=/root"]
        environment += [f"{name}={value}" for name, value in variables.items()]
        enter = ["nsenter", "--target", str(self._first), "--all", "--root"]
        return subprocess.Popen(
            [*enter, *environment, *as_user, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def run(
        self, *words: object, user: str | None = None, seconds: float = 60, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end."""
        with self.start(*words, user=user, **variables) as process:
            try:
                output, errors = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(list(words), process.returncode, output, errors)

    def ok(self, *words: object, user: str | None = None, **variables: str) -> str:
        """Run a command in it that has to succeed; what it printed."""
        done = self.run(*words, user=user, **variables)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start_manager_of(self, user: str) -> dict[str, str]:
        """Start a user's service manager, as a login does; the variables that lead to it.

        Where that cannot be, the test is skipped with the reason.
        """
        number = self.ok("id", "-u", user).strip()
        started = self.run("systemctl", "start", f"user@{number}")
        if started.returncode != 0:
            pytest.skip(
                f"no service manager of a user starts ({started.stderr.strip()}); it takes: "
                "apt-get install dbus libpam-systemd"
            )
        return {"HOME": f"/home/{user}", "XDG_RUNTIME_DIR": f"/run/user/{number}"}

    def processes_of(self, user: str) -> list[str]:
        """List the processes that a user runs in it, by their command lines."""
        number = self.ok("id", "-u", user).strip()
        found = []
        for process in self.path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdecimal() and process.stat().st_uid == int(number):
                    found.append((process / "cmdline").read_text().replace("\0", " "))
        return found

    def path(self, path: Path | str) -> Path:
        """Give where this machine sees a path of it."""
        return Path(f"/proc/{self._first}/root/{str(path).lstrip('/')}")

    def write(self, path: Path, text: str, *, mode: int = 0o644) -> None:
        """Write a file in it, as root."""
        there = self.path(path)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text)
        there.chmod(mode)

    # Its services

    def shown(self, unit: str, name: str) -> str:
        """Give a property of a unit."""
        return self.ok("systemctl", "show", unit, f"--property={name}", "--value").strip()

    def wait_shown(self, unit: str, name: str, value: str, *, seconds: float = 60) -> None:
        """Wait until a property has this value."""
        what = f"{unit}: {name}={value}"
        until(lambda: self.shown(unit, name) == value, seconds=seconds, what=what, pause=0.1)

    def entries(self, *matches: str) -> list[dict[str, Any]]:
        """Give the journal's entries with these fields."""
        said = self.ok("journalctl", "--output=json", "--all", "--no-pager", *matches)
        return [json.loads(line) for line in said.splitlines()]
