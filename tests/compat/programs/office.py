"""What the programs share: jobs to run, and lines that do not depend on ids and times."""

import re
import sqlite3
import time
from pathlib import Path

from gigq import Worker

ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?")


def plain(value):
    """Replace ids and times in what is printed."""
    return TIME.sub("<time>", ID.sub("<id>", str(value)))


def drain(path, name="drainer"):
    """Run what is ready in this process; how many jobs that were."""
    worker = Worker(path, worker_id=name)
    done = 0
    while worker.process_one():
        done += 1
    worker.close()
    return done


def raised(function, *arguments, **options):
    """Tell which of Python's exceptions a call ends with."""
    try:
        function(*arguments, **options)
    except Exception as error:  # noqa: BLE001
        return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins")
    return "nothing"


def mark(text, file="marks"):
    """Write a line that tells that this ran."""
    with Path(file).open("a") as marks:
        marks.write(f"{text}\n")


def marks(file="marks"):
    """Tell what ran, in order."""
    return Path(file).read_text().split() if Path(file).exists() else []


def add(a, b=0):
    """Add two numbers."""
    return a + b


def give(**values):
    """Return what it was given."""
    return values


def nothing():
    """Return None."""


def fail(text="no paper"):
    """Fail always."""
    raise ValueError(text)


def fail_at_first(file, times=1):
    """Fail so many times, then return."""
    mark("try", file)
    tried = len(marks(file))
    if tried <= times:
        message = f"try {tried}"
        raise OSError(message)
    return tried


def pause(seconds=0.1, text="paused"):
    """Take a while."""
    time.sleep(seconds)
    mark(text)
    return text


def total(parent_results):
    """Add up what the parents returned."""
    return sum(parent_results.values())


def kinds(values):
    """Tell the type of each value."""
    return {name: type(value).__name__ for name, value in sorted(values.items())}


def columns(path, table):
    """Read column names of a table or view as a reporting script does."""
    connection = sqlite3.connect(path)
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    connection.close()
    return names
