"""Settings: what the configuration file may say, and what is said about a wrong one."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from gigq.queue.errors import GigqError, SettingsError
from gigq.queue.settings import (
    LogSettings,
    Settings,
    ShutdownSettings,
    WorkerSettings,
    find_configuration,
    find_database,
    read_settings,
)
from gigq.queue.toml_lines import dotted, find_line, key_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty current folder, apart from the file system's root and the test's user."""
    current = tmp_path / "current"
    current.mkdir()
    monkeypatch.chdir(current)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("GIGQ_DB", raising=False)
    return current


def write(path: Path, text: str) -> Path:
    """Write a file, making the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def complaint(path: Path) -> str:
    """Read a wrong configuration and give what is said about it."""
    with pytest.raises(SettingsError) as caught:
        read_settings(path)
    return str(caught.value)


def settings_keys() -> Iterator[tuple[str, ...]]:
    """Give the key of every setting that is no table."""
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.type, type):
            yield from ((field.name, inner.name) for inner in msgspec.structs.fields(field.type))
        else:
            yield (field.name,)


class TestExamples:
    """The files of configs/ keep to the code."""

    def test_reference_file_equals_the_defaults(self) -> None:
        """configs/gigqd.toml read without path resolution is Settings()."""
        table = tomllib.loads((CONFIGS / "gigqd.toml").read_text())
        assert msgspec.convert(table, Settings) == Settings()

    def test_reference_file_reads_like_no_file(self) -> None:
        """Reading configs/gigqd.toml gives what no file gives with its folder as the base."""
        assert read_settings(CONFIGS / "gigqd.toml") == read_settings(None, base=CONFIGS)

    @pytest.mark.parametrize("key", [*settings_keys()], ids=dotted)
    def test_reference_file_explains_every_setting(self, key: tuple[str, ...]) -> None:
        """Each setting stands in configs/gigqd.toml, right below a comment."""
        document = (CONFIGS / "gigqd.toml").read_text()
        line = key_lines(document)[key]
        assert document.splitlines()[line - 2].startswith("# ")

    @pytest.mark.parametrize("name", ["development", "production"])
    def test_other_examples_are_valid(self, name: str) -> None:
        """The example can be read where it lies."""
        assert read_settings(CONFIGS / f"{name}.toml").workers.kill_grace >= 0

    def test_production_depends_on_no_folder(self) -> None:
        """configs/production.toml means the same wherever it is copied to."""
        table = tomllib.loads((CONFIGS / "production.toml").read_text())
        settings = read_settings(CONFIGS / "production.toml")
        assert msgspec.convert(table, Settings) == settings
        assert not settings.workers.reload
        assert settings.workers.count == "auto"
        assert settings.log.format == "auto"
        assert settings.shutdown.drain_timeout > ShutdownSettings().drain_timeout


class TestValues:
    """What a correct file gives."""

    def test_everything_can_be_set(self, folder: Path) -> None:
        """Every value of the file arrives in the settings."""
        write(folder / "secrets", "TOKEN=abc")
        path = write(
            folder / "gigqd.toml",
            """
            database = "/data/jobs.db"
            [workers]
            count = 3
            python = "/venv/bin/python"
            pythonpath = ["/code", "/lib"]
            allow = ["myapp.jobs", "myapp.mail:send", "/srv/etl.py"]
            directory = "/work"
            environment = {TZ = "UTC"}
            environment_file = "secrets"
            kill_grace = 0
            reload = false
            [shutdown]
            drain_timeout = 7
            [log]
            level = "debug"
            format = "json"
            """,
        )
        assert read_settings(path) == Settings(
            database="/data/jobs.db",
            workers=WorkerSettings(
                count=3,
                python="/venv/bin/python",
                pythonpath=("/code", "/lib"),
                allow=("myapp.jobs", "myapp.mail:send", "/srv/etl.py"),
                directory="/work",
                environment={"TZ": "UTC"},
                environment_file=str(folder / "secrets"),
                kill_grace=0.0,
                reload=False,
            ),
            shutdown=ShutdownSettings(drain_timeout=7.0),
            log=LogSettings(level="debug", format="json"),
        )

    def test_empty_file_gives_the_defaults(self, folder: Path) -> None:
        """An empty file changes nothing."""
        path = write(folder / "gigqd.toml", "")
        assert read_settings(path) == read_settings(None)

    @pytest.mark.parametrize("count", [0, 1, 1000])
    def test_count_of_workers(self, folder: Path, count: int) -> None:
        """A number of workers is taken as it stands, zero included."""
        path = write(folder / "gigqd.toml", f"workers.count = {count}")
        assert read_settings(path).worker_count() == count

    def test_automatic_count_follows_the_allowed_cores(self) -> None:
        """With "auto" there are as many workers as cores that this process may use."""
        settings = Settings(workers=WorkerSettings(count="auto"))
        allowed = os.sched_getaffinity(0)
        assert settings.worker_count() == len(allowed)
        os.sched_setaffinity(0, {min(allowed)})
        try:
            assert settings.worker_count() == 1
        finally:
            os.sched_setaffinity(0, allowed)

    def test_settings_cannot_be_changed(self) -> None:
        """Settings are fixed once they are read."""
        with pytest.raises(AttributeError):
            Settings().database = "other.db"  # type: ignore[misc]

    def test_import_of_gigq_does_without_msgspec(self) -> None:
        """A program that submits jobs does not load the settings' library."""
        program = "import sys, gigq; sys.exit('msgspec' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


