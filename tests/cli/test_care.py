"""Care: doctor, migrate, reclaim, version, completion."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli.client import GIGQ

from gigq.queue.identity import own_identity
from gigq.queue.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from cli.client import Client, Examples

_OLD = """
CREATE TABLE jobs (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, function_name TEXT NOT NULL,
  function_module TEXT NOT NULL, params TEXT, priority INTEGER DEFAULT 0, dependencies TEXT,
  max_attempts INTEGER DEFAULT 3, timeout INTEGER DEFAULT 300, description TEXT,
  status TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
  attempts INTEGER DEFAULT 0, result TEXT, error TEXT, started_at TEXT, completed_at TEXT,
  worker_id TEXT, pass_parent_results INTEGER, retry_delay INTEGER DEFAULT 0, retry_after TEXT);
CREATE TABLE job_executions (
  id TEXT PRIMARY KEY, job_id TEXT NOT NULL, worker_id TEXT NOT NULL, status TEXT NOT NULL,
  started_at TEXT NOT NULL, completed_at TEXT, result TEXT, error TEXT);
INSERT INTO jobs (id, name, function_name, function_module, params, status, created_at, updated_at)
VALUES ('3f1d4c1e-7a5b-4d2e-9b1a-0123456789ab', 'old', 'dumps', 'json', '{"obj": 1}', 'pending',
        '2026-01-31T17:30:00', '2026-01-31T17:30:00');
"""


class TestDoctor:
    """`gigq doctor`."""

    def test_healthy(self, look: Client) -> None:
        """Findings are told one a line; without an error the exit code is 0."""
        done = look("doctor", code=None)
        glyphs = {line[0] for line in done.out.splitlines() if not line.startswith("  → ")}
        assert glyphs <= {"✓", "!", "✗"}
        assert "✓" in glyphs
        assert done.code == ("✗" in glyphs)

    def test_error(self, gigq: Client) -> None:
        """A file that is no database is an error: exit code 1, and a remedy where there is one."""
        (gigq.folder / "gigq.db").write_text("something else")
        done = gigq("doctor", code=1)
        assert any(line.startswith("✗ ") for line in done.out.splitlines())


class TestMigrate:
    """`gigq migrate`."""

    @pytest.mark.parametrize("line", [["gigq.db"], []], ids=["named", "usual"])
    def test_from_gigq_0_5(self, gigq: Client, line: list[str]) -> None:
        """A database of GigQ 0.5 is converted, and what it was is kept beside it."""
        with closing(sqlite3.connect(gigq.folder / "gigq.db")) as database:
            database.executescript(_OLD)
        assert "gigq migrate" in gigq("list", code=1).err
        done = gigq("migrate", *line)
        assert done.out.startswith(f"Migrated {gigq.folder}/gigq.db from GigQ 0.5")
        assert "1 job, 0 executions" in done.out
        backup = Path(done.err.partition("what it was before is in ")[2].splitlines()[0])
        assert backup.exists()
        assert gigq("status", "3f1d4c1e").out.startswith("Job: old (3f1d4c1e-")
        assert "is up to date" in gigq("migrate").out

    def test_missing_file(self, gigq: Client) -> None:
        """A file that is not there is named."""
        assert "none.db" in gigq("migrate", "none.db", code=1).err
        done = gigq("migrate", "none.db", "--db", "other.db", code=2)
        assert "give one of them" in done.err


class TestReclaim:
    """`gigq reclaim`."""

    def held(self, gigq: Client, name: str, **identity: int | str) -> str:
        """Let a worker of this name and identity hold a new job; the job's id."""
        job = gigq("submit", "jobs.quick").out.split()[-1]
        with closing(SqliteStore(gigq.folder / "gigq.db")) as store:
            worker = store.register(name, own_identity()._replace(**identity))
            assert [claim.uuid for claim in store.settle(worker, (), 1).claims] == [job]
        return job

    def test_of_a_container_of_this_machine(self, gigq: Client) -> None:
        """A worker that may be alive here is given up only by force, all lives of that name."""
        jobs = [self.held(gigq, "nightly", pid_namespace=number) for number in (1, 2)]
        self.held(gigq, "nightly")
        told = gigq("reclaim", "nightly", code=1).err
        assert "may be alive" in told
        assert "gigq reclaim nightly --force" in told
        done = gigq("reclaim", "nightly", "--force").out
        assert "Took back 2 jobs of nightly.\n" in done
        assert all(f"Job {job} (quick) is pending.\n" in done for job in jobs)
        assert "is alive" in gigq("reclaim", "nightly", "--force", code=1).err

    def test_of_another_machine(self, gigq: Client) -> None:
        """What a worker held that nobody can see comes back when somebody says that it is gone."""
        job = self.held(gigq, "old-server.1", boot_id="another", machine_id="another")
        assert "old-server.1 (pid" in gigq("doctor", code=None).out
        assert "→ gigq reclaim old-server.1\n" in gigq("why", job).out
        done = gigq("reclaim", "old-server.1")
        assert "Took back 1 job of old-server.1.\n" in done.out
        assert f"Job {job} (quick) is pending.\n" in done.out
        assert gigq("status", job, "-o", "json").document("status")["job"]["attempts"] == 1
        told = gigq("reclaim", "old-server.1", code=1).err
        assert "no worker old-server.1 that cannot be seen from here; there is none" in told

    @pytest.mark.parametrize(
        ("identity", "told"), [({}, "is alive"), ({"start_ticks": 1}, "has died")]
    )
    def test_of_this_machine(self, gigq: Client, identity: dict[str, int], told: str) -> None:
        """A worker that can be seen is not given up by hand, and others are named."""
        self.held(gigq, "elsewhere", pid_namespace=1)
        job = self.held(gigq, "here", **identity)
        assert told in gigq("reclaim", "here", code=1).err
        assert gigq("status", job, "-o", "json").document("status")["job"]["status"] == "running"
        assert "there is elsewhere" in gigq("reclaim", "nobody", code=1).err


