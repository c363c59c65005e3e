"""`Job`: what it takes, what it refuses, and with which words."""

from __future__ import annotations

import os
import re
import sys
import uuid
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import gigq.job
from gigq import Job, JobQueue
from gigq.queue import clock
from gigq.queue.errors import FunctionReferenceError, InvalidJobError, NotJsonError

TIMEOUT_SAID = "timeout has to be a number of seconds, more than 0; None is no limit"
LONGEST = 100 * 366 * 86_400


def refusal(**values: Any) -> str:  # noqa: ANN401
    """Make and submit a job with these values; what is said about it."""
    with pytest.raises(InvalidJobError) as caught:
        Job(**{"name": "job", "function": print, **values}).to_record(clock.now())
    return str(caught.value)


class TestDefaults:
    """A job with nothing but a name and a function."""

    def test_attributes(self) -> None:
        """The attributes have GigQ's names and defaults."""
        job = Job("load", print)
        shown = {
            name: getattr(job, name)
            for name in [
                "name",
                "params",
                "priority",
                "dependencies",
                "max_attempts",
                "timeout",
                "description",
                "pass_parent_results",
                "retry_delay",
            ]
        }
        assert shown == {
            "name": "load",
            "params": {},
            "priority": 0,
            "dependencies": [],
            "max_attempts": 3,
            "timeout": 300,
            "description": "",
            "pass_parent_results": None,
            "retry_delay": 0,
        }
        assert job.function is print
        assert str(uuid.UUID(job.id, version=4)) == job.id
        age = datetime.now() - datetime.fromisoformat(job.created_at or "")  # noqa: DTZ005 (naive by contract)
        assert timedelta(0) <= age < timedelta(seconds=5)

    def test_positional_arguments(self) -> None:
        """GigQ's arguments can be given by place, in GigQ's order."""
        job = Job("a", print, {"x": 1}, 5, ["p"], 2, 60, "why", True, 7)  # noqa: FBT003
        assert (job.params, job.priority, job.dependencies) == ({"x": 1}, 5, ["p"])
        assert (job.max_attempts, job.timeout, job.description) == (2, 60, "why")
        assert (job.pass_parent_results, job.retry_delay) == (True, 7)

    def test_new_options_are_named(self) -> None:
        """What GigQ did not have has to be named."""
        with pytest.raises(TypeError, match="positional"):
            Job("a", print, {}, 5, [], 2, 60, "", None, 7, "mail")  # type: ignore[misc]

    def test_jobs_share_nothing(self) -> None:
        """Two jobs have ids and lists of their own."""
        parents = ["p"]
        one, other = Job("a", print, dependencies=parents), Job("a", print, dependencies=parents)
        one.dependencies.append("q")
        assert other.dependencies == parents == ["p"]
        assert one.id != other.id

    def test_old_import(self) -> None:
        """`gigq.job.Job` is the same class."""
        assert gigq.job.Job is Job

    def test_repr(self) -> None:
        """A job shows its name and id."""
        job = Job("load", print)
        assert repr(job) == f"<Job 'load' {job.id}>"


