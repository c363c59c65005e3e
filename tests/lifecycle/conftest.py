"""What the lifecycle tests share: a folder with the jobs, and what those noted in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from lifecycle.oracle import Oracle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with the jobs."""
    shutil.copy(Path(__file__).with_name("jobs.py"), tmp_path)
    return tmp_path


@pytest.fixture
def oracle(folder: Path) -> Oracle:
    """Give what the jobs in the folder note."""
    return Oracle(folder)
