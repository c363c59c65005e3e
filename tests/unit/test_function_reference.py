"""Naming a function so that a worker finds it again, or saying why none could."""

from __future__ import annotations

import builtins
import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gigq import Job, task
from gigq.queue.errors import FunctionReferenceError, InvalidJobError
from gigq.queue.function_reference import FunctionReference, import_root, reference

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

MODULE = """
import functools
from gigq import task

def plain(): ...
def outer():
    def inner(): ...
    return inner
def generator(): yield
async def coroutine(): ...
async def stream(): yield
anonymous = lambda: None

def wrap(function):
    @functools.wraps(function)
    def wrapper(*args): return function(*args)
    return wrapper

@wrap
def wrapped(): ...

@task
def decorated(): ...

class Kind:
    def method(self): ...
    @classmethod
    def of_class(cls): ...
    @staticmethod
    def static(): ...
    def __call__(self): ...
    class Inner:
        @staticmethod
        def deep(): ...

instance = Kind()
partial = functools.partial(plain)
"""

# A script that prints the reference of its own function, or why it has none.
SCRIPT = """
import json
from gigq.queue.function_reference import reference
def work(): ...
try:
    print(json.dumps(reference(work)))
except TypeError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder on the path; what was imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def module(folder: Path, name: str) -> ModuleType:
    """Write a module of functions, with the packages above it, and import it."""
    path = folder.joinpath(*name.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(MODULE)
    for package in path.relative_to(folder).parents:
        if package.name:
            (folder / package / "__init__.py").touch()
    importlib.invalidate_caches()
    return importlib.import_module(name)


def refusal(function: Any) -> str:  # noqa: ANN401
    """Give what is said about a function that no worker could find."""
    with pytest.raises(FunctionReferenceError) as caught:
        reference(function)
    return str(caught.value)


def told(*command: str, cwd: Path, text: str | None = None) -> Any:  # noqa: ANN401
    """Run Python and read what SCRIPT printed."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


