"""What an administrator may choose: the settings, the TOML file they stand in, and where it lies.

A file is checked as a whole before anything starts. Every mistake becomes a SettingsError that
begins with file, line and key.

Imported by the commands and the supervisor only: `import gigq` does without msgspec.
"""

from __future__ import annotations

import json
import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from gigq.queue.errors import SettingsError
from gigq.queue.sizes import MOST, PATTERN, size_in_bytes
from gigq.queue.toml_lines import Key, TomlFile, dotted, misplaced, read_text, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

# A NUL ends a string for the kernel, and no `=` can be part of a variable's name.
FilePath = Annotated[str, Meta(pattern=r"\A[^\0]+\Z", description="a path")]
MaybePath = Annotated[str, Meta(pattern=r"\A[^\0]*\Z", description="a path or an empty string")]
VariableName = Annotated[str, Meta(pattern=r"\A[^\0=]+\Z")]
VariableValue = Annotated[str, Meta(pattern=r"\A[^\0]*\Z")]
Variables = Annotated[dict[VariableName, VariableValue], Meta(description="a table of strings")]
Seconds = Annotated[
    float,
    Meta(ge=0, le=1e9, description="a number of seconds from 0 to 1e9"),
]
StartTimeout = Annotated[
    float, Meta(gt=0, le=86_400, description="a number of seconds above 0, up to a day")
]
Count = Annotated[
    Annotated[int, Meta(ge=0, le=1000)] | Literal["auto"],
    Meta(description='an int from 0 to 1000 or "auto"'),
]
Days = Annotated[
    Annotated[float, Meta(gt=0, le=36_500)] | Literal["never"],
    Meta(description='a number of days above 0, up to 36500, or "never"'),
]
Spares = Annotated[int, Meta(ge=0, le=1000, description="an int from 0 to 1000")]
Batch = Annotated[int, Meta(ge=1, le=200, description="an int from 1 to 200")]
Jobs = Annotated[int, Meta(ge=0, le=1 << 40, description="an int from 0 up")]
Size = Annotated[
    Annotated[int, Meta(ge=0, le=MOST)] | Annotated[str, Meta(pattern=PATTERN)],
    Meta(description='bytes, or a text such as "512M" or "2G"; 0 or "" for none'),
]
Switch = Annotated[bool, Meta(description="true or false")]
Level = Annotated[
    Literal["debug", "info", "warning", "error"],
    Meta(description='"debug", "info", "warning" or "error"'),
]
Durability = Annotated[Literal["normal", "full"], Meta(description='"normal" or "full"')]
Format = Annotated[Literal["json", "text", "auto"], Meta(description='"json", "text" or "auto"')]
Listen = Annotated[
    str,
    Meta(
        pattern=r"\A(?:|[^\0]*/[^\0]*|(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):"
        r"(?:[0-5]?[0-9]{1,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))\Z",
        description="HOST:PORT, the path of a socket with a / in it, or an empty string",
    ),
]
FilePaths = Annotated[tuple[FilePath, ...], Meta(description="a list of paths")]
_DOTTED = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
Runnable = Annotated[str, Meta(pattern=rf"\A({_DOTTED}(:{_DOTTED})?|/[^\0]+)\Z")]
Runnables = Annotated[
    tuple[Runnable, ...],
    Meta(description='a list of modules, functions (as "module:function") and paths of scripts'),
]

_SHOWN = 60  # characters of a wrong value that a message repeats


class WorkerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The worker processes and what the jobs in them find; configs/gigqd.toml explains each."""

    count: Count = 2
    python: MaybePath = ""
    pythonpath: FilePaths = (".",)
    allow: Runnables = ()
    batch: Batch = 1
    directory: MaybePath = ""
    environment: Variables = msgspec.field(default_factory=dict)
    environment_file: MaybePath = ""
    kill_grace: Seconds = 2.0
    start_timeout: StartTimeout = 60.0
    reload: Switch = True
    max_job_memory: Size = ""
    max_jobs: Jobs = 0
    max_memory: Size = ""
    spare: Spares = 0


class ShutdownSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the service ends."""

    drain_timeout: Seconds = 30.0


class RetentionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When finished jobs are deleted: days after their end, by status."""

    completed: Days = 30.0
    failed: Days = 30.0
    timeout: Days = 30.0
    cancelled: Days = 30.0


class LogSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the service writes about itself."""

    level: Level = "info"
    format: Format = "auto"


class HttpSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where health and metrics are answered."""

    listen: Listen = ""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything gigqd can be told; the defaults serve a single project's folder."""

    database: FilePath = "gigq.db"
    durability: Durability = "normal"
    workers: WorkerSettings = msgspec.field(default_factory=WorkerSettings)
    shutdown: ShutdownSettings = msgspec.field(default_factory=ShutdownSettings)
    retention: RetentionSettings = msgspec.field(default_factory=RetentionSettings)
    log: LogSettings = msgspec.field(default_factory=LogSettings)
    http: HttpSettings = msgspec.field(default_factory=HttpSettings)

    def worker_count(self) -> int:
        """Give the number of workers; "auto" is one for each core this process may use."""
        count = self.workers.count
        return len(os.sched_getaffinity(0)) if count == "auto" else count

    def job_memory_limit(self) -> int:
        """Give the bytes that a job may use at most, 0 for any number."""
        return _bytes(self.workers.max_job_memory)

    def worker_memory_limit(self) -> int:
        """Give the bytes beyond which a worker is replaced, 0 for never."""
        return _bytes(self.workers.max_memory)

    def worker_environment(self) -> dict[str, str]:
        """Give the variables added for workers; `environment` wins over `environment_file`.

        The file is read at each call, which the service makes at its start and at each reload.
        Raises SettingsError when it cannot be read.
        """
        name = self.workers.environment_file
        return (_read_variables(Path(name)) if name else {}) | self.workers.environment


def _bytes(size: int | str) -> int:
    return size_in_bytes(size) if size not in (0, "") else 0


def read_settings(path: Path | None, *, base: Path | None = None, secrets: bool = True) -> Settings:
    """Read and check the configuration file `path`; None gives the defaults.

    With `secrets`, its `environment_file` has to be readable as well.

    Paths in the result are absolute: relative to the folder of the file, or to `base` (the current
    folder) for the defaults. Symbolic links stay, for a virtual environment's python knows its
    packages only by its own name. Raises SettingsError.
    """
    if path is None:
        return _resolved(Settings(), (base or Path.cwd()).absolute())
    file = TomlFile(path)
    settings = _settings_of(file)
    try:
        if secrets:
            settings.worker_environment()
    except SettingsError as error:
        raise file.error(("workers", "environment_file"), str(error)) from error
    return settings


def find_configuration(explicit: Path | None) -> Path | None:
    """Give the configuration file to use: `explicit`, else the first that exists, else None.

    Looked for in the current folder, the user's configuration folder, and /etc/gigq. Raises
    SettingsError when `explicit` does not exist, or when it cannot be told whether a file does:
    to pass over an unreadable one could mean to work on another database.
    """
    for candidate in [explicit] if explicit else _usual_configurations():
        try:
            candidate.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            if explicit:
                raise unreadable(candidate, error) from error
        except OSError as error:
            raise unreadable(candidate, error) from error
        else:
            return candidate.absolute()
    return None


def find_database(explicit: Path | None, configuration: Path | None) -> Path:
    """Give the absolute path of the database to use; its symbolic links stay.

    That is `explicit`, else $GIGQ_DB, else what the `configuration` file says, else ./gigq.db.
    The `environment_file` is left alone: who submits jobs need not be able to read its secrets.
    Raises SettingsError when the configuration is needed and not usable.
    """
    chosen = explicit or os.environ.get("GIGQ_DB")
    if not chosen:
        chosen = (_settings_of(TomlFile(configuration)) if configuration else Settings()).database
    return Path(chosen).absolute()


def _usual_configurations() -> Iterator[Path]:
    yield Path("gigqd.toml")
    personal = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if not personal.is_absolute():  # the XDG specification has relative ones ignored
        personal = Path(os.path.expanduser("~/.config"))  # noqa: PTH111 - a user may have no home
    if personal.is_absolute():
        yield personal / "gigq/gigqd.toml"
    yield Path("/etc/gigq/gigqd.toml")


