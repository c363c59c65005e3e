"""Workflows as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cli.client import Database

from gigq import Job, Workflow
from gigq.queue.states import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.client import Client, Examples


@pytest.fixture
def database(gigq: Client) -> Iterator[Database]:
    """Give a database in the client's folder."""
    made = Database(gigq.folder / "gigq.db")
    yield made
    made.close()


def diamond(database: Database, name: str = "etl") -> dict[str, str]:
    """Submit a workflow whose last job waits for two, and one that stands alone; ids by name."""
    flow = Workflow(name)

    def add(job: str, *parents: Job) -> Job:
        return flow.add_job(Job(job, "json.dumps", {"obj": 1}, max_attempts=1), depends_on=parents)

    source = add("source")
    left, right = add("left", source), add("right", source)
    add("alone")
    add("sink", left, right)
    flow.submit_all(database.queue)
    return {"etl": flow.id, **{job.name: job.id for job in flow.jobs}}


class TestShow:
    """`gigq workflow show`."""

    def test_tree(self, gigq: Client, database: Database) -> None:
        """Jobs stand behind their parents, indented, with a glyph for their status."""
        made = diamond(database)
        database.end(made["source"], Verdict.COMPLETED)
        database.end(made["left"], Verdict.FAILED, error="x")
        database.claim(made["right"])
        lines = gigq("workflow", "show", "etl").out.splitlines()
        assert lines[0] == f"etl ({made['etl']})"
        counts = "5 jobs: 1 pending, 1 running, 1 completed, 1 failed, 1 cancelled"
        assert lines[1].endswith(counts)
        width = lines[3].index("STATUS")
        assert [line[:width].rstrip() for line in lines[4:]] == [
            "✓  source",
            "✗    left",
            "▶    right",
            "⊘      sink",
            "…  alone",
        ]
        assert lines[7].endswith("  left, right")

    def test_document(self, gigq: Client, database: Database) -> None:
        """JSON has each job's parents and depth, and the counts."""
        made = diamond(database)
        document = gigq("workflow", "show", "etl", "-o", "json").document("workflow-show")
        jobs = {job["name"]: job for job in document["jobs"]}
        assert jobs["sink"]["parents"] == [made["left"], made["right"]]
        assert {name: job["depth"] for name, job in jobs.items()} == {
            "source": 0,
            "left": 1,
            "right": 1,
            "sink": 2,
            "alone": 0,
        }
        assert document["workflow"]["jobs"]["pending"] == 5

    def test_by_id(self, gigq: Client, database: Database) -> None:
        """The beginning of a workflow's id is enough; a name means the newest of that name."""
        old, new = diamond(database), diamond(database)
        assert gigq("workflow", "show", old["etl"][:12]).out.startswith(f"etl ({old['etl']})\n")
        named = gigq("workflow", "show", "etl")
        assert named.out.startswith(f"etl ({new['etl']})\n")
        assert "2 workflows are called 'etl'" in named.err
        assert "gigq workflow list" in gigq("workflow", "show", "elt", code=1).err

    def test_many_jobs_under_one(self, gigq: Client, database: Database) -> None:
        """A job with many parents names a few and counts the rest."""
        flow = Workflow("wide")
        parents = [flow.add_job(Job(f"part-{n}", "json.dumps", {"obj": n})) for n in range(200)]
        flow.add_job(Job("sum", "json.dumps", {"obj": 0}), depends_on=parents)
        flow.submit_all(database.queue)
        lines = gigq("workflow", "show", "wide").out.splitlines()
        assert len(lines) == 4 + 201
        assert lines[-1].endswith("part-0, part-1, part-2, 197 more")


class TestList:
    """`gigq workflow list`."""

    def test_table(self, look: Client, shown: Examples) -> None:
        """Each workflow with its id and the counts of its jobs."""
        titles, line = look("workflow", "list").out.splitlines()
        assert titles.split() == ["ID", "NAME", "AGE", "JOBS"]
        assert line.startswith(f"{shown.workflow[:8]}  etl ")
        assert line.endswith("2 jobs: 2 pending")

    def test_document(self, gigq: Client, database: Database) -> None:
        """JSON lists the newest first, up to the limit."""
        made = [diamond(database, name)["etl"] for name in ("one", "two", "three")]
        document = gigq("workflow", "list", "-o", "json").document("workflow-list")
        assert [each["id"] for each in document["workflows"]] == made[::-1]
        limited = gigq("workflow", "list", "--limit", "2")
        assert len(limited.out.splitlines()) == 3
        assert "there are 3" in limited.err

    def test_none(self, gigq: Client, database: Database) -> None:
        """A database without workflows is no failure."""
        database.submit("job")
        done = gigq("workflow", "list")
        assert (done.out, done.err) == ("", "gigq: no workflows found\n")
