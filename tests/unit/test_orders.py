"""What a supervisor tells a worker process, also one of another version."""

from __future__ import annotations

import json
import subprocess
import sys

from gigq.worker.orders import Code, Orders


def test_message_and_back() -> None:
    """Orders arrive as they were given."""
    code = Code("/r", "m", "f", None, "python")
    orders = Orders("d", "n", "t", 7, "log", allow=("m",), preload=(code,), descriptors=(9, 10))
    assert Orders.from_message(json.loads(json.dumps(orders.as_message()))) == orders


def test_message_of_another_version() -> None:
    """What is not known, or not said, does not keep the worker from telling its version."""
    message = {
        "event": "orders",
        "database": "d",
        "name": "n",
        "tree": "t",
        "supervisor": 7,
        "log": "log",
        "color": "red",
    }
    assert Orders.from_message(message) == Orders("d", "n", "t", 7, "log")


LIMITS = """
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from gigq.worker.descriptor_limit import lower_descriptor_limit, raise_descriptor_limit
setrlimit(RLIMIT_NOFILE, (100, 300))
before, raised = raise_descriptor_limit()
found = [before, raised, *getrlimit(RLIMIT_NOFILE)]
lower_descriptor_limit(before, raised)
found.append(getrlimit(RLIMIT_NOFILE)[0])
for own in ((200, 300), (50, 50)):  # as a wrapper of the worker's Python may set it
    setrlimit(RLIMIT_NOFILE, own)
    lower_descriptor_limit(before, raised)
    found.append(getrlimit(RLIMIT_NOFILE)[0])
print(*found)
"""


def test_limit_of_descriptors() -> None:
    """A worker gets back the limit from before its supervisor raised it, unless it has its own."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITS], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["100", "300", "300", "300", "100", "200", "50"]
