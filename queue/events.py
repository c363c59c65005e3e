"""The events that the service logs: each name once, with what it means and what it carries.

Every event also has `timestamp` (UTC), `level`, `event`, `pid` and `version`. Those of a job carry
`job_id`, `job_name`, `execution`, `attempt`, `max_attempts` and `worker`. Times are seconds, memory
is bytes.
"""

from __future__ import annotations

from typing import NamedTuple

from gigq.queue.states import Verdict


class Event(NamedTuple):
    """What an event means, its level, and its own fields."""

    meaning: str
    level: str = "info"
    fields: tuple[str, ...] = ()


JOB = ("job_id", "job_name", "execution", "attempt", "max_attempts", "worker")
JOB_ENDED = (*JOB, "duration", "error", "cpu_time", "peak_memory")

EVENTS = {
    "service_started": Event(
        "gigqd serves a database", fields=("database", "workers", "configuration")
    ),
    "database_upgraded": Event(
        "the database had an older schema; a copy from before stands beside it",
        fields=("before", "backup"),
    ),
    "service_draining": Event("no more claims; running jobs are finished", fields=("seconds",)),
    "service_stopping": Event("running jobs are stopped now", "warning"),
    "service_stopped": Event("all workers are gone"),
    "worker_ready": Event("a worker process takes jobs", fields=("worker", "worker_pid")),
    "worker_exited": Event(
        "a worker process went as it was told", fields=("worker", "worker_pid", "status")
    ),
    "worker_killed": Event(
        "a worker process was killed with the job that it ran",
        "warning",
        ("worker", "worker_pid", "status", "reason"),
    ),
    "worker_lost": Event(
        "a worker process died", "error", ("worker", "worker_pid", "status", "error")
    ),
    "worker_given_up": Event(
        "a worker process was killed, for it alone could not use the database; its jobs are taken "
        "back",
        "error",
        ("worker", "worker_pid"),
    ),
    "service_failed": Event(
        "the service meets a fault of its own, and ends: please report it",
        "error",
        ("error", "traceback"),
    ),
    "worker_stuck": Event(
        "a process was killed and does not die, as one that waits for a disk; its job stays "
        "claimed, and another worker takes its place",
        "error",
        ("worker", "worker_pid"),
    ),
    "worker_start_failed": Event(
        "a worker process ended before it was ready; it is tried again later",
        "error",
        ("worker", "worker_pid", "status", "error", "next_try"),
    ),
    "worker_refused": Event(
        "a worker process has another version of gigq", "error", ("worker", "error")
    ),
    "lock_refused": Event(
        "workers have no lock by which other containers see that they live", "warning", ("error",)
    ),
    "workers_scaled": Event("the wanted number of workers changed", fields=("workers", "before")),
    "worker_recycled": Event(
        "a worker process has served its time: another takes its place between two jobs",
        fields=("worker", "reason", "jobs"),
    ),
    "workers_renewed": Event(
        "workers are replaced between jobs", fields=("reason", "path", "workers")
    ),
    "configuration_reloaded": Event("the changed file is in force", fields=("configuration",)),
    "configuration_refused": Event(
        "the changed file is invalid; what was in force stays", "error", ("error",)
    ),
    "configuration_ignored": Event(
        "a changed setting takes effect only at the next start", "warning", ("setting", "error")
    ),
    "job_started": Event("an attempt begins", "info", JOB),
    "job_completed": Event("an attempt returned; its result is stored next", "info", JOB_ENDED),
    "job_failed": Event("the job's code raised, or could not be loaded", "error", JOB_ENDED),
    "job_timed_out": Event("an attempt was stopped at its deadline", "error", JOB_ENDED),
    "job_cancelled": Event("an attempt was stopped because somebody asked", "warning", JOB_ENDED),
    "job_stopped": Event("an attempt was stopped by a shutdown", "warning", JOB_ENDED),
    "job_reclaimed": Event("what a dead worker held was taken back", "warning", JOB_ENDED),
    "job_left_processes": Event(
        "processes that a job had started were ended with it", "warning", ("job_id", "alive")
    ),
    "job_left_changes": Event(
        "the job changed what all jobs of its process share; it was put back",
        "warning",
        ("job_id", "job_name", "changed"),
    ),
    "job_output": Event("a line that a job printed", fields=("job_name", "line")),
    "jobs_completed": Event("successes that were too many to be told singly", fields=("count",)),
    "jobs_deleted": Event(
        "finished jobs that were older than [retention] says are gone; freed: bytes of the disk; "
        "longest_step: seconds, nobody waited longer because of it",
        fields=("count", "freed", "seconds", "longest_step"),
    ),
    "claim_lost": Event(
        "an outcome was dropped, because its claim had been taken back",
        "error",
        ("job", "execution", "worker"),
    ),
    "store_waiting": Event(
        "the database cannot be written now: nothing is claimed, and what is to be stored is kept",
        "error",
        ("error",),
    ),
    "store_recovered": Event(
        "the database can be written again, and claiming goes on", fields=("seconds",)
    ),
    "database_replaced": Event(
        "another file has the name of the database that is served: the service drains and ends",
        "error",
        ("error",),
    ),
    "store_damaged": Event(
        "the database file is damaged: it is left as it is, and the service drains and ends",
        "error",
        ("error",),
    ),
    "http_listening": Event("health and metrics are answered there", fields=("address",)),
    "http_failed": Event(
        "the process for health and metrics could not listen, or died; it is tried again later",
        "warning",
        ("address", "status", "error", "next_try"),
    ),
    "watch_failed": Event(
        "files cannot be watched for changes; they are looked at each 30 s", "warning", ("error",)
    ),
}

ENDED = {
    Verdict.COMPLETED: "job_completed",
    Verdict.FAILED: "job_failed",
    Verdict.TIMEOUT: "job_timed_out",
    Verdict.CANCELLED: "job_cancelled",
    Verdict.STOPPED: "job_stopped",
    Verdict.LOST: "job_reclaimed",
    Verdict.RELEASED: "job_reclaimed",
}
