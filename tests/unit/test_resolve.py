"""From a claim to its function: projects kept apart, fresh code, and failures that teach.

A loader changes what its process imports, so each test runs one in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from gigq.worker.resolve import FunctionLoadError

if TYPE_CHECKING:
    from pathlib import Path

PRELUDE = """
import json, os, sys
from pathlib import Path
from gigq.queue.records import Claim
from gigq.worker.import_roots import ImportRoots
from gigq.worker.resolve import FunctionLoadError, Loader

def claim(root, dotted, *, script=None, python=sys.executable):
    module, _, name = dotted.partition(":")
    return Claim(1, 1, 1, 0, "id", "job", "{}", 1, 1, 0, "function", module, name, script,
                 str(root), "/", None, python, None, None, None, 0)

def script(path, name):
    return claim(Path(path).parent, "__main__:" + name, script=str(path))

def refusal(claim):
    try:
        loader.load(claim)
    except FunctionLoadError as error:
        return str(error)
    return None

here = Path(sys.argv[1])
service = lambda *pythonpath: Loader(ImportRoots(pythonpath))
loader = service()
told = []
"""

NEVER_RUN = """
async def later(): ...
def several(): yield
"""
LAZY = """
class Lazy:
    def __getattr__(self, name):
        raise RuntimeError("not here")
Lazy = Lazy()
"""


def run(folder: Path, code: str, **files: str) -> Any:  # noqa: ANN401
    """Write files (`a__b` is a/b.py) and run code beside a loader; what it noted in `told`."""
    for name, text in files.items():
        write(folder.joinpath(*name.split("__")).with_suffix(".py"), text)
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{PRELUDE}\n{code}\nprint(json.dumps(told))", str(folder)],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def write(path: Path, text: str) -> Path:
    """Write a file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


class TestLoading:
    """Functions are found by module and name."""

    def test_module(self, tmp_path: Path) -> None:
        """A function is found in its project's folder, which was on no path before."""
        code = 'told.append(loader.load(claim(here, "jobs:work")).call())'
        assert run(tmp_path, code, jobs="def work(): return 7") == [7]

    def test_qualified_name(self, tmp_path: Path) -> None:
        """A name may lead through classes; a task is the function that it wraps."""
        code = """
for name in ("Kind.static", "Kind.Inner.deep", "decorated"):
    told.append(loader.load(claim(here, "pack.jobs:" + name)).call())
"""
        jobs = """
from gigq import task
class Kind:
    @staticmethod
    def static(): return 1
    class Inner:
        @staticmethod
        def deep(): return 2
@task
def decorated(): return 3
"""
        assert run(tmp_path, code, pack____init__="", pack__jobs=jobs) == [1, 2, 3]

    def test_siblings(self, tmp_path: Path) -> None:
        """A module imports others of its project, also while it runs."""
        code = 'told.append(loader.load(claim(here, "pack.jobs:work")).call())'
        jobs = """
from pack import near
import outer
def work():
    import late
    return [near.X, outer.X, late.X]
"""
        files = {"pack__near": "X = 1", "outer": "X = 2", "late": "X = 3"}
        assert run(tmp_path, code, pack__jobs=jobs, **files) == [[1, 2, 3]]

    def test_loaded_once(self, tmp_path: Path) -> None:
        """A module is loaded for its first job and kept for the next ones."""
        code = """
for name in ("work", "work", "other"):
    told.append(loader.load(claim(here, "jobs:" + name)).call())
"""
        jobs = "import itertools\ncount = itertools.count()\ndef work(): return next(count)\n"
        assert run(tmp_path, code, jobs=jobs + "other = work") == [0, 1, 2]

    SHARED: ClassVar = {
        "a__jobs": "import common\ndef work(): return common.work()",
        "b__jobs": "import common\ndef work(): return common.work()",
        "b__common": "def work(): return 'own'",
        "shared__common": "def work(): return 'shared'",
    }

    @pytest.mark.parametrize(("root", "seen"), [("a", "shared"), ("b", "own")])
    def test_pythonpath(self, tmp_path: Path, root: str, seen: str) -> None:
        """Configured folders come after the project's own."""
        code = f"""
loader = service(str(here / "shared"))
told.append(loader.load(claim(here / "{root}", "jobs:work")).call())
"""
        assert run(tmp_path, code, **self.SHARED) == [seen]

    def test_pythonpath_hides_nothing(self, tmp_path: Path) -> None:
        """A module of configured folders, loaded for one project, does not hide another's own."""
        code = """
loader = service(str(here / "shared"))
told.append(loader.load(claim(here / "a", "jobs:work")).call())
told.append(loader.load(claim("", "common:work")).call())
told.append(loader.load(claim(here / "b", "jobs:work")).call())
"""
        assert run(tmp_path, code, **self.SHARED) == ["shared", "shared", "own"]

    def test_installed(self, tmp_path: Path) -> None:
        """What is installed needs no folder."""
        code = 'told.append(loader.load(claim("", "json:dumps")).call(obj=[1]))'
        assert run(tmp_path, code) == ["[1]"]

    def test_what_it_asks_for(self, tmp_path: Path) -> None:
        """Its parameters say whether a function asks for the results of its job's parents."""
        wants, requires = [True, False], [False, True]
        functions = {
            "def work(): ...": [False, False],
            "def work(parent_results): ...": wants,
            "def work(parent_results=None): ...": wants,
            "def work(*, parent_results): ...": wants,
            "def work(**anything): ...": wants,
            "def work(job_results): ...": requires,
            "def work(job_results=None): ...": [False, False],
            "def work(parent_results, job_results): ...": [True, True],
            "def work(*args): ...": [False, False],
            "from gigq import task\n@task\ndef work(parent_results): ...": wants,
            "work = min": [False, False],
        }
        code = f"""
for number in range({len(functions)}):
    found = loader.load(claim(here, f"jobs{{number}}:work"))
    told.append([found.takes_parent_results, found.requires_job_results])
"""
        files = {f"jobs{number}": text for number, text in enumerate(functions)}
        assert run(tmp_path, code, **files) == list(functions.values())


