"""Finding what jobs started when nothing can be opened: the unseen must not pass for dead."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# A dead worker's life that holds a job, a process that it left, and no descriptor to be had.
PREPARED = """
import errno, os, resource, subprocess, sys
from gigq import Job, JobQueue
from gigq.queue.identity import own_identity
from gigq.queue.sqlite_store import SqliteStore
from gigq.worker.process_tree import (
    become_subreaper, children, kill_children, kill_tree, tree_name)
from gigq.worker.reclaim import reclaim_dead

job = JobQueue("gigq.db").submit(Job("job", "os.getpid"))
store = SqliteStore("gigq.db", durable=False, create=False)
dead = own_identity()._replace(start_ticks=1)
worker = store.register("w", dead, tree="t", parent=None)
store.settle(worker, (), claim=1)
left = subprocess.Popen(
    ["sleep", "60"],
    env={**os.environ, "GIGQ_TREE": "t"},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)

def use_all():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    used = []
    try:
        while True:
            used.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        assert error.errno == errno.EMFILE
    return used

def fails(function, *arguments):
    try:
        return function(*arguments) and False
    except OSError as error:
        return error.errno == errno.EMFILE
"""


def run(folder: Path, code: str) -> None:
    """Run Python code in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARED + code + "\nleft.kill()\nleft.wait()\n"],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_seen_keeps_its_job(tmp_path: Path) -> None:
    """No look at processes says that there is none, and nothing is taken back; later it is."""
    run(
        tmp_path,
        """
used = use_all()
assert fails(children) and fails(tree_name, left.pid) and fails(kill_tree, "t")
assert reclaim_dead(store) == []
assert left.poll() is None and store.job(job).state == "running"
for each in used:
    os.close(each)
assert tree_name(left.pid) == "t"
(reclaimed, _), = reclaim_dead(store)
assert reclaimed.uuid == job and store.job(job).state == "ready"
assert left.wait() == -9
""",
    )


def test_a_spare_descriptor_lets_a_supervisor_see(tmp_path: Path) -> None:
    """A supervisor or worker process finds and ends what is left with its spare descriptor."""
    run(
        tmp_path,
        """
become_subreaper()
used = use_all()
assert children() == [left.pid] and reclaim_dead(store) == []
while kill_children():
    pass
assert children() == []
""",
    )
