"""The reference: what is made from the code is what the code says today."""

from __future__ import annotations

import subprocess
import sys

from docs.page import ROOT


def test_reference_is_up_to_date() -> None:
    """The generated parts of docs/reference/ are those that scripts/docs would write."""
    command = [sys.executable, str(ROOT / "scripts" / "docs"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