class TestProjects:
    """Two projects with modules of the same name never see each other's."""

    JOBS = """
import helper
def work():
    return helper.NAME
def late():
    import lazy
    return lazy.NAME
"""
    FILES: ClassVar = {
        "a__jobs": JOBS,
        "a__helper": "NAME = 'a'",
        "a__lazy": "NAME = 'lazy a'",
        "b__jobs": JOBS,
        "b__helper": "NAME = 'b'",
        "b__lazy": "NAME = 'lazy b'",
    }

    def test_same_names(self, tmp_path: Path) -> None:
        """Whatever the order of their jobs, each runs its own modules and imports its own."""
        code = """
for root in "abba":
    for name in ("work", "late"):
        told.append(loader.load(claim(here / root, "jobs:" + name)).call())
"""
        a, b = ["a", "lazy a"], ["b", "lazy b"]
        assert run(tmp_path, code, **self.FILES) == [*a, *b, *b, *a]

    def test_state_is_kept(self, tmp_path: Path) -> None:
        """A project's modules are put aside, not forgotten, while another's job runs."""
        code = """
for root in "ababa":
    told.append(loader.load(claim(here / root, "jobs:work")).call())
"""
        jobs = "import itertools\ncount = itertools.count()\ndef work(): return next(count)"
        assert run(tmp_path, code, a__jobs=jobs, b__jobs=jobs) == [0, 0, 1, 1, 2]

    def test_path(self, tmp_path: Path) -> None:
        """Only the current project's folder is on the path; the working folder is not."""
        code = """
before = [*sys.path]
for root in ("a", "b", ""):
    loader.load(claim(here / root if root else "", "jobs:work" if root else "json:dumps"))
    told.append([p for p in sys.path if p not in before])
told.append(sys.path == before)
"""
        a, b = str(tmp_path / "a"), str(tmp_path / "b")
        assert run(tmp_path, code, **self.FILES) == [[a], [b], [], True]

    def test_packages_of_one_name(self, tmp_path: Path) -> None:
        """Packages, and folders without __init__, are kept apart with all that is in them."""
        code = """
for root in "abab":
    for pack in ("pack", "space"):
        told.append(loader.load(claim(here / root, pack + ".jobs:work")).call())
"""
        files = {}
        for root in "ab":
            files[f"{root}__pack____init__"] = ""
            for pack in ("pack", "space"):
                files[f"{root}__{pack}__jobs"] = f"def work(): return '{root} {pack}'"
        names = [f"{root} {pack}" for root in "ab" for pack in ("pack", "space")]
        assert run(tmp_path, code, **files) == names * 2

    def test_nested_roots(self, tmp_path: Path) -> None:
        """A project within another one's folder is a project of its own."""
        code = """
for root in (".", "inner", ".", "inner"):
    told.append(loader.load(claim((here / root).resolve(), "jobs:work")).call())
"""
        files = {"jobs": "def work(): return 'outer'", "inner__jobs": "def work(): return 'inner'"}
        assert run(tmp_path, code, **files) == ["outer", "inner"] * 2

    def test_missing_in_one(self, tmp_path: Path) -> None:
        """A module that only the other project has is not found."""
        code = """
loader.load(claim(here / "a", "jobs:work"))
loader.load(claim(here / "a", "only:work"))
told.append(refusal(claim(here / "b", "only:work")))
"""
        (said,) = run(tmp_path, code, a__only="def work(): ...", **self.FILES)
        assert said == f"`only` was imported from {tmp_path}/b, and is missing there now"