class TestPaths:
    """What paths in the file are relative to."""

    def test_relative_paths_count_from_the_folder_of_the_file(self, folder: Path) -> None:
        """Each relative path is resolved beside the file, wherever the reader stands."""
        place = folder.parent / "place"
        write(place / "env", "")
        write(
            place / "gigqd.toml",
            """
            database = "data/gigq.db"
            [workers]
            python = "venv/bin/python"
            pythonpath = [".", "src"]
            directory = "work"
            environment_file = "env"
            """,
        )
        settings = read_settings(Path("../place/gigqd.toml"))
        beside = folder / "../place"
        assert settings.database == str(beside / "data/gigq.db")
        assert settings.workers.python == str(beside / "venv/bin/python")
        assert settings.workers.pythonpath == (str(beside), str(beside / "src"))
        assert settings.workers.directory == str(beside / "work")
        assert settings.workers.environment_file == str(beside / "env")

    def test_home_is_expanded(self, folder: Path) -> None:
        """A path may begin with ~."""
        path = write(
            folder / "gigqd.toml",
            'database = "~/gigq.db"\n[workers]\npython = "~/bin/python"\npythonpath = ["~"]',
        )
        settings = read_settings(path)
        home = folder.parent / "home"
        assert settings.database == str(home / "gigq.db")
        assert settings.workers.python == str(home / "bin/python")
        assert settings.workers.pythonpath == (str(home),)

    def test_python_of_a_virtual_environment_stays(self, folder: Path) -> None:
        """A symbolic link to an interpreter is not followed."""
        (folder / "python").symlink_to(sys.executable)
        path = write(folder / "gigqd.toml", 'workers.python = "./python"')
        assert read_settings(path).workers.python == str(folder / "python")

    def test_python_without_a_slash_is_left_to_the_search_path(self, folder: Path) -> None:
        """A bare name of an interpreter is no path."""
        path = write(folder / "gigqd.toml", 'workers.python = "python3"')
        assert read_settings(path).workers.python == "python3"

    def test_defaults_count_from_the_base(self, folder: Path) -> None:
        """Without a file, paths are relative to the base, else to the current folder."""
        assert read_settings(None).database == str(folder / "gigq.db")
        assert read_settings(None).workers.pythonpath == (str(folder),)
        assert read_settings(None, base=Path("/srv")).database == "/srv/gigq.db"
        assert read_settings(None, base=Path("sub")).database == str(folder / "sub/gigq.db")

    def test_empty_paths_stay_empty(self, folder: Path) -> None:
        """What an empty path stands for is not replaced by a folder."""
        workers = read_settings(write(folder / "gigqd.toml", "")).workers
        assert (workers.python, workers.directory, workers.environment_file) == ("", "", "")


HUGE = "1" + 400 * "0"
HUGE_SHOWN = "1" + 59 * "0" + "..."

