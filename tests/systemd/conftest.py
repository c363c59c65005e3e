"""One booted machine for all tests that need one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from systemd.machine import Machine, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """Boot it; where that cannot be, the reason is told."""
    reason = why_not()
    if reason:
        pytest.skip(f"no systemd can be booted here: {reason}")
    with Machine() as booted:
        yield booted
