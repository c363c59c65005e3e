"""What `gigq.cli.doctor` finds, each fault made for real."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import venv
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from harness import Service, write_jobs

import gigq
from gigq import Job, JobQueue
from gigq.cli.check_file import check_sqlite, has_reset_bug
from gigq.cli.check_permissions import check_permissions
from gigq.cli.check_storage import check_file_system, check_space
from gigq.cli.doctor import Finding, diagnose
from gigq.queue import clock
from gigq.queue.collision import colliding_distribution
from gigq.queue.identity import own_identity
from gigq.queue.life_lock import LifeLock
from gigq.queue.migrations import CURRENT
from gigq.queue.service_lock import ServiceLock
from gigq.queue.sqlite_store import SqliteStore
from gigq.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(gigq.__file__).parents[1]
MOUNTS = r"""22 27 0:20 / /proc rw,relatime shared:12 - proc proc rw
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 27 0:40 / /srv/team\040data rw - nfs4 server:/export rw
31 27 0:41 / /home/ada/remote rw - fuse.sshfs ada@server: rw
32 27 0:42 / /mnt/merged rw - fuse.mergerfs merged rw
33 27 0:43 / /mnt/host rw - 9p host rw
34 33 8:2 / /mnt/host/disk rw - xfs /dev/sdb1 rw
35 27 0:44 / /mnt/twice rw - nfs server:/a rw
36 35 8:3 / /mnt/twice rw - ext4 /dev/sdc1 rw
"""


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with nothing installed; its Python."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a database with one job that can run."""
    path = tmp_path / "gigq.db"
    with JobQueue(path) as queue:
        queue.submit(Job("job", os.getcwd))
    return path


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    """Give the store of the database."""
    with closing(SqliteStore(path)) as store:
        yield store


def found(path: Path, level: str | None = None, configuration: Path | None = None) -> list[Finding]:
    """Examine a database; the findings of one level, or all."""
    findings = list(diagnose(path, configuration))
    assert all(finding.what for finding in findings)
    return [finding for finding in findings if level in (None, finding.level)]


def with_word(findings: list[Finding], word: str) -> Finding:
    """Give the one finding that has the word in it."""
    (finding,) = [finding for finding in findings if word in finding.what]
    return finding


def contents(folder: Path) -> dict[str, bytes]:
    """Give every file of a folder but SQLite's memory, by name."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not file.name.endswith("-shm")
    }


def change(path: Path, *statements: str) -> None:
    """Run statements on a database as somebody else."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement).fetchall()


class TestWhole:
    """All checks together."""

    def test_all_is_well(self, tmp_path: Path) -> None:
        """With a service and importable functions nothing is wrong, and nothing is changed."""
        write_jobs(tmp_path, "def load(): pass\n", "etl.py")
        with Service(tmp_path, configuration="[workers]\ncount = 1\n") as service:
            service.wait_ready()
            service.submit("etl.load", delay=3600)
            findings = found(service.database, configuration=service.configuration)
            pid = service.process.pid
        told = [finding.what for finding in findings]
        assert [finding for finding in findings if finding.level == "error"] == []
        warnings = [finding.what for finding in findings if finding.level == "warning"]
        assert all("SQLite" in each for each in warnings)
        assert f"gigqd {__version__} (pid {pid}) serves {service.database}" in told
        assert "1 worker alive" in told
        assert f"{service.database} has schema {CURRENT}, as it should" in told
        assert f"{sys.executable} can import the functions of all pending jobs" in told

    def test_nothing_is_changed(self, path: Path) -> None:
        """A look leaves every file as it was, and adds none."""
        before = contents(path.parent)
        found(path)
        assert contents(path.parent) == before

    def test_every_fault_has_a_remedy(self, tmp_path: Path) -> None:
        """Whatever is wrong comes with a command to type."""
        assert all(finding.remedy for finding in found(tmp_path / "none.db", "error"))
        assert list(tmp_path.iterdir()) == []


