"""The service of one user, under that user's own service manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

from systemd.machine import GIGQ, GIGQD, PYTHON

if TYPE_CHECKING:
    from systemd.machine import Machine


def test_life_of_a_user_service(machine: Machine) -> None:
    """A user installs it without root, runs a job by its own name, and removes it again."""
    machine.ok("useradd", "--create-home", "ada")
    machine.ok("chmod", "700", "/home/ada")
    alone = machine.run(GIGQD, "install", user="ada", HOME="/home/ada")
    assert alone.returncode == 1
    assert "sudo loginctl enable-linger ada" in alone.stderr
    own = machine.start_manager_of("ada")
    machine.ok("loginctl", "enable-linger", "ada")
    installed = machine.run(GIGQD, "install", user="ada", **own)
    assert installed.returncode == 0, installed.stderr
    assert f"a job ran as user ada, in {PYTHON}" in installed.stderr
    assert "enable-linger" not in installed.stderr  # it is set
    assert "running: pid" in machine.ok(GIGQD, "status", user="ada", **own)
    # Without a word on where the database is: the configuration is found.
    assert "gigqd-canary" in machine.ok(GIGQ, "list", user="ada", **own)
    machine.ok("systemctl", "--user", "reload", "gigqd", user="ada", **own)
    removed = machine.run(GIGQD, "uninstall", user="ada", **own)
    assert removed.returncode == 0, removed.stderr
    left = machine.ok("find", "/home/ada", "-name", "gigq*", "-type", "f").split()
    assert sorted(path.removeprefix("/home/ada/") for path in left) == [
        ".config/gigq/gigqd.toml",
        ".local/state/gigq/gigq.db",
    ]
