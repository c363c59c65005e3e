"""Values that nobody should hand in, in every place where one can be: refused in a sentence."""

from __future__ import annotations

import itertools
import math
from collections import deque
from datetime import UTC, datetime, timedelta, tzinfo
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest

from gigq import Job, JobQueue, Workflow
from gigq.queue.errors import InvalidJobError, NotJsonError, UnknownJobError
from gigq.queue.serialize import LONGEST

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_MESSAGE = 400


class Unprintable:
    """A value that cannot be shown."""

    def __repr__(self) -> str:
        """Refuse."""
        raise RuntimeError

    __str__ = __repr__


class Unreadable:
    """A value that cannot be gone through."""

    def __iter__(self) -> Iterator[None]:
        """Refuse."""
        raise RuntimeError


class BrokenList(list[int]):
    """A list that cannot be gone through."""

    def __iter__(self) -> Iterator[int]:
        """Refuse."""
        raise RuntimeError


class BrokenDict(dict[str, int]):
    """A dict that cannot be gone through."""

    def __iter__(self) -> Iterator[str]:
        """Refuse."""
        raise RuntimeError

    def items(self) -> Any:  # noqa: ANN401 (it has none)
        """Refuse."""
        raise RuntimeError


class Incomparable:
    """A value that no other can be compared with."""

    def __eq__(self, other: object) -> bool:
        """Refuse."""
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]


class Nowhere(tzinfo):
    """A time zone that knows no time."""

    def utcoffset(self, _: datetime | None) -> timedelta:
        """Refuse."""
        raise RuntimeError


class NoPath:
    """A path that is none."""

    def __fspath__(self) -> str:
        """Refuse."""
        raise RuntimeError


class Colour(Enum):
    """A choice."""

    RED = 1