def _settings_of(file: TomlFile) -> Settings:
    for key, problem in _problems(file.table, Settings, ()):
        raise file.error(key, problem)
    return _resolved(msgspec.convert(file.table, Settings), file.path.absolute().parent)


def _problems(table: dict[str, Any], kind: type[Struct], key: Key) -> Iterator[tuple[Key, str]]:
    wanted = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for name, value in table.items():
        here = (*key, name)
        if name not in wanted:
            yield here, f"unknown setting{_suggestion(name, list(wanted), key)}"
        elif not isinstance(wanted[name], type):
            yield from _value_problems(value, wanted[name], here)
        elif isinstance(value, dict):
            yield from _problems(value, wanted[name], here)
        else:
            yield here, f"expected a table, got {_shown(value)}"


def _value_problems(value: object, wanted: object, key: Key) -> Iterator[tuple[Key, str]]:
    if not _fits(value, wanted):
        expected = f"expected {get_args(wanted)[1].description}"
        # A variable may be a secret, and messages end in logs: what was written is not repeated.
        if wanted != Variables:
            yield key, f"{expected}, got {_shown(value)}"
        elif not isinstance(value, dict):
            yield key, expected
        else:
            wrong = next(name for name, text in value.items() if not _fits({name: text}, wanted))
            yield (*key, wrong), "expected a name without = and a string as its value"
    elif wanted in (FilePath, MaybePath, FilePaths, Listen):
        for path in value if isinstance(value, list) else [str(value)]:
            if not _has_home(path):
                yield key, f"no home folder is known for {_shown(path)}"


def _fits(value: object, wanted: object) -> bool:
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        return False
    return True


def _has_home(path: str) -> bool:
    try:
        Path(path).expanduser()
    except RuntimeError:
        return False
    return True


def _suggestion(name: str, siblings: list[str], table: Key) -> str:
    tables = [field for field in msgspec.structs.fields(Settings) if isinstance(field.type, type)]
    elsewhere = {
        field.name: (of.name, field.name)
        for of in tables
        for field in msgspec.structs.fields(of.type)
    }
    if close := get_close_matches(name, siblings, n=1):
        meant = (*table, close[0])
    elif close := get_close_matches(name, elsewhere, n=1):
        meant = elsewhere[close[0]]
    else:
        return ""
    return f'; did you mean "{dotted(meant)}"?'


def _resolved(settings: Settings, folder: Path) -> Settings:
    def absolute(path: str) -> str:
        return str(folder / Path(path).expanduser()) if path else ""

    workers, listen = settings.workers, settings.http.listen
    return msgspec.structs.replace(
        settings,
        database=absolute(settings.database),
        workers=msgspec.structs.replace(
            workers,
            python=absolute(workers.python) if "/" in workers.python else workers.python,
            pythonpath=tuple(absolute(path) for path in workers.pythonpath),
            directory=absolute(workers.directory),
            environment_file=absolute(workers.environment_file),
        ),
        http=HttpSettings(listen=absolute(listen) if "/" in listen else listen),
    )


_VARIABLE = re.compile(
    r"""(?:export\s+)? (?P<name>[A-Za-z_][A-Za-z0-9_]*) \s*=\s*
        (?: '(?P<single>[^'\0]*)' | "(?P<double>[^"\0]*)" | (?P<bare>(?:[^'"\0][^\0]*)?) )""",
    re.VERBOSE,
)


def _read_variables(path: Path) -> dict[str, str]:
    """Read an environment file.

    A line is KEY=VALUE, possibly after `export `; blank lines and lines that begin with # are
    comments. Blanks around key and value do not count. A value may stand in single or double
    quotes. Nothing within it is special: no escapes, no $, and a # belongs to the value.
    """
    variables = {}
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        statement = text.strip()
        if not statement or statement.startswith("#"):
            continue
        found = _VARIABLE.fullmatch(statement)
        if not found:
            raise misplaced(path, line, "expected KEY=VALUE, the value in quotes or without any")
        variables[found["name"]] = found["single"] or found["double"] or found["bare"] or ""
    return variables


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, float) else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
