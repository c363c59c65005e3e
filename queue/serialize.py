"""JSON in and out: parameters and results, with the path of what cannot be written."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from gigq.queue.errors import NotJsonError
from gigq.queue.shown import shortened, shown

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 100_000_000  # characters of JSON
# ensure_ascii keeps lone surrogates, which no UTF-8 column could hold, as escapes.
_encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_decoder = json.JSONDecoder()
_scan = _decoder.scan_once  # type: ignore[attr-defined]


def _make_encode() -> Callable[[object], str]:
    """Give what `_encoder.encode` does, without its way there, where C code does it."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return _encoder.encode
    escape = json.encoder.encode_basestring_ascii
    how = (
        _encoder.default,
        escape,
        _encoder.indent,
        _encoder.key_separator,
        _encoder.item_separator,
        _encoder.sort_keys,
        _encoder.skipkeys,
        _encoder.allow_nan,
    )
    # The dictionary: what the value is inside of, to find what contains itself.
    return lambda value: "".join(make({}, *how)(value, 0))


_encode = _make_encode()


def encode(value: object, what: str, *, secret: bool = False) -> str:
    """Give `value` as JSON text.

    Raises NotJsonError, naming the path of the offending value from `what` on (`params.when`); with
    `secret`, it does not show the value.
    """
    try:
        text = _encode(value)
    except Exception as error:  # noqa: BLE001 (a value's own methods may raise anything)
        raise NotJsonError(_complaint(value, what, error, secret=secret)) from None
    if len(text) > LONGEST:
        message = (
            f"{what}: {len(text):,} characters of JSON are more than the {LONGEST:,} that are "
            "kept; write it to a file, and hand on the file's path"
        )
        raise NotJsonError(message)
    return text


def decode(text: str | None) -> Any:  # noqa: ANN401 (JSON is any value)
    """Give the value of JSON text, None for none. Raises ValueError, RecursionError."""
    if text is None:
        return None
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        end = -1
    # Blanks around it, or a mistake, are for the decoder to skip and to tell.
    return value if end == len(text) else _decoder.decode(text)


def _complaint(value: object, what: str, error: Exception, *, secret: bool) -> str:
    try:
        if isinstance(error, RecursionError):
            raise error
        found = _offender(value, what, set(), secret=secret)
    except RecursionError:
        return f"{what}: nested too deep to be written as JSON"
    except Exception as inner:  # noqa: BLE001 (as above)
        error = inner
    else:
        if found is not None:
            return found
    if type(error) in (ValueError, TypeError):  # json's own; another's words may show the value
        return f"{what}: {error}"
    return f"{what}: cannot be written as JSON ({type(error).__name__} was raised)"


def _offender(value: object, path: str, above: set[int], *, secret: bool) -> str | None:
    """Find the first value that JSON cannot hold, as a sentence."""
    if value is None or isinstance(value, (bool, int, str)):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{path}: {value} is not a JSON number"
    if not isinstance(value, (dict, list, tuple)):
        told = "" if secret else f" ({shown(value)})"
        return f"{path}: a {type(value).__name__} is not JSON{told}"
    if id(value) in above:
        return f"{path}: contains itself"
    above = above | {id(value)}
    if not isinstance(value, dict):
        items = ((f"{path}[{index}]", item) for index, item in enumerate(value))
        found = (_offender(item, place, above, secret=secret) for place, item in items)
    else:
        found = (
            _offender(item, f"{path}.{shortened(str(key))}", above, secret=secret)
            if isinstance(key, (str, int, float, bool, type(None)))
            else f"{path}: the key {'' if secret else shown(key) + ' '}is not text"
            for key, item in value.items()
        )
    return next(filter(None, found), None)
