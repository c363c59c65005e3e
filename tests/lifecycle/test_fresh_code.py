"""The blow: the code of the jobs changes, collides, or cannot be loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from harness import GENEROUS, Service, replace, until, write_jobs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lifecycle.oracle import Oracle

NOTICED_WITHIN = 2.0 * GENEROUS  # seconds after the file was written
ONE_WORKER = "[workers]\ncount = 1\n"
BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}  # written by default; some environments forbid it


def returns(value: str) -> str:
    """Write a module whose function returns this."""
    return f"def run():\n    return {value!r}\n"


def result(service: Service, function: str, folder: Path | None = None) -> Any:  # noqa: ANN401
    """Run a job and give what it returned."""
    job = service.submit(function, folder=folder)
    found = service.wait_status(job, "completed", "failed")
    assert found["status"] == "completed", found["error"]
    return found["result"]


def overwrite(path: Path, text: str) -> None:
    """Write a file where it stands."""
    path.write_text(text)


# Edited code


@pytest.mark.parametrize("write", [overwrite, replace])
def test_edited_module(tmp_path: Path, write: Callable[[Path, str], None]) -> None:
    """A job whose module was edited runs the new code when it is submitted again, each time."""
    with Service(tmp_path, configuration=ONE_WORKER, environment=BYTECODE) as service:
        for turn in range(6):  # all of one length, and most within one second
            write(tmp_path / "edited.py", returns(f"version {turn}"))
            assert result(service, "edited.run") == f"version {turn}"
        assert not service.events("worker_lost")


def test_edited_module_with_several_workers(tmp_path: Path) -> None:
    """No worker runs old code, whichever takes the job."""
    settings = "[workers]\ncount = 3\n"
    with Service(tmp_path, configuration=settings, environment=BYTECODE) as service:
        service.wait_ready(3)
        for turn in range(4):
            overwrite(tmp_path / "edited.py", returns(f"version {turn}"))
            jobs = [service.submit("edited.run") for _ in range(12)]
            found = [service.wait_status(job, "completed")["result"] for job in jobs]
            assert found == [f"version {turn}"] * 12


def test_other_function_of_an_edited_module(tmp_path: Path) -> None:
    """A function that is called for the first time is as new as its file."""
    module = tmp_path / "edited.py"
    with Service(tmp_path, configuration=ONE_WORKER) as service:
        for turn in range(5):
            functions = "".join(
                f"def run_{number}():\n    return {turn}\n\n\n" for number in range(turn + 1)
            )
            overwrite(module, f"# version {turn}\n{functions}")
            assert result(service, f"edited.run_{turn}") == turn


def test_corrected_function_name(tmp_path: Path) -> None:
    """A function that was missing is found as soon as it was written."""
    with Service(tmp_path, configuration=ONE_WORKER) as service:
        overwrite(tmp_path / "edited.py", "def rum():\n    return 1\n")
        job = service.submit("edited.run", max_attempts=1)
        service.wait_status(job, "failed")
        overwrite(tmp_path / "edited.py", "def run():\n    return 1\n")
        assert result(service, "edited.run") == 1


def test_edited_helper(tmp_path: Path) -> None:
    """A changed module that a job imports is noticed, and workers are renewed between jobs."""
    write_jobs(tmp_path, "import helper\n\n\ndef run():\n    return helper.run()\n", "uses.py")
    helper = write_jobs(tmp_path, returns("old"), "helper.py")
    with Service(tmp_path, configuration="[workers]\ncount = 2\n") as service:
        service.wait_ready(2)
        assert result(service, "uses.run") == "old"
        replace(helper, returns("new"))
        renewed = service.wait_for("workers_renewed", seconds=NOTICED_WITHIN, reason="code")
        assert renewed["path"] == str(helper)
        assert result(service, "uses.run") == "new"
        assert not service.events("worker_lost")


def test_helper_edited_while_the_job_runs(folder: Path, oracle: Oracle) -> None:
    """A helper that is edited while a job runs is new for the next job."""
    text = "import helper, jobs\n\n\ndef run(key):\n    jobs.wait(key)\n    return helper.run()\n"
    write_jobs(folder, text, "uses.py")
    helper = write_jobs(folder, returns("old"), "helper.py")
    with Service(folder, configuration=ONE_WORKER) as service:
        first = service.submit("uses.run", {"key": "first"})
        oracle.wait_begun("first")
        replace(helper, returns("new"))
        oracle.let_go("first", "second")
        assert service.wait_status(first, "completed")["result"] == "old"
        service.wait_for("workers_renewed", seconds=NOTICED_WITHIN, reason="code")
        second = service.submit("uses.run", {"key": "second"})
        assert service.wait_status(second, "completed")["result"] == "new"


def test_helper_edited_while_the_queue_is_full(folder: Path) -> None:
    """A changed helper is noticed while workers never come to rest."""
    text = (
        "import time\nimport helper\n\n\ndef run(number):\n    time.sleep(0.01)\n"
        "    return helper.run()\n"
    )
    write_jobs(folder, text, "uses.py")
    helper = write_jobs(folder, returns("old"), "helper.py")
    with Service(folder, configuration=ONE_WORKER) as service:
        jobs = [service.submit("uses.run", {"number": number}) for number in range(300)]
        service.wait_status(jobs[5], "completed")
        replace(helper, returns("new"))
        service.wait_for("workers_renewed", seconds=NOTICED_WITHIN, reason="code")
        found = [service.wait_status(job, "completed")["result"] for job in jobs]
        assert found[-1] == "new"
        assert found == sorted(found, reverse=True), "old code ran after new"


def test_reload_is_off(tmp_path: Path) -> None:
    """With reload = false a worker keeps the code that it has loaded."""
    module = write_jobs(tmp_path, returns("old"), "edited.py")
    with Service(tmp_path, configuration=f"{ONE_WORKER}reload = false\n") as service:
        assert result(service, "edited.run") == "old"
        replace(module, returns("new"))
        assert [result(service, "edited.run") for _ in range(5)] == ["old"] * 5
        assert not service.events("workers_renewed")


# Two projects


def test_modules_of_one_name(tmp_path: Path) -> None:
    """Two projects whose modules have the same names never see each other's."""
    for project in ("red", "blue"):
        package = tmp_path / project / "package"
        main = "import common\nfrom package import deep\n\n\ndef run():\n"
        late = "    import late\n    from package import later\n"
        write_jobs(
            tmp_path / project,
            f"{main}{late}    return [common.NAME, deep.NAME, late.NAME, later.NAME]\n",
            "main.py",
        )
        for folder, name in (
            (tmp_path / project, "common"),
            (tmp_path / project, "late"),
            (package, "__init__"),
            (package, "deep"),
            (package, "later"),
        ):
            write_jobs(folder, f"NAME = {project!r}\n", f"{name}.py")
    with Service(tmp_path, configuration=ONE_WORKER) as service:
        for project in ("red", "blue", "red", "red", "blue", "red"):
            assert result(service, "main.run", tmp_path / project) == [project] * 4
        assert len(service.events("worker_ready")) == 1


