"""What benchmarks share with the tests: a real service, and waiting on conditions."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from harness import COMPILED, Service, until, write_jobs

__all__ = ["COMPILED", "Service", "until", "write_jobs"]
