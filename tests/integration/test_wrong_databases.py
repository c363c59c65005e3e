"""Databases that are none, damaged, in the wrong place or somebody else's: said in a sentence.

Each file is left as it was. Permissions are tried as a user who is not root.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import chdir, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from harness import GIGQD, Service

from gigq import Job, JobQueue
from gigq.cli.main import main
from gigq.queue.connection import PAGE_BYTES
from gigq.queue.file_system import file_system
from gigq.queue.migrations import CURRENT
from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534
# Loads all that a command may load, for the files of Python may be closed to the other user.
AS_NOBODY = f"""
import os, pkgutil, sys
from importlib import import_module
import gigq.cli, gigq.queue, gigq.supervisor, gigq.worker

for package in gigq.cli, gigq.queue, gigq.supervisor:
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if "__main__" not in module.name and ".install" not in module.name:
            import_module(module.name)
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
os.chdir(sys.argv[1])
if sys.argv[2] == "gigq":
    from gigq.cli.main import main
    sys.exit(main(sys.argv[3:]))
from gigq.supervisor.main import main
main(sys.argv[3:], prog_name="gigqd")
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Give the bytes of a database with some jobs."""
    path = tmp_path_factory.mktemp("good") / "gigq.db"
    with JobQueue(path) as queue:
        queue.submit_many([Job(f"job {number}", "os.getcwd") for number in range(200)])
    return path.read_bytes()


def truncated(length: int) -> Callable[[Path, bytes], object]:
    """Keep so many bytes."""
    return lambda path, good: path.write_bytes(good[:length])


def flipped(page: int) -> Callable[[Path, bytes], object]:
    """Fill a page, counted from 0 or from the end, with noise; the file's own header stays."""

    def spoil(path: Path, good: bytes) -> None:
        content, pages = bytearray(good), len(good) // PAGE_BYTES
        start, end = (page % pages) * PAGE_BYTES, (page % pages + 1) * PAGE_BYTES
        start = max(start, 100)
        content[start:end] = random.Random(page).randbytes(end - start)
        path.write_bytes(content)

    return spoil


