"""What a caller hands in for a job, looked at before anything is written.

Each function gives the value as it is kept, or raises InvalidJobError: a sentence that names the
value's place, says what it has to be, and shows it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gigq.queue import clock
from gigq.queue.errors import InvalidJobError
from gigq.queue.shown import shown
from gigq.queue.sizes import size_in_bytes

LONGEST_NAME = 1_000  # characters, of what stands in every line about a job
LONGEST_TEXT = 100_000
_INTEGER_LIMIT = 1 << 63
_LONGEST = 100 * 366 * 86_400.0  # seconds: beyond it a time is a mistake, not a wish


def text(value: object, what: str, *, empty: bool = False, longest: int = LONGEST_NAME) -> str:
    """Give text that a database can hold."""
    if not isinstance(value, str) or not (value or empty):
        message = f"{what} has to be text{'' if empty else ', not empty'}; this is {shown(value)}"
        raise InvalidJobError(message)
    if "\0" in value or not _encodable(value):
        message = f"{what} holds characters that are no text: {shown(value)}"
        raise InvalidJobError(message)
    if len(value) > longest:
        message = f"{what} has {len(value):,} characters, and may have {longest:,}: {shown(value)}"
        raise InvalidJobError(message)
    return value


def params(value: object) -> dict[str, Any]:
    """Give keyword arguments; whether they are JSON is looked at when they are submitted."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        message = f"params is a dict of keyword arguments, not a {type(value).__name__}"
        raise InvalidJobError(message)
    for key in dict.keys(value):
        if not isinstance(key, str):
            message = f"params: the key {shown(key)} is not text; keys are names of arguments"
            raise InvalidJobError(message)
    return value


def ids(value: object) -> list[str]:
    """Give ids of jobs."""
    if value is None:
        return []
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidJobError(_no_ids(value))
    try:
        listed = list(value)
    except Exception as error:
        message = f"{_no_ids(value)}, which cannot be read ({type(error).__name__})"
        raise InvalidJobError(message) from error
    if not all(isinstance(each, str) and _encodable(each) for each in listed):
        raise InvalidJobError(_no_ids(value))
    return listed


def _no_ids(value: object) -> str:
    return f"dependencies has to be a list of job ids; this is {shown(value)}"


def switch(value: object, what: str) -> bool | None:
    """Give True, False, or None for neither."""
    if value is None or value is True or value is False:
        return value
    message = f"{what} has to be True, False or None; this is {shown(value)}"
    raise InvalidJobError(message)


def integer(value: object, what: str, least: int = -_INTEGER_LIMIT) -> int:
    """Give an integer that a database can hold."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < _INTEGER_LIMIT:
        bound = f" of at least {least}" if least > -_INTEGER_LIMIT else ""
        if isinstance(value, int) and value >= _INTEGER_LIMIT:
            bound = " below 2 ** 63"
        message = f"{what} has to be an integer{bound}; this is {shown(value)}"
        raise InvalidJobError(message)
    return value


def seconds(value: object, what: str, *, positive: bool = False) -> float:
    """Give a number of seconds, 0 or more."""
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else -1
    if 0 <= number <= _LONGEST and (number > 0 or not positive):  # which NaN is not
        return number
    least = "more than 0" if positive else "0 or more"
    hint = "; None is no limit" if what == "timeout" else ""
    if number > _LONGEST:
        least = f"at most {_LONGEST:,.0f}"
    message = f"{what} has to be a number of seconds, {least}{hint}; this is {shown(value)}"
    raise InvalidJobError(message)


def size(value: int | str, what: str) -> int:
    """Give an amount of memory in bytes."""
    try:
        return size_in_bytes(value)
    except ValueError as error:
        message = f"{what}: {error}"
        raise InvalidJobError(message) from None


def delay(value: float | timedelta | None) -> int | None:
    """Give microseconds."""
    given = value.total_seconds() if isinstance(value, timedelta) else value
    return None if given is None else clock.duration(seconds(given, "delay"))


def run_at(value: object, delay: object) -> int | None:
    """Give a time in microseconds UTC."""
    if value is None:
        return None
    if delay is not None:
        message = "give either run_at or delay, not both"
        raise InvalidJobError(message)
    if not isinstance(value, datetime):
        message = f"run_at has to be a datetime; this is {shown(value)}"
        raise InvalidJobError(message)
    try:
        at = round(value.timestamp() * clock.MICROSECONDS)
        clock.local_text(at)
        clock.offset_text(at)
    except Exception:  # noqa: BLE001 (a time zone is a stranger's code)
        message = f"run_at has to be a time that clocks can show; this is {shown(value)}"
        raise InvalidJobError(message) from None
    return at


def directory(value: object, what: str) -> Path:
    """Give the absolute path of a directory, whether it is there or not."""
    try:
        path = os.fspath(value)  # type: ignore[call-overload]
    except Exception:  # noqa: BLE001 (a path may be a stranger's code)
        path = None
    if path is None:
        message = f"{what} has to be a path; this is {shown(value)}"
        raise InvalidJobError(message)
    return Path(text(path, what, longest=LONGEST_TEXT)).absolute()


def current_directory() -> str:
    """Give the directory that this process is in."""
    try:
        found = os.getcwd()  # noqa: PTH109 (as text, and once a submit)
    except FileNotFoundError:
        message = "the current directory was deleted; change to one that exists"
        raise InvalidJobError(message) from None
    return text(found, "the current directory", longest=LONGEST_TEXT)


def _encodable(value: str) -> bool:
    if str.isascii(value):
        return True
    try:
        str.encode(value)
    except UnicodeEncodeError:
        return False
    return True
