"""The example `examples/stdlib_report.py`: what it measures, and that a queue changes nothing."""

from __future__ import annotations

import errno
import importlib
import json
import os
import subprocess
import sys
import sysconfig
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gigq import JobQueue, Worker

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).parents[2] / "examples" / "stdlib_report.py"
STDLIB = Path(sysconfig.get_path("stdlib"))
LIMIT = 60

SAMPLE = '''\
"""Two functions, one with a docstring."""

import os, sys
from pathlib import Path  # one more statement


class Outer:
    def first(self):
        """Hold two lines of prose

        and one blank."""
        if os:
            pass
        elif sys:
            for _ in ():
                pass  # three blocks and the class around it
        else:
            # a comment
            pass

    async def second(self): ...
'''


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the example as a module that a worker finds by its name."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return importlib.import_module(SCRIPT.stem)


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Give the path of a database that does not exist yet."""
    return str(tmp_path / "gigq.db")


def contents(folder: Path) -> dict[str, bytes]:
    """Give every file of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run_all_jobs(database: str) -> None:
    """Run jobs in this process until none is ready."""
    with closing(Worker(database)) as worker:
        while worker.process_one():
            pass


def submitted_report(
    example: ModuleType, database: str, output: Path, max_attempts: int = 20
) -> str:
    """Submit the limited workflow and give the id of its last job."""
    workflow, report = example.build_workflow(STDLIB, output, LIMIT, max_attempts)
    with closing(JobQueue(database)) as queue:
        workflow.submit_all(queue)
    return str(report.id)


def test_queued_report_equals_direct_one(
    example: ModuleType, database: str, tmp_path: Path
) -> None:
    """Run as jobs or in one process, the workflow writes the same bytes."""
    job_id = submitted_report(example, database, tmp_path / "queued")
    run_all_jobs(database)
    example.run_directly(STDLIB, tmp_path / "direct", LIMIT)
    assert set(contents(tmp_path / "direct")) == {"report.md", "files.csv", "packages.csv"}
    assert contents(tmp_path / "queued") == contents(tmp_path / "direct")
    assert example.wait(database, job_id) == 0


def test_script_submits_jobs_that_another_process_runs(
    example: ModuleType, database: str, tmp_path: Path
) -> None:
    """The script's own functions, submitted from its `__main__`, run in another process."""
    command = [sys.executable, str(SCRIPT), "submit", "--database", database]
    options = ["--output", "queued", "--limit", str(LIMIT)]
    submitted = subprocess.run(
        [*command, *options], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    job_id = submitted.stdout.splitlines()[-1].removeprefix("Report job: ")
    run_all_jobs(database)
    assert example.wait(database, job_id) == 0
    example.run_directly(STDLIB, tmp_path / "direct", LIMIT)
    assert contents(tmp_path / "queued") == contents(tmp_path / "direct")


def test_wait_tells_failure(
    example: ModuleType, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Waiting for a report that cannot be written ends with code 3 and the reason."""
    (tmp_path / "file").touch()
    job_id = submitted_report(example, database, tmp_path / "file" / "below", max_attempts=1)
    run_all_jobs(database)
    assert example.wait(database, job_id) == example.EXIT_UNSUCCESSFUL == 3
    assert os.strerror(errno.ENOTDIR) in capsys.readouterr().err


def test_wait_refuses_an_unknown_job(
    example: ModuleType, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Waiting for a job that was never submitted ends at once."""
    JobQueue(database).close()
    assert example.wait(database, "no-such-job") == example.EXIT_UNKNOWN_JOB
    assert "no-such-job" in capsys.readouterr().err


def test_whole_library_is_a_large_workflow(example: ModuleType, tmp_path: Path) -> None:
    """Without a limit the workflow has at least 500 jobs, one for each file among them."""
    workflow, report = example.build_workflow(STDLIB, tmp_path)
    files = sum(len(paths) for paths in example.make_plan(STDLIB).values())
    measuring = [job for job in workflow.jobs if job.function is example.measure_file]
    assert len(workflow.jobs) >= 500
    assert len(measuring) == files
    assert report.max_attempts == 20


def test_measures_are_right(example: ModuleType, tmp_path: Path) -> None:
    """A small module's measures are those counted by hand."""
    (tmp_path / "sample.py").write_text(SAMPLE)
    assert example.measure_file(str(tmp_path), "sample.py") == {
        "unparsable": 0,
        "lines": 21,
        "code_lines": 12,
        "functions": 2,
        "classes": 1,
        "imports": 2,
        "documentable": 4,
        "documented": 2,
        "deepest_nesting": 4,
        "longest_function": 12,
        "longest_function_line": 8,
    }


@pytest.mark.parametrize(
    "content",
    [b"print 1\n", b"x = '\xff'\n", b"# coding: no-such-codec\n", b"x = 1\0\n"],
    ids=["syntax", "bytes", "coding", "null"],
)
def test_broken_file_is_counted(example: ModuleType, tmp_path: Path, content: bytes) -> None:
    """A file that does not decode or parse is counted as unparsable, with its lines."""
    (tmp_path / "broken.py").write_bytes(content)
    measures = example.measure_file(str(tmp_path), "broken.py")
    assert {key for key, number in measures.items() if number} == {"unparsable", "lines"}


def test_doubtful_escape_is_no_error(example: ModuleType, tmp_path: Path) -> None:
    """A file that the parser only warns of is parsable, even where warnings are errors."""
    (tmp_path / "doubtful.py").write_text("x = '\\d'\n")
    assert example.measure_file(str(tmp_path), "doubtful.py")["unparsable"] == 0


def test_results_are_small_and_plain(example: ModuleType) -> None:
    """A file's result is a flat dict of ints, which JSON gives back unchanged."""
    measures = example.measure_file(str(STDLIB), "argparse.py")
    assert {type(number) for number in measures.values()} == {int}
    assert json.loads(json.dumps(measures)) == measures


def test_rerun_after_a_kill_is_harmless(example: ModuleType, tmp_path: Path) -> None:
    """What a killed run left half written is gone after the next one, which writes the same."""
    example.run_directly(STDLIB, tmp_path, 5)
    first = contents(tmp_path)
    (tmp_path / ".report.md.unfinished").write_text("# The stand")
    (tmp_path / "packages.csv").unlink()
    example.run_directly(STDLIB, tmp_path, 5)
    assert contents(tmp_path) == first


def test_folder_without_sources_is_refused(example: ModuleType, tmp_path: Path) -> None:
    """A library without source files is an error, not an empty report."""
    with pytest.raises(FileNotFoundError, match="no Python source files"):
        example.make_plan(tmp_path)
