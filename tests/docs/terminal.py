"""What a reader of a page has before him: a folder, a terminal, and services in other windows."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import termios
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from types import TracebackType

    from docs.page import Command

COLUMNS = 100
FOLDER = "/home/ada/projects"  # what pages show; as long as the real one, since tables have widths
SECONDS = 30  # for a command to end, or a service to say something

_SERVICE = re.compile(r"gigqd start\b(?!.*--help)")
_ACTIVATE = re.compile(r"\. (\S+)/activate")
_STARTED = b"service_started"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r(?=\n)")
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SHORT = r"\b(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{8}\b"
# What varies from run to run and is recognised on a page; for anything else there is "…".
_VARIES = re.compile(
    rf"""(?P<id>{_UUID}|{_SHORT})
       | (?P<date>\d{{4}}-\d\d-\d\d[T\ ]\d\d:\d\d:\d\d(?:\.\d+)?)
       | (?P<clock>\d\d:\d\d:\d\d)
       | (?P<decimal>\d+\.\d{{3}}\b)
       | (?P<any>…)""",
    re.VERBOSE,
)
_PATTERNS = {
    "date": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?",
    "clock": r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d",  # with its day, where that is another one
    "decimal": r"\d+\.\d+",
    "any": r"[^\n]*?",
}


class _Expected(NamedTuple):
    """Lines as a page shows them, and what they match."""

    lines: list[str]
    pattern: re.Pattern[str]
    ids: list[str]  # those on the page that no real ones are known for, in the pattern's order


class Terminal:
    """A folder and its processes, for one page."""

    def __init__(self) -> None:
        """Make the folder."""
        self._stack = contextlib.ExitStack()
        self.folder = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="docs-"))
        ).resolve()
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GIGQ", "XDG_", "PYTEST", "VIRTUAL_ENV"))
        }
        self._environment |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",  # a file that changes twice a second has one .pyc
        }
        self._ids: dict[str, str] = {}  # the first 8 characters on the page: the real id
        self._status = 0
        self._services: list[_Window] = []
        self._session: _Session | None = None

    def __enter__(self) -> Self:
        """Use it in a with block, which ends what it started."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End what still runs, and remove the folder."""
        with self._stack:
            if self._session is not None:
                self._stack.callback(self._session.close)

    def write(self, name: str, text: str) -> Path:
        """Write a file as an editor does."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{path.name}.new").write_text(text)
        return path.with_name(f".{path.name}.new").replace(path)

    def python(self, where: str, code: str, *, prompt: bool = False) -> None:
        """Run Python code in the page's session; with `prompt`, compare what it gives."""
        if self._session is None:
            self._session = _Session(self.folder, self._environment)
        complaint = self._session.run(where, code, prompt=prompt)
        assert not complaint, complaint

    def press(self, key: str) -> None:
        """Press a key in the latest service's window."""
        assert key == "^C"
        self._services[-1].send(signal.SIGINT)

    def run(self, where: str, command: Command) -> None:
        """Run a command and compare what it prints, or its exit code where the page shows nothing.

        A service is started and left alone, once it has said what is expected of it.
        """
        if not command.text:
            return self._services[-1].expect(where, self._pattern(command.expected), self)
        if activated := _ACTIVATE.fullmatch(command.text):
            path = f"{self.folder / activated[1]}:{self._environment['PATH']}"
            self._environment["PATH"] = path
            return None
        if command.text.startswith("export "):
            name, _, value = command.text.removeprefix("export ").partition("=")
            self._environment[name] = value
            return None
        text = self._real(command.text).replace(FOLDER, str(self.folder))
        if _SERVICE.match(text):
            window = self._open(f"exec {text.rstrip('&')}")
            self._services.append(window)
            if window.has_started():
                return window.expect(where, self._pattern(command.expected), self)
        else:
            window = self._open(f"(exit {self._status}); {text}")
        self._status = window.wait()
        output = self.shown(window.output())
        if command.expected:
            expected = self._pattern(command.expected)
            found = expected.pattern.fullmatch(output.rstrip("\n"))
            assert found, difference(where, text, expected.lines, output)
            self.learn(expected, found)
        else:
            assert self._status == 0, f"{where}: exit {self._status}: {text}\n{output}"
        return None

    def _open(self, text: str) -> _Window:
        window = _Window(text, self.folder, self._environment)
        self._stack.callback(window.close)
        return window

    # What a page shows, and what there is

    def shown(self, output: str) -> str:
        """Give output as a page shows it, without the lines that say nothing."""
        output = _CONTROL.sub("", output).replace(str(self.folder), FOLDER)
        return "".join(f"{line.rstrip()}\n" for line in output.splitlines() if _says(line))

    def _real(self, text: str) -> str:
        return re.sub(f"{_UUID}|{_SHORT}", lambda found: self._real_id(found[0]), text)

    def _real_id(self, on_page: str) -> str:
        return self._ids.get(on_page[:8], on_page)[: len(on_page)]

    def _pattern(self, lines: list[str]) -> _Expected:
        """Make a pattern of lines as a page shows them; a line that is only … is any lines."""
        new: list[str] = []
        pattern = "".join(
            r"(?:[^\n]*\n)*?" if line == "…" else self._line_pattern(line.rstrip(), new) + r"\n"
            for line in filter(_says, lines)
        )
        pattern = pattern.removesuffix(r"\n") if lines[-1:] != ["…"] else pattern + r"[^\n]*"
        return _Expected(lines, re.compile(f"^{pattern}" if lines else "", re.MULTILINE), new)

    def _line_pattern(self, line: str, new: list[str]) -> str:
        pattern, position = "", 0
        for found in _VARIES.finditer(line):
            pattern += re.escape(line[position : found.start()])
            position = found.end()
            assert found.lastgroup is not None
            if found.lastgroup != "id":
                pattern += _PATTERNS[found.lastgroup]
            elif found[0][:8] in self._ids:
                pattern += re.escape(self._real_id(found[0]))
            elif found[0][:8] in new:
                pattern += rf"(?P=id{new.index(found[0][:8])})[0-9a-f-]*"
            else:
                rest = r"[0-9a-f-]{28}" if len(found[0]) > 8 else ""
                pattern += rf"(?P<id{len(new)}>[0-9a-f]{{8}}){rest}"
                new.append(found[0][:8])
        return pattern + re.escape(line[position:])

    def learn(self, expected: _Expected, found: re.Match[str]) -> None:
        """Remember which real ids stand for those that the page shows."""
        for name, start in found.groupdict().items():
            on_page = expected.ids[int(name.removeprefix("id"))]
            whole = re.search(rf"{start}-[0-9a-f-]{{27}}", found.string)
            self._ids[on_page] = whole[0] if whole else start


