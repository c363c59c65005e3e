"""The metrics in the text form of Prometheus: from the database, and from the service if it runs.

`METRICS` names them all, and the reference is made from it. No label ever is a job's id or a pid:
each value of a label is a series that Prometheus keeps.
"""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.utils import floatToGoString

from gigq.queue import clock, figures
from gigq.queue.errors import GigqError
from gigq.queue.states import STATUS, JobStatus, Verdict
from gigq.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prometheus_client.core import Metric as Family

    from gigq.queue.store import Store

Values = dict[tuple[str, ...], float]  # by the values of the labels

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Known(NamedTuple):
    """What there is to know of a metric."""

    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    meaning: str


METRICS = {
    "gigq_build_info": Known("gauge", ("version", "python"), "Always 1; who answers."),
    "gigq_jobs": Known("gauge", ("queue", "status"), "Jobs in the database."),
    "gigq_jobs_submitted_total": Known("counter", ("queue",), "Jobs that were submitted."),
    "gigq_job_attempts_total": Known(
        "counter",
        ("queue", "outcome"),
        "Attempts that ended: completed, failed (the code raised), timeout (stopped at its "
        "deadline), lost (its worker died), cancelled, or stopped (by a shutdown).",
    ),
    "gigq_jobs_reclaimed_total": Known(
        "counter", ("queue",), "Jobs that were taken back from a worker that had died."
    ),
    "gigq_queue_oldest_ready_age_seconds": Known(
        "gauge",
        ("queue",),
        "How long the oldest job that could run has waited for a worker; 0 where none waits. "
        "Jobs that are not due yet do not count, nor do retries before their time.",
    ),
    "gigq_job_wait_seconds": Known(
        "histogram", ("queue",), "From the time a job became ready to the start of its attempt."
    ),
    "gigq_job_duration_seconds": Known(
        "histogram", ("queue",), "From the start of an attempt to its outcome, whatever that was."
    ),
    "gigq_job_max_rss_bytes": Known(
        "histogram", ("queue",), "The most memory that an attempt had resident, where measured."
    ),
    "gigq_database_readable": Known("gauge", (), "1 if the database could be read, else 0."),
    "gigq_sqlite_database_bytes": Known("gauge", (), "Size of the database's file."),
    "gigq_sqlite_wal_bytes": Known("gauge", (), "Size of SQLite's write-ahead log."),
    "gigq_sqlite_busy_total": Known(
        "counter", (), "How often a process had to wait for the database's write lock."
    ),
    "gigq_disk_free_bytes": Known("gauge", (), "Room on the database's disk for its user."),
    "gigq_service_up": Known("gauge", (), "1 if gigqd answers, else 0."),
    "gigq_service_claims": Known(
        "gauge", (), "0 while it claims nothing, because the database cannot be written; else 1."
    ),
    "gigq_workers": Known("gauge", ("state",), "Worker processes, by what they do."),
    "gigq_workers_wanted": Known("gauge", (), "Worker processes that there should be."),
    "gigq_worker_restarts_total": Known(
        "counter",
        ("reason",),
        "Worker processes that ended and were replaced, since gigqd was started.",
    ),
    "gigq_worker_resident_memory_bytes": Known(
        "gauge", ("slot",), "Resident memory of a worker process, by its number."
    ),
    "gigq_config_last_reload_successful": Known(
        "gauge", (), "0 if the configuration file was changed and refused, else 1."
    ),
}

WORKER_STATES = (
    *("starting", "standby", "idle", "running", "settling", "finishing"),
    "waiting",  # for its next start
)
RESTARTS = ("lost", "start_failed", "deadline", "cancellation", "memory", "renewed")
_OUTCOMES = tuple(verdict.value for verdict in Verdict if verdict is not Verdict.RELEASED)
_HISTOGRAMS = {
    "gigq_job_wait_seconds": figures.WAIT,
    "gigq_job_duration_seconds": figures.DURATION,
    "gigq_job_max_rss_bytes": figures.PEAK_MEMORY,
}