RUNNABLES = 'expected a list of modules, functions (as "module:function") and paths of scripts'
WRONG_VALUES = [
    (
        'workers.count = "lots"',
        'workers.count: expected an int from 0 to 1000 or "auto", got "lots"',
    ),
    ("workers.count = -1", 'workers.count: expected an int from 0 to 1000 or "auto", got -1'),
    ("workers.count = 1001", 'workers.count: expected an int from 0 to 1000 or "auto", got 1001'),
    ("workers.count = true", 'workers.count: expected an int from 0 to 1000 or "auto", got true'),
    ("workers.count = 2.0", 'workers.count: expected an int from 0 to 1000 or "auto", got 2.0'),
    (
        "workers.kill_grace = -1",
        "workers.kill_grace: expected a number of seconds from 0 to 1e9, got -1",
    ),
    (
        "workers.kill_grace = true",
        "workers.kill_grace: expected a number of seconds from 0 to 1e9, got true",
    ),
    (
        'workers.kill_grace = "2"',
        'workers.kill_grace: expected a number of seconds from 0 to 1e9, got "2"',
    ),
    (
        "shutdown.drain_timeout = inf",
        "shutdown.drain_timeout: expected a number of seconds from 0 to 1e9, got inf",
    ),
    (
        "shutdown.drain_timeout = nan",
        "shutdown.drain_timeout: expected a number of seconds from 0 to 1e9, got nan",
    ),
    (
        f"shutdown.drain_timeout = {HUGE}",
        f"shutdown.drain_timeout: expected a number of seconds from 0 to 1e9, got {HUGE_SHOWN}",
    ),
    ("workers.reload = 1", "workers.reload: expected true or false, got 1"),
    ('database = ""', 'database: expected a path, got ""'),
    ("database = 2024-02-03", 'database: expected a path, got "2024-02-03"'),
    (r'database = "a\u0000b"', r'database: expected a path, got "a\u0000b"'),
    (
        'database = "~nobody-of-this-name/x"',
        'database: no home folder is known for "~nobody-of-this-name/x"',
    ),
    ("workers.python = 3.12", "workers.python: expected a path or an empty string, got 3.12"),
    ('workers.pythonpath = "."', 'workers.pythonpath: expected a list of paths, got "."'),
    (
        'workers.pythonpath = [".", 3]',
        'workers.pythonpath: expected a list of paths, got [".", 3]',
    ),
    ('workers.pythonpath = [""]', 'workers.pythonpath: expected a list of paths, got [""]'),
    (
        'workers.pythonpath = [".", "~nobody-of-this-name"]',
        'workers.pythonpath: no home folder is known for "~nobody-of-this-name"',
    ),
    (
        "workers.environment = {PORT = 8080}",
        "workers.environment.PORT: expected a name without = and a string as its value",
    ),
    (
        'workers.environment = {A = "a", "B=C" = "secret"}',
        'workers.environment."B=C": expected a name without = and a string as its value',
    ),
    (
        r'workers.environment = {A = "sec\u0000ret"}',
        "workers.environment.A: expected a name without = and a string as its value",
    ),
    ('workers.environment = "PIN=1"', "workers.environment: expected a table of strings"),
    (
        'log.level = "INFO"',
        'log.level: expected "debug", "info", "warning" or "error", got "INFO"',
    ),
    ('log.format = "xml"', 'log.format: expected "json", "text" or "auto", got "xml"'),
    *(
        (
            f"workers.allow = {value}",
            f"workers.allow: {RUNNABLES}, got {value}",
        )
        for value in (
            '"myapp"',
            "[1]",
            '[""]',
            '["myapp."]',
            '["myapp jobs"]',
            '["a:b:c"]',
            '["etl.py:"]',
            '["./etl.py"]',
        )
    ),
    ("workers = 3", "workers: expected a table, got 3"),
    ("[[workers]]\ncount = 3", 'workers: expected a table, got [{"count": 3}]'),
]