def _says(line: str) -> bool:
    """Tell whether a line says something: is not empty, nor the marks below a traceback's line."""
    return bool(line.strip(" ~^"))  # which each version of Python sets otherwise


def difference(where: str, text: str, expected: list[str], output: str) -> str:
    """Say what is not as the page says."""
    page = "\n".join(expected)
    return f"{where}: $ {text}\n--- the page\n{page}\n--- the command\n{output}"


class _Window:
    """A command on a terminal of its own, which is read all the time."""

    def __init__(self, text: str, folder: Path, environment: dict[str, str]) -> None:
        # Not by pexpect: its fork is warned of in a process that has threads.
        self._text = text
        self._terminal, slave = os.openpty()
        termios.tcsetwinsize(slave, (50, COLUMNS))
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", text],
            cwd=folder,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._said = b""
        self._position = 0
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: nobody is left to write
            while said := os.read(self._terminal, 4096):
                with self._changed:
                    self._said += said
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def output(self) -> str:
        """Give all that it said up to now."""
        return self._said.decode(errors="replace")

    def wait(self) -> int:
        """Wait until it has ended; its exit code."""
        status = self._process.wait(SECONDS)
        self._reader.join(SECONDS)
        return status

    def has_started(self) -> bool:
        """Wait until a service says so; False when it ended instead."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or _STARTED in self._said, SECONDS)
        return not self._ended

    def expect(self, where: str, expected: _Expected, terminal: Terminal) -> None:
        """Wait until it has said this, after what it was seen to say before."""

        def found() -> re.Match[str] | None:
            return expected.pattern.search(terminal.shown(self.output()), self._position)

        with self._changed:
            self._changed.wait_for(found, SECONDS)
        match = found()
        said = terminal.shown(self.output())[self._position :]
        assert match, difference(where, self._text, expected.lines, said)
        terminal.learn(expected, match)
        self._position = match.end()

    def send(self, number: signal.Signals) -> None:
        """Signal it, as a key does."""
        self._process.send_signal(number)

    def close(self) -> None:
        """Stop it if it still runs, with the jobs that it runs."""
        if self._process.poll() is None:
            self.send(signal.SIGQUIT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS)
        self._process.kill()
        self._process.wait()
        self._reader.join(SECONDS)
        os.close(self._terminal)


_DRIVER = """
import contextlib, doctest, io, json, sys, traceback

names = {"__name__": "__page__"}
flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
replies, sys.stdout = sys.stdout, sys.stderr
for order in sys.stdin:
    where, code, prompt = json.loads(order)
    said = io.StringIO()
    try:
        if prompt:
            test = doctest.DocTestParser().get_doctest(code, names, where, where, 0)
            doctest.DocTestRunner(optionflags=flags).run(test, out=said.write, clear_globs=False)
            names = test.globs
        else:
            exec(compile(code, where, "exec"), names)
    except BaseException:
        traceback.print_exc(file=said)
    print(json.dumps(said.getvalue()), file=replies, flush=True)
"""


class _Session:
    """A Python process that keeps a page's names from one block to the next."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _DRIVER],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def run(self, where: str, code: str, *, prompt: bool) -> str:
        """Run code; gives the traceback, or the difference, or nothing."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([where, code, prompt]) + "\n")
        reply: Any = json.loads(self._process.stdout.readline())
        return str(reply)

    def close(self) -> None:
        """End it."""
        self._process.communicate()
