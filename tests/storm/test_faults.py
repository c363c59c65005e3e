"""Each fault of the storms, one after the other: it strikes, and work goes on by itself."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from harness import until
from storm.driver import Driver
from storm.faults import FAULTS, Fault

from gigq import GigqError, JobQueue
from gigq.queue.crash_points import CRASH_POINTS

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 60
MORE = 5  # jobs that have to complete after a fault
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "storms.md"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """Give a service at work for two submitters, for all tests here."""
    driver = Driver(tmp_path_factory.mktemp("faults") / "storm", seed=1)
    driver.storm.spared = 0
    try:
        driver.begin()
        yield driver
    finally:
        driver.close()


def completed(driver: Driver) -> int:
    """Count what was completed or cleared so far, and start again what has died."""
    driver.restart()
    with suppress(GigqError), JobQueue(driver.field.database) as queue:
        return queue.stats()["completed"] + driver.field.counts["jobs cleared"]
    return 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault(driver: Driver, fault: Fault) -> None:
    """The fault strikes, and some time later more jobs have completed."""
    missing = [each for each in driver.missing() if each.startswith(fault.name)]
    if missing:
        pytest.skip(missing[0])
    chance = random.Random(7)
    until(lambda: completed(driver) > MORE, seconds=SECONDS, what="jobs to complete")
    driver.snapshots.take()
    # A process that is chosen may die of its job before it is struck.
    until(lambda: fault.strike(driver.storm, chance), seconds=SECONDS, what=fault.name, pause=0.1)
    driver.restart()
    driver.storm.recover()
    before = until(lambda: completed(driver), seconds=SECONDS, what="a look at the jobs")
    until(lambda: completed(driver) > before + MORE, seconds=SECONDS, what="more jobs to complete")


def test_no_promise_was_broken(driver: Driver) -> None:
    """After all these faults everything is finished, and the checker finds nothing."""
    report = driver.end()
    assert [*map(str, report.violations)] == []
    assert report.jobs["completed"] > len(FAULTS) * MORE


def test_each_fault_and_crash_point_is_documented() -> None:
    """The page on storms has a row for each fault and each crash point."""
    text = PAGE.read_text()
    assert [each.name for each in FAULTS if f"| {each.name} |" not in text] == []
    rows = [f"| `{name}` | {point.meaning} |" for name, point in CRASH_POINTS.items()]
    assert [row for row in rows if row not in text] == []
