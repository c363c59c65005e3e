"""Completions and deadlines that collide: each execution has one outcome, and no innocent dies.

    python benchmarks/collisions.py [--times 2000] [--waits 100]

Jobs end within 2 ms before and after their deadline, or within 2 ms of the instant in which the
kill comes, while others run between them; then jobs end while an outsider holds the database's
write lock past their deadline, and each second one's worker is killed meanwhile. Exits 1 when an
execution has no outcome or two, when two runs of a job overlap, when a job that was not late is
hit, or when a counter is wrong.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from lifecycle.collisions import SPREAD, Collisions


def main() -> None:
    """Collide, check, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=2000)
    parser.add_argument("--waits", type=int, default=100)
    arguments = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name, Collisions(Path(name)) as collisions:
        collisions.collide(arguments.times)
        kills = collisions.wait_for_the_database(arguments.waits)
        collisions.check()
        found = collisions.figures()
    late = found["late"]
    near = sum(abs(each) <= SPREAD for each in late)
    outcomes = found["executions"]
    print(
        f"collisions            {outcomes.total()} executions in {time.monotonic() - begun:.0f} s"
    )
    print(f"  outcomes            {outcomes['completed']} completed, {outcomes['timeout']} timeout")
    print(f"  killed in the run   {found['killed']}; the others came to their own end")
    print(
        f"  end - deadline      {near} within ±{SPREAD:g} ms; median {statistics.median(late):.2f}"
    )
    print(f"  the kill comes at   about {found['edge']:.1f} ms after the deadline")
    print(f"innocent jobs         {found['innocent']}, all completed with their first attempt")
    print(f"ended while locked    {found['waited']}, of which {kills} had their worker killed")
    print("each execution has one outcome, no run overlaps another, all counters are right")


if __name__ == "__main__":
    main()