class TestRefusals:
    """Values that are not usable are refused before anything is written."""

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            ({"name": ""}, "name has to be text, not empty; this is ''"),
            ({"name": None}, "name has to be text, not empty; this is None"),
            ({"name": b"a"}, "name has to be text, not empty; this is b'a'"),
            ({"name": "a\0"}, r"name holds characters that are no text: 'a\x00'"),
            ({"name": "\udcff"}, r"name holds characters that are no text: '\udcff'"),
            ({"description": None}, "description has to be text; this is None"),
            ({"description": "\ud800"}, r"description holds characters that are no text: '\ud800'"),
            ({"queue": ""}, "queue has to be text, not empty; this is ''"),
            ({"queue": 3}, "queue has to be text, not empty; this is 3"),
            ({"priority": 1.0}, "priority has to be an integer; this is 1.0"),
            ({"priority": True}, "priority has to be an integer; this is True"),
            ({"priority": "high"}, "priority has to be an integer; this is 'high'"),
            ({"priority": 2**63}, f"priority has to be an integer below 2 ** 63; this is {2**63}"),
            ({"max_attempts": 0}, "max_attempts has to be an integer of at least 1; this is 0"),
            ({"max_attempts": -1}, "max_attempts has to be an integer of at least 1; this is -1"),
            (
                {"max_attempts": None},
                "max_attempts has to be an integer of at least 1; this is None",
            ),
            (
                {"max_attempts": 2**63},
                f"max_attempts has to be an integer below 2 ** 63; this is {2**63}",
            ),
            *(
                (
                    {"timeout": value},
                    f"{TIMEOUT_SAID}; this is {value!r}",
                )
                for value in (
                    0,
                    -1,
                    0.0,
                    -0.5,
                    "300",
                    True,
                    float("nan"),
                )
            ),
            *(
                (
                    {"timeout": value},
                    (
                        "timeout has to be a number of seconds, at most 3,162,240,000; "
                        f"None is no limit; this is {value!r}"
                    ),
                )
                for value in (float("inf"), 2 * LONGEST)
            ),
            *(
                (
                    {"retry_delay": value},
                    f"retry_delay has to be a number of seconds, 0 or more; this is {value!r}",
                )
                for value in (-1, None, "1", float("nan"), timedelta(1))
            ),
            ({"delay": -1}, "delay has to be a number of seconds, 0 or more; this is -1"),
            (
                {"delay": timedelta(seconds=-1)},
                "delay has to be a number of seconds, 0 or more; this is -1.0",
            ),
            ({"delay": "soon"}, "delay has to be a number of seconds, 0 or more; this is 'soon'"),
            ({"run_at": "2024-01-01"}, "run_at has to be a datetime; this is '2024-01-01'"),
            ({"run_at": datetime.now(UTC), "delay": 1}, "give either run_at or delay, not both"),
            ({"params": [1]}, "params is a dict of keyword arguments, not a list"),
            ({"params": "x=1"}, "params is a dict of keyword arguments, not a str"),
            (
                {"params": {1: 2}},
                "params: the key 1 is not text; keys are names of arguments",
            ),
            (
                {"on_parent_failure": "ignore"},
                "on_parent_failure is one of ('cancel', 'run', 'block'), not 'ignore'",
            ),
            (
                {"on_parent_failure": []},
                "on_parent_failure is one of ('cancel', 'run', 'block'), not []",
            ),
        ],
    )
    def test_message(self, values: dict[str, Any], said: str) -> None:
        """The message names the value's place, what it has to be, and what it is."""
        assert refusal(**values) == said

    @pytest.mark.parametrize(
        ("values", "named"),
        [
            ({"dependencies": "one-id"}, "dependencies"),
            ({"dependencies": [1]}, "dependencies"),
            ({"dependencies": [Job("a", print)]}, "dependencies"),
            ({"dependencies": [None]}, "dependencies"),
            ({"pass_parent_results": "yes"}, "pass_parent_results"),
            ({"pass_parent_results": [1]}, "pass_parent_results"),
            ({"cwd": 3}, "cwd"),
            ({"cwd": "a\0b"}, "cwd"),
            ({"cwd": os.fsdecode(b"/tmp/\xff")}, "cwd"),
            ({"run_at": datetime(9999, 12, 31, 23, 59, 59, 999_999)}, "run_at"),  # noqa: DTZ001
            ({"run_at": datetime(1, 1, 1)}, "run_at"),  # noqa: DTZ001
        ],
        ids=lambda each: each if isinstance(each, str) else "",
    )
    def test_every_value_is_looked_at(self, values: dict[str, Any], named: str) -> None:
        """Any other wrong value too is an InvalidJobError that names it."""
        assert named in refusal(**values)

    def test_they_are_value_errors(self) -> None:
        """Whoever catches ValueError, as for GigQ, catches what is wrong with a job."""
        with pytest.raises(ValueError, match="max_attempts"):
            Job("job", print, max_attempts=0)

    def test_parameters_are_looked_at_when_submitted(self) -> None:
        """Parameters that are no JSON are refused with their path."""
        job = Job("job", print, {"when": [datetime.now(UTC)]})
        with pytest.raises(NotJsonError, match=re.escape("params.when[0]: a datetime is not")):
            job.to_record(clock.now())

    def test_function_is_looked_at_when_submitted(self) -> None:
        """A function that no worker could find is refused."""
        with pytest.raises(FunctionReferenceError, match="is a lambda"):
            Job("job", lambda: None).to_record(clock.now())

    def test_deleted_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A submit from a directory that was deleted is refused in words."""
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        assert refusal().startswith("the current directory was deleted; change to one")

    def test_directory_that_is_no_text(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A submit from a directory whose name is no text is refused in words, or works."""
        folder = tmp_path / os.fsdecode(b"\xff")
        folder.mkdir()
        monkeypatch.chdir(folder)
        with JobQueue(tmp_path / "gigq.db") as queue:
            try:
                queue.submit(Job("job", print))
            except InvalidJobError as error:
                assert "directory" in str(error)  # noqa: PT017
            else:
                assert queue.stats()["total"] == 1


