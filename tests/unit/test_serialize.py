"""JSON in and out, and the path of what cannot be written."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gigq.queue.errors import InvalidJobError, NotJsonError
from gigq.queue.serialize import decode, encode

JSON = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(10**40), 10**40)
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(some.characters(exclude_categories=())),  # lone surrogates too
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
)


class Strange:
    """A value whose repr raises."""

    def __repr__(self) -> str:
        """Raise."""
        message = "no words"
        raise RuntimeError(message)


def complaint(value: object, what: str = "params") -> str:
    """Give what is said about a value that is not JSON."""
    with pytest.raises(NotJsonError) as caught:
        encode(value, what)
    return str(caught.value)


def nested(depth: int) -> Any:  # noqa: ANN401
    """Give a list in a list, and so on."""
    value: Any = None
    for _ in range(depth):
        value = [value]
    return value


class TestRoundTrip:
    """What goes in comes out."""

    @given(JSON)
    def test_any_json(self, value: Any) -> None:  # noqa: ANN401
        """Any JSON value comes back, as text that any UTF-8 column can hold."""
        text = encode(value, "params")
        assert decode(text) == value
        assert text.isascii()

    def test_small(self) -> None:
        """The text is as short as it can be, in the order of the keys."""
        assert encode({"b": [1, 2.5], "a": None}, "params") == '{"b":[1,2.5],"a":null}'

    def test_tuples_become_lists(self) -> None:
        """A tuple is written as a list, as JSON has no other."""
        assert decode(encode((1, (2,)), "params")) == [1, [2]]

    def test_lone_surrogates(self) -> None:
        """Text with half of a surrogate pair, as file names may have, survives."""
        assert decode(encode({"\udcff": "\ud800"}, "params")) == {"\udcff": "\ud800"}

    def test_nothing(self) -> None:
        """No text is None, and so is null."""
        assert decode(None) is None
        assert decode("null") is None

    def test_shared_value_is_no_circle(self) -> None:
        """The same list twice in a value is written twice."""
        shared = [1]
        assert decode(encode([shared, shared], "params")) == [[1], [1]]


class TestOtherText:
    """Text that somebody else has written into the database."""

    @pytest.mark.parametrize("text", [" 1", "1 ", '\n{"a": [1, 2]}\t', " null "])
    def test_blanks(self, text: str) -> None:
        """Blanks around a value are skipped, as json does."""
        assert decode(text) == json.loads(text)

    @pytest.mark.parametrize("text", ["", " ", "1 2", "{", "[1,]", "nul", "1x"])
    def test_mistakes(self, text: str) -> None:
        """What is no JSON is told in json's own words."""
        with pytest.raises(json.JSONDecodeError) as theirs:
            json.loads(text)
        with pytest.raises(json.JSONDecodeError) as ours:
            decode(text)
        assert str(ours.value) == str(theirs.value)


class TestComplaints:
    """What cannot be written is named by its path."""

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ({"when": datetime(2024, 1, 2, tzinfo=UTC)}, "params.when: a datetime is not JSON"),
            ({"path": Path("/a")}, "params.path: a PosixPath is not JSON (PosixPath('/a'))"),
            ({"rows": [1, {"price": Decimal("1.5")}]}, "params.rows[1].price: a Decimal is not"),
            ({"a": {1, 2}}, "params.a: a set is not JSON ({1, 2})"),
            ({"raw": b"\0"}, "params.raw: a bytes is not JSON (b'\\x00')"),
            ({"x": (0, [None, object])}, "params.x[1][1]: a type is not JSON"),
            ({"f": len}, "params.f: a builtin_function_or_method is not JSON"),
            ({"deep": {"er": {(1, 2): 3}}}, "params.deep.er: the key (1, 2) is not text"),
            ([1j], "params[0]: a complex is not JSON (1j)"),
        ],
    )
    def test_path(self, value: object, said: str) -> None:
        """The message begins with the path of the first offending value, and shows it."""
        assert complaint(value).startswith(said)

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    def test_numbers_that_json_has_not(self, number: float) -> None:
        """NaN and the infinities are named, for other readers would not read them."""
        assert complaint({"a": [0.5, number]}) == f"params.a[1]: {number} is not a JSON number"

    def test_cycle(self) -> None:
        """A value that contains itself is named where it does."""
        value: dict[str, Any] = {"list": [1]}
        value["list"].append({"again": value})
        assert complaint(value, "result") == "result.list[1].again: contains itself"

    @pytest.mark.parametrize("depth", [2_000, 100_000])
    def test_depth(self, depth: int) -> None:
        """What is nested too deep is refused in words, not by a RecursionError."""
        assert complaint(nested(depth)) == "params: nested too deep to be written as JSON"

    def test_offender_below_great_depth(self) -> None:
        """What is nested too deep to be searched is refused all the same."""
        value = nested(3_000)
        value.append(object())
        assert complaint(value).startswith("params")

    def test_long_value_is_shortened(self) -> None:
        """A long offending value is not repeated in full."""
        said = complaint({"a": {"x" * 5000}})
        assert len(said) < 200
        assert said.endswith("…)")

    def test_value_that_cannot_be_shown(self) -> None:
        """A value whose repr raises is named by its type."""
        assert complaint({"a": Strange()}) == (
            "params.a: a Strange is not JSON (an unprintable Strange)"
        )

    def test_number_too_long_for_text(self) -> None:
        """An integer of more digits than Python writes is refused in words."""
        assert complaint({"n": 10**5000}).startswith("params: Exceeds the limit")

    def test_kind(self) -> None:
        """The error is a ValueError and a TypeError, like those of json, and one of ours."""
        assert issubclass(NotJsonError, (InvalidJobError, ValueError))
        assert issubclass(NotJsonError, TypeError)

    @given(JSON, some.sampled_from([object(), math.nan, {1}, b""]))
    def test_json_is_never_blamed(self, value: Any, bad: object) -> None:  # noqa: ANN401
        """Beside any JSON, it is the bad value that is named."""
        assert complaint({"good": value, "bad": bad}).startswith("params.bad: ")

    def test_agrees_with_json(self) -> None:
        """What is written is what the standard library's json reads."""
        assert json.loads(encode({"a": [1, "ä"]}, "params")) == {"a": [1, "ä"]}
