"""The service's log: structured events, written by a thread of its own.

They are entries of the journal where systemd has connected standard output to it, else JSON lines,
or text.

A full pipe or a stopped terminal holds up whoever writes to it; the supervisor must not be held up
when a deadline comes. Lines that find the thread too far behind are counted and dropped.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

# structlog's console renderer would import rich, which this process does not use: a tenth of a
# second at every start.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]

import structlog  # noqa: E402

from gigq.queue.events import EVENTS  # noqa: E402
from gigq.queue.shown import in_one_line  # noqa: E402
from gigq.supervisor.journal import Journal, entry_of, journal_is_output  # noqa: E402
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


class _Line(NamedTuple):
    """What is written of one event."""

    text: str  # for standard output
    entry: bytes = b""  # for the journal, if it goes there


class _Writer:
    """A thread that writes lines to standard output, or entries to the journal."""

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._lines: deque[_Line] = deque()
        self._calls: queue.SimpleQueue[bool] = queue.SimpleQueue()  # False: no more will come
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def put(self, line: _Line) -> None:
        """Let it be written at the next call."""
        if len(self._lines) < _MOST_LINES:
            self._lines.append(line)
        else:
            self._dropped += 1

    def call(self) -> None:
        """Wake the thread if there is something to write."""
        if self._lines and self._calls.empty():
            self._calls.put(True)  # noqa: FBT003

    def _write(self) -> None:
        goes_on = True
        while goes_on:
            goes_on = self._calls.get()
            while self._lines:
                line = self._lines.popleft()
                if not self._enters(line.entry):
                    self._say(line.text)
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                self._say(f"({dropped} lines were dropped: the reader is too slow)")
            with suppress(OSError):
                sys.stdout.flush()

    def _say(self, text: str) -> None:
        with suppress(OSError):  # nobody reads any more; the service goes on
            sys.stdout.write(text + "\n")

    def _enters(self, entry: bytes) -> bool:
        """Send it to the journal; False where it is to be written as a line."""
        if self._journal is not None and entry:
            with suppress(OSError):
                self._journal.send(entry)
                return True
        return False

    def close(self) -> None:
        self._calls.put(False)  # noqa: FBT003
        self._thread.join(_LAST_WORDS)
        if self._thread.is_alive() or _is_broken(sys.stdout):
            # Nobody reads: Python must not try once more to flush at its exit, and wait or fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        elif self._journal is not None:
            self._journal.close()


def _is_broken(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        return True
    return False


class Log:
    """Where events go. `level` and `format` may be changed while it is open."""

    def __init__(self, level: str, form: str) -> None:
        """Open it; `form` is json, text, or auto: what suits where standard output leads to."""
        self._journal = _find_journal()
        self._writer = _Writer(self._journal)
        self.configure(level, form)

    def configure(self, level: str, form: str) -> None:
        """Choose what is logged and how."""
        as_text = form == "text" or (form == "auto" and sys.stdout.isatty())
        as_entry = form == "auto" and self._journal is not None
        self._least = _LEVELS[level]
        processors: list[Any] = [
            structlog.processors.TimeStamper(fmt="iso", utc=not as_text),
            _with_process,
            _as_entry if as_entry else _as_text if as_text else _as_json,
        ]
        self._log = structlog.BoundLogger(_Sink(self._writer), processors, {})

    def event(self, name: str, **fields: object) -> None:
        """Log an event of `gigq.queue.events`."""
        level = EVENTS[name].level
        if _LEVELS[level] >= self._least:
            self._log.info(name, level=level, **fields)

    def write(self) -> None:
        """Let what was logged since the last time be written: once for each turn of the loop."""
        self._writer.call()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _find_journal() -> Journal | None:
    if journal_is_output():
        with suppress(OSError):
            return Journal()
    return None


class _Sink:
    """What structlog calls a logger: the last step of an event."""

    def __init__(self, writer: _Writer) -> None:
        self._put = writer.put

    def info(self, text: str, entry: bytes = b"") -> None:
        self._put(_Line(text, entry))


_as_json = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)


def _as_entry(
    _: object, __: str, fields: MutableMapping[str, Any]
) -> tuple[tuple[str, bytes], Any]:
    """Give both: the line is for the case that the journal goes away."""
    message = _message(fields)
    return (message, entry_of(fields, message)), {}


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
        return f"{clock}   {_message(fields)}"
    glyph = _GLYPHS.get(fields["level"], " ")
    return f"{clock} {glyph} {fields['event']:<20} {_told(fields)}"


def _message(fields: MutableMapping[str, Any]) -> str:
    if fields["event"] == "job_output":
        return f"{in_one_line(fields['job_name'])} | {fields['line']}"
    return f"{fields['event']} {_told(fields)}".rstrip()


def _told(fields: MutableMapping[str, Any]) -> str:
    shown = dict(_shown(fields))
    name = in_one_line(shown.pop("job_name", ""))
    return " ".join([name] * bool(name) + [f"{key}={_word(value)}" for key, value in shown.items()])


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
    text = in_one_line(str(value))
    return repr(text) if " " in text or not text else text
