"""Configuration files that nobody would write: a SettingsError that names the file, or settings."""

from __future__ import annotations

import json
import re
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from gigq.queue.errors import SettingsError
from gigq.queue.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]
PRODUCTION = (ROOT / "configs" / "gigqd.toml").read_bytes()
TABLES = {
    field.name: [inner.name for inner in msgspec.structs.fields(field.type)]
    for field in msgspec.structs.fields(Settings)
    if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
}
KEYS = [f"{table}.{key}" for table, keys in TABLES.items() for key in keys]

SCALARS = (
    some.none()
    | some.booleans()
    | some.integers(-(2**70), 2**70)
    | some.floats()
    | some.text(some.characters(codec="utf-8"), max_size=12)
    | some.dates()
    | some.datetimes()
)
VALUES = some.recursive(
    SCALARS.filter(lambda value: value is not None),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(
            some.text(some.characters(codec="utf-8"), max_size=5), inner, max_size=3
        )
    ),
    max_leaves=5,
)
fuzzed = settings(deadline=None, max_examples=100, database=None)


def written(value: Any) -> str:  # noqa: ANN401 (any that TOML has)
    """Write a value as TOML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        inner = ", ".join(f"{written(key)} = {written(each)}" for key, each in value.items())
        return f"{{{inner}}}"
    return str(value).replace("+", "") if isinstance(value, float) else str(value)


def complaint(content: bytes) -> str | None:
    """Read such a file; what was complained of, None for nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gigqd.toml"
        path.write_bytes(content)
        try:
            read_settings(path)
        except SettingsError as error:
            said = str(error)
            assert said.startswith(f"{path}:")
            assert len(said) < 1000
            return said.removeprefix(f"{path}:")
    return None


@fuzzed
@given(some.binary(max_size=200))
def test_bytes(content: bytes) -> None:
    """Any bytes are settings, or refused with the file's name."""
    complaint(content)


@fuzzed
@given(some.text(some.sampled_from("[]{}=.,#\"'\\\n\r\t aw1-_é\0"), max_size=60))
def test_signs(text: str) -> None:
    """So are all that TOML's own signs can make."""
    complaint(text.encode())


@fuzzed
@given(some.sampled_from(KEYS), VALUES)
def test_values(key: str, value: Any) -> None:  # noqa: ANN401
    """A value of a wrong kind is refused with its line and key."""
    text = f"# one\n{key} = {written(value)}\n"
    said = complaint(text.encode())
    assert tomllib.loads(text)
    if said is not None:
        assert re.match(rf"2: {re.escape(key)}[.:]", said), said


@fuzzed
@given(some.text(some.characters(codec="utf-8"), min_size=1, max_size=30), VALUES)
def test_unknown_keys(key: str, value: Any) -> None:  # noqa: ANN401
    """An unknown key is refused with its line, however it is spelt."""
    if key in TABLES or key == "database":
        return
    said = complaint(f"\n{written(key)} = {written(value)}\n".encode())
    assert said is not None
    assert said.startswith("2: ")
    assert "unknown setting" in said


@fuzzed
@given(some.integers(0, len(PRODUCTION)))
def test_truncated(length: int) -> None:
    """A file that was cut off is refused with a line, or a shorter one that is whole is read."""
    said = complaint(PRODUCTION[:length])
    assert said is None or re.match(r"\d+: ", said)


@fuzzed
@given(some.integers(0, len(PRODUCTION) - 1), some.integers(0, 255))
def test_one_byte_is_another(place: int, byte: int) -> None:
    """One wrong byte anywhere is no reason for a traceback."""
    complaint(PRODUCTION[:place] + bytes([byte]) + PRODUCTION[place + 1 :])


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf[workers]\n", b"[workers]\r\ncount = 3\r\n", b"\0"]
)
def test_editors(content: bytes) -> None:
    """What some editors put into a file is read, or refused with its line."""
    said = complaint(content)
    assert said is None or re.match(r"(1: |\d+: )", said)
