"""Submitting functions and command lines."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cli.client import checked

from gigq import JobQueue
from gigq.cli.function_check import doubt_about

if TYPE_CHECKING:
    from cli.client import Client
    from cli.conftest import Served

SUBMITTED = re.compile(r"Job submitted: ([0-9a-f-]{36})\n")


def details(gigq: Client, job: str) -> dict[str, Any]:
    """Give all about a job."""
    found: dict[str, Any] = gigq("status", job, "-o", "json").document("status")["job"]
    return found


def submitted(gigq: Client, *line: str) -> str:
    """Submit with the id alone printed; the id."""
    return gigq("submit", "-q", *line).out.strip()


class TestSubmit:
    """`gigq submit`."""

    def test_prints_what_scripts_look_for(self, project: Client) -> None:
        """The id stands behind "Job submitted: "; with --quiet it stands alone."""
        first = project("submit", "jobs.quick", "--name", "n")
        second = project("submit", "jobs.quick", "--name", "n", "--quiet")
        found = SUBMITTED.fullmatch(first.out)
        assert found is not None
        assert re.fullmatch(r"[0-9a-f-]{36}\n", second.out)
        assert details(project, found[1])["name"] == "n"
        assert details(project, second.out.strip())["status"] == "pending"

    def test_warns_of_a_new_database(self, project: Client) -> None:
        """Creating the database is said on standard error, once."""
        first = project("submit", "jobs.quick", "--db", "fresh.db")
        second = project("submit", "jobs.quick", "--db", "fresh.db")
        assert first.err == f"gigq: warning: created the database {project.folder}/fresh.db\n"
        assert second.err == ""

    def test_parameters(self, project: Client) -> None:
        """A value is JSON if it can be, else text."""
        given = ["a=3", "b=text", 'c={"d": [1.5, null]}', "e=", "f=x=y", "g=NaN", 'h="3"', "i=ä"]
        job = submitted(project, "jobs.quick", *(each for g in given for each in ("-p", g)))
        assert details(project, job)["params"] == {
            "a": 3,
            "b": "text",
            "c": {"d": [1.5, None]},
            "e": "",
            "f": "x=y",
            "g": "NaN",
            "h": "3",
            "i": "ä",
        }

    def test_options(self, project: Client) -> None:
        """Each option reaches the job."""
        parent = submitted(project, "jobs.quick")
        job = submitted(
            project,
            *("jobs.quick", "--name", "all", "--priority", "-2", "--max-attempts", "5"),
            *("--timeout", "1.5", "--description", "a text", "--retry-delay", "2m"),
            *("--queue", "night", "--depends-on", parent[:12], "--on-parent-failure", "block"),
            *("--cwd", "below"),
        )
        found = details(project, job)
        wanted = {
            "name": "all",
            "priority": -2,
            "max_attempts": 5,
            "timeout": 1.5,
            "description": "a text",
            "retry_delay": 120,
            "queue": "night",
            "state": "blocked",
            "function": "jobs.quick",
        }
        assert {name: found[name] for name in wanted} == wanted
        assert [each["id"] for each in found["parents"]] == [parent]

    def test_no_limit(self, project: Client) -> None:
        """--timeout none is no limit, and 2h is two hours."""
        without = submitted(project, "jobs.quick", "--timeout", "none")
        hours = submitted(project, "jobs.quick", "--timeout", "2h")
        assert details(project, without)["timeout"] is None
        assert details(project, hours)["timeout"] == 7200

    def test_due_time(self, project: Client) -> None:
        """--delay and --run-at say when it is due, with an offset in what is told."""
        now = datetime.now(UTC)
        late = submitted(project, "jobs.quick", "--delay", "1h")
        at = submitted(project, "jobs.quick", "--run-at", "2040-01-31T17:30:00+02:00")
        due = datetime.fromisoformat(details(project, late)["due_at"])
        assert timedelta(minutes=59) < due - now < timedelta(minutes=62)
        found = details(project, at)
        assert found["state"] == "scheduled"
        assert datetime.fromisoformat(found["due_at"]) == datetime(2040, 1, 31, 15, 30, tzinfo=UTC)

    def test_unknown_dependency(self, project: Client) -> None:
        """A dependency that is not there is an error, and nothing is submitted."""
        submitted(project, "jobs.quick")
        done = project("submit", "jobs.quick", "--depends-on", "ffff-none", code=1)
        assert "no job's id begins with 'ffff-none'" in done.err
        assert project("stats", "-o", "json").document("stats")["total"] == 1


class TestFunctionCheck:
    """A function is looked for before a job is submitted for it, without importing it."""

    @pytest.mark.parametrize(
        ("function", "meant"),
        [
            ("jobs.qiuck", "Did you mean jobs.quick?"),
            ("package.jbos.load", "Did you mean package.jobs?"),
            ("package.jobs.laod", "Did you mean package.jobs.load?"),
            ("json.tool.mian", "Did you mean json.tool.main?"),
            ("broken.load", "cannot be read"),
            ("jobs.Path.nothing", "there is no Path in jobs"),
        ],
    )
    def test_finds_what_is_not_there(
        self, project: Client, monkeypatch: pytest.MonkeyPatch, function: str, meant: str
    ) -> None:
        """A name that is certainly wrong is found out, with a suggestion where one is near."""
        write_package(project)
        monkeypatch.chdir(project.folder)
        doubt = doubt_about(function)
        assert doubt is not None
        assert doubt.certain
        assert meant in doubt.problem

    def test_refuses_what_is_not_there(self, project: Client) -> None:
        """Such a name is refused, and nothing is created; --unchecked submits all the same."""
        done = project("submit", "jobs.qiuck", code=1)
        assert "Did you mean jobs.quick?" in done.err
        assert "--unchecked" in done.err
        assert not (project.folder / "gigq.db").exists()
        assert SUBMITTED.fullmatch(project("submit", "--unchecked", "jobs.qiuck").out)

    def test_refuses_what_never_runs(self, project: Client) -> None:
        """To call an asynchronous function runs nothing of it."""
        (project.folder / "late.py").write_text("async def work(): ...\n")
        done = project("submit", "late.work", code=1)
        assert (
            "late.work is asynchronous; wrap it: def job(): return asyncio.run(work())" in done.err
        )
        assert not (project.folder / "gigq.db").exists()
        (project.folder / "wrapped.py").write_text("async def work(): ...\nwork = print\n")
        project("submit", "wrapped.work")

    def test_warns_of_a_missing_module(self, project: Client) -> None:
        """A module that is not here at all is only a warning: the workers' Python decides."""
        done = project("submit", "jobz.quick")
        assert SUBMITTED.fullmatch(done.out)
        assert "warning: there is no module jobz here" in done.err
        assert "Did you mean jobs?" in done.err
        assert "workers' Python decides" in done.err

    @pytest.mark.parametrize(
        "function",
        [
            "package.jobs.load",
            "package.from_init",
            "package.jobs.imported",
            "package.jobs.conditional",
            "package.jobs.made_by_hand",
            "package.dynamic.anything",
            "os.path.exists",
            "json.dumps",
            "math.sqrt",
            "sys.exit",
        ],
    )
    def test_accepts_what_is_there(
        self, project: Client, monkeypatch: pytest.MonkeyPatch, function: str
    ) -> None:
        """Nothing is said about a function that is, or may be, there."""
        write_package(project)
        monkeypatch.chdir(project.folder)
        assert doubt_about(function) is None

    def test_imports_nothing(self, project: Client) -> None:
        """The module, and what is above it, is not imported for that."""
        write_package(project)
        project("submit", "package.jobs.load")
        assert not (project.folder / "imported").exists()


