"""How long /metrics, /readyz and /livez take beside many finished and many pending jobs.

    python benchmarks/metrics.py [--finished 1000000] [--pending 1000000] [--rounds 100]

A real service answers over HTTP; first while its worker waits, then while it runs job after job.
Prints milliseconds of whole requests: median, 95th percentile and the longest. Last, what `gigq
metrics` takes, process start included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from claims import Filled

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


def show(name: str, spent: list[float]) -> None:
    """Print one line."""
    median, high = statistics.median(spent), statistics.quantiles(spent, n=20)[-1]
    print(
        f"{name:<36} median {median:6.1f} ms   95 % {high:6.1f} ms   longest {max(spent):6.1f} ms"
    )


def main() -> None:
    """Fill a database, serve it, and ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--pending", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = folder / "many.db"
        Filled(database, arguments.pending, arguments.finished)
        print(f"beside {arguments.finished:,} finished and {arguments.pending:,} pending jobs")
        service = Service(folder, database)
        try:
            show("/metrics, nothing runs", [service.get("/metrics")[0] for _ in range(100)])
            service.have_workers(1)
            before = service.completed()
            while (begun := service.completed()) == before:
                time.sleep(0.1)
            start = time.monotonic()
            for path in PATHS:
                show(
                    f"{path}, a worker runs jobs",
                    [service.get(path)[0] for _ in range(arguments.rounds)],
                )
            rate = (service.completed() - begun) / (time.monotonic() - start)
            print(f"{'(meanwhile it ran)':<32} {rate:,.0f} jobs a second")
        finally:
            service.process.terminate()
            service.process.wait()
        command = [sys.executable, "-m", "gigq", "--db", str(database), "metrics"]
        spent = []
        for _ in range(10):
            begin = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            spent.append((time.perf_counter() - begin) * 1000)
        show("gigq metrics, a whole process", spent)


if __name__ == "__main__":
    main()
