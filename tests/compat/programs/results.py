"""What get_result gives back for each kind of value."""

from gigq import Job, JobQueue

import office


def echo(value):
    """Return what it was given."""
    return value


def pair_of(number):
    """Return a tuple."""
    return number, number


def numbered(text):
    """Return a dict whose keys are numbers."""
    return {1: text, 2: text}


VALUES = [
    0,
    -1,
    2**70,
    1.5,
    1e300,
    True,
    None,
    "",
    "text",
    'Zürich ✓ \u0000 \\ "',
    [],
    [1, [2, [3]]],
    {},
    {"a": {"b": None}, "ä": [True]},
    "x" * 200_000,
]

queue = JobQueue("gigq.db")
ids = [queue.submit(Job("echo", echo, {"value": value})) for value in VALUES]
print([queue.get_result(job) for job in ids] == [None] * len(ids))
print([queue.get_status(job)["params"]["value"] == v for job, v in zip(ids, VALUES, strict=True)])
print(office.drain("gigq.db"))
for job, value in zip(ids, VALUES, strict=True):
    result = queue.get_result(job)
    print(type(result).__name__, result == value, queue.get_status(job)["result"] == value)

pair = queue.submit(Job("pair", pair_of, {"number": 3}))
keys = queue.submit(Job("keys", numbered, {"text": "x"}))
bad = queue.submit(Job("bad", office.fail, max_attempts=1))
print(office.drain("gigq.db"), queue.get_result(pair), queue.get_result(keys))
print(queue.get_result(bad))
try:
    queue.get_result("nobody")
except KeyError:
    print("KeyError")
queue.close()
