"""Old jobs leave a running service, as its configuration says."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from harness import Service, until

from gigq import Job

if TYPE_CHECKING:
    from pathlib import Path

WORKERS = "[workers]\ncount = 1\nreload = false\n"
NOW = "[retention]\ncompleted = 0.000001\n"  # days: less than a second


def test_retention_follows_the_configuration(folder: Path) -> None:
    """A changed age is in force at once; what failed stays as long as it is said to."""
    with Service(folder, configuration=WORKERS) as service:
        done = [service.submit("jobs.quick", {"key": str(n)}) for n in range(5)]
        failed = service.submit("jobs.complain", {"text": "x", "times": 1}, max_attempts=1)
        waits = service.submit("jobs.quick", {"key": "later"}, delay=3600)
        for job in done:
            service.wait_status(job, "completed")
        service.wait_status(failed, "failed")
        assert not service.events("jobs_deleted")
        service.configure(WORKERS + NOW)
        assert service.wait_for("jobs_deleted")["count"] == 5
        left = {job["id"] for job in service.queue.list_jobs()}
        assert left == {failed, waits}
        assert service.queue.stats()["completed"] == 0
        again = service.submit("jobs.quick", {"key": "again"})
        service.wait_status(again, "completed")
        code, told, _ = service.told("status")
        assert code == 0
        assert "1 failed" in told


def test_nothing_has_an_age(folder: Path) -> None:
    """Where all jobs stay for ever, the service gives back what a clear has made room of."""
    never = "[retention]\n" + "".join(
        f'{status} = "never"\n' for status in ("completed", "failed", "timeout", "cancelled")
    )
    with Service(folder, configuration=WORKERS) as service:
        service.queue.submit_many([Job("job", print, delay=3600) for _ in range(10_000)])
        size = service.database.stat().st_size
        with closing(sqlite3.connect(service.database, isolation_level=None, timeout=30)) as other:
            other.execute("PRAGMA wal_autocheckpoint = 0")
            other.execute("UPDATE job SET state = 'completed', updated_at = 1, created_at = 1")
            other.execute("UPDATE tally SET state = 'completed' WHERE state = 'scheduled'")
        assert service.queue.clear_completed() == 10_000
        service.configure(WORKERS + never)
        assert service.wait_for("jobs_deleted")["freed"] > size // 2
        job = service.submit("jobs.quick", {"key": "x"})
        service.wait_status(job, "completed")


def test_stop_ends_a_pass_in_between(folder: Path) -> None:
    """A service that is to stop does not finish its housekeeping first, and says what it did."""
    with Service(folder, configuration=WORKERS) as service:
        service.wait_ready()
        jobs = 20_000
        service.queue.submit_many([Job("job", print, delay=3600) for _ in range(jobs)])
        with closing(sqlite3.connect(service.database, isolation_level=None, timeout=30)) as other:
            other.execute("PRAGMA wal_autocheckpoint = 0")
            other.execute("UPDATE job SET state = 'completed', updated_at = 1, created_at = 1")
            other.execute("UPDATE tally SET state = 'completed' WHERE state = 'scheduled'")
        service.configure(WORKERS + NOW)
        until(lambda: service.queue.stats()["total"] < jobs)
        assert service.stop() == 0
        (told,) = service.events("jobs_deleted")
        left = service.queue.stats()["completed"]
        assert left == jobs - told["count"]
        assert 0 < left < jobs
