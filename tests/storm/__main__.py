"""`python -m tests.storm --minutes 10 --seed 7`, from the repository's root."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from storm.driver import Driver


def main() -> int:
    """Run one storm; 1 when it broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="kept; without, it is kept when it failed")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="gigqd-storm-"))
    folder.mkdir(parents=True, exist_ok=True)
    report = Driver(folder, arguments.seed).run(arguments.minutes * 60)
    print(report.text(), flush=True)
    if report.violations or arguments.folder:
        print(f"everything is kept in {folder}")
    else:
        shutil.rmtree(folder)
    return bool(report.violations)


if __name__ == "__main__":
    sys.exit(main())