class TestRecord:
    """What a job is submitted as."""

    def test_durations(self) -> None:
        """Seconds, fractions too, become microseconds; None is no limit."""
        record = Job("job", print, timeout=1.5, retry_delay=0.25).to_record(0)
        assert (record.timeout, record.retry_delay) == (1_500_000, 250_000)
        assert Job("job", print, timeout=None).to_record(0).timeout is None

    def test_shortest_timeout(self) -> None:
        """A timeout that is more than 0 is not stored as 0, which would be refused."""
        assert (Job("job", print, timeout=1e-9).to_record(0).timeout or 0) > 0

    @pytest.mark.parametrize("delay", [90, 90.0, timedelta(minutes=1, seconds=30)])
    def test_delay(self, delay: float | timedelta) -> None:
        """A delay counts from the submit on."""
        job = Job("job", print, delay=delay)
        assert job.to_record(5).due_at == 90_000_005
        assert job.to_record(7).due_at == 90_000_007

    def test_run_at(self) -> None:
        """A time with an offset is that instant; a naive one is local."""
        moment = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=5)))
        expected = round(moment.timestamp() * 1_000_000)
        assert Job("job", print, run_at=moment).to_record(0).due_at == expected
        naive = moment.astimezone().replace(tzinfo=None)
        assert Job("job", print, run_at=naive).to_record(0).due_at == expected

    def test_directories(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The directory of the submit is recorded, and the wanted one as an absolute path."""
        monkeypatch.chdir(tmp_path)
        record = Job("job", print, cwd="below").to_record(0)
        assert record.directory == str(tmp_path)
        assert record.job_directory == str(tmp_path / "below")
        assert Job("job", print).to_record(0).job_directory is None

    def test_origin(self) -> None:
        """The interpreter that submits is recorded, for what is said when a module is missing."""
        assert Job("job", print).to_record(0).python == sys.executable

    def test_dependencies(self) -> None:
        """Dependencies may come from any iterable; handles of jobs are ids."""
        job = Job("job", print, dependencies=(each for each in ("a", "b")))
        assert job.dependencies == ["a", "b"]
        assert job.to_record(0).parents == ("a", "b")

    def test_changed_parameters(self) -> None:
        """What counts are the parameters as they are when the job is submitted."""
        job = Job("job", print, params={"x": 1})
        job.params["x"] = 2
        assert job.to_record(0).params == '{"x":2}'

    def test_path_objects(self, tmp_path: Path) -> None:
        """The directory to run in may be a Path."""
        assert Job("job", print, cwd=Path(tmp_path)).cwd == tmp_path
