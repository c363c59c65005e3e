"""A TOML file that knows where its keys stand, which tomllib forgets and error messages need."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from gigq.queue.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

Key = tuple[str, ...]

_TOKEN = re.compile(
    r"""
      (?P<comment> \#[^\n]* )
    | (?P<text> \"{3} (?:[^\\]|\\.)*? \"{3,5} | '{3} .*? '{3,5}
              | " (?:[^"\\]|\\.)* "           | ' [^']* ' )
    | (?P<bare> [^\s\#"'\[\]{}=,.]+ )
    | (?P<mark> [\[\]{}=,\n] )
    """,
    re.VERBOSE | re.DOTALL,
)


class TomlFile:
    """A file's values, and errors that name a value's line."""

    def __init__(self, path: Path) -> None:
        """Read and parse the file; raises SettingsError with the line of a syntax error."""
        self.path = path
        self._document = read_text(path)
        self.table = self._parse()

    def error(self, key: Key, problem: str) -> SettingsError:
        """Make the error to raise about the value of `key`."""
        return misplaced(self.path, find_line(self._document, key), f"{dotted(key)}: {problem}")

    def _parse(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self._document)
        except (ValueError, RecursionError) as error:
            message, line = str(error), None
            if found := re.search(r"\(at line (\d+), (column \d+)\)\Z", message):
                message, line = f"{message[: found.start()]}({found[2]})", int(found[1])
            elif message.endswith("(at end of document)"):
                line = self._document.rstrip().count("\n") + 1
            raise misplaced(self.path, line, message) from error


def find_line(document: str, key: Key) -> int | None:
    """Give the line of `key`, or of the innermost table around it that is written down.

    The document is one that tomllib has accepted; of any other the answer may be wrong.
    """
    lines = key_lines(document)
    known = (key[:length] for length in range(len(key), 0, -1))
    return next((lines[part] for part in known if part in lines), None)


def key_lines(document: str) -> dict[Key, int]:
    """Map every key and table to its line, counted from 1.

    Of an array of tables the last one that has the key counts.
    """
    scanner = _Scanner()
    for token in _TOKEN.finditer(document):
        scanner.take(token.lastgroup, token.group())
    return scanner.lines


def dotted(key: Key) -> str:
    """Write a key as TOML has it, parts in quotes where they need them."""
    bare = re.compile(r"[A-Za-z0-9_-]+")
    return ".".join(part if bare.fullmatch(part) else json.dumps(part) for part in key)


def read_text(path: Path) -> str:
    """Read a UTF-8 file; raises SettingsError where it cannot be."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise misplaced(path, line, "this is not UTF-8 text") from error


def misplaced(path: Path, line: int | None, problem: str) -> SettingsError:
    """Make the error about a place in a file; without a line, about the file."""
    return SettingsError(f"{path}:{line}: {problem}" if line else f"{path}: {problem}")


def unreadable(path: Path, error: OSError) -> SettingsError:
    """Make the error about a file that the system does not let us read."""
    return SettingsError(f"{path}: {error.strerror}")


class _Scanner:
    """What is known after some tokens of a document."""

    def __init__(self) -> None:
        """Stand at the start of the first line."""
        self.lines: dict[Key, int] = {}
        self._line = 1
        self._table: Key = ()
        self._path: Key = ()  # of the value being read
        self._open: list[tuple[str, Key]] = []  # brackets around the value, and whose they are
        self._words: list[str] = []  # the key read so far
        self._in_key = True
        self._in_header = False

    def take(self, kind: str | None, token: str) -> None:
        """Read one token."""
        if kind == "mark":
            self._take_mark(token)
        elif kind != "comment" and self._in_key:
            self._words.append(tomllib.loads(f"k = {token}")["k"] if kind == "text" else token)
        self._line += token.count("\n")

    def _take_mark(self, mark: str) -> None:
        match mark:
            case "\n":
                self._in_key = self._in_key or not self._open
            case "[" if self._in_key:
                self._in_header = True
            case "]" if self._in_header:
                self._table = self._end_key(())
                self._in_header = False
            case "=":
                self._path = self._end_key(self._open[-1][1] if self._open else self._table)
                self._in_key = False
            case "[" | "{":
                self._open.append((mark, self._path))
                self._in_key = mark == "{"
            case "]" | "}" if self._open:
                self._path = self._open.pop()[1]
                self._in_key = False
            case "," if self._open:
                self._in_key = self._open[-1][0] == "{"

    def _end_key(self, base: Key) -> Key:
        key = (*base, *self._words)
        self._words.clear()
        for length in range(1, len(key)):
            self.lines.setdefault(key[:length], self._line)
        self.lines[key] = self._line
        return key
