"""Being told of the next commit to a database, by whomever."""

from __future__ import annotations

import select
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gigq.supervisor.commit_watch import CommitWatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection to a database with a write-ahead log."""
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE t (a)")
        yield connection


@pytest.fixture
def watch(database: sqlite3.Connection, tmp_path: Path) -> Iterator[CommitWatch]:
    """Give a watch of it."""
    del database
    watch = CommitWatch(tmp_path / "some.db")
    yield watch
    watch.close()


def tells(watch: CommitWatch) -> bool:
    """Whether something was heard."""
    return select.select([watch], [], [], 0)[0] == [watch]


def test_next_commit(database: sqlite3.Connection, watch: CommitWatch) -> None:
    """Only a commit after `arm` is told, and only one."""
    database.execute("INSERT INTO t VALUES (1)")
    assert not tells(watch)
    assert watch.arm()
    assert not tells(watch)
    database.execute("SELECT * FROM t").fetchall()
    assert not tells(watch)
    database.execute("INSERT INTO t VALUES (2)")
    assert tells(watch)
    watch.forget()
    database.execute("INSERT INTO t VALUES (3)")
    assert not tells(watch)
    assert watch.arm()
    database.execute("INSERT INTO t VALUES (4)")
    assert tells(watch)


def test_arm_again(database: sqlite3.Connection, watch: CommitWatch) -> None:
    """What was heard before is forgotten; what comes after is heard."""
    assert watch.arm()
    database.execute("INSERT INTO t VALUES (1)")
    assert watch.arm()
    assert not tells(watch)
    assert watch.arm()
    database.execute("INSERT INTO t VALUES (2)")
    assert tells(watch)


@pytest.mark.parametrize("name", ["some.db", "some.db-wal"])
def test_file_taken_away(watch: CommitWatch, tmp_path: Path, name: str) -> None:
    """A file that is moved or overwritten is noticed like a commit."""
    assert watch.arm()
    (tmp_path / name).rename(tmp_path / "elsewhere")
    assert tells(watch)
    assert not watch.arm()


def test_no_database(tmp_path: Path) -> None:
    """Where there is nothing to watch, it says so."""
    watch = CommitWatch(tmp_path / "none.db")
    assert not watch.arm()
    watch.close()
