"""What `gigqd status` shows people of a running service."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gigq.supervisor.pool import Pool

from gigq.queue.shown import in_one_line, shortened
from gigq.queue.sizes import size_text

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_SHORT_ID = 8  # characters of a uuid that tell jobs apart
_SECOND = 1_000_000_000


def describe_state(pool: Pool, draining_until: int | None, refused: str) -> str:
    """Give one line on what the service does, and on what keeps it from doing that well."""
    if draining_until is not None:
        left = max(0, draining_until - time.monotonic_ns()) // _SECOND
        return f"stopping: running jobs: {pool.busy()}, for which there are {left} s"
    parts = [pool.describe_ready()]
    if pool.paused:
        parts.insert(0, "paused")
    if pool.start_trouble is not None:
        parts.append(f"workers do not start: {pool.start_trouble}")
    if refused:
        parts.append(f"a changed configuration is refused: {refused}")
    return "; ".join(parts)


def describe_service(status: dict[str, Any]) -> str:
    """Give the service's answer as lines: itself, its jobs, each of its workers."""
    started = datetime.fromisoformat(status["started_at"])
    up = describe_seconds((datetime.now(UTC) - started).total_seconds())
    workers = status["workers"]
    serving = sum(worker["state"] not in ("standby", "waiting") for worker in workers)
    busy = sum(worker["state"] in ("running", "settling", "finishing") for worker in workers)
    state = "paused" if status["paused"] and status["state"] == "running" else status["state"]
    jobs = ", ".join(f"{count} {name}" for name, count in status["jobs"].items() if count)
    lines = [
        f"{state}: pid {status['pid']}, up {up}, version {status['version']}",
        f"database {status['database']}, configuration {status['configuration'] or 'none'}",
        f"workers {serving} of {status['wanted']}, {busy} busy",
        f"jobs {jobs or 'none'}",
    ]
    if restarts := ", ".join(
        f"{count} {why}" for why, count in status["restarts"].items() if count
    ):
        lines.append(f"workers replaced: {restarts}")
    if trouble := status.get("trouble"):
        since = describe_seconds(trouble["seconds"])
        lines.insert(1, f"! nothing is claimed since {since}: {trouble['error']}")
    if refused := status.get("configuration_refused"):
        lines.insert(1, f"! a changed configuration is refused: {refused}")
    return "\n".join(lines + [_describe_worker(worker) for worker in workers])


def _describe_worker(worker: dict[str, Any]) -> str:
    number = f"  {worker['number']:>3}  {worker['state']:<10}"
    if worker["state"] == "waiting":
        return (
            f"{number} starts in {worker['next_try']} s, after {worker['failed_starts']} failures"
        )
    memory = "?" if worker["memory"] is None else size_text(worker["memory"])
    line = f"{number} pid {worker['pid']:<8} {memory:<9}"
    if "job_name" in worker:
        left = worker["deadline_in"]
        deadline = "no deadline" if left is None else f"deadline in {describe_seconds(left)}"
        line += (
            f" {shortened(in_one_line(worker['job_name']))} ({worker['job_id'][:_SHORT_ID]}) for "
            f"{describe_seconds(worker['running_for'])}, {deadline}"
        )
        if worker["max_memory"] is not None:
            used, limit = worker["job_memory"] or 0, worker["max_memory"]
            line += f", memory {size_text(used)} of {size_text(limit)}"
    return line.rstrip()


def describe_seconds(seconds: float) -> str:
    """Give a length of time in its largest whole unit: 3 d, 5 h, 12 min, 7 s."""
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, seconds):.1f} s"