def with_companion(name: str, make: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    """Put something wrong beside a good database."""

    def spoil(path: Path, good: bytes) -> None:
        path.write_bytes(good)
        make(path.with_name(path.name + name))

    return spoil


def bound(path: Path) -> None:
    """Make a socket."""
    with closing(socket.socket(socket.AF_UNIX)) as unix:
        unix.bind(str(path))


def newer(path: Path, good: bytes) -> None:
    """Let it be of a version that comes after this one."""
    path.write_bytes(good)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {CURRENT + 1}")


DAMAGED = "damaged, and was left as it is"
NEWER = "pip install -U"
REFUSED = {
    "50 bytes": (truncated(50), DAMAGED),
    "one page": (truncated(PAGE_BYTES), DAMAGED),
    "some pages": (truncated(10 * PAGE_BYTES), DAMAGED),
    "part of a page": (truncated(10 * PAGE_BYTES + 77), DAMAGED),
    "without the last page": (lambda path, good: path.write_bytes(good[:-PAGE_BYTES]), DAMAGED),
    "first page": (flipped(0), DAMAGED),
    "newer version": (newer, NEWER),
    "text": (lambda path, _: path.write_text("a,b\n" * 999), "no SQLite database"),
    "folder": (lambda path, _: path.mkdir(), "is a folder, and cannot be a database"),
    "pipe": (lambda path, _: os.mkfifo(path), "is no regular file, and cannot be a database"),
    "socket": (lambda path, _: bound(path), "is no regular file, and cannot be a database"),
    "circle of links": (lambda path, _: path.symlink_to(path), "many levels of symbolic links"),
    "link to nowhere": (
        lambda path, _: path.symlink_to(path.parent / "gone" / "x.db"),
        "its folder must exist",
    ),
    "device": (
        lambda path, _: path.symlink_to("/dev/null"),
        "is no regular file, and cannot be a database",
    ),
    "log is a folder": (with_companion("-wal", Path.mkdir), "unable to open database file"),
    "index is a folder": (with_companion("-shm", Path.mkdir), "readonly database; give this user"),
    "companions are a file": (
        with_companion(".d", Path.touch),
        "gigq.db.d has to be a folder to which each user",
    ),
}


def contents(path: Path) -> bytes | None:
    """Give what is in a file, None for what is none."""
    return path.read_bytes() if path.is_file() and not path.is_char_device() else None


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, good: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A submit and the service say what is wrong, and leave the file alone; so does a look."""
    spoil, said = REFUSED[name]
    path = tmp_path / "gigq.db"
    spoil(path, good)
    before = contents(path)
    assert main(["submit", "os.getcwd", "--db", str(path)]) == 1
    told = capfd.readouterr().err
    assert said in told
    assert told.startswith("gigq: /")
    assert told.count("\n") == 1
    assert contents(path) == before
    for line in (["list"], ["stats"], ["doctor"], ["clear"]):
        assert main([*line, "--db", str(path)]) in (0, 1), line
        assert "Traceback" not in capfd.readouterr().err
    assert line == ["clear"]
    served = subprocess.run(
        [*GIGQD, "start", str(path), "--workers", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert served.returncode in (1, 78)
    assert said in served.stderr
    assert served.stderr.count("\n") == 1
    if said in (DAMAGED, NEWER):
        assert served.returncode == 78
        assert contents(path) == before


@pytest.mark.parametrize("page", [1, 2, 5, -1, -2, -7])
def test_flipped_page(
    page: int, good: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Wherever a page is spoilt, gigq doctor finds it, and every command answers in words."""
    path = tmp_path / "gigq.db"
    flipped(page)(path, good)
    assert main(["doctor", "--db", str(path)]) == 1
    assert "damaged" in capfd.readouterr().out
    assert path.read_bytes() != good
    before = path.read_bytes()
    for line in (["list"], ["stats"], ["list", "--name", "job*"], ["workflow", "list"]):
        assert main([*line, "--db", str(path)]) in (0, 1)
        assert "Traceback" not in capfd.readouterr().err
    assert path.read_bytes() == before
    for line in (["submit", "os.getcwd"], ["clear"], ["cancel", "0"]):
        assert main([*line, "--db", str(path)]) in (0, 1)
        assert "Traceback" not in capfd.readouterr().err


def test_empty_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file of no bytes is no database yet: a look says so, and a submit sets it up."""
    path = tmp_path / "gigq.db"
    path.touch()
    assert main(["list", "--db", str(path)]) == 1
    assert "is empty; name another with --db, or submit" in capfd.readouterr().err
    assert path.stat().st_size == 0
    assert main(["submit", "os.getcwd", "--db", str(path)]) == 0


@pytest.mark.parametrize("beside", ["-wal", "-journal"])
def test_log_of_nothing(
    beside: str, good: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A log beside the file that is no log of it does no harm."""
    path = tmp_path / "gigq.db"
    path.write_bytes(good)
    path.with_name(path.name + beside).write_bytes(random.Random(1).randbytes(9000))
    assert main(["submit", "os.getcwd", "--db", str(path)]) == 0
    assert main(["doctor", "--db", str(path)]) in (0, 1)
    assert "damaged" not in capfd.readouterr().out
    with JobQueue(path) as queue:
        assert queue.stats()["total"] == 201


def test_other_things_among_the_companions(good: bytes, tmp_path: Path) -> None:
    """A doorbell that is a file costs at most time: jobs run."""
    path = tmp_path / "gigq.db"
    path.write_bytes(good)
    (tmp_path / "gigq.db.d").mkdir()
    (tmp_path / "gigq.db.d/doorbell").write_text("x")
    with Service(tmp_path, configuration="[workers]\ncount = 1\n") as service:
        service.wait_status(service.submit("os.getcwd"), "completed")


def test_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On what the kernel calls a network file system the service does not start."""
    from gigq.queue.errors import SettingsError  # noqa: PLC0415
    from gigq.supervisor import serve  # noqa: PLC0415

    root, share = "1 0 8:1 / / rw - ext4 /dev/sda1 rw", f"2 1 0:9 / {tmp_path} rw - nfs4 host:/x rw"
    monkeypatch.setattr(serve, "file_system", lambda path: file_system(path, f"{root}\n{share}\n"))
    with (
        pytest.raises(SettingsError, match="lies on nfs4, a network file system, where"),
        serve._place_of_service(tmp_path / "gigq.db"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


# As another user


@pytest.fixture
def shared() -> Iterator[Path]:
    """Give a folder that every user can reach, with a database of root's."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path(tempfile.mkdtemp(prefix="gigq-shared-"))
    folder.chmod(0o777)
    with JobQueue(folder / "gigq.db") as queue:
        queue.submit(Job("first", "os.getcwd"))
    (folder / "gigq.db").chmod(0o666)
    for each in folder.rglob("gigq.db.d/**"):
        each.chmod(0o777)
    (folder / "gigq.db.d/doorbell").chmod(0o666)
    yield folder
    shutil.rmtree(folder)


def as_nobody(folder: Path, *line: str) -> subprocess.CompletedProcess[str]:
    """Run a command line as a user who owns nothing."""
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(folder), *line],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, "HOME": "/", "XDG_CONFIG_HOME": "/none"},
    )


