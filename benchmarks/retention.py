"""Whether old jobs can be deleted beside work: how soon jobs begin, with a pass of it and without.

    python benchmarks/retention.py

Fills a database with finished jobs, of which the first --delete are old; starts a service with idle
workers; measures from the call of `submit` to the first line of the function, undisturbed and then
while the service deletes the old ones. Prints medians and p99 of both, how long the deletion
took, and its longest step: the write lock was held for less than that at once.
"""

from __future__ import annotations

import json
import re
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from common.databases import bare_connection, fill, tidy
from common.first_line import FirstLines
from common.rates import service
from common.report import Report, Size, options, parsed, percentile, shown

_PAUSE = 0.02  # seconds between two submits
_OLD = 60 * 86_400 * 1_000_000  # microseconds
_AGE = 30  # days
_WARM_UP = 50
_SETTLED = 3.0  # seconds for the service to come to rest


def grow_old(path: Path, jobs: int) -> None:
    """Let the first jobs have ended long ago."""
    with closing(bare_connection(path)) as connection:
        connection.execute(
            "UPDATE job SET created_at = created_at - ?1, updated_at = updated_at - ?1"
            " WHERE id <= ?2",
            (_OLD, jobs),
        )
    tidy(path)


def configure(folder: Path, days: str) -> None:
    """Say how long completed jobs stay."""
    text = f"[workers]\ncount = 2\nreload = false\n[retention]\ncompleted = {days}\n"
    beside = folder / "new.toml"
    beside.write_text(text)
    beside.replace(folder / "gigqd.toml")


def deleted(log: Path) -> dict[str, object] | None:
    """Give the event that says that the pass is over."""
    found = re.findall(r'^\{.*"jobs_deleted".*\}$', log.read_text(), re.MULTILINE)
    return json.loads(found[-1]) if found else None


def row(name: str, figures: list[float]) -> list[str]:
    """Give a row of the table."""
    three = (statistics.median(figures), percentile(figures, 99), max(figures))
    return [name, *map(shown, three), f"{len(figures):,}"]


def main() -> None:
    """Fill, serve, measure, delete, measure."""
    parser = options(
        __doc__,
        jobs=Size(1_000_000, 5_000, "finished jobs"),
        delete=Size(100_000, 2_000, "of them to be deleted"),
        pickups=Size(600, 20, "jobs before, and after"),
    )
    found = parsed(parser)
    report = Report(found)
    with tempfile.TemporaryDirectory() as name:
        path = fill(Path(name) / "gigq.db", finished=found.jobs)
        grow_old(path, found.delete)
        print(f"{found.jobs:,} finished jobs, {path.stat().st_size / 1e6:,.0f} MB")
        measure(report, path, found.pickups)
    report.end()


def measure(report: Report, path: Path, times: int) -> None:
    """Tell what a service shows before, during and after a pass of retention."""
    lines = FirstLines(path)

    def latency() -> float:
        time.sleep(_PAUSE)
        return lines.latency()

    configure(path.parent, '"never"')
    with service(path, path.with_name("gigqd.toml").read_text()):
        for _ in range(_WARM_UP):
            latency()
        time.sleep(_SETTLED)
        calm = [latency() for _ in range(times)]
        configure(path.parent, str(_AGE))
        busy = []
        while (done := deleted(path.with_name("log"))) is None:
            busy.append(latency())
        again = [latency() for _ in range(times)]
    lines.close()
    rows = [row("undisturbed", calm), row("while deleting", busy), row("undisturbed again", again)]
    report.table(
        "From submit to the first line, milliseconds", ("", "median", "p99", "most", "times"), rows
    )
    ratio = statistics.median(busy) / statistics.median(calm)
    print(f"ratio of medians {ratio:.2f}, of p99 {percentile(busy, 99) / percentile(calm, 99):.2f}")
    freed = int(str(done["freed"])) / 1e6
    print(f"deleted {done['count']:,} jobs in {done['seconds']} s, {freed:,.0f} MB given back")
    print(f"longest step {float(str(done['longest_step'])) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