def nested(depth: int) -> list[Any]:
    """Make a list in a list, and so on."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def circle() -> list[Any]:
    """Make a list that contains itself."""
    value: list[Any] = []
    value.append(value)
    return value


# Fresh for each use: a generator can be used up.
AWKWARD = {
    "None": lambda: None,
    "empty text": lambda: "",
    "NUL": lambda: "\0",
    "lone surrogate": lambda: "\ud800",
    "text of 10 MB": lambda: "x" * 10_000_000,
    "bytes": lambda: b"\0\xff",
    "NaN": lambda: math.nan,
    "infinity": lambda: -math.inf,
    "5,000 digits": lambda: -(10**5000),
    "complex": lambda: 1j,
    "tuple": lambda: (1, 2),
    "set": lambda: {1},
    "deque": lambda: deque([1]),
    "range": lambda: range(3),
    "generator": lambda: (each for each in [1]),
    "circle": circle,
    "10,000 deep": lambda: nested(10_000),
    "800 deep": lambda: nested(800),
    "key that is no text": lambda: {(1, 2): 3},
    "key that is unprintable": lambda: {Unprintable(): 3},
    "datetime": lambda: datetime(2024, 1, 2, tzinfo=UTC),
    "datetime of no time": lambda: datetime(2024, 1, 2, tzinfo=Nowhere()),
    "timedelta": lambda: timedelta.max,
    "enum": lambda: Colour.RED,
    "function": lambda: print,
    "class": lambda: int,
    "exception": lambda: ValueError("x"),
    "unprintable": Unprintable,
    "unreadable": Unreadable,
    "broken list": lambda: BrokenList([1]),
    "broken dict": lambda: BrokenDict(a=1),
    "incomparable": Incomparable,
    "no path": NoPath,
}
PLACES = (
    "name",
    "function",
    "params",
    "priority",
    "dependencies",
    "max_attempts",
    "timeout",
    "description",
    "pass_parent_results",
    "retry_delay",
    "queue",
    "run_at",
    "delay",
    "cwd",
    "max_memory",
    "on_parent_failure",
    "a parameter",
    "a parameter's list",
)


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobQueue]:
    """Give one queue for all."""
    with JobQueue(tmp_path_factory.mktemp("awkward") / "gigq.db") as queue:
        queue.submit(Job("first", "os.getcwd"))
        yield queue


@pytest.mark.parametrize("place", PLACES)
def test_submit(queue: JobQueue, place: str) -> None:
    """Each value is kept, or refused by an InvalidJobError that is short; then nothing is kept."""
    kept = queue.stats()["total"]
    for name, make in AWKWARD.items():
        values: dict[str, Any] = {"name": "job", "function": "os.getcwd"}
        if place == "a parameter":
            values["params"] = {"x": make()}
        elif place == "a parameter's list":
            values["params"] = {"x": [make()]}
        else:
            values[place] = make()
        try:
            queue.submit(Job(**values))
        except InvalidJobError as error:
            said = str(error)
            assert 10 < len(said) < LONGEST_MESSAGE, name
        else:
            kept += 1
        assert queue.stats()["total"] == kept, name
    assert len(queue.list_jobs(limit=None)) == kept


@pytest.mark.parametrize("name", AWKWARD)
def test_ids(queue: JobQueue, name: str) -> None:
    """Nothing of the kind is the id of a job."""
    value = AWKWARD[name]()
    assert queue.get_status(value) == {"exists": False}
    assert not queue.cancel(value)
    assert not queue.requeue_job(value)
    with pytest.raises(UnknownJobError):
        queue.get_result(value)


def test_job_for_its_id(queue: JobQueue) -> None:
    """Who hands in a job where its id is wanted is told what to write."""
    with pytest.raises(InvalidJobError, match=r"the id of a job is wanted, .*; write job\.id"):
        queue.get_status(Job("job", "os.getcwd"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", AWKWARD)
def test_filters(queue: JobQueue, name: str) -> None:
    """A limit or status of the kind is refused, or lists nothing wrong."""
    for option in ("limit", "status"):
        try:
            queue.list_jobs(**{option: AWKWARD[name]()})
        except InvalidJobError as error:
            assert len(str(error)) < LONGEST_MESSAGE  # noqa: PT017
        else:
            assert name == "None"


@pytest.mark.parametrize("name", AWKWARD)
def test_workflow_names(name: str) -> None:
    """A workflow needs a name that is text."""
    with pytest.raises(InvalidJobError, match="name"):
        Workflow(AWKWARD[name]())


def test_names_have_a_limit() -> None:
    """A name stands in each line of the log: up to 1,000 characters are allowed."""
    assert Job("x" * 1000, "os.getcwd").name == "x" * 1000
    with pytest.raises(InvalidJobError) as refused:
        Job("x" * 1001, "os.getcwd")
    assert str(refused.value).startswith("name has 1,001 characters, and may have 1,000: 'xxx")


def test_large_parameters(queue: JobQueue) -> None:
    """10 MB of parameters come back as they were; more than 100 MB are refused in words."""
    large = {"text": "é\0\ud800" * 1_000_000, "deep": nested(800)}
    job = queue.submit(Job("large", "os.getcwd", large))
    assert queue.get_status(job)["params"] == large
    with pytest.raises(
        NotJsonError, match=r"params: .* are more than the 100,000,000 that are kep"
    ):
        queue.submit(Job("larger", "os.getcwd", {"text": "x" * LONGEST}))


def test_values_that_change(queue: JobQueue) -> None:
    """A dict that grows while it is written is refused, or written as it was at some time."""

    class Growing(dict[str, Any]):
        """A dict that grows when it is looked at."""

        def items(self) -> Any:  # noqa: ANN401 (of a dict)
            """Grow."""
            self[str(len(self))] = len(self)
            for number in itertools.count():
                if number > 1000:
                    raise RuntimeError
                yield str(number), number

    with pytest.raises(NotJsonError, match=r"params.*RuntimeError was raised"):
        queue.submit(Job("growing", "os.getcwd", {"x": Growing(a=1)}))


def test_one_where_several_are_wanted(queue: JobQueue) -> None:
    """A single job is not taken for a list of them."""
    before = queue.stats()
    with pytest.raises(InvalidJobError, match="this is one, for `submit`"):
        queue.submit_many(Job("job", print))  # type: ignore[arg-type]
    assert queue.stats() == before


@pytest.mark.parametrize("before", ["yesterday", 3, b"2026-01-01", object()])
def test_times_that_are_none(queue: JobQueue, before: Any) -> None:  # noqa: ANN401
    """Nothing is cleared before a time that is none."""
    with pytest.raises(InvalidJobError, match="before_timestamp has to be a datetime"):
        queue.clear_completed(before)
