"""The example over the standard library, served while its workers are killed at random."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from harness import Service

EXAMPLE = Path(__file__).parents[2] / "examples" / "stdlib_report.py"
FILES = int(os.environ.get("GIGQ_EXAMPLE_FILES", "540"))  # 0: all there are
SECONDS = 100
SEED = 7
REPORT = ("report.md", "files.csv", "packages.csv")


def run(*arguments: str | Path, cwd: Path) -> str:
    """Run the example as its users do."""
    limit = ("--limit", str(FILES)) if FILES else ()
    command = [sys.executable, str(EXAMPLE), *map(str, arguments), *limit]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.mark.timeout(2 * SECONDS)
def test_the_report_is_the_same_though_workers_are_killed(tmp_path: Path) -> None:
    """Four workers, killed at random all the time, give the report that one process gives."""
    run("direct", "--output", tmp_path / "direct", cwd=tmp_path)
    submitted = run(
        "submit",
        *("--database", tmp_path / "gigq.db", "--output", tmp_path / "served"),
        *("--max-attempts", "20"),
        cwd=tmp_path,
    )
    report = submitted.split("Report job: ")[1].split()[0]
    chance = random.Random(SEED)
    killed = 0
    give_up = time.monotonic() + SECONDS
    with Service(tmp_path, configuration="[workers]\ncount = 4\n") as service:
        service.wait_ready(4)
        while service.queue.get_status(report)["status"] in ("pending", "running"):
            assert time.monotonic() < give_up, service.queue.stats()
            time.sleep(chance.uniform(0.05, 0.25))  # the blows, not a wait
            pids = list(service.worker_pids().values())
            if pids:
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(pids), signal.SIGKILL)
                    killed += 1
        assert service.queue.get_status(report)["status"] == "completed"
        counts = service.queue.stats()
        assert counts["completed"] == counts["total"] >= (500 if not FILES or FILES >= 500 else 0)
    assert killed >= 3
    for name in REPORT:
        assert (tmp_path / "served" / name).read_bytes() == (
            tmp_path / "direct" / name
        ).read_bytes(), name
