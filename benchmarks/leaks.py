"""Worker restarts, thousands of them, and what the supervisor holds before, between and after.

    python benchmarks/leaks.py [--restarts 2000]

Workers are killed, crash, leave by os._exit with and without output, overrun their deadline, and
are replaced because code has changed, in turns. Exits 1 when the supervisor holds more of anything
after than before; of memory 2 MiB more than after the first tenth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from lifecycle.leaks import Figures, Restarts, leaks

MEMORY = 2048  # KiB
_PARTS = 10


def main() -> None:
    """Restart, count, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--restarts", type=int, default=2000)
    wanted = parser.parse_args().restarts
    begun = time.monotonic()
    print(" ".join(f"{name:>13}" for name in Figures._fields), flush=True)
    with tempfile.TemporaryDirectory() as name, Restarts(Path(name)) as restarts:
        seen = [tell(restarts.figures())]
        for _ in range(_PARTS):
            restarts.restart(wanted // _PARTS)
            seen.append(tell(restarts.figures()))
    print(f"{seen[-1].restarts} restarts in {time.monotonic() - begun:.0f} s; memory in KiB")
    # What is loaded at the first restart of each kind stays: the first tenth is the warm-up.
    found = leaks(seen[1], seen[-1], MEMORY)
    sys.exit("leaked: " + ", ".join(found) if found else 0)


def tell(figures: Figures) -> Figures:
    """Print one line."""
    print(" ".join(f"{value:>13}" for value in figures), flush=True)
    return figures


if __name__ == "__main__":
    main()