class TestFile:
    """The database file."""

    def test_missing(self, tmp_path: Path) -> None:
        """A missing database is told with the command that makes one; none is made."""
        path = tmp_path / "gigq.db"
        assert found(path, "error") == [
            Finding(
                "error",
                f"{path} does not exist; a service would set it up",
                f"gigqd start {path}",
            )
        ]
        path.touch()
        assert "is empty" in with_word(found(path), "would set it up").what
        assert path.stat().st_size == 0

    def test_gigq_0_5(self, tmp_path: Path) -> None:
        """A database of GigQ 0.5 is told with the command that converts it."""
        path = tmp_path / "gigq.db"
        change(path, "CREATE TABLE jobs (id)", "CREATE TABLE job_executions (id)")
        assert with_word(found(path, "error"), "GigQ 0.5").remedy == f"gigq migrate {path}"

    @pytest.mark.parametrize(
        ("version", "remedy"), [(CURRENT - 1, "gigq migrate {}"), (CURRENT + 1, "pip install -U")]
    )
    def test_other_version(self, path: Path, version: int, remedy: str) -> None:
        """An older schema is to be migrated, a newer one needs a newer gigqd."""
        change(path, f"PRAGMA user_version = {version}")
        finding = with_word(found(path, "error"), f"has schema {version}")
        assert finding.remedy is not None
        assert finding.remedy.startswith(remedy.format(path))

    def test_foreign(self, tmp_path: Path) -> None:
        """Another program's database is told as such, and so is what is no database."""
        change(tmp_path / "other.db", "CREATE TABLE customer (id)")
        assert (
            "customer" in with_word(found(tmp_path / "other.db", "error"), "another program").what
        )
        (tmp_path / "text").write_text("name,price\n" * 1000)
        assert "SQLite database" in found(tmp_path / "text", "error")[0].what

    def test_damage(self, path: Path) -> None:
        """A damaged database is told with the command that saves what can be read."""
        with JobQueue(path) as queue:
            queue.submit_many([Job("x", os.getcwd) for _ in range(500)])
        with path.open("r+b") as file:
            file.seek(-20_000, os.SEEK_END)
            file.write(b"\xff" * 10_000)
        finding = with_word(found(path, "error"), "is damaged (")
        assert finding.remedy == f"sqlite3 {path} .recover > saved.sql"

    def test_long_log(self, path: Path) -> None:
        """A write-ahead log that a reader keeps long is told with its size and who is to blame."""
        with (
            closing(sqlite3.connect(path, isolation_level=None)) as reader,
            closing(sqlite3.connect(path, isolation_level=None)) as writer,
        ):
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM job").fetchall()
            writer.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
            for _ in range(70):
                writer.execute("UPDATE job_spec SET params = hex(randomblob(500000))")
            finding = with_word(found(path, "warning"), "write-ahead log has")
            assert finding.remedy == f"fuser -v {path}-wal"
            reader.execute("ROLLBACK")

    @pytest.mark.parametrize(
        ("version", "affected"),
        [
            ((3, 6, 23), False),
            ((3, 7, 0), True),
            ((3, 40, 1), True),
            ((3, 44, 5), True),
            ((3, 44, 6), False),
            ((3, 45, 0), True),
            ((3, 50, 6), True),
            ((3, 50, 7), False),
            ((3, 51, 2), True),
            ((3, 51, 3), False),
            ((3, 52, 0), False),
        ],
    )
    def test_sqlite_versions(self, version: tuple[int, int, int], *, affected: bool) -> None:
        """The versions with the fault in moving the log are those that SQLite's authors name."""
        assert has_reset_bug(version) is affected
        (finding,) = check_sqlite(".".join(map(str, version)), "python")
        assert finding.level == ("warning" if affected else "ok")
        assert ("no other program may" in finding.what) is affected

    def test_no_room(self) -> None:
        """A full file system is an error; /proc has no room at all."""
        (finding,) = check_space(Path("/proc/gigq.db"))
        assert finding.level == "error"
        assert finding.what.startswith("0 MB are free in /proc")

    @pytest.mark.parametrize(
        ("path", "level", "kind"),
        [
            ("/var/lib/gigq.db", "ok", "ext4"),
            ("/srv/team data/gigq.db", "error", "nfs4"),
            ("/srv/team", "ok", "ext4"),
            ("/home/ada/remote/a/gigq.db", "error", "fuse.sshfs"),
            ("/mnt/merged/gigq.db", "warning", "fuse.mergerfs"),
            ("/mnt/host/gigq.db", "error", "9p"),
            ("/mnt/host/disk/gigq.db", "ok", "xfs"),
            ("/mnt/twice/gigq.db", "ok", "ext4"),
        ],
    )
    def test_file_systems(self, path: str, level: str, kind: str) -> None:
        """A database on a network file system is an error; the innermost mount decides."""
        (finding,) = check_file_system(Path(path), MOUNTS)
        assert finding.level == level
        assert f"lies on {kind} (" in finding.what

    def test_own_file_system(self, path: Path) -> None:
        """The file system of the tests is found among the mounts."""
        (finding,) = check_file_system(path)
        assert "lies on" in finding.what


