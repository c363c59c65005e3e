"""Jobs that return and raise what nobody should: each has its outcome, and the worker lives on."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from harness import Service, until, write_jobs

from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS = r'''
import datetime
import itertools
import math
import os
import threading


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no repr")

    __str__ = __repr__


class Quitting(dict):
    def items(self):
        raise SystemExit(7)


class Endless(dict):
    def items(self):
        return ((str(number), number) for number in itertools.count())


class Mute(Exception):
    def __str__(self):
        raise SystemExit(8)

    __repr__ = __str__


class NoText(Exception):
    def __str__(self):
        return 3


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def circle():
    value = {}
    value["again"] = value
    return value


def changing():
    """Give a dict that a thread changes for as long as it is there."""
    value = {"numbers": {}}

    def change():
        for number in range(3_000_000):
            value["numbers"][str(number % 1000)] = number
            value["numbers"].pop(str((number + 500) % 1000), None)

    threading.Thread(target=change, daemon=True).start()
    return value


RESULTS = {
    "nan": lambda: {"a": [math.nan]},
    "infinity": lambda: math.inf,
    "deep": lambda: nested(10_000),
    "circle": circle,
    "generator": lambda: (each for each in [1]),
    "bytes": lambda: b"\0",
    "set": lambda: {1},
    "datetime": datetime.datetime.now,
    "key": lambda: {(1, 2): 3},
    "unprintable": Unprintable,
    "unprintable key": lambda: {Unprintable(): 1},
    "digits": lambda: 10**5000,
    "quitting": lambda: Quitting(a=1),
    "function": lambda: os.getpid,
}
GOOD = {
    "nothing": lambda: None,
    "surrogate": lambda: ["\ud800", "\0", "é"],
    "large": lambda: "x" * 10_000_000,
    "not so deep": lambda: nested(500),
    "large number": lambda: 10**4000,
}
ERRORS = {
    "mute": Mute,
    "no text": NoText,
    "exit": lambda: SystemExit("bye"),
    "interrupt": KeyboardInterrupt,
    "surrogate": lambda: ValueError("\ud800\0"),
    "long": lambda: ValueError("\N{GRINNING FACE}" * 1_000_000),
    "generator": GeneratorExit,
    "group": lambda: BaseExceptionGroup("two", [SystemExit(1), ValueError("x")]),
}


def give(what):
    return RESULTS[what]()


def give_good(what):
    return GOOD[what]()


def give_changing():
    return changing()


def give_endless():
    return Endless(a=1)


def fail(what):
    raise ERRORS[what]()


def pid():
    return os.getpid()
'''
RESULTS = (
    "nan",
    "infinity",
    "deep",
    "circle",
    "generator",
    "bytes",
    "set",
    "datetime",
    "key",
    "unprintable",
    "unprintable key",
    "digits",
    "quitting",
    "function",
)
GOOD = ("nothing", "surrogate", "large", "not so deep", "large number")
ERRORS = {
    "mute": "Mute, which cannot be shown as text",
    "no text": "NoText, which cannot be shown as text",
    "exit": "SystemExit: bye",
    "interrupt": "KeyboardInterrupt",
    "surrogate": "\\ud800\0",
    "long": "\N{GRINNING FACE}" * 100,
    "generator": "GeneratorExit",
    "group": "BaseExceptionGroup: two (2 sub-exceptions)",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Give a service with one worker."""
    folder = tmp_path_factory.mktemp("awkward")
    write_jobs(folder, JOBS, "awkward.py")
    with Service(folder, configuration="[workers]\ncount = 1\nkill_grace = 1\n") as service:
        yield service.wait_ready()


def pid(service: Service) -> int:
    """Tell who runs jobs now."""
    job = service.submit("awkward.pid")
    service.wait_status(job, "completed")
    found: int = service.queue.get_result(job)
    return found


def test_results(service: Service) -> None:
    """A result that is no JSON fails its job once and for all; the same worker goes on."""
    worker = pid(service)
    jobs = {what: service.submit("awkward.give", {"what": what}) for what in RESULTS}
    for what, job in jobs.items():
        found = service.wait_status(job, "failed")
        assert [each["cause"] for each in found["executions"]] == ["result_not_json"], what
        assert found["error"].startswith("result"), what
        assert len(found["error"]) < 200, what
        assert service.wait_for("job_failed", job_id=job)["error"] == found["error"]
    assert pid(service) == worker


def test_unusual_results(service: Service) -> None:
    """What is JSON is kept, however unusual it is."""
    jobs = {what: service.submit("awkward.give_good", {"what": what}) for what in GOOD}
    for what, job in jobs.items():
        assert service.wait_status(job, "completed", "failed")["status"] == "completed", what
    assert service.queue.get_result(jobs["surrogate"]) == ["\ud800", "\0", "é"]
    assert len(service.queue.get_result(jobs["large"])) == 10_000_000


def test_changing_result(service: Service) -> None:
    """A result that changes while it is written is kept as it was, or fails; nobody else does."""
    worker = pid(service)
    job = service.submit("awkward.give_changing", timeout=30)
    found = service.wait_status(job, "completed", "failed", seconds=60)
    if found["status"] == "failed":
        assert found["executions"][-1]["cause"] == "result_not_json"
    else:
        assert len(found["result"]["numbers"]) <= 1000
    assert pid(service) == worker


