"""The two environments in which each program runs: the one of GigQ 0.5.1, and ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from old_gigq import install_gigq_0_5

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = Path(__file__).parent / "programs"
SHARED = "office.py"


class Said(NamedTuple):
    """What a program said in an environment."""

    lines: list[str]
    errors: str


class Both(NamedTuple):
    """What a program said under GigQ 0.5.1, and here."""

    old: Said
    here: Said


def program_names() -> list[str]:
    """Name all programs."""
    return sorted(
        path.name
        for path in PROGRAMS.glob("*.*")
        if path.suffix in {".py", ".sh"}
        if path.name != SHARED
    )


def run(name: str, bin_folder: Path, folder: Path) -> Said:
    """Run a program in a folder of its own, with an environment's commands first on the path."""
    folder.mkdir(parents=True)
    for file in (SHARED, name):
        shutil.copy(PROGRAMS / file, folder)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GIGQ", "PYTHON"))}
    done = subprocess.run(
        [bin_folder / "python" if name.endswith(".py") else "bash", name],
        cwd=folder,
        env=kept | {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return Said([*done.stdout.splitlines(), f"exit code {done.returncode}"], done.stderr)


@pytest.fixture(scope="session")
def gigq_0_5_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install GigQ 0.5.1 from the package index; its folder of commands."""
    return install_gigq_0_5(tmp_path_factory.mktemp("gigq-0.5.1"))


@pytest.fixture(scope="session")
def both_said(
    request: pytest.FixtureRequest, gigq_0_5_1: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Both]]:
    """Run the programs that were asked for, some at a time, and give what each said."""
    folder = tmp_path_factory.mktemp("compat")
    wanted = {
        item.callspec.params["program"]
        for item in request.session.items
        if "both_said" in getattr(item, "fixturenames", ()) and hasattr(item, "callspec")
    }
    with ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1) + 2) as pool:
        # Scripts take longest, and so begin first.
        begun = {
            name: (
                pool.submit(run, name, gigq_0_5_1, folder / "old" / name),
                pool.submit(run, name, Path(sys.executable).parent, folder / "here" / name),
            )
            for name in sorted(wanted, key=lambda name: (not name.endswith(".sh"), name))
        }
        yield lambda name: Both(*(run.result() for run in begun[name]))