class TestScripts:
    """Functions of a script's `__main__`."""

    def test_script(self, tmp_path: Path) -> None:
        """A script is loaded by its path, not as __main__, with its folder on the path."""
        text = """
import helper
def work(): return [helper.X, __name__ == "__main__"]
if __name__ == "__main__":
    raise SystemExit("it ran")
"""
        code = 'told.append(loader.load(script(here / "my script.py", "work")).call())'
        write(tmp_path / "my script.py", text)
        assert run(tmp_path, code, helper="X = 1") == [[1, False]]

    def test_two_scripts_of_one_name(self, tmp_path: Path) -> None:
        """Scripts are told apart by their paths."""
        code = """
for root in "abab":
    told.append(loader.load(script(here / root / "run.py", "work")).call())
"""
        files = {f"{root}__run": f"def work(): return '{root}'" for root in "ab"}
        assert run(tmp_path, code, **files) == ["a", "b", "a", "b"]

    def test_its_functions_can_be_submitted(self, tmp_path: Path) -> None:
        """A script's job that submits another function of its script names the script again."""
        text = """
from gigq.queue.function_reference import reference
def other(): ...
def work(): return reference(other)
"""
        code = 'told.append(loader.load(script(here / "run.py", "work")).call())'
        path = str(tmp_path / "run.py")
        assert run(tmp_path, code, run=text) == [["__main__", "other", path, str(tmp_path)]]

    @pytest.mark.parametrize(
        ("line", "what"),
        [
            ("gigq.JobQueue('x.db').submit(gigq.Job('job', print))", "submit"),
            ("gigq.Workflow('w').submit_all(gigq.JobQueue('x.db'))", "submit"),
            ("gigq.Worker('x.db').start()", "Worker"),
        ],
    )
    def test_unguarded(self, tmp_path: Path, line: str, what: str) -> None:
        """A script that submits or works while it is loaded is told what to write."""
        code = """
told.append(refusal(script(here / "run.py", "work")))
told.append(os.path.exists("x.db"))
"""
        said, made = run(tmp_path, code, run=f"import gigq\ndef work(): ...\n{line}")
        assert f"calls {what} while a worker loads it" in said
        assert said.endswith('guard this with: if __name__ == "__main__":')
        assert not made

    def test_unguarded_module(self, tmp_path: Path) -> None:
        """So is a module that submits while it is imported."""
        code = 'told.append(refusal(claim(here, "jobs:work")))'
        jobs = "import gigq\ngigq.JobQueue('x.db').submit(gigq.Job('job', print))\ndef work(): ..."
        (said,) = run(tmp_path, code, jobs=jobs)
        assert "jobs calls submit while a worker loads it" in said

    def test_exit(self, tmp_path: Path) -> None:
        """A script that exits while it is loaded ends no worker, and is told what to write."""
        code = 'told.append(refusal(script(here / "run.py", "work")))'
        (said,) = run(tmp_path, code, run="import sys\ndef work(): ...\nsys.exit(0)")
        assert said == (
            f"{tmp_path}/run.py calls sys.exit while it is loaded; "
            'guard this with: if __name__ == "__main__":'
        )

    def test_jobs_may_submit(self, tmp_path: Path) -> None:
        """Once it is loaded, a job's function may submit jobs."""
        text = """
import gigq
def work(path):
    with gigq.JobQueue(path) as queue:
        return queue.submit(gigq.Job("job", print))
"""
        code = """
told.append(loader.load(script(here / "run.py", "work")).call(path=here / "x.db"))
"""
        (job_id,) = run(tmp_path, code, run=text)
        assert len(job_id) == 36

    def test_failed_load_is_tried_again(self, tmp_path: Path) -> None:
        """A script that could not be loaded is loaded anew when it was mended."""
        code = """
path = here / "run.py"
told.append(refusal(script(path, "work")))
path.write_text("def work(): return 1")
told.append(loader.load(script(path, "work")).call())
"""
        said, result = run(tmp_path, code, run="def work(: ...")
        assert "SyntaxError" in said
        assert result == 1