def test_namespace_packages_of_one_name(tmp_path: Path) -> None:
    """That holds for packages without an `__init__.py` too."""
    for project in ("red", "blue"):
        text = (
            "def run():\n    from package import deep\n    import package.other\n"
            "    return [deep.NAME, package.deep.NAME, package.other.NAME]\n"
        )
        write_jobs(tmp_path / project / "package", text, "main.py")
        for name in ("deep", "other"):
            write_jobs(tmp_path / project / "package", f"NAME = {project!r}\n", f"{name}.py")
    with Service(tmp_path, configuration=ONE_WORKER) as service:
        for project in ("red", "blue", "red", "red", "blue", "red"):
            assert result(service, "package.main.run", tmp_path / project) == [project] * 3


def test_installed_packages_are_loaded_once(tmp_path: Path) -> None:
    """Packages of an environment inside one project are not loaded again for another one."""
    installed = tmp_path / "red" / ".venv" / "lib" / "python3" / "site-packages"
    once = (
        "import sys\n\nif hasattr(sys, 'loaded_once'):\n"
        "    raise ImportError('cannot load module more than once per process')\n"
        "sys.loaded_once = True\n"
    )
    write_jobs(installed, once, "picky.py")
    for project in ("red", "blue"):
        text = f"import picky\n\n\ndef run():\n    return {project!r} if picky else None\n"
        write_jobs(tmp_path / project, text, "main.py")
    with Service(
        tmp_path, configuration=ONE_WORKER, environment={"PYTHONPATH": python_path(installed)}
    ) as service:
        for project in ("red", "blue", "red", "blue"):
            assert result(service, "main.run", tmp_path / project) == project