def read_only_file(folder: Path) -> None:
    """Let nobody write the file."""
    (folder / "gigq.db").chmod(0o444)


def closed_file(folder: Path) -> None:
    """Let nobody read it either."""
    (folder / "gigq.db").chmod(0o600)


def read_only_folder(folder: Path) -> None:
    """Let nobody make files beside it."""
    folder.chmod(0o555)


def foreign_log(folder: Path) -> None:
    """Leave a log that nobody can open, as a crash of root's would."""
    for name in ("gigq.db-wal", "gigq.db-shm"):
        (folder / name).touch()
        (folder / name).chmod(0o600)


def foreign_companions(folder: Path) -> None:
    """Close the folder beside it."""
    (folder / "gigq.db.d").chmod(0o700)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (read_only_file, "give this user write permission to the file and its folder"),
        (closed_file, "this user must be able to write there"),
        (read_only_folder, "give this user write permission to the file and its folder"),
        (foreign_log, "this user must be able to write there"),
        (foreign_companions, "gigq.db.d has to be a folder to which each user"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_permissions(spoil: Callable[[Path], None], said: str, shared: Path) -> None:
    """What a user may not do is said with what would help, and nothing is changed."""
    spoil(shared)
    before = (shared / "gigq.db").read_bytes()
    for line in (("gigq", "submit", "os.getcwd", "--unchecked"), ("gigqd", "start", "gigq.db")):
        done = as_nobody(shared, *line)
        assert done.returncode == 1, (line, done.stdout, done.stderr)
        assert done.stderr.startswith(f"{line[0]}: {shared}/gigq.db"), done.stderr
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    for line in (("gigq", "list"), ("gigq", "doctor"), ("gigqd", "status")):
        done = as_nobody(shared, *line)
        assert done.returncode in (0, 1, 3, 4)
        assert "Traceback" not in done.stderr
    if spoil is foreign_companions:  # whether one serves it cannot be seen
        for line in (("gigqd", "status"), ("gigqd", "health"), ("gigqd", "stop")):
            done = as_nobody(shared, *line)
            assert done.returncode == (1 if "stop" in line else 4)
            assert "the service's user" in done.stdout + done.stderr
            assert "root" in done.stdout + done.stderr
    assert (shared / "gigq.db").read_bytes() == before
    for name in ("gigq.db-wal", "gigq.db-shm"):
        (shared / name).unlink(missing_ok=spoil is not foreign_log)
    with closing(SqliteStore(shared / "gigq.db")) as store:
        assert sum(store.counts().values()) == 1


TELLING = """
import os
with open("imported-by", "a") as file:
    print(os.geteuid(), file=file)
def run():
    pass
"""


@pytest.fixture
def foreign(shared: Path) -> Path:
    """Give the folder with a database of another user's, who has submitted a job of his own."""
    (shared / "telling.py").write_text(TELLING)
    with chdir(shared), JobQueue("gigq.db") as queue:
        queue.submit(Job("telling", "telling.run"))
    for each in (shared, *shared.rglob("*")):
        os.chown(each, NOBODY, NOBODY)
    return shared


def test_code_of_others_is_not_imported(foreign: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The doctor asks as the database's owner whether a job could run, never as root."""
    assert main(["doctor", "--db", str(foreign / "gigq.db")]) in (0, 1)
    told = foreign / "imported-by"
    if "cannot run workers" in capfd.readouterr().out:  # its owner may not read this Python
        assert not told.exists()
    else:
        assert told.read_text().split() == [str(NOBODY)]
    os.chown(foreign / "gigq.db", 0, 0)
    done = as_nobody(foreign, "gigq", "doctor")
    assert "whether user root can import what jobs are to run was not looked at" in done.stdout


def test_root_runs_no_jobs_of_others(foreign: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither the service nor a worker: each who may write the database would be root."""
    path = foreign / "gigq.db"
    command = [*GIGQD, "start", str(path)]
    served = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert served.returncode == 78
    assert main(["worker", "--db", str(path), "--once"]) == 1
    name = pwd.getpwuid(NOBODY).pw_name
    for told in (served.stderr, capfd.readouterr().err):
        assert f"{path} belongs to {name}, and root would run the jobs" in told
        assert f"sudo -u {name} gigq" in told
        assert told.count("\n") == 1
    assert not (foreign / "imported-by").exists()


def test_permission_to_all(shared: Path) -> None:
    """With the permissions that are asked for, another user can submit."""
    done = as_nobody(shared, "gigq", "submit", "os.getcwd", "--unchecked", "-q")
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(shared / "gigq.db")) as connection:
        assert connection.execute("SELECT count(*) FROM job").fetchone() == (2,)