class TestComplaints:
    """What is said about a wrong file: its path, the line, the key, and what is the matter."""

    @pytest.mark.parametrize(("text", "problem"), WRONG_VALUES)
    def test_wrong_value(self, folder: Path, text: str, problem: str) -> None:
        """A value of the wrong kind is named with its place and with what would be right."""
        path = write(folder / "gigqd.toml", f"# one\n\n{text}\n")
        assert complaint(path) == f"{path}:3: {problem}"

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("[workers]\n# count = 1\ncount = 'x'", 3),
            ("[ workers ] # count\n'count' = 'x'", 2),
            ("\nworkers.count = 'x'", 2),
            ('"workers" . "co\\u0075nt" = "x"', 1),
            ("workers = {reload = true, count = 'x'}", 1),
            ("[workers]\npythonpath = [\n  'count = 1', # ]\n]\ncount = 'x'", 5),
            ("[workers]\ndirectory = '''\ncount = 1\n'''\ncount = 'x'", 5),
            ("[log]\n[workers.environment]\ncount = '1'\n[workers]\ncount = 'x'", 5),
            ("[workers]\r\nreload = true\r\ncount = 'x'\r\n", 3),
        ],
    )
    def test_line_in_each_way_of_writing(self, folder: Path, text: str, line: int) -> None:
        """The line is right however TOML allows the key to be written."""
        path = folder / "gigqd.toml"
        path.write_bytes(text.encode())
        assert complaint(path).startswith(f"{path}:{line}: workers.count: expected an int")

    def test_variable_in_a_table_of_its_own(self, folder: Path) -> None:
        """A wrong variable is named with its own line, and its value is kept out of the logs."""
        path = write(folder / "gigqd.toml", "[workers.environment]\nTZ = 'UTC'\nPIN = 1234\n")
        message = complaint(path)
        assert message.startswith(f"{path}:3: workers.environment.PIN: expected a name without =")
        assert "1234" not in message

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (
                "[workers]\ncuont = 2",
                ':2: workers.cuont: unknown setting; did you mean "workers.count"?',
            ),
            ("\n[worker]", ':2: worker: unknown setting; did you mean "workers"?'),
            ("databse = 'x'", ':1: databse: unknown setting; did you mean "database"?'),
            (
                "kill_grace = 2",
                ':1: kill_grace: unknown setting; did you mean "workers.kill_grace"?',
            ),
            ("log.drain = 2", ":1: log.drain: unknown setting"),
            ("log.'' = 2", ':1: log."": unknown setting'),
            ("zzz = 'secret'", ":1: zzz: unknown setting"),
        ],
    )
    def test_unknown_setting(self, folder: Path, text: str, said: str) -> None:
        """An unknown key is named, with the setting of a similar name where there is one."""
        path = write(folder / "gigqd.toml", text)
        assert complaint(path) == f"{path}{said}"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("\n\ncount", ":3: Expected '=' after a key in a key/value pair (at end of document)"),
            ("a = [1,\n2\n\n", ":2: "),
            ("a = 'x\n'", ":1: "),
            ("[a]\nx = 1\n[a]\n", ":3: "),
            (f"a = {'9' * 5000}", ": "),
        ],
    )
    def test_syntax_error(self, folder: Path, text: str, said: str) -> None:
        """What is not TOML is named with the line where reading stopped."""
        path = write(folder / "gigqd.toml", text)
        assert complaint(path).startswith(f"{path}{said}")

    def test_syntax_error_keeps_the_column(self, folder: Path) -> None:
        """The line stands once, at the front, and the column at the end."""
        path = write(folder / "gigqd.toml", "\nx = 1 2\n")
        message = complaint(path)
        assert message.startswith(f"{path}:2: ")
        assert message.endswith(" (column 7)")

    def test_bottomless_nesting(self, folder: Path) -> None:
        """A file that the parser gives up on is a wrong file, too."""
        path = write(folder / "gigqd.toml", "a = " + "[" * 100_000)
        assert complaint(path).startswith(f"{path}")

    def test_not_utf8(self, folder: Path) -> None:
        """Another encoding is named with the line of its first strange byte."""
        path = folder / "gigqd.toml"
        path.write_bytes(b"# plain\ndatabase = 'caf\xe9.db'\n")
        assert complaint(path) == f"{path}:2: this is not UTF-8 text"

    def test_unreadable_file(self, folder: Path) -> None:
        """A file that cannot be read is named with the system's reason."""
        assert complaint(folder / "none.toml") == f"{folder}/none.toml: No such file or directory"
        assert complaint(folder) == f"{folder}: Is a directory"

    def test_complaint_is_one_of_gigq(self) -> None:
        """Who handles the errors of gigq handles wrong settings."""
        assert issubclass(SettingsError, GigqError)


