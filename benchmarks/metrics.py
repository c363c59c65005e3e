"""How long /metrics, /readyz and /livez take beside many finished and many pending jobs.

    python benchmarks/metrics.py

A real service answers over HTTP; first while its worker waits, then while it runs job after job.
Prints milliseconds of whole requests: median, 95th percentile and the longest. Last, what `gigq
metrics` takes, process start included.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from common.databases import fill
from common.report import Report, Size, options, parsed, percentile, shown

PATHS = ("/metrics", "/readyz", "/livez")
_WITHIN = 60.0  # seconds for the service to listen
CONFIGURATION = """
[workers]
count = {workers}
[http]
listen = "127.0.0.1:0"
"""


class Service:
    """A gigqd in a folder that answers over HTTP."""

    def __init__(self, folder: Path, database: Path) -> None:
        """Start it without workers, and wait until it listens."""
        self._file = folder / "gigqd.toml"
        self.have_workers(0)
        self._log = (folder / "events.jsonl").open("w+")
        command = [sys.executable, "-m", "gigq.supervisor", "start", str(database)]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=self._log, stderr=subprocess.STDOUT
        )
        self._address = self._listens()

    def have_workers(self, count: int) -> None:
        """Write the configuration, which the service follows."""
        beside = self._file.with_suffix(".new")
        beside.write_text(CONFIGURATION.format(workers=count))
        beside.replace(self._file)

    def _listens(self) -> str:
        give_up = time.monotonic() + _WITHIN
        while time.monotonic() < give_up:
            for line in Path(self._log.name).read_text().splitlines():
                if '"http_listening"' in line:
                    return str(json.loads(line)["address"])
            time.sleep(0.05)
        raise TimeoutError(Path(self._log.name).read_text())

    def get(self, path: str) -> tuple[float, str]:
        """Ask; milliseconds, and the answer."""
        start = time.perf_counter()
        with urllib.request.urlopen(f"http://{self._address}{path}") as reply:
            body = reply.read().decode()
        return (time.perf_counter() - start) * 1000, body

    def completed(self) -> float:
        """Give how many attempts are counted as completed."""
        wanted = 'gigq_job_attempts_total{outcome="completed",queue="default"} '
        lines = self.get("/metrics")[1].splitlines()
        return float(next(line for line in lines if line.startswith(wanted)).rpartition(" ")[2])


def row(name: str, spent: list[float]) -> list[str]:
    """Give a row of the table."""
    return [name, *map(shown, (statistics.median(spent), percentile(spent, 95), max(spent)))]


def main() -> None:
    """Fill a database, serve it, and ask."""
    parser = options(
        __doc__,
        finished=Size(1_000_000, 1_000, "finished jobs"),
        pending=Size(1_000_000, 5_000, "pending jobs"),
        rounds=Size(100, 5, "requests of each kind"),
    )
    found = parsed(parser)
    report = Report(found)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = fill(folder / "many.db", finished=found.finished, pending=found.pending)
        rows, rate = asked(folder, database, found.rounds)
        command = [sys.executable, "-m", "gigq", "--db", str(database), "metrics"]
        spent = []
        for _ in range(10):
            begin = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            spent.append((time.perf_counter() - begin) * 1000)
        rows.append(row("gigq metrics, a whole process", spent))
    title = f"Beside {found.finished:,} finished and {found.pending:,} pending jobs, milliseconds"
    report.table(title, ("", "median", "95 %", "longest"), rows)
    print(f"(meanwhile it ran {rate:,.0f} jobs a second)")
    report.end()


def asked(folder: Path, database: Path, rounds: int) -> tuple[list[list[str]], float]:
    """Ask a service: first while nothing runs; the table's rows, and how many jobs a second ran."""
    service = Service(folder, database)
    try:
        calm = [service.get("/metrics")[0] for _ in range(rounds)]
        rows = [row("/metrics, nothing runs", calm)]
        service.have_workers(1)
        before = service.completed()
        while (begun := service.completed()) == before:
            time.sleep(0.1)
        start = time.monotonic()
        for path in PATHS:
            spent = [service.get(path)[0] for _ in range(rounds)]
            rows.append(row(f"{path}, a worker runs jobs", spent))
        return rows, (service.completed() - begun) / (time.monotonic() - start)
    finally:
        service.process.terminate()
        service.process.wait()


if __name__ == "__main__":
    main()
