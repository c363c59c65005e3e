"""The repository's own rules: its links, who imports whom, names of modules and of events."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from gigq.queue.events import ENDED, EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
LINKED = ("queue", "worker", "supervisor")
FOLDERS = ("gigq", *LINKED, "tests", "examples")
HEAVY = {"click", "msgspec", "prometheus_client", "psutil", "rich", "structlog", "watchdog"}
# What supervisor and workers say to each other and nobody logs.
PROTOCOL = {
    *("ready", "registered", "files", "look_soon", "worn", "code", "load", "serve", "stop"),
    *("work", "store_trouble", "store_works"),
}


class Source(NamedTuple):
    """A module of the repository."""

    path: Path  # below the repository
    module: str  # as it is imported
    tree: ast.Module

    def __repr__(self) -> str:
        """Show the path: a test's id."""
        return str(self.path)


def files() -> Iterator[Path]:
    """Give each Python file once: the package's links are not followed."""
    for folder in FOLDERS:
        for parent, below, names in os.walk(ROOT / folder):
            below[:] = [name for name in below if not name.startswith((".", "__"))]
            yield from (Path(parent, name) for name in names if name.endswith(".py"))


@cache
def sources() -> tuple[Source, ...]:
    """Read all modules."""
    found = []
    for file in files():
        path = file.relative_to(ROOT)
        package = ("gigq",) if path.parts[0] in LINKED else ()
        module = ".".join((*package, *path.with_suffix("").parts)).removesuffix(".__init__")
        found.append(Source(path, module, ast.parse(file.read_bytes(), str(path))))
    return tuple(found)


def of(*folders: str) -> list[Source]:
    """Give the modules of these top-level folders."""
    found = [source for source in sources() if source.path.parts[0] in folders]
    assert {source.path.parts[0] for source in found} == set(folders)
    return found


@cache
def imported(source: Source) -> tuple[str, ...]:
    """Give the dotted name of all that a module imports, wherever in it, and relative or not."""
    return tuple(_imported(source))


def _imported(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = source.module.split(".")
                base = ".".join((*here[: len(here) - node.level], *base.split("."))).rstrip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__"):
            yield from (text for each in node.args[:1] if (text := _constant(each)))


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _constant(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def is_below(name: str, *packages: str) -> bool:
    """Tell whether a dotted name is one of the packages or lies in one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


class TestLinks:
    """The package reaches the folders of the repository by links."""

    @pytest.mark.parametrize("name", LINKED)
    def test_link_is_relative(self, name: str) -> None:
        """gigq/queue, gigq/worker and gigq/supervisor are relative links to the folders."""
        link = ROOT / "gigq" / name
        assert link.is_symlink()
        assert os.readlink(link) == f"../{name}"  # noqa: PTH115 (as text)
        assert link.resolve() == ROOT / name
        assert (ROOT / name).is_dir()

    def test_queue_does_not_shadow_the_standard_library(self) -> None:
        """In the root, `import queue` gives the standard library's, for -c as for -m."""
        assert not (ROOT / "queue" / "__init__.py").exists()
        code = "import queue; queue.Queue; print(queue.__file__)"
        for command in (["-c", code], ["-m", "timeit", "-n1", "-r1", code]):
            done = subprocess.run(
                [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True
            )
            assert done.stdout.startswith(sysconfig.get_path("stdlib") + "/queue.py")


class TestImports:
    """Who imports whom."""

    def test_no_bare_names(self) -> None:
        """Nothing imports `worker`, `supervisor` or a module of ours from `queue`."""
        ours = [f"queue.{file.stem}" for file in (ROOT / "queue").glob("*.py")]
        assert "queue.states" in ours
        bare = [
            (source, name)
            for source in sources()
            for name in imported(source)
            if is_below(name, "worker", "supervisor", *ours)
        ]
        assert bare == []

    @pytest.mark.parametrize(
        ("folder", "above"),
        [
            ("queue", ("gigq.worker", "gigq.supervisor", "gigq.cli")),
            ("worker", ("gigq.supervisor", "gigq.cli")),
            ("supervisor", ("gigq.cli",)),
        ],
        ids=LINKED,
    )
    def test_imports_point_down(self, folder: str, above: tuple[str, ...]) -> None:
        """A folder imports nothing of those above it, not even for its types."""
        upwards = [
            (source, name)
            for source in of(folder)
            for name in imported(source)
            if is_below(name, *above)
        ]
        assert upwards == []

    def test_public_names_are_for_users(self) -> None:
        """The three folders import from each other, not through gigq's public names."""
        face = ["gigq.job", "gigq.decorators", *public_names()]
        through = [
            (source, name) for source in of(*LINKED) for name in imported(source) if name in face
        ]
        assert through == []

    def test_no_module_takes_a_standard_name(self) -> None:
        """No module or folder is called like one of the standard library's, but for queue."""
        taken = {
            part.removesuffix(".py")
            for source in sources()
            for part in source.path.parts
            if part.removesuffix(".py") in sys.stdlib_module_names
        }
        assert taken == {"queue"}
        assert not [file for file in ROOT.rglob("queue.py") if ".venv" not in file.parts]

    def test_import_is_light(self) -> None:
        """All public names load none of the service's libraries, and configure no logging."""
        code = """
import json, logging, sys
before = logging.root.handlers[:], logging.root.level
import gigq
for name in gigq.__all__:
    getattr(gigq, name)
logger = logging.getLogger("gigq")
print(json.dumps({
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    "root unchanged": before == (logging.root.handlers, logging.root.level),
    "handlers": [type(each).__name__ for each in logger.handlers],
    "level": logger.level,
    "propagate": logger.propagate,
}))
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        seen = json.loads(done.stdout)
        assert HEAVY.isdisjoint(seen.pop("modules"))
        assert seen == {
            "root unchanged": True,
            "handlers": ["NullHandler"],
            "level": 0,
            "propagate": False,
        }


def public_names() -> list[str]:
    """Give what `from gigq import` offers, but for its submodules."""
    (face,) = (source for source in of("gigq") if source.module == "gigq")
    return [
        f"gigq.{alias.asname or alias.name}"
        for node in ast.walk(face.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


class TestEvents:
    """Each event that is logged is listed, and each that is listed is logged."""

    def test_names(self) -> None:
        """The names logged or told in worker/ and supervisor/ are those of EVENTS."""
        used = {name for call in told() for name in call.names} - PROTOCOL
        assert used == set(EVENTS)
        assert PROTOCOL.isdisjoint(EVENTS)

    def test_fields(self) -> None:
        """What a call gives by name stands among the event's fields."""
        unlisted = [
            (name, field)
            for call in told()
            for name in call.names
            for field in call.fields
            if name in EVENTS and field not in (*EVENTS[name].fields, "output")
        ]
        assert unlisted == []


class Told(NamedTuple):
    """One call that logs or tells an event."""

    names: tuple[str, ...]
    fields: tuple[str, ...]


def told() -> Iterator[Told]:
    """Find the calls of .event and .tell."""
    for source in of("worker", "supervisor"):
        for node in ast.walk(source.tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("event", "tell", "report")
                and node.args
            ):
                fields = tuple(each.arg for each in node.keywords if each.arg)
                yield Told(_event_names(node.args[0]), fields)


def _event_names(node: ast.expr) -> tuple[str, ...]:
    if isinstance(node, ast.Subscript) and _name(node.value) == "ENDED":
        return tuple(ENDED.values())
    name = _constant(node)
    return () if name is None else (name,)  # a variable: passed on from the other side