class TestEnvironment:
    """The variables given to workers."""

    def test_environment_wins_over_its_file(self, folder: Path) -> None:
        """A variable of the configuration hides the same one of the environment file."""
        write(folder / "env", "A=file\nB=file\n")
        path = write(
            folder / "gigqd.toml",
            "[workers]\nenvironment_file = 'env'\nenvironment = {B = 'here', C = 'here'}",
        )
        variables = read_settings(path).worker_environment()
        assert variables == {"A": "file", "B": "here", "C": "here"}

    def test_environment_alone(self) -> None:
        """Without a file there are the variables of the configuration, and no others."""
        settings = Settings(workers=WorkerSettings(environment={"A": "1"}))
        assert settings.worker_environment() == {"A": "1"}

    def test_caller_may_change_what_it_got(self) -> None:
        """Adding to the variables for one worker leaves the settings alone."""
        settings = Settings()
        settings.worker_environment()["A"] = "1"
        assert settings.worker_environment() == {}

    def test_format_of_the_file(self, folder: Path) -> None:
        """Comments, blanks, quotes and `export` are understood, and nothing else is special."""
        path = folder / "env"
        path.write_bytes(
            b"# a comment = 1\n"
            b"\n"
            b"   # another\n"
            b"PLAIN=one\n"
            b"export EXPORTED=two\n"
            b"  SPACED = a b  \n"
            b"SINGLE=' a \"b\" '\n"
            b'DOUBLE=" it\'s \\n $PLAIN "\n'
            b"EMPTY=\n"
            b"QUOTED_EMPTY=''\n"
            b"HASH=a # b\n"
            b"EQUALS=a=b=c\n"
            b"DOLLAR=$PLAIN\n"
            b"UNICODE=caf\xc3\xa9\n"
            b"WINDOWS=line\r\n"
            b"TWICE=1\n"
            b"TWICE=2\n"
            b"export=3"
        )
        settings = Settings(workers=WorkerSettings(environment_file=str(path)))
        assert settings.worker_environment() == {
            "PLAIN": "one",
            "EXPORTED": "two",
            "SPACED": "a b",
            "SINGLE": ' a "b" ',
            "DOUBLE": r" it's \n $PLAIN ",
            "EMPTY": "",
            "QUOTED_EMPTY": "",
            "HASH": "a # b",
            "EQUALS": "a=b=c",
            "DOLLAR": "$PLAIN",
            "UNICODE": "café",
            "WINDOWS": "line",
            "TWICE": "2",
            "export": "3",
        }

    @pytest.mark.parametrize(
        "line",
        [
            "secret",
            "export A",
            "=secret",
            "1A=secret",
            "A B=secret",
            "A-B=secret",
            "A='secret",
            'A="secret" # why',
            "A='sec'ret'",
            "A=sec\0ret",
            "A='sec\0ret'",
        ],
    )
    def test_wrong_line_of_the_file(self, folder: Path, line: str) -> None:
        """A line that is no variable is named by both files' places, without its text."""
        environment = write(folder / "env", f"# one\nGOOD=1\n{line}\n")
        path = write(folder / "gigqd.toml", "[workers]\nenvironment_file = 'env'\n")
        assert complaint(path) == (
            f"{path}:2: workers.environment_file: "
            f"{environment}:3: expected KEY=VALUE, the value in quotes or without any"
        )

    def test_missing_file(self, folder: Path) -> None:
        """An environment file that does not exist is an error of the configuration."""
        path = write(folder / "gigqd.toml", "\nworkers.environment_file = 'none'\n")
        assert complaint(path) == (
            f"{path}:2: workers.environment_file: {folder}/none: No such file or directory"
        )

    def test_file_in_another_encoding(self, folder: Path) -> None:
        """An environment file that is not UTF-8 is named with its line."""
        (folder / "env").write_bytes(b"A=1\nB=\xff\n")
        path = write(folder / "gigqd.toml", "workers.environment_file = 'env'")
        assert complaint(path).endswith(f" {folder}/env:2: this is not UTF-8 text")

    def test_changed_file_reaches_the_next_worker(self, folder: Path) -> None:
        """The file is read anew for each worker, and its loss is an error then."""
        environment = write(folder / "env", "A=1")
        settings = read_settings(write(folder / "gigqd.toml", "workers.environment_file = 'env'"))
        environment.write_text("A=2")
        assert settings.worker_environment() == {"A": "2"}
        environment.unlink()
        with pytest.raises(SettingsError, match="env: No such file or directory"):
            settings.worker_environment()