class TestPermissions:
    """Who may write."""

    @pytest.mark.parametrize("name", ["gigq.db", ".", "gigq.db.d", "gigq.db.d/output"])
    def test_everybody(self, path: Path, name: str) -> None:
        """What everybody may write is an error, whatever part it is of; the remedy mends it."""
        part = path.parent / name
        before = part.stat().st_mode
        part.chmod(before | 0o002)
        finding = with_word(found(path, "error"), "everybody may write")
        assert finding.remedy is not None
        subprocess.run(finding.remedy, shell=True, check=True)  # noqa: S602 (it is to be typed)
        assert part.stat().st_mode == before
        assert found(path, "error") == []

    def test_configuration(self, path: Path) -> None:
        """A configuration that everybody may write is an error: it names the Python."""
        configuration = path.with_name("gigqd.toml")
        configuration.write_text("")
        configuration.chmod(0o666)
        finding = with_word(found(path, "error", configuration), "everybody may write")
        assert str(configuration) in finding.what

    def test_group(self, path: Path, store: SqliteStore) -> None:
        """What a group with other members may write is a warning; a group of one is none."""
        others = 54_321 if os.geteuid() == 0 else os.getgid()
        os.chown(path, -1, others)
        path.chmod(0o660)
        (finding, *_) = check_permissions(path, store.companions, None)
        if os.geteuid() == 0:  # only root can give a file to a group that it is not in
            assert finding.level == "warning"
            assert finding.what.startswith(f"group 54321 may write {path}: ")
            assert finding.remedy == f"chmod g-w {path}"
        assert finding.level in ("warning", "ok")

    def test_group_that_may_submit(self, path: Path, store: SqliteStore) -> None:
        """A folder that is made for a group, as by the installation, is no mistake of anybody's."""
        if os.geteuid() != 0:
            pytest.skip("only root can give a file to a group that it is not in")
        for each in (path.parent, path):
            os.chown(each, -1, 54_321)
        path.chmod(0o660)
        path.parent.chmod(0o2770)
        (finding,) = check_permissions(path, store.companions, None)
        assert (finding.level, finding.remedy) == ("ok", None)
        assert finding.what.startswith("group 54321 may submit, and so run code as user root")

    def test_owner_only(self, path: Path, store: SqliteStore) -> None:
        """What only its owner may write is well."""
        (finding,) = check_permissions(path, store.companions, None)
        assert finding.level == "ok"