def write_package(gigq: Client) -> None:
    """Write a package that would notice an import."""
    package = gigq.folder / "package"
    package.mkdir(exist_ok=True)
    trap = f"open({str(gigq.folder / 'imported')!r}, 'w')\n"
    (package / "__init__.py").write_text(f"{trap}def from_init(): pass\n")
    (package / "jobs.py").write_text(
        f"{trap}from os import getcwd as imported\ndef load(): pass\n"
        "try:\n    import nothing\nexcept ImportError:\n    def conditional(): pass\n"
        "made_by_hand = lambda: None\n"
    )
    (package / "dynamic.py").write_text("from package.jobs import *\n")
    (gigq.folder / "broken.py").write_text("def load(:\n")


class TestRun:
    """`gigq run`."""

    def test_runs_and_keeps_the_output(self, served: Served) -> None:
        """A command line runs where it was submitted; its output and exit code are kept."""
        gigq = served.gigq
        done = gigq("run", "--name", "listing", "--wait", "--", "sh", "-c", "pwd; ls jobs.py >&2")
        job = SUBMITTED.fullmatch(done.out)
        assert job is not None
        logs = gigq("logs", job[1])
        assert logs.out == f"{served.folder}\njobs.py\n"
        found = details(gigq, job[1])
        assert (found["name"], found["result"]) == ("listing", {"exit_code": 0})
        assert "Command: sh -c 'pwd; ls jobs.py >&2'\n" in gigq("status", job[1]).out

    def test_failure(self, served: Served) -> None:
        """Another exit code than 0 is a failure of the job, which runs once; gigq's own is 3."""
        done = served.gigq("run", "-q", "--wait", "sh", "-c", "echo some; exit 7", code=3)
        found = details(served.gigq, done.out.strip())
        assert (found["status"], found["attempts"], found["max_attempts"]) == ("failed", 1, 1)
        assert found["error"] == "sh ended with exit code 7"
        assert "sh ended with exit code 7" in done.err
        assert served.gigq("logs", found["id"]).out == "some\n"

    def test_follow(self, served: Served) -> None:
        """With --follow the output of the command line is all that goes to standard output."""
        done = served.gigq("run", "--follow", "--", "echo", "--wait")
        assert done.out == "--wait\n"
        assert SUBMITTED.fullmatch(done.err)

    def test_is_of_kind_command(self, project: Client) -> None:
        """It is stored as a command line, named by itself, and needs no module of the project."""
        job = project("run", "-q", "make", "-j4", "all").out.strip()
        found = details(project, job)
        assert found["name"] == "make -j4 all"
        assert found["params"] == {"argv": ["make", "-j4", "all"]}
        with JobQueue(project.folder / "gigq.db") as queue, queue._look() as store:
            assert store is not None
            row = store._connection.row("SELECT kind, import_root, directory FROM job_spec")
        assert row == ("command", "", str(project.folder))


