"""A small workflow, shared by three worker processes before your eyes.

`cut` makes parts of a text, six `count` jobs count their words side by side, `add_up` waits for
all of them. One part hangs at its first attempt: it is killed at its deadline and runs again.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from gigq import Job, JobQueue, Workflow

PARTS = 6
HANGS = 4  # the part that hangs once
WORKERS = 3
PATIENCE = 60  # seconds for the whole demonstration


def cut(source: str) -> int:
    """Write the text's parts to files of their own."""
    lines = Path(source).read_text(encoding="utf-8").splitlines()
    for part in range(PARTS):
        Path(f"part-{part}.txt").write_text("\n".join(lines[part::PARTS]), encoding="utf-8")
    print(f"cut {len(lines)} lines into {PARTS} parts")
    return len(lines)


def count(part: int) -> dict[str, int]:
    """Count the words of one part."""
    hung = Path(f"hung-{part}")
    if part == HANGS and not hung.exists():
        hung.touch()
        print("hanging, until the deadline ends it")
        time.sleep(1000)
    time.sleep(0.4)  # so that there is something to see
    words = Path(f"part-{part}.txt").read_text(encoding="utf-8").lower().split()
    print(f"{len(words)} words in part {part}")
    return dict(Counter(word for word in words if word.isalpha()))


def add_up(parent_results: dict[str, dict[str, int]]) -> dict[str, int]:
    """Add up what the parts gave."""
    total: Counter[str] = Counter()
    for counted in parent_results.values():
        total.update(counted)
    return dict(total.most_common(5))


def workflow(source: Path) -> Workflow:
    """Describe the jobs, and which waits for which."""
    words = Workflow("words")
    first = words.add_job(Job("cut", cut, {"source": str(source)}))
    counts = [
        words.add_job(Job(f"count-{part}", count, {"part": part}, timeout=1.5), depends_on=[first])
        for part in range(PARTS)
    ]
    words.add_job(Job("add_up", add_up), depends_on=counts)
    return words


def main() -> int:
    """Submit, serve, watch, show."""
    source = Path(__file__).resolve()
    with tempfile.TemporaryDirectory(prefix="gigq-demo-") as folder:
        database = Path(folder) / "demo.db"
        configuration = Path(folder) / "gigqd.toml"
        configuration.write_text(
            f'[workers]\ncount = {WORKERS}\nkill_grace = 0\ndirectory = "."\n'
            '[log]\nformat = "text"\n'
        )
        with JobQueue(database) as queue:
            ids = workflow(source).submit_all(queue)
            print(f"\n$ gigqd start demo.db     # {len(ids)} jobs wait, {WORKERS} workers come\n")
            command = [sys.executable, "-m", "gigq.supervisor", "start", str(database)]
            with subprocess.Popen([*command, "--config", str(configuration)]) as service:
                wait(queue, ids)
                service.send_signal(signal.SIGTERM)
            return show(queue, ids)


def wait(queue: JobQueue, ids: list[str]) -> None:
    """Wait until the last job has ended."""
    give_up = time.monotonic() + PATIENCE
    while queue.get_status(ids[-1])["status"] in ("pending", "running"):
        if time.monotonic() > give_up:
            break
        time.sleep(0.05)


def show(queue: JobQueue, ids: list[str]) -> int:
    """Print each job's state and which worker ran it, and the result."""
    print(f"\n{'job':<10} {'status':<10} {'attempts':<9} workers")
    for job in map(queue.get_status, ids):
        workers = ", ".join(
            f"{each['worker_id'].split('.')[1]} ({each['status']})" for each in job["executions"]
        )
        print(f"{job['name']:<10} {job['status']:<10} {job['attempts']:<9} {workers}")
    result = queue.get_result(ids[-1])
    print(f"\nresult of add_up: {json.dumps(result)}")
    return 0 if result else 1


if __name__ == "__main__":
    sys.exit(main())
