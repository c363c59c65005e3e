"""What `[workers] allow` admits, by names alone."""

from __future__ import annotations

import pytest

from gigq.worker.allowed import Allowed

ENTRIES = ("myapp.jobs", "myapp.mail:send", "other.tools.clean", "/srv/etl.py")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("myapp.jobs", "load"),
        ("myapp.jobs", "Loader.run"),
        ("myapp.jobs.daily", "load"),
        ("myapp.mail", "send"),
        ("other.tools", "clean"),
        ("gigq.worker.canary", "canary"),
    ],
)
def test_admitted(module: str, name: str) -> None:
    """A module with all below it, and single functions, in either way of writing."""
    assert Allowed(ENTRIES).refusal(module, name, None) is None


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("myapp", "load"),
        ("myapp.jobs2", "load"),
        ("myapp.mail", "send_all"),
        ("myapp.mail", "send.__call__"),
        ("myapp.mail.send", "x"),
        ("other.tools", "clean_up"),
        ("os", "system"),
        ("srv.etl", "py"),
        ("__main__", "load"),
    ],
)
def test_refused(module: str, name: str) -> None:
    """Anything else is refused, and the entry that would admit it is named."""
    assert Allowed(ENTRIES).refusal(module, name, None) == (
        f"{module}.{name} may not be run here; "
        f'to allow it, add "{module}:{name}" to [workers] allow'
    )


def test_scripts() -> None:
    """A script is admitted by exactly its path, never by a module's name."""
    limits = Allowed((*ENTRIES, "__main__"))
    assert limits.refusal("__main__", "load", "/srv/etl.py") is None
    assert limits.refusal("__main__", "load", "/srv/etl.py/../x.py") == (
        "the script /srv/etl.py/../x.py may not be run here; "
        'to allow it, add "/srv/etl.py/../x.py" to [workers] allow'
    )


def test_commands() -> None:
    """Command lines are the functions of one module, and are admitted by its name."""
    refusal = Allowed(ENTRIES).refusal("gigq.worker.command", "run", None)
    assert refusal == (
        "a command line may not be run here; "
        'to allow it, add "gigq.worker.command" to [workers] allow'
    )
    assert Allowed(["gigq.worker.command"]).refusal("gigq.worker.command", "run", None) is None


@pytest.mark.parametrize(("module", "script"), [("os", None), ("__main__", "/any/where.py")])
def test_no_entry_admits_everything(module: str, script: str | None) -> None:
    """Without entries nothing is refused."""
    assert Allowed().refusal(module, "system", script) is None


def test_import_root() -> None:
    """With limits, the folder that a job names is not looked into; a script's own folder is."""
    assert Allowed().root("/home/ada", None) == "/home/ada"
    assert Allowed(ENTRIES).root("/home/ada", None) == ""
    assert Allowed(ENTRIES).root("/home/ada", "/srv/etl.py") == "/srv"
