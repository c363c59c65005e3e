"""JSON in and out: parameters and results, with the path of what cannot be written."""

from __future__ import annotations

import json
import math
from typing import Any

from gigq.queue.errors import NotJsonError

# ensure_ascii keeps lone surrogates, which no UTF-8 column could hold, as escapes.
_encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_encode = _encoder.encode


def encode(value: object, what: str) -> str:
    """Give `value` as JSON text.

    Raises NotJsonError, naming the path of the offending value from `what` on (`params.when`).
    """
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJsonError(_complaint(value, what, error)) from None


def decode(text: str | None) -> Any:  # noqa: ANN401 (JSON is any value)
    """Give the value of JSON text, None for none."""
    return None if text is None else json.loads(text)


def _complaint(value: object, what: str, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"{what}: nested too deep to be written as JSON"
    try:
        found = _offender(value, what, set())
    except RecursionError:
        return f"{what}: nested too deep to be written as JSON"
    return found or f"{what}: {error}"


def _offender(value: object, path: str, above: set[int]) -> str | None:
    """Find the first value that JSON cannot hold, as a sentence."""
    if value is None or isinstance(value, (bool, int, str)):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{path}: {value} is not a JSON number"
    if not isinstance(value, (dict, list, tuple)):
        return f"{path}: a {type(value).__name__} is not JSON ({_shortened(value)})"
    if id(value) in above:
        return f"{path}: contains itself"
    above = above | {id(value)}
    if not isinstance(value, dict):
        found = (_offender(item, f"{path}[{index}]", above) for index, item in enumerate(value))
    else:
        found = (
            _offender(item, f"{path}.{key}", above)
            if isinstance(key, (str, int, float, bool, type(None)))
            else f"{path}: the key {_shortened(key)} is not text"
            for key, item in value.items()
        )
    return next(filter(None, found), None)


def _shortened(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 (any code may stand in a stranger's repr)
        return f"an unprintable {type(value).__name__}"
    limit = 60
    return text if len(text) <= limit else f"{text[:limit]}…"
