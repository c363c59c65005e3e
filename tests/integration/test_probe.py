"""Asking a Python which functions it could import, in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from harness import Service, until, write_jobs

import gigq
from gigq.cli.probe_client import ProbeError, Prober
from gigq.version import __version__
from gigq.worker.probe import Answer, Probe, Question

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(gigq.__file__).parents[1]
HERE = sys.executable


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with nothing installed; its Python."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Give a folder for modules, apart from the one that probes run in."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def question(name: str, root: Path | str = "", **fields: str) -> Question:
    """Ask about a function by its dotted name."""
    module, _, function = name.rpartition(".")
    return Question(module, function, None, str(root), **{"python": HERE, **fields})


def ask(
    questions: Sequence[Question], python: Path | str = HERE, *pythonpath: Path
) -> tuple[Probe, list[Answer]]:
    """Run the module itself; what it says, and nothing else on its output."""
    done = subprocess.run(
        [python, "-P", "-m", "gigq.worker.probe", *pythonpath],
        input=json.dumps([each._asdict() for each in questions]),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    first, *rest = map(json.loads, done.stdout.splitlines())
    return Probe(**first), [Answer(**line) for line in rest]


def prober(tmp_path: Path, python: Path | str = HERE, **options: object) -> Prober:
    """Make what the doctor asks with."""
    given = {
        "pythonpath": (),
        "environment": {"PATH": os.environ["PATH"]},
        "directory": tmp_path,
        "patience": 30.0,
    }
    return Prober(python=str(python), **{**given, **options})  # type: ignore[arg-type]


class TestAnswers:
    """What the probing process says."""

    def test_importable(self, project: Path) -> None:
        """Functions that can be imported have no error, wherever they are."""
        write_jobs(project, "def load(): pass\n", "etl.py")
        probe, answers = ask(
            [question("os.getcwd"), question("etl.load", project), question("json.JSONDecoder")]
        )
        assert (probe.python, probe.version) == (HERE, __version__)
        assert answers == [Answer()] * 3

    def test_missing_in_another_python(self, project: Path, bare: Path) -> None:
        """A module that is installed here and not there is named, with both Pythons."""
        write_jobs(project, "import click\ndef load(): pass\n", "etl.py")
        assert ask([question("etl.load", project)])[1] == [Answer()]
        probe, (answer,) = ask([question("etl.load", project)], bare)
        assert probe.python == str(bare)
        assert answer.missing == "click"
        assert answer.error == (
            f"`click` is missing in {bare}; the job was submitted from {HERE}; set [workers] python"
        )

    def test_missing_function(self, project: Path) -> None:
        """A function that its module does not have is missed by name, with the nearest one."""
        write_jobs(project, "def load_all(): pass\n", "etl.py")
        (answer,) = ask([question("etl.load_al", project)])[1]
        assert answer.error is not None
        assert answer.error.endswith("did you mean load_all?")
        assert answer.missing is None

    def test_script(self, project: Path) -> None:
        """A script is loaded for its functions, and what it guards is not run."""
        script = write_jobs(
            project, "def load(): pass\nif __name__ == '__main__':\n    1 / 0\n", "run.py"
        )
        asked = Question("__main__", "load", str(script), str(project))
        assert ask([asked])[1] == [Answer()]

    def test_nothing_is_submitted(self, project: Path) -> None:
        """A script that submits while it is loaded is refused, and no database comes of it."""
        script = write_jobs(
            project,
            "from gigq import Job, JobQueue\n"
            "def load(): pass\n"
            f"JobQueue('{project}/made.db').submit(Job('again', load))\n",
            "run.py",
        )
        (answer,) = ask([Question("__main__", "load", str(script), str(project))])[1]
        assert answer.error is not None
        assert 'guard this with: if __name__ == "__main__":' in answer.error
        assert not (project / "made.db").exists()

    def test_output_of_imports(self, project: Path) -> None:
        """What imports print, by Python or below it, does not come between the answers."""
        write_jobs(
            project,
            "import os, sys\nprint('{')\nos.write(1, b'{}')\n"
            "assert sys.stdin.read() == ''\ndef load(): pass\n",
            "loud.py",
        )
        assert ask([question("loud.load", project)] * 2)[1] == [Answer()] * 2

    def test_modules_of_one_name(self, tmp_path: Path) -> None:
        """Two projects with modules of the same name are kept apart, as in a worker."""
        for name in ("one", "two"):
            write_jobs(tmp_path / name, f"def {name}(): pass\n", "etl.py")
        asked = [
            question("etl.one", tmp_path / "one"),
            question("etl.two", tmp_path / "two"),
            question("etl.one", tmp_path / "two"),
        ]
        errors = [answer.error for answer in ask(asked)[1]]
        assert errors[:2] == [None, None]
        assert errors[2] is not None
        assert str(tmp_path / "two") in errors[2]

    def test_pythonpath(self, project: Path, tmp_path: Path) -> None:
        """Folders of the configuration are looked in, the current one is not."""
        write_jobs(project, "def load(): pass\n", "etl.py")
        asked = [question("etl.load", directory=str(project))]
        assert ask(asked)[1][0].missing == "etl"
        assert ask(asked, HERE, tmp_path, project)[1] == [Answer()]

    def test_directory(self, project: Path) -> None:
        """Functions are imported where their job would run; a directory that is gone is said."""
        write_jobs(project, "open('data.csv')\ndef load(): pass\n", "etl.py")
        (project / "data.csv").touch()
        asked = [
            question("etl.load", project, directory=str(project)),
            question("etl.load", project, directory=str(project / "gone")),
        ]
        first, second = ask(asked)[1]
        assert first.error is None
        assert second.error is not None
        assert second.error.startswith(f"the directory {project}/gone cannot be entered: No such")

    def test_leaves_nothing_behind(self, project: Path) -> None:
        """It writes no compiled code, and does not wait for threads that imports start."""
        write_jobs(
            project,
            "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
            "def load(): pass\n",
            "etl.py",
        )
        assert ask([question("etl.load", project)])[1] == [Answer()]
        assert [file.name for file in project.iterdir()] == ["etl.py"]

    def test_says_what_a_worker_says(self, tmp_path: Path) -> None:
        """A job that fails for its import is recorded with the very sentence of the probe."""
        write_jobs(tmp_path, "import no_such_package\ndef load(): pass\n", "etl.py")
        write_jobs(tmp_path, "1 / 0\ndef load(): pass\n", "wrong.py")
        functions = ("etl.load", "wrong.load", "absent.load", "os.no_such_function")
        with Service(tmp_path, configuration="[workers]\ncount = 1\n") as service:
            jobs = [service.submit(name, max_attempts=1) for name in functions]
            recorded = [service.wait_status(job, "failed")["error"] for job in jobs]
        asked = [question(name, tmp_path) for name in functions]
        assert [answer.error for answer in ask(asked, HERE, tmp_path)[1]] == recorded


class TestAsking:
    """What the other side makes of processes that do not answer."""

    def test_rest_is_asked_again(self, project: Path, tmp_path: Path) -> None:
        """An import that ends the process, or kills it, is that function's answer only."""
        write_jobs(project, "import os\nos._exit(7)\n", "leaves.py")
        write_jobs(project, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "dies.py")
        asked = [
            question("os.getcwd"),
            question("leaves.load", project),
            question("os.getcwd"),
            question("dies.load", project),
            question("no_such_module.load"),
        ]
        _, answers = prober(tmp_path).ask(asked)
        assert [answer.error for answer in answers[:4]] == [
            None,
            "its import ends the process (exit code 7)",
            None,
            "its import ends the process (SIGSEGV)",
        ]
        assert answers[4].missing == "no_such_module"

    def test_import_without_end(self, project: Path, tmp_path: Path) -> None:
        """An import that does not end is given up, and what it started is ended."""
        write_jobs(
            project,
            "import subprocess, pathlib\nchild = subprocess.Popen(['sleep', '1000'])\n"
            f"pathlib.Path({str(project)!r}, 'pid').write_text(str(child.pid))\nchild.wait()\n",
            "hangs.py",
        )
        asked = [question("hangs.load", project), question("os.getcwd")]
        _, answers = prober(tmp_path, patience=2).ask(asked)
        assert answers == [Answer("its import takes longer than 2 s"), Answer()]
        status = Path("/proc", (project / "pid").read_text(), "stat")
        until(lambda: not status.exists() or b") Z " in status.read_bytes())

    def test_python_without_gigqd(self, bare: Path, tmp_path: Path) -> None:
        """A Python in which gigqd is not installed says so."""
        with pytest.raises(ProbeError, match="No module named"):
            prober(tmp_path, bare).ask([question("os.getcwd")])

    def test_no_python(self, tmp_path: Path) -> None:
        """A Python that is not there cannot be asked."""
        with pytest.raises(ProbeError, match="cannot be started: No such file"):
            prober(tmp_path, tmp_path / "python").ask([])

    def test_no_questions(self, tmp_path: Path) -> None:
        """Without functions one learns who would answer."""
        probe, answers = prober(tmp_path).ask([])
        assert (probe.python, answers) == (HERE, [])

    def test_many_questions(self, tmp_path: Path) -> None:
        """More questions than a pipe holds are all answered."""
        asked = [question("os.getcwd", directory=str(tmp_path) + "/." * 400)] * 500
        assert prober(tmp_path).ask(asked)[1] == [Answer()] * 500