class TestModules:
    """Functions of modules."""

    def test_module(self, folder: Path) -> None:
        """A function of a module is named by both, and the folder that made it importable."""
        jobs = module(folder, "refjobs")
        expected = FunctionReference("refjobs", "plain", None, str(folder))
        assert reference(jobs.plain) == expected

    @pytest.mark.parametrize("name", ["refpack.jobs", "refpack.sub.jobs", "refpack.a.b.c"])
    def test_package(self, folder: Path, name: str) -> None:
        """The import root of a package's module is the folder above the outermost package."""
        jobs = module(folder, name)
        assert reference(jobs.plain) == FunctionReference(name, "plain", None, str(folder))

    def test_package_itself(self, folder: Path) -> None:
        """A function of a package's __init__ belongs to the package."""
        (folder / "refinit").mkdir()
        (folder / "refinit" / "__init__.py").write_text(MODULE)
        package = importlib.import_module("refinit")
        expected = FunctionReference("refinit", "plain", None, str(folder))
        assert reference(package.plain) == expected

    def test_namespace_package(self, folder: Path) -> None:
        """A module in a folder without __init__ has the same import root."""
        (folder / "refspace").mkdir()
        (folder / "refspace" / "jobs.py").write_text(MODULE)
        jobs = importlib.import_module("refspace.jobs")
        expected = FunctionReference("refspace.jobs", "plain", None, str(folder))
        assert reference(jobs.plain) == expected

    @pytest.mark.parametrize("function", [json.dumps, shutil.copy, pytest.main, os.getpid, print])
    def test_installed(self, function: Any) -> None:  # noqa: ANN401
        """What is installed, or built in, has no import root: any worker finds it."""
        found = reference(function)
        assert (found.module, found.name) == (function.__module__, function.__qualname__)
        assert (found.script, found.import_root) == (None, "")

    def test_qualified_names(self, folder: Path) -> None:
        """Static and class methods and functions of inner classes are found by their classes."""
        jobs = module(folder, "refkinds")
        for function, name in (
            (jobs.Kind.static, "Kind.static"),
            (jobs.Kind.of_class, "Kind.of_class"),
            (jobs.Kind.Inner.deep, "Kind.Inner.deep"),
            (jobs.Kind, "Kind"),
        ):
            assert reference(function).name == name

    def test_decorated(self, folder: Path) -> None:
        """A wrapped function, or a task, is found under its own name."""
        jobs = module(folder, "refwrapped")
        assert reference(jobs.wrapped).name == "wrapped"
        assert reference(jobs.decorated).name == "decorated"
        assert reference(task(jobs.plain)).name == "plain"

    def test_dotted_text(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A function given as text is not imported; its root is the current folder."""
        monkeypatch.chdir(tmp_path)
        found = reference("not_imported.jobs.load")
        assert found == FunctionReference("not_imported.jobs", "load", None, str(tmp_path))
        assert "not_imported" not in sys.modules

    @pytest.mark.parametrize(
        "text", ["load", "", ".load", "jobs.", "a..b", "my-jobs.load", "a.b()"]
    )
    def test_text_that_is_no_name(self, text: str) -> None:
        """Text that names no function of a module is refused, with an example."""
        with pytest.raises(FunctionReferenceError, match=r"write MODULE\.FUNCTION, like myapp\."):
            reference(text)


class TestRefusals:
    """What a worker could not find or keep."""

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("anonymous", "<lambda> is a lambda, which a worker cannot find by name"),
            ("generator", "generator is a generator, whose values a job cannot keep"),
            ("coroutine", "coroutine is asynchronous; wrap it: def job(): return asyncio.run("),
            ("stream", "stream is asynchronous"),
            ("instance.method", "Kind.method is a method of an object"),
        ],
    )
    def test_reason(self, folder: Path, name: str, said: str) -> None:
        """The message names the function, why it cannot be, and what can."""
        found: Any = module(folder, "refrefused")
        for part in name.split("."):
            found = getattr(found, part)
        assert refusal(found).startswith(said)

    def test_nested(self, folder: Path) -> None:
        """A function defined in another one is refused."""
        jobs = module(folder, "refnested")
        said = "outer.<locals>.inner is defined inside another function; move it to the top level"
        assert refusal(jobs.outer()).startswith(said)

    def test_no_functions(self, folder: Path) -> None:
        """What has no name in a module is no function that a worker finds."""
        jobs = module(folder, "refnone")
        for each in (jobs.instance, jobs.partial, 3, None, [], {}):
            assert "is not a function: a worker finds functions by module and name" in refusal(each)

    def test_function_that_is_not_there(self, folder: Path) -> None:
        """A function that its module does not hold under its name is refused."""
        jobs = module(folder, "refgone")
        function = jobs.plain
        del jobs.plain
        assert refusal(function).startswith("plain cannot be found as plain in module refgone")
        orphan = jobs.wrapped
        del sys.modules["refgone"]
        assert "cannot be found as wrapped in module refgone" in refusal(orphan)

    def test_kind(self) -> None:
        """The error is a TypeError and a ValueError, and one of ours."""
        assert issubclass(FunctionReferenceError, (InvalidJobError, TypeError))
        assert issubclass(FunctionReferenceError, ValueError)

    def test_refused_at_submit(self) -> None:
        """A Job can be made of anything; it is refused when it is submitted."""
        job = Job("job", functools.partial(builtins.print))
        with pytest.raises(FunctionReferenceError):
            job.to_record(0)


class TestMain:
    """Functions of `__main__`."""

    def test_script(self, tmp_path: Path) -> None:
        """A script's function is named by the script's absolute path and its folder."""
        (tmp_path / "script.py").write_text(SCRIPT)
        path = str(tmp_path / "script.py")
        expected = ["__main__", "work", path, str(tmp_path)]
        assert told("script.py", cwd=tmp_path) == expected
        assert told(path, cwd=Path("/")) == expected

    def test_module_run_by_name(self, tmp_path: Path) -> None:
        """`python -m package.module` names the module, which any worker can import."""
        package = tmp_path / "package"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "jobs.py").write_text(SCRIPT)
        (tmp_path / "single.py").write_text(SCRIPT)
        assert told("-m", "package.jobs", cwd=tmp_path) == [
            "package.jobs",
            "work",
            None,
            str(tmp_path),
        ]
        assert told("-m", "single", cwd=tmp_path) == ["single", "work", None, str(tmp_path)]

    def test_package_run_by_name(self, tmp_path: Path) -> None:
        """`python -m package` names the package's __main__ module."""
        (tmp_path / "package").mkdir()
        (tmp_path / "package" / "__main__.py").write_text(SCRIPT)
        found = told("-m", "package", cwd=tmp_path)
        assert found == ["package.__main__", "work", None, str(tmp_path)]

    def test_folder_run(self, tmp_path: Path) -> None:
        """`python folder` names the script in it."""
        folder = tmp_path / "program"
        folder.mkdir()
        (folder / "__main__.py").write_text(SCRIPT)
        path = str(folder / "__main__.py")
        assert told("program", cwd=tmp_path) == ["__main__", "work", path, str(folder)]

    @pytest.mark.parametrize("how", ["-c", "-", "stdin", "-i"])
    def test_no_file(self, tmp_path: Path, how: str) -> None:
        """What was typed into -c, standard input or a prompt is refused."""
        if how == "-c":
            said = told("-c", SCRIPT, cwd=tmp_path)
        else:
            typed = SCRIPT.replace("\ntry", "\n\ntry") + "\n"
            said = told(*([] if how == "stdin" else [how]), cwd=tmp_path, text=typed)
        assert said.startswith("work was typed into a prompt, -c or standard input")
        assert said.endswith("save it to a file and import it from there")

    def test_archive(self, tmp_path: Path) -> None:
        """A function of a program in a zip archive, which has no file, is refused."""
        with zipfile.ZipFile(tmp_path / "program.pyz", "w") as archive:
            archive.writestr("__main__.py", SCRIPT)
        assert told("program.pyz", cwd=tmp_path).startswith("work ")

    def test_imported_module_of_a_script(self, tmp_path: Path) -> None:
        """A function that a script imports is its module's, with the script's folder as root."""
        (tmp_path / "helper.py").write_text("def work(): ...")
        (tmp_path / "script.py").write_text(
            SCRIPT.replace("def work(): ...", "from helper import work")
        )
        assert told("script.py", cwd=tmp_path) == ["helper", "work", None, str(tmp_path)]


class TestImportRoot:
    """The folder that has to be on the path."""

    @pytest.mark.parametrize(
        ("name", "file", "root"),
        [
            ("jobs", "/app/jobs.py", "/app"),
            ("pack", "/app/pack/__init__.py", "/app"),
            ("pack.jobs", "/app/pack/jobs.py", "/app"),
            ("pack.sub", "/app/pack/sub/__init__.py", "/app"),
            ("pack.__main__", "/app/pack/__main__.py", "/app"),
            ("fast", "/app/fast.cpython-311-x86_64-linux-gnu.so", "/app"),
            ("pack.fast", "/app/pack/fast.abi3.so", "/app"),
            ("jobs", "/app/jobs.pyc", "/app"),
            ("jobs", "/jobs.py", "/"),
            ("renamed", "/app/jobs.py", ""),
            ("other.jobs", "/app/pack/jobs.py", ""),
            ("built_in", None, ""),
        ],
    )
    def test_root(self, name: str, file: str | None, root: str) -> None:
        """The root is where the name begins; "" where file and name do not fit."""
        assert import_root(name, file) == root

    @pytest.mark.parametrize("key", ["stdlib", "platstdlib", "purelib", "platlib"])
    def test_installed(self, key: str) -> None:
        """Folders of installed modules are no roots."""
        assert import_root("some.module", f"{sysconfig.get_path(key)}/some/module.py") == ""

    def test_link_to_installed(self) -> None:
        """Nor are the real folders behind their names."""
        real = os.path.realpath(sysconfig.get_path("purelib"))
        assert import_root("some", f"{real}/some/__init__.py") == ""
