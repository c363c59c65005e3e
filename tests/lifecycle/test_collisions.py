"""The blow: jobs that end in the very moment in which their time is up, or their worker dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lifecycle.collisions import Collisions

if TYPE_CHECKING:
    from pathlib import Path


def test_completion_and_deadline_collide(tmp_path: Path) -> None:
    """Each execution has one outcome, no two runs overlap, and no job that was not late is hit."""
    with Collisions(tmp_path) as collisions:
        collisions.collide(40)
        collisions.wait_for_the_database(4)
        collisions.check()
        found = collisions.figures()
    assert set(found["executions"]) == {"completed", "timeout"}
    assert found["innocent"] > 40