class TestForeignProcess:
    """In a program that only runs a `Worker` the path and the modules stay as they are."""

    def test_nothing_changes(self, tmp_path: Path) -> None:
        """Loading adds nothing to the path, and puts no module aside."""
        code = """
sys.path.insert(0, str(here))
import jobs
before = [*sys.path]
loader = Loader()
told.append(loader.load(claim(here / "other", "jobs:work")).call())
told.append(sys.path == before and sys.modules["jobs"] is jobs)
"""
        assert run(tmp_path, code, jobs="def work(): return 1") == [1, True]

    def test_module_that_is_there(self, tmp_path: Path) -> None:
        """A module that is there, but that this program cannot import, is not called gone."""
        code = """
loader = Loader()
told.append(refusal(claim(here, "jobs:work")))
"""
        (said,) = run(tmp_path, code, jobs="def work(): ...")
        assert "`jobs`" in said
        assert "missing there" not in said

    @pytest.mark.parametrize("by_link", [False, True], ids=["path", "symbolic link"])
    def test_own_script(self, tmp_path: Path, by_link: bool) -> None:  # noqa: FBT001
        """A program runs its own script's jobs in its own __main__, not in a second copy."""
        folder = tmp_path / "folder"
        text = """
import gigq, sys
state = []
def work(): return len(state)
if __name__ == "__main__":
    state += [1, 2, 3]
    with gigq.JobQueue(sys.argv[1]) as queue:
        job_id = queue.submit(gigq.Job("job", work))
        worker = gigq.Worker(sys.argv[1])
        worker.process_one()
        worker.close()
        print(queue.get_result(job_id))
"""
        path = write(folder / "run.py", text)
        if by_link:
            (tmp_path / "link").symlink_to(folder)
            path = tmp_path / "link" / "run.py"
        done = subprocess.run(
            [sys.executable, str(path), str(tmp_path / "x.db")],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "3\n"


class TestFreshCode:
    """A changed file is noticed."""

    def test_stale(self, tmp_path: Path) -> None:
        """A function's file that was changed, replaced or removed since it was loaded is stale."""
        code = """
path, wanted = here / "jobs.py", claim(here, "jobs:work")
def look():
    told.append(loader.is_stale(wanted))
look()
loader.load(wanted)
look()
os.utime(path, ns=(1, 1))
look()
path.unlink()
look()
"""
        assert run(tmp_path, code, jobs="def work(): ...") == [False, False, True, True]

    def test_stale_script(self, tmp_path: Path) -> None:
        """A script that was changed is stale too."""
        code = """
wanted = script(here / "run.py", "work")
loader.load(wanted)
told.append(loader.is_stale(wanted))
(here / "run.py").write_text("def work(): return 2")
told.append(loader.is_stale(wanted))
"""
        assert run(tmp_path, code, run="def work(): ...") == [False, True]

    def test_edited_twice_within_a_second(self, tmp_path: Path) -> None:
        """A new process loads what the file says now, though size and second are the same."""
        code = 'told.append(loader.load(claim(here, "jobs:work")).call())'
        moment = 1_700_000_000_000_000_000
        for number in (1, 2):
            write(tmp_path / "jobs.py", f"def work(): return {number}")
            os.utime(tmp_path / "jobs.py", ns=(moment + number, moment + number))
            assert run(tmp_path, code) == [number]


class TestFailures:
    """What cannot be loaded says where, by which Python, and what to do."""

    def test_error_class(self) -> None:
        """They are one error, which no user's code raises."""
        assert issubclass(FunctionLoadError, Exception)

    SENTENCES: ClassVar = {
        'claim(here, "gone:work")': "`gone` was imported from {here}, and is missing there now",
        'claim("", "pandaz:work")': "`pandaz` is missing in {python}; install it there",
        'claim("", "pandaz:work", python="/other/bin/python")': (
            "`pandaz` is missing in {python}; the job was submitted from /other/bin/python; "
            "set [workers] python"
        ),
        'claim(here, "needs:work", python="/other/bin/python")': (
            "`pandaz` is missing in {python}; the job was submitted from /other/bin/python; "
            "set [workers] python"
        ),
        'claim(here, "jobs:wrok")': (
            "there is no function wrok in module jobs ({here}/jobs.py); did you mean work?"
        ),
        'claim(here, "jobs:Kind.nothing_like_it")': (
            "there is no function Kind.nothing_like_it in module jobs ({here}/jobs.py)"
        ),
        'claim(here, "jobs:VALUE")': (
            "VALUE in module jobs ({here}/jobs.py) is a int, not a function"
        ),
        'claim(here, "jobs:later")': (
            "later is asynchronous; wrap it: def job(): return asyncio.run(main())"
        ),
        'claim(here, "jobs:several")': (
            "several is a generator, whose values a job cannot keep; return a list"
        ),
        'claim(here, "jobs:Lazy.work")': (
            "jobs cannot be imported by {python}: RuntimeError: not here"
        ),
        'claim(here, "late:work")': "late cannot be imported by {python}: ImportError: an extra",
        'claim(here, "mute:work")': (
            "mute cannot be imported by {python}: Mute: Mute, which cannot be shown as text"
        ),
        'claim(here, "__main__:refusal")': (
            "nobody has noted which script's __main__ it is in; submit the job again by that "
            "script, and cancel this one"
        ),
        'claim(here, "broken:work")': (
            "broken cannot be imported by {python}: ZeroDivisionError: division by zero"
        ),
        'script(here / "none.py", "work")': (
            "{here}/none.py cannot be imported by {python}: FileNotFoundError: "
            "[Errno 2] No such file or directory: '{here}/none.py'"
        ),
        'script(here / "notes.txt", "work")': (
            "{here}/notes.txt cannot be imported by {python}: "
            "SyntaxError: invalid syntax (notes.txt, line 1)"
        ),
    }

    def test_sentences(self, tmp_path: Path) -> None:
        """Each sentence names the module or file, and what would help."""
        write(tmp_path / "notes.txt", "not Python at all")
        files = {
            "jobs": f"VALUE = 1\nclass Kind: ...\n{LAZY}\n{NEVER_RUN}def work(): ...",
            "late": "def __getattr__(name): raise ImportError('an extra')",
            "mute": "class Mute(Exception):\n    def __str__(self): raise self\nraise Mute",
            "broken": "1 / 0",
            "needs": "import pandaz",
        }
        code = "\n".join(f"told.append(refusal({claimed}))" for claimed in self.SENTENCES)
        said = run(tmp_path, code, **files)
        expected = self.SENTENCES.values()
        assert said == [e.format(here=tmp_path, python=sys.executable) for e in expected]

    def test_folder_that_is_gone(self, tmp_path: Path) -> None:
        """The sentence about a folder that is gone reads as one."""
        (text,) = run(tmp_path, 'told.append(refusal(claim(here / "none", "gone:work")))')
        assert "and which" not in text

    @pytest.mark.parametrize("raised", ["BaseException('stop')", "asyncio.CancelledError"])
    def test_module_that_raises_anything(self, tmp_path: Path, raised: str) -> None:
        """Whatever a module raises while it is loaded, it is a failure of the job."""
        code = 'told.append(refusal(claim(here, "jobs:work")))'
        (text,) = run(tmp_path, code, jobs=f"import asyncio\nraise {raised}\ndef work(): ...")
        assert text.startswith("jobs cannot be imported by")