class TestWait:
    """What --wait and --follow add to a submit."""

    def test_wait(self, served: Served) -> None:
        """--wait exits when the job has ended: 0 or 3."""
        good = served.gigq("submit", "jobs.quick", "--wait")
        assert SUBMITTED.fullmatch(good.out)
        bad = served.gigq("submit", "jobs.bad", "--max-attempts", "1", "--wait", code=3)
        assert SUBMITTED.fullmatch(bad.out)
        assert "bad failed: a fault; more with: gigq why " in bad.err

    def test_follow(self, served: Served) -> None:
        """--follow prints what the job prints, and its attempts' ends, and exits as they say."""
        marker = served.folder / "once"
        done = served.gigq("submit", "jobs.bad_once", "-p", f"marker={marker}", "--follow", "-q")
        assert done.out == "run 1\nrun 2\n"
        assert "attempt 1 ended as failed: the first time\nTraceback" in done.err

    def test_says_why_it_takes_long(self, project: Client) -> None:
        """Who waits where nothing serves the database is told so, and what to type."""
        with project.start("submit", "jobs.quick", "--wait") as process:
            assert process.stderr is not None
            lines = [process.stderr.readline() for _ in range(2)]
            process.terminate()
        assert "created the database" in lines[0]
        assert "waiting for quick: " in lines[1]
        assert "gigqd start" in lines[1]


def test_document_is_checked() -> None:
    """The schema check would notice a field that the schema does not name."""
    with pytest.raises(AssertionError):
        checked('{"version": 1, "statuses": {}, "states": {}, "total": 0, "more": 1}', "stats")
