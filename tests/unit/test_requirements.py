"""The locked requirements cover what pyproject.toml asks for, and name only what is hashed."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ("build", "runtime", "test", "lint")
HINT = "; type: scripts/lock"


class Locked(NamedTuple):
    """A line of a lock, with the lines that belong to it."""

    requirement: Requirement
    hashes: list[str]


@cache
def locked(name: str) -> dict[str, Locked]:
    """Read a lock; an entry that says anything but a version, a marker and hashes fails."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    found = {}
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("#"):
            continue
        entry, *hashes = re.split(r"\s+--hash=", line.strip())
        requirement = Requirement(entry)
        found[canonicalize_name(requirement.name)] = Locked(requirement, hashes)
    return found


def wanted(name: str) -> list[Requirement]:
    """List what pyproject.toml asks for, of this lock."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    asked = {
        "build": project["build-system"]["requires"],
        "runtime": project["project"]["dependencies"],
        **project["project"]["optional-dependencies"],
    }
    requirements = [Requirement(text) for text in asked[name]]
    if name in project["project"]["optional-dependencies"]:
        requirements += wanted("runtime")
    for each in [each for each in requirements if each.name == "gigqd"]:
        requirements.remove(each)
        requirements += [further for extra in each.extras for further in wanted(extra)]
    return requirements


@pytest.mark.parametrize("name", LOCKS)
def test_lock_covers_what_is_asked_for(name: str) -> None:
    """Each dependency of pyproject.toml is locked, to a version that it allows."""
    asked = wanted(name)
    assert asked
    for each in asked:
        found = locked(name).get(canonicalize_name(each.name))
        assert found, f"{each} is not in requirements/{name}.txt{HINT}"
        (version,) = [part.version for part in found.requirement.specifier]
        assert each.specifier.contains(version), f"{each} is locked to {version}{HINT}"


@pytest.mark.parametrize("name", LOCKS)
def test_everything_is_exact_and_hashed(name: str) -> None:
    """Each entry is one version with SHA-256 hashes, so that pip --require-hashes takes it."""
    for each in locked(name).values():
        (part,) = each.requirement.specifier
        assert part.operator == "=="
        assert each.requirement.url is None
        assert each.hashes
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", text) for text in each.hashes)


def test_locks_agree() -> None:
    """What is tested is what is installed: no package stands in two locks with two versions."""
    for smaller, larger in (("runtime", "test"), ("test", "lint")):
        for name, each in locked(smaller).items():
            assert locked(larger)[name].requirement.specifier == each.requirement.specifier