def bash(gigq: Client, script: str, *, shell: str = "bash") -> list[str]:
    """Run a script with gigq on the path; its lines."""
    path = f"{Path(GIGQ).parent}:{gigq.environment['PATH']}"
    done = subprocess.run(
        [shell, "-c", script],
        cwd=gigq.folder,
        env={**gigq.environment, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


def completed(gigq: Client, *words: str) -> list[str]:
    """Let bash complete the last of the words."""
    listed = " ".join(f"'{word}'" for word in words)
    return bash(
        gigq,
        f'eval "$(gigq completion bash)"; COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; '
        '_gigq_completion gigq; printf "%s\\n" "${COMPREPLY[@]}"',
    )


class TestCompletion:
    """`gigq completion`."""

    def test_bash_completes_commands(self, look: Client) -> None:
        """In bash the script completes commands, subcommands, options and choices."""
        assert completed(look, "gigq", "sta") == ["status", "stats"]
        assert completed(look, "gigq", "workflow", "sh") == ["show"]
        assert "--show-params" in completed(look, "gigq", "status", "--show")
        assert completed(look, "gigq", "list", "-o", "js") == ["json", "jsonl"]

    def test_bash_completes_ids(self, look: Client, shown: Examples) -> None:
        """It completes ids of jobs in the database that is meant, and stays silent without one."""
        assert completed(look, "gigq", "status", shown.failed[:13]) == [shown.failed]
        assert completed(look, "gigq", "--db", "none.db", "status", shown.failed[:13]) == []
        assert not (look.folder / "none.db").exists()

    @pytest.mark.parametrize("shell", ["zsh", "fish"])
    def test_other_shells(self, look: Client, shell: str) -> None:
        """The scripts for zsh and fish are printed, and taken by these shells where installed."""
        script = look("completion", shell).out
        assert f"_GIGQ_COMPLETE={shell}_complete" in script
        if shutil.which(shell):
            setup = "autoload -U compinit && compinit -D; " if shell == "zsh" else ""
            bash(look, f"{setup}{script}", shell=shell)