class TestFindConfiguration:
    """Where the configuration file is looked for."""

    def test_order(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The current folder comes before the user's, and a named file before all."""
        xdg = write(folder.parent / "xdg/gigq/gigqd.toml", "")
        home = write(folder.parent / "home/.config/gigq/gigqd.toml", "")
        here = write(folder / "gigqd.toml", "")
        named = write(folder / "named.toml", "")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder.parent / "xdg"))
        assert find_configuration(named) == named
        assert find_configuration(None) == here
        here.unlink()
        assert find_configuration(None) == xdg
        monkeypatch.delenv("XDG_CONFIG_HOME")
        assert find_configuration(None) == home

    @pytest.mark.parametrize("value", ["", "relative"])
    def test_unusable_xdg_folder(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        """An empty or relative $XDG_CONFIG_HOME is as good as none."""
        write(folder / "relative/gigq/gigqd.toml", "")
        home = write(folder.parent / "home/.config/gigq/gigqd.toml", "")
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        assert find_configuration(None) == home

    def test_xdg_folder_replaces_the_usual_one(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With $XDG_CONFIG_HOME set, ~/.config is not looked at."""
        write(folder.parent / "home/.config/gigq/gigqd.toml", "")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder.parent / "xdg"))
        assert find_configuration(None) == of_the_system()

    def test_unknown_home(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the user's home is not known, no place is made up for it."""
        write(folder / "relative/.config/gigq/gigqd.toml", "")
        monkeypatch.setenv("HOME", "relative")
        assert find_configuration(None) == of_the_system()

    @pytest.mark.usefixtures("folder")
    def test_none(self) -> None:
        """Without any file of one's own, there is the system's or none."""
        assert find_configuration(None) == of_the_system()

    def test_named_file_must_exist(self, folder: Path) -> None:
        """A named file that is not there is an error, even where another could be found."""
        write(folder / "gigqd.toml", "")
        with pytest.raises(SettingsError, match=r"^none\.toml: No such file or directory$"):
            find_configuration(Path("none.toml"))

    def test_answer_outlives_a_change_of_folder(self, folder: Path) -> None:
        """The path found is absolute."""
        write(folder / "named.toml", "")
        assert find_configuration(Path("named.toml")) == folder / "named.toml"

    def test_file_that_cannot_be_looked_at(self, folder: Path) -> None:
        """A file that may or may not exist is not passed over."""
        (folder / "gigqd.toml").symlink_to("gigqd.toml")
        with pytest.raises(SettingsError, match=r"^gigqd\.toml: Too many levels of symbolic links"):
            find_configuration(None)


def of_the_system() -> Path | None:
    """Give the last place looked at, which a test can neither make nor remove."""
    path = Path("/etc/gigq/gigqd.toml")
    return path if path.exists() else None


class TestFindDatabase:
    """Which database the commands work on."""

    def test_order(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A named database comes before $GIGQ_DB, then the configuration, then ./gigq.db."""
        configuration = write(folder.parent / "etc/gigqd.toml", "database = 'data/jobs.db'")
        monkeypatch.setenv("GIGQ_DB", "variable.db")
        assert find_database(Path("named.db"), configuration) == folder / "named.db"
        assert find_database(None, configuration) == folder / "variable.db"
        monkeypatch.setenv("GIGQ_DB", "")
        assert find_database(None, configuration) == folder.parent / "etc/data/jobs.db"
        assert find_database(None, None) == folder / "gigq.db"

    def test_configuration_without_a_database(self, folder: Path) -> None:
        """A configuration that names no database means the one beside it."""
        configuration = write(folder.parent / "etc/gigqd.toml", "")
        assert find_database(None, configuration) == folder.parent / "etc/gigq.db"

    def test_symbolic_links_stay(self, folder: Path) -> None:
        """A linked database keeps the name it was given."""
        (folder / "link.db").symlink_to("/var/lib/gigq/gigq.db")
        assert find_database(Path("link.db"), None) == folder / "link.db"

    def test_secrets_are_not_needed(self, folder: Path) -> None:
        """Who may not read the environment file can still submit jobs."""
        configuration = write(folder / "gigqd.toml", "workers.environment_file = 'none'")
        assert find_database(None, configuration) == folder / "gigq.db"

    def test_wrong_configuration(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A wrong configuration is an error exactly when it is needed."""
        configuration = write(folder / "gigqd.toml", "databse = 'x'")
        with pytest.raises(SettingsError, match=r'gigqd\.toml:1: .* did you mean "database"'):
            find_database(None, configuration)
        monkeypatch.setenv("GIGQ_DB", "x.db")
        assert find_database(None, configuration) == folder / "x.db"


DOCUMENT = r'''# no = 1
a = 1.5 # no = 2
"q.k" = [1, [2, "]"], # ] no = 1
  {in = {deep = 1979-05-27T07:32:00Z, 'x y'.z = "}"}, last = 1},
  3, {}, { other = [] },
]
t = """
no = 1
\""" no"""""
d.e . "f\u0041" = {}
[ tab . "le" ] # [no]
"PA=TH"="[no]"
[[arr]]
one=''
[[arr]]
two=""
[arr.sub]
three=-inf
[tab]
four=4'''

FORMS = ["plain", "quoted", "dotted", "table"]
VALUES = [
    "1",
    "-1.5e3",
    "1979-05-27 07:32:00",
    "''",
    '""',
    r'"\"#["',
    "'#=['",
    "[]",
    "[ # ]\n]",
    "[[1],\n{x = 1}, ]",
    "{}",
    "{ a.b = [1, 2], 'c' = {d = ''} }",
    '"""\n[x]\ny = 1\n"""',
    r'''"""a\"""b"""""''',
    "'''\n'a' = 1\n'''''",
]


class TestTomlLines:
    """Where keys stand in a TOML document."""

    def test_every_way_of_writing_a_key(self) -> None:
        """Each key and table is found at its line, and nothing else is taken for a key."""
        tomllib.loads(DOCUMENT)
        assert key_lines(DOCUMENT) == {
            ("a",): 2,
            ("q.k",): 3,
            ("q.k", "in"): 4,
            ("q.k", "in", "deep"): 4,
            ("q.k", "in", "x y"): 4,
            ("q.k", "in", "x y", "z"): 4,
            ("q.k", "last"): 4,
            ("q.k", "other"): 5,
            ("t",): 7,
            ("d",): 10,
            ("d", "e"): 10,
            ("d", "e", "fA"): 10,
            ("tab",): 19,
            ("tab", "le"): 11,
            ("tab", "le", "PA=TH"): 12,
            ("arr",): 15,
            ("arr", "one"): 14,
            ("arr", "two"): 16,
            ("arr", "sub"): 17,
            ("arr", "sub", "three"): 18,
            ("tab", "four"): 20,
        }

    @given(some.lists(some.tuples(some.sampled_from(FORMS), some.sampled_from(VALUES))))
    def test_any_order_of_statements(self, statements: list[tuple[str, str]]) -> None:
        """Whatever stands before it, a key is found at its line."""
        document = ""
        table: tuple[str, ...] = ()
        expected = {}
        for number, (form, value) in enumerate(statements):
            key = (*table, f"{form}{number}")
            line = document.count("\n") + 1
            match form:
                case "plain":
                    document += f"{key[-1]} = {value} # [no]\n"
                case "quoted":
                    document += f"'{key[-1]}' = {value}\n"
                case "dotted":
                    document += f"{key[-1]} . x = {value}\n"
                case "table":
                    key = table = key[-1:]
                    document += f"[ {key[0]} ] # no =\n"
            expected[key] = line
        tomllib.loads(document)
        lines = key_lines(document)
        assert {key: lines.get(key) for key in expected} == expected

    def test_missing_key_is_at_its_table(self) -> None:
        """A key that is not written down has its table's line, or none."""
        document = "\n[workers]\nreload = true\n"
        assert find_line(document, ("workers", "reload")) == 3
        assert find_line(document, ("workers", "count")) == 2
        assert find_line(document, ("workers", "environment", "A")) == 2
        assert find_line(document, ("log", "level")) is None
