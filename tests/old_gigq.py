"""GigQ 0.5.1 itself, installed from the package index into an environment of its own."""

from __future__ import annotations

import subprocess
import sys
import venv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def install_gigq_0_5(folder: Path) -> Path:
    """Install it below `folder`; its folder of commands."""
    # Without a pip of its own: a plain Debian cannot give it one.
    venv.create(folder, with_pip=False, symlinks=True)
    commands = folder / "bin"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", str(commands / "python")),
            *("install", "--quiet", "--no-deps", "gigq==0.5.1"),
        ],
        check=True,
    )
    return commands
