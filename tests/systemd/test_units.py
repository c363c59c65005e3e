"""The units: made from one template, valid, and as closed as arbitrary jobs allow."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from systemd.machine import ROOT

from gigq.queue.errors import GigqError
from gigq.queue.settings import read_settings
from gigq.supervisor.install.installing import _all_are_busy
from gigq.supervisor.install.place import Place, Scope
from gigq.supervisor.install.units import (
    configuration_text,
    packaged,
    quoted,
    sysusers_line,
    unit_text,
)

PLACES = [Place(scope, name) for scope in Scope for name in (None, "reports")]
DROP_INS = ("strict.conf", "hardened-home.conf")

analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def file_of(place: Place) -> Path:
    """Give the packaged unit that is for the same kind of service."""
    unit = "gigqd.service" if place.name is None else "gigqd@.service"
    return ROOT / "systemd" / place.scope.value / unit


def test_packaged_files_are_made_from_the_templates() -> None:
    """What is in systemd/ is what the templates make, and nothing else."""
    folder = ROOT / "systemd"
    made = dict(packaged())
    assert made == {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "README.md"
    }


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_installed_unit_differs_by_its_program_only(place: Place) -> None:
    """Line by line, an installed unit is the packaged one, but for where gigqd is."""
    installed = unit_text(place).splitlines()[1:]  # the first says who wrote it
    packaged_ones = file_of(place).read_text().splitlines()[1:]
    for mine, theirs in zip(installed, packaged_ones, strict=True):
        if mine != theirs:
            start, _, rest = theirs.partition("/usr/bin/gigqd")
            assert start in ("ExecStart=", "ExecReload=")
            assert mine.startswith(start)
            assert mine.endswith(rest)


@analyze
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_verify_has_nothing_to_say(place: Place, tmp_path: Path) -> None:
    """`systemd-analyze verify` prints nothing of any unit, with every drop-in."""
    command = ["systemd-analyze", "verify", f"--{place.scope.value}"]
    path = tmp_path / place.unit_name
    path.write_text(unit_text(place))
    if place.scope is Scope.SYSTEM:
        beside = tmp_path / f"{place.unit_name}.d"
        beside.mkdir()
        for drop_in in DROP_INS:
            shutil.copy(ROOT / "systemd" / "drop-ins" / drop_in, beside)
    runtime = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        [*command, path], capture_output=True, text=True, check=False, env=runtime
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


@analyze
def test_verify_finds_mistakes(tmp_path: Path) -> None:
    """The look above is worth something: a mistyped key is told of."""
    path = tmp_path / "gigqd.service"
    path.write_text(unit_text(PLACES[0]).replace("KillMode=", "KilMode="))
    done = subprocess.run(
        ["systemd-analyze", "verify", path], capture_output=True, text=True, check=False
    )
    assert "KilMode" in done.stderr


@analyze
@pytest.mark.parametrize("drop_ins", [(), DROP_INS], ids=["plain", "strict"])
def test_exposure(drop_ins: tuple[str, ...], tmp_path: Path) -> None:
    """`systemd-analyze security` gives the system unit 5.5 or better, less with the drop-ins."""
    path = tmp_path / "gigqd.service"
    text = unit_text(PLACES[0])
    for drop_in in drop_ins:
        text += (ROOT / "systemd" / "drop-ins" / drop_in).read_text()
    path.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=55", "--no-pager", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None
    assert float(found[1]) <= (4.8 if drop_ins else 5.5)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_first_configuration_is_valid(place: Place, tmp_path: Path) -> None:
    """What an installation writes names its database, and is valid, also without its comments."""
    path = tmp_path / "gigqd.toml"
    path.write_text(configuration_text(place))
    assert read_settings(path).database == str(place.database)
    # Each setting that stands there as a comment can be put in force.
    environment = tmp_path / "secrets.env"
    environment.write_text("A=1\n")
    text = re.sub(r"(?m)^# (\w+ = )", r"\1", path.read_text())
    path.write_text(re.sub(r'"[^"]*secrets.env"', f'"{environment}"', text))
    assert read_settings(path).workers.directory == "/srv/app"


def test_production_example_fits() -> None:
    """configs/production.toml is for the database of the installed service."""
    text = (ROOT / "configs" / "production.toml").read_text()
    assert f'database = "{PLACES[0].database}"' in text
    assert str(PLACES[0].configuration) in text


def test_program_with_a_strange_path() -> None:
    """A path with what is special to systemd is written so that it means itself."""
    assert quoted("/opt/gigqd/bin/gigqd") == "/opt/gigqd/bin/gigqd"
    assert quoted('/srv/my $1 50% "env"/gigqd') == '"/srv/my $$1 50%% \\"env\\"/gigqd"'


def test_users_and_groups() -> None:
    """The user of the unit is the one that is created."""
    assert sysusers_line().split()[:2] == ["u", "gigq"]
    assert "User=gigq\nGroup=gigq\n" in unit_text(PLACES[0])


@pytest.mark.parametrize(
    ("state", "busy"),
    [
        ("2 of 2 workers, 2 busy", True),
        ("paused; 1 of 2 workers, 1 busy; workers do not start: x", True),
        ("2 of 2 workers, 1 busy", False),
        ("0 of 2 workers, 0 busy", False),
        ("stopping: running jobs: 2, for which there are 20 s", False),
        ("", False),
    ],
)
def test_workers_that_have_no_time_for_a_canary(state: str, *, busy: bool) -> None:
    """Whether all workers have a job is read from the status that systemd shows."""
    assert _all_are_busy(state) == busy


@pytest.mark.parametrize("name", ["gigq", "gigqd", "a b", "../x", "-x", "", "a.b", "x" * 65])
def test_refused_names(name: str) -> None:
    """An instance cannot take the files of another service, nor leave its folder."""
    with pytest.raises(GigqError, match="an instance cannot be called"):
        Place(Scope.SYSTEM, name)


def test_refusal_of_a_name() -> None:
    """A name that cannot be is one sentence, and exit code 1."""
    command = [sys.executable, "-m", "gigq.supervisor", "install", "--dry-run", "--name", "../x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("gigqd: an instance cannot be called '../x'")


@pytest.mark.parametrize("scope", ["system", "user"])
def test_dry_run_changes_nothing(scope: str, tmp_path: Path) -> None:
    """`install --dry-run` shows each file with its text and each command, and makes none."""
    command = [sys.executable, "-m", "gigq.supervisor", "install", f"--{scope}", "--dry-run"]
    command += ["--name", "never-there"]
    home = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=home)
    assert done.stderr == ""
    place = Place(Scope(scope), "never-there")
    assert all(f"    {line}" in done.stdout for line in unit_text(place).splitlines() if line)
    for shown in ("never-there.toml", "never-there.db", "daemon-reload", "enable", "restart"):
        assert shown in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert not Path("/etc/gigq/never-there.toml").exists()


def test_without_systemd() -> None:
    """Where systemd does not run, the installation says so, and changes nothing."""
    if Path("/run/systemd/system").is_dir():
        pytest.skip("systemd runs this machine")
    for order in ("install", "upgrade", "uninstall"):
        command = [sys.executable, "-m", "gigq.supervisor", order, "--system"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("gigqd: systemd does not run this machine")
        assert done.stderr.count("\n") == 1
