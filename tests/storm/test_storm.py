"""A short storm in the gate; `python -m tests.storm --minutes 10` is a long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from storm.driver import Driver

SECONDS = 45
SEED = 7
ROOT = Path(__file__).parents[2]
# About a third of what a machine with two cores does when it has nothing else to do.
KILLS = 12
FAULTS = 20
JOBS = 400


@pytest.mark.timeout(300)
def test_a_storm_breaks_no_promise(tmp_path: Path) -> None:
    """What was promised holds while processes die, stand still, and lack what they need."""
    report = Driver(tmp_path, SEED).run(SECONDS)
    print(report.text())
    assert [*map(str, report.violations)] == []
    assert report.counts["kills"] >= KILLS
    assert report.faults.total() >= FAULTS
    assert report.jobs.total() >= JOBS
    assert report.jobs["completed"] > report.jobs.total() / 2
    assert report.counts["snapshots"] >= 3


def test_the_command_says_what_happened(tmp_path: Path) -> None:
    """It runs from the repository's root, sums up, and exits 0 when no promise was broken."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.storm", "--minutes", "0.03", "--folder", str(tmp_path / "s")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "violations: 0" in done.stdout
    assert (tmp_path / "s" / "notes" / "driver.jsonl").exists()