def test_endless_result(service: Service) -> None:
    """A result whose writing does not end is stopped at the deadline."""
    job = service.submit("awkward.give_endless", timeout=0.5, max_attempts=1)
    assert service.wait_status(job, "timeout")["executions"][-1]["cause"] == "deadline"
    pid(service)


def test_errors(service: Service) -> None:
    """An exception that cannot be shown, or ends programs, is the failure of its job alone."""
    worker = pid(service)
    jobs = {what: service.submit("awkward.fail", {"what": what}, max_attempts=1) for what in ERRORS}
    for what, job in jobs.items():
        found = service.wait_status(job, "failed")
        assert found["error"].startswith(ERRORS[what]), what
        assert len(found["error"]) < 11_000, what
        told = service.wait_for("job_failed", job_id=job)
        assert told["error"] == found["error"], what
    assert pid(service) == worker


DAMAGED = (
    "",
    "[1]",
    "null",
    "{",
    '{"what": NaN}',
    "[" * 100_000,
    '{"what": ' + "9" * 5000 + "}",
    "\0",
    '{"what": 1',
)


def test_damaged_parameters(service: Service) -> None:
    """Parameters that somebody has spoiled in the database fail their jobs alone."""
    assert service.told("drain")[0] == 0
    jobs = [service.submit("awkward.give_good", {"what": "x"}, max_attempts=1) for _ in DAMAGED]
    with closing(SqliteStore(service.database)) as store, store._connection as writer:
        for job, params in zip(jobs, DAMAGED, strict=True):
            writer.run(
                "UPDATE job_spec SET params = ? WHERE job_id = (SELECT id FROM job WHERE uuid = ?)",
                (params, job),
            )
    assert service.told("resume")[0] == 0
    worker = pid(service)
    with closing(SqliteStore(service.database)) as store:
        for job, params in zip(jobs, DAMAGED, strict=True):
            row = until(lambda job=job: (row := store.job(job)) and row.state == "failed" and row)
            assert row.cause == ("raised" if params == '{"what": NaN}' else "parameters"), params
    assert pid(service) == worker
    assert service.events("worker_lost") == []


SECRETS = r"""
import os


def returns(token):
    secret_local = token + "-local"
    return {"token": token, "env": os.environ["SECRET_VARIABLE"], "local": secret_local}


def returns_no_json(token):
    return {"token": token.encode(), "set": {token}}


def fails(token):
    secret_local = token + "-local"
    return len(secret_local) / 0


def hangs(token):
    secret_local = token + "-local"
    while True:
        pass


def dies(token):
    secret_local = token + "-local"
    os.kill(os.getpid(), 11)


def unknown():
    pass
"""


def test_secrets_are_not_logged(tmp_path: Path) -> None:
    """No parameter, result or variable gets into the log, at its most talkative, or into errors."""
    write_jobs(tmp_path, SECRETS, "hidden.py")
    configuration = (
        '[log]\nlevel = "debug"\n[workers]\ncount = 2\nkill_grace = 0\n'
        'environment = { SECRET_VARIABLE = "hidden-1" }\nenvironment_file = "hidden.env"\n'
    )
    (tmp_path / "hidden.env").write_text("SECRET_TOO=hidden-2\n")
    ends: dict[str, str] = {}
    with Service(
        tmp_path, configuration=configuration, environment={"SECRET_OUTSIDE": "hidden-3"}
    ) as service:
        service.wait_ready(2)
        params: dict[str, Any] = {"token": "hidden-4"}
        for function, status in (
            ("returns", "completed"),
            ("returns_no_json", "failed"),
            ("fails", "failed"),
            ("hangs", "timeout"),
            ("dies", "failed"),
            ("unknown", "failed"),
        ):
            job = service.submit(f"module_{function}.x", params, max_attempts=1)  # not importable
            ends[job] = "failed"
            job = service.submit(f"hidden.{function}", params, timeout=2, max_attempts=2)
            ends[job] = status
        found = {job: service.wait_status(job, status) for job, status in ends.items()}
        assert service.told("reload")[0] == 0
        (tmp_path / "hidden.env").write_text("SECRET_TOO=hidden-5\n=hidden-6\n")
        service.configure(configuration.replace("hidden-1", "hidden-7"))
        service.wait_for("configuration_refused")
        service.configure(configuration.replace('"hidden-1"', "hidden-8"))
        until(lambda: len(service.events("configuration_refused")) > 1)
        told = "".join(service.told("status", *extra)[1] for extra in ((), ("--json",)))
    assert service.events("job_failed")
    assert "hidden-" not in told
    assert "hidden-" not in service.log.read_text()
    for each in found.values():
        for execution in each["executions"]:
            kept = [execution[key] for key in ("error", "traceback", "stacks", "cause")]
            assert "hidden-" not in json.dumps(kept)
    assert '"token":"hidden-4"' in json.dumps(
        [each["result"] for each in found.values()], separators=(",", ":")
    )