def exposition(path: Path, store: Store | None, service: dict[str, Any] | None) -> bytes:
    """Give the text; `service` is its answer about its health, None where there is none.

    Without a store, or where it cannot be read, the figures of the database are missing.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(path, store, service))
    text: bytes = generate_latest(registry)
    return text


class _Collector:
    def __init__(self, path: Path, store: Store | None, service: dict[str, Any] | None) -> None:
        self._path = path
        self._store = store
        self._service = service

    def collect(self) -> Iterator[Family]:
        yield _family("gigq_build_info", {(__version__, platform.python_version()): 1})
        try:
            of_store = [] if self._store is None else [*_of_store(self._store)]
        except GigqError:
            of_store = []
        yield from of_store
        yield _family("gigq_database_readable", {(): bool(of_store)})
        yield from _of_files(self._path)
        yield _family("gigq_service_up", {(): self._service is not None})
        if self._service is not None:
            yield from _of_service(self._service)


def _family(name: str, values: Values) -> Family:
    """Make a gauge or a counter with these values by label."""
    known = METRICS[name]
    kind = GaugeMetricFamily if known.kind == "gauge" else CounterMetricFamily
    family = kind(name, known.meaning, labels=known.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _of_store(store: Store) -> Iterator[Family]:
    now = clock.now()
    jobs: Values = {}
    counts = store.queue_counts()
    queues = sorted({queue for queue, _, _ in counts})
    for queue in queues:
        jobs |= {(queue, status.value): 0 for status in JobStatus}
    for queue, state, count in counts:
        if state is not None and count is not None:
            jobs[queue, STATUS[state].value] += count
    yield _family("gigq_jobs", jobs)

    since = store.oldest_ready()
    ages: Values = {
        (queue,): max(0, now - since.get(queue, now)) / clock.MICROSECONDS for queue in queues
    }
    yield _family("gigq_queue_oldest_ready_age_seconds", ages)

    happened: defaultdict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for metric in store.metrics():
        happened[metric.name][metric.queue, metric.label] = metric.value
    yield from _counters(happened, queues)
    for name, figure in _HISTOGRAMS.items():
        yield _histogram(name, figure, happened[figure], queues)


def _counters(
    happened: dict[str, dict[tuple[str, str], float]], queues: list[str]
) -> Iterator[Family]:
    for name, figure in (
        ("gigq_jobs_submitted_total", figures.SUBMITTED),
        ("gigq_jobs_reclaimed_total", figures.RECLAIMED),
    ):
        found = happened[figure]
        yield _family(name, {(queue,): found.get((queue, ""), 0) for queue in queues})
    ended = happened[figures.ATTEMPTS]
    attempts: Values = {(q, how): ended.get((q, how), 0) for q in queues for how in _OUTCOMES}
    yield _family("gigq_job_attempts_total", attempts)
    yield _family("gigq_sqlite_busy_total", {(): happened[figures.BUSY].get(("", ""), 0)})


def _histogram(
    name: str, figure: str, values: dict[tuple[str, str], float], queues: list[str]
) -> Family:
    known = METRICS[name]
    family = HistogramMetricFamily(name, known.meaning, labels=known.labels)
    for queue in queues:
        below = 0.0
        buckets = []
        for bound in (*figures.BUCKETS[figure], float("inf")):
            below += values.get((queue, figures.label(bound)), 0)
            buckets.append((floatToGoString(bound), below))  # type: ignore[no-untyped-call]
        family.add_metric((queue,), buckets, values.get((queue, figures.SUM), 0))
    return family


def _of_files(path: Path) -> Iterator[Family]:
    yield _family("gigq_sqlite_database_bytes", {(): _size(str(path))})
    yield _family("gigq_sqlite_wal_bytes", {(): _size(f"{path}-wal")})
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return
    yield _family("gigq_disk_free_bytes", {(): disk.f_bavail * disk.f_frsize})


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 (one of two names, and no Path)
    except OSError:
        return 0


def _of_service(service: dict[str, Any]) -> Iterator[Family]:
    yield _family("gigq_service_claims", {(): service["trouble"] is None})
    workers = service["workers"]
    states: Values = {(state,): 0 for state in WORKER_STATES}
    for worker in workers:
        states[worker["state"],] = states.get((worker["state"],), 0) + 1
    yield _family("gigq_workers", states)
    yield _family("gigq_workers_wanted", {(): service["wanted"]})
    restarts = dict.fromkeys(RESTARTS, 0) | service["restarts"]
    yield _family("gigq_worker_restarts_total", {(why,): n for why, n in restarts.items()})
    memory: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for worker in workers:
        if worker.get("memory") is not None:
            # While one is replaced there are two of a number.
            memory[str(worker["number"]),] += worker["memory"]
    yield _family("gigq_worker_resident_memory_bytes", memory)
    yield _family("gigq_config_last_reload_successful", {(): service["last_reload_successful"]})