class TestService:
    """What runs."""

    def test_no_service(self, path: Path) -> None:
        """Without a service the command that starts one is given."""
        finding = with_word(found(path, "warning"), "no gigqd serves")
        assert finding.remedy == f"gigqd start {path}"

    def test_other_version(self, path: Path, store: SqliteStore) -> None:
        """A service of another version than the command is told with both."""
        lock = ServiceLock(store.companions)
        lock.describe({"pid": os.getpid(), "version": "0.0.1"})
        finding = with_word(found(path, "warning"), "gigqd 0.0.1")
        lock.close()
        assert f"this command is {__version__}" in finding.what
        assert finding.remedy == f"gigqd stop {path} && gigqd start {path}"

    def test_dead_worker(self, path: Path, store: SqliteStore) -> None:
        """A worker that died unseen is named, and so is what takes back what it held."""
        store.register("w1", own_identity()._replace(start_ticks=1))
        finding = with_word(found(path, "warning"), "died")
        assert f"w1 (pid {os.getpid()})" in finding.what
        assert finding.remedy == f"gigqd start {path}"

    def test_worker_elsewhere(self, path: Path, store: SqliteStore) -> None:
        """A worker that cannot be seen from here is not judged, and what to do then is told."""
        store.register("w1", own_identity()._replace(pid_namespace=1))
        finding = with_word(found(path, "warning"), "1 worker of another machine, or")
        assert f"w1 (pid {os.getpid()})" in finding.what
        assert finding.remedy == "gigq reclaim WORKER"

    def test_lock_that_cannot_be_had(self, path: Path, store: SqliteStore) -> None:
        """Where workers can have no lock by which others see that they live, that is said."""
        LifeLock(store.companions).close()
        assert not [each for each in found(path, "warning") if "workers.lock" in each.what]
        store.companions.workers_lock.unlink()
        store.companions.workers_lock.symlink_to("nowhere")
        assert "gigq reclaim WORKER" in with_word(found(path, "warning"), "workers.lock").what

    def test_clock(self, path: Path, store: SqliteStore) -> None:
        """Jobs from the future show that the clock was set back, and by how much."""
        job = Job("later", os.getcwd)
        store.submit([job.to_record(clock.now() + 10_800 * clock.MICROSECONDS)])
        finding = with_word(found(path, "warning"), "set back")
        assert "set back by 3 h or more" in finding.what
        assert finding.remedy == "timedatectl status"

    def test_collision(self, path: Path, tmp_path: Path) -> None:
        """GigQ's own distribution, installed beside ours, is an error with its cure."""
        assert colliding_distribution() is None
        beside = tmp_path / "site" / "gigq-0.5.1.dist-info"
        beside.mkdir(parents=True)
        (beside / "METADATA").write_text("Metadata-Version: 2.1\nName: gigq\nVersion: 0.5.1\n")
        code = (
            "import sys; from pathlib import Path; from gigq.cli.doctor import diagnose\n"
            "print(next(diagnose(Path(sys.argv[1]), None)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env={**os.environ, "PYTHONPATH": str(beside.parent)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"gigq 0.5.1 is installed beside gigqd {__version__}" in done.stdout
        assert "pip uninstall -y gigq && pip install --force-reinstall" in done.stdout


class TestFunctions:
    """Whether the workers could import what waits."""

    def configure(self, folder: Path, text: str) -> Path:
        """Write a configuration."""
        path = folder / "gigqd.toml"
        path.write_text(text)
        return path

    def submit(self, folder: Path, *functions: str) -> Path:
        """Submit a delayed job of each of these functions as from the folder."""
        path = folder / "gigq.db"
        with contextlib.chdir(folder), JobQueue(path) as queue:
            queue.submit_many([Job("x", name, delay=3600) for name in functions])
        return path

    def test_other_python(self, tmp_path: Path, bare: Path) -> None:
        """It is the configured Python that is asked, with the configured variables."""
        write_jobs(tmp_path, "import click\ndef load(): pass\n", "etl.py")
        path = self.submit(tmp_path, "etl.load", "etl.load")
        assert found(path, "error", self.configure(tmp_path, "")) == []
        configuration = self.configure(
            tmp_path,
            f'[workers]\npython = "{bare}"\nenvironment = {{ PYTHONPATH = "{ROOT}" }}\n',
        )
        (finding,) = found(path, "error", configuration)
        assert finding.what == (
            f"2 pending jobs cannot run etl.load: `click` is missing in {bare}; "
            f"the job was submitted from {sys.executable}; set [workers] python"
        )
        assert finding.remedy == f"{bare} -m pip install click"

    def test_python_without_gigqd(self, path: Path, bare: Path) -> None:
        """A configured Python in which gigqd is not installed is told once."""
        configuration = self.configure(path.parent, f'[workers]\npython = "{bare}"\n')
        (finding,) = found(path, "error", configuration)
        assert f"{bare} cannot run workers: " in finding.what
        assert "No module named" in finding.what
        assert finding.remedy == f"{bare} -m pip install gigqd=={__version__}"

    def test_python_that_is_not_there(self, path: Path) -> None:
        """A configured Python that cannot be started is told."""
        configuration = self.configure(path.parent, '[workers]\npython = "/none/python"\n')
        (finding,) = found(path, "error", configuration)
        assert finding.what == (
            "/none/python cannot run workers: it cannot be started: No such file or directory"
        )

    def test_pythonpath_and_environment(self, tmp_path: Path) -> None:
        """Folders and variables of the configuration are those that count."""
        write_jobs(
            tmp_path / "code", "import os\nos.environ['TOKEN']\ndef load(): pass\n", "etl.py"
        )
        path = self.submit(tmp_path, "etl.load")
        (finding,) = found(path, "error", self.configure(tmp_path, ""))
        assert "`etl` was imported from" in finding.what
        half = self.configure(tmp_path, '[workers]\npythonpath = ["code"]\n')
        (finding,) = found(path, "error", half)
        assert "KeyError: 'TOKEN'" in finding.what
        whole = self.configure(
            tmp_path, '[workers]\npythonpath = ["code"]\nenvironment = { TOKEN = "x" }\n'
        )
        assert found(path, "error", whole) == []

    def test_what_is_not_allowed(self, tmp_path: Path) -> None:
        """A function that the configuration does not allow is told, and not imported."""
        write_jobs(tmp_path, "1 / 0\n", "etl.py")
        write_jobs(tmp_path, "def load(): pass\n", "good.py")
        path = self.submit(tmp_path, "etl.load", "good.load")
        configuration = self.configure(tmp_path, '[workers]\nallow = ["good"]\n')
        (finding,) = found(path, "error", configuration)
        assert finding.what == (
            "1 pending job cannot run: etl.load may not be run here; "
            'to allow it, add "etl:load" to [workers] allow'
        )

    def test_remedy_shows_the_error(self, tmp_path: Path) -> None:
        """For code that cannot be imported the remedy is the command that shows why."""
        write_jobs(tmp_path, "1 / 0\n", "etl.py")
        path = self.submit(tmp_path, "etl.load")
        (finding,) = found(path, "error", self.configure(tmp_path, ""))
        assert finding.remedy is not None
        done = subprocess.run(  # noqa: S602 (it is to be typed)
            finding.remedy, shell=True, capture_output=True, text=True, check=False
        )
        assert "ZeroDivisionError" in done.stderr

    def test_directory_is_gone(self, path: Path) -> None:
        """A job whose directory is gone is told, with the command that makes it."""
        gone = path.parent / "gone"
        with JobQueue(path) as queue:
            queue.submit(Job("x", os.getcwd, cwd=gone))
        (finding,) = found(path, "error")
        assert f"the directory {gone} cannot be entered" in finding.what
        assert finding.remedy == f"mkdir -p {gone}"

    def test_variables_of_the_service(self, tmp_path: Path) -> None:
        """What the running service has in its environment, its workers have, and the probe too."""
        write_jobs(tmp_path, "import os\nos.environ['TOKEN']\ndef load(): pass\n", "etl.py")
        with Service(
            tmp_path, configuration="[workers]\ncount = 1\n", environment={"TOKEN": "x"}
        ) as service:
            service.wait_ready()
            service.submit("etl.load", delay=3600)
            assert found(service.database, "error", service.configuration) == []

    def test_only_pending_jobs_count(self, tmp_path: Path) -> None:
        """Functions of jobs that have ended are not asked for."""
        path = self.submit(tmp_path, "no_such_module.load")
        with JobQueue(path) as queue:
            (job,) = queue.list_jobs()
            queue.cancel(job["id"])
        assert found(path, "error", self.configure(tmp_path, "")) == []

    def test_very_many_functions(self, tmp_path: Path) -> None:
        """Of very many functions the first are looked at, and that is said."""
        path = self.submit(tmp_path, *(f"os.function_{number}" for number in range(201)))
        findings = found(path, None, self.configure(tmp_path, ""))
        failed = [finding for finding in findings if "cannot run os.function" in finding.what]
        assert len(failed) == 200
        assert with_word(findings, "more than 200")

    def test_unusable_configuration(self, path: Path) -> None:
        """A mistake in the configuration is told with its line, and the rest is looked at."""
        configuration = self.configure(path.parent, "[workers]\ncuont = 1\n")
        (finding,) = found(path, "error", configuration)
        assert finding.what.startswith(f"{configuration}:2: workers.cuont: unknown setting")
        assert finding.remedy == f"gigqd check --config {configuration}"
        assert with_word(found(path, None, configuration), "as it should")