def python_path(first: Path) -> str:
    """Put a folder before what PYTHONPATH says."""
    return os.pathsep.join([str(first), *filter(None, [os.environ.get("PYTHONPATH")])])


# Code that cannot be loaded


@pytest.mark.parametrize(
    ("function", "text", "said"),
    [
        ("no_such_module.run", "", "`no_such_module` was imported from {folder}, and is missing"),
        (
            "broken.rum",
            returns("x"),
            "no function rum in module broken ({file}); did you mean run?",
        ),
        ("broken.NAME", "NAME = 1\n", "NAME in module broken ({file}) is a int, not a function"),
        ("broken.run", "def run(:\n", "broken cannot be imported by {python}: SyntaxError"),
        ("broken.run", "1 / 0\n", "broken cannot be imported by {python}: ZeroDivisionError"),
        ("broken.run", "import pandas_\n", "`pandas_` is missing in {python}; install it there"),
        ("broken.run", "import sys\nsys.exit()\n", "broken calls sys.exit while it is loaded"),
    ],
    ids=["module", "function", "no function", "syntax", "raises", "import", "exits"],
)
def test_function_cannot_be_loaded(folder: Path, function: str, text: str, said: str) -> None:
    """The job fails with a sentence that says why, and its worker takes the next one."""
    file = write_jobs(folder, text, "broken.py")
    with Service(folder, configuration=f"{ONE_WORKER}reload = false\n") as service:
        before = service.submit("jobs.quick", {"key": "before"})
        job = service.submit(function, max_attempts=2)
        after = service.submit("jobs.quick", {"key": "after"})
        found = service.wait_status(job, "failed")
        service.wait_status(after, "completed")
        assert service.queue.get_result(before) == service.queue.get_result(after)
        service.wait_for("job_failed", job_id=job)
    assert said.format(folder=folder, file=file, python=sys.executable) in found["error"]
    assert found["cause"] == "import"
    assert found["attempts"] == 2
    if text == "1 / 0\n":
        assert f'File "{file}", line 1' in found["executions"][-1]["traceback"]


# Scripts

SCRIPT = """\
import os
from pathlib import Path

from gigq import Job, JobQueue


def double(number):
    return {times} * number


with Path(__file__).with_name("loaded").open("a") as loaded:
    loaded.write("x")
{guard}
    queue = JobQueue(os.environ["GIGQ_DB"])
    print(queue.submit(Job("double", double, {{"number": 21}}, max_attempts=1)))
"""


def submit_by_script(service: Service, script: Path) -> str:
    """Run a script from another folder than its own; the id that it printed."""
    elsewhere = service.folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    output = subprocess.run(
        [sys.executable, str(script)],
        cwd=elsewhere,
        env={**os.environ, "GIGQ_DB": str(service.database)},
        check=True,
        capture_output=True,
        text=True,
    )
    return output.stdout.strip()


def test_functions_of_a_script(tmp_path: Path) -> None:
    """Functions of an executed script run in the service, and new ones when it was edited."""
    guard = 'if __name__ == "__main__":'
    with Service(tmp_path, configuration=ONE_WORKER) as service:
        for times in (2, 3):
            text = SCRIPT.format(guard=guard, times=times)
            script = write_jobs(tmp_path / "scripts", text, "script.py")
            job = submit_by_script(service, script)
            assert service.wait_status(job, "completed", "failed")["result"] == 21 * times
        assert service.queue.stats()["total"] == 2


def test_script_without_a_guard(tmp_path: Path) -> None:
    """A script that would submit itself again when it is loaded fails its job with the remedy."""
    text = SCRIPT.format(guard="if True:", times=2)
    script = write_jobs(tmp_path / "scripts", text, "script.py")
    with Service(tmp_path, configuration=ONE_WORKER) as service:
        job = submit_by_script(service, script)
        found = service.wait_status(job, "failed", "completed")
        assert 'guard this with: if __name__ == "__main__":' in found["error"]
        assert f"{script} calls submit while a worker loads it" in found["error"]
        loads = (script.parent / "loaded").read_text()
        until(lambda: service.queue.stats()["failed"] == 1)
        assert service.queue.stats()["total"] == 1
        assert len(loads) == 2  # by who ran it, and by the worker
