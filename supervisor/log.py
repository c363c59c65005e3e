"""The service's log: structured events, as JSON lines or as text, written by a thread of its own.

A full pipe or a stopped terminal holds up whoever writes to it; the supervisor must not be held up
when a deadline comes. Lines that find the thread too far behind are counted and dropped.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

# structlog's console renderer would import rich, which this process does not use: a tenth of a
# second at every start.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]

import structlog  # noqa: E402

from gigq.queue.events import EVENTS  # noqa: E402
from gigq.version import __version__  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

_MOST_LINES = 10_000
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_GLYPHS = {"warning": "!", "error": "✗"}
_NOT_SHOWN = frozenset(
    {
        "timestamp",
        "level",
        "event",
        "pid",
        "version",
        "execution",
        "max_attempts",
        "cpu_time",
        "peak_memory",
    }
)
_SHORT_ID = 8  # characters of a uuid that tell jobs apart
_LAST_WORDS = 2.0  # seconds to write out what is queued at the end


class _Writer:
    """A thread that writes lines to standard output."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue(_MOST_LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                sys.stdout.write(line + "\n")
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    sys.stdout.write(f"({dropped} lines were dropped: the reader is too slow)\n")
                if self._lines.empty():
                    sys.stdout.flush()
            except OSError:
                pass  # nobody reads any more; the service goes on

    def close(self) -> None:
        with suppress(queue.Full):
            self._lines.put(None, timeout=_LAST_WORDS)
            self._thread.join(_LAST_WORDS)
        if self._thread.is_alive() or _is_broken(sys.stdout):
            # Nobody reads: Python must not try once more to flush at its exit, and wait or fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_broken(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        return True
    return False


class Log:
    """Where events go. `level` and `format` may be changed while it is open."""

    def __init__(self, level: str, form: str) -> None:
        """Open it; `form` is json, text, or auto: text on a terminal."""
        self._writer = _Writer()
        self.configure(level, form)

    def configure(self, level: str, form: str) -> None:
        """Choose what is logged and how."""
        as_text = form == "text" or (form == "auto" and sys.stdout.isatty())
        self._least = _LEVELS[level]
        processors: list[Any] = [
            structlog.processors.TimeStamper(fmt="iso", utc=not as_text),
            _with_process,
            _as_text if as_text else _as_json,
        ]
        self._log = structlog.BoundLogger(_Sink(self._writer), processors, {})

    def event(self, name: str, **fields: object) -> None:
        """Log an event of `gigq.queue.events`."""
        level = EVENTS[name].level
        if _LEVELS[level] >= self._least:
            self._log.info(name, level=level, **fields)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class _Sink:
    """What structlog calls a logger: the last step of an event."""

    def __init__(self, writer: _Writer) -> None:
        self.info = writer.put


_as_json = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)


def _with_process(_: object, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {
        "timestamp": fields.pop("timestamp"),
        "level": fields.pop("level"),
        "event": fields.pop("event"),
        "pid": os.getpid(),
        "version": __version__,
        **fields,
    }


def _as_text(_: object, __: str, fields: MutableMapping[str, Any]) -> str:
    clock = fields["timestamp"][11:19]
    if fields["event"] == "job_output":
        return f"{clock}   {fields['job_name']} | {fields['line']}"
    glyph = _GLYPHS.get(fields["level"], " ")
    shown = dict(_shown(fields))
    name = shown.pop("job_name", "")
    told = " ".join([name] * bool(name) + [f"{key}={_word(value)}" for key, value in shown.items()])
    return f"{clock} {glyph} {fields['event']:<20} {told}"


def _shown(fields: MutableMapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give what a person wants to see of an event; JSON has all of it."""
    for name, value in fields.items():
        if name == "job_id":
            yield name, str(value)[:_SHORT_ID]
        elif name == "attempt":
            yield name, f"{value}/{fields.get('max_attempts')}"
        elif name not in _NOT_SHOWN and value is not None:
            yield name, value


def _word(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return repr(text) if " " in text or not text else text
