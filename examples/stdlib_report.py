"""Measure the source files of Python's own standard library, as a workflow of three layers.

One job parses and measures each source file; one job for each package gathers its files' results;
the last job writes `report.md`, `files.csv` and `packages.csv`. Everything is built from what is on
this machine's disk, so there is nothing to download:

    python examples/stdlib_report.py submit --database gigq.db --output stdlib-report
    gigq --db gigq.db worker        # here, in other terminals, or run by gigqd
    python examples/stdlib_report.py wait ID --database gigq.db

`python examples/stdlib_report.py direct` calls the same functions in one process without a queue.
Both ways write the same bytes, however many workers ran the jobs and however often one was killed.
"""

from __future__ import annotations

import argparse
import ast
import csv
import importlib.util
import io
import os
import platform
import sys
import sysconfig
import threading
import time
import warnings
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from gigq import Job, JobQueue, Workflow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "__pycache__"})
MODULE_RANGES = (("a", "d"), ("e", "h"), ("i", "m"), ("n", "p"), ("q", "s"), ("t", "z"))
LONGEST_LISTS = 15

SUMS = (
    "unparsable",
    "lines",
    "code_lines",
    "functions",
    "classes",
    "imports",
    "documentable",
    "documented",
)
MAXIMA = ("deepest_nesting", "longest_function")
MEASURES = (*SUMS, *MAXIMA, "longest_function_line")

EXIT_UNSUCCESSFUL = 3
EXIT_UNKNOWN_JOB = 2

Measures = dict[str, int]  # a number for each of MEASURES
Plan = dict[str, list[str]]  # the paths of the source files of each package


class PackageSummary(TypedDict):
    """What a package's job passes on to the report."""

    package: str
    totals: Measures
    files: dict[str, list[int]]  # path to its numbers, in the order of MEASURES


class Written(TypedDict):
    """The result of the last job."""

    report: str
    files: int


class FileRow(NamedTuple):
    """One measured source file."""

    package: str
    path: str
    measures: Measures


# The plan: which files there are, and which package each belongs to.


def make_plan(root: Path, limit: int | None = None) -> Plan:
    """Sort the source files below `root` into packages; with a limit, that many spread over all.

    Raises FileNotFoundError when there is no source file, as with a library kept in an archive.
    """
    paths = sorted(source_files(root))
    if not paths:
        message = f"no Python source files below {root}"
        raise FileNotFoundError(message)
    if limit is not None and limit < len(paths):
        paths = [paths[index * len(paths) // limit] for index in range(limit)]
    plan: Plan = {}
    for path in paths:
        plan.setdefault(package_of(path), []).append(path)
    return dict(sorted(plan.items()))


def source_files(root: Path) -> Iterator[str]:
    """Yield the path of each source file, relative to `root` and with forward slashes."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in SKIPPED_FOLDERS]
        for name in names:
            path = Path(folder, name)
            if path.suffix == ".py" and path.is_file():
                yield path.relative_to(root).as_posix()


def package_of(path: str) -> str:
    """Name the top-level package of a file; single modules go by their first letter."""
    package, slash, _ = path.partition("/")
    if slash:
        return package
    letter = path[0].lower()
    for first, last in MODULE_RANGES:
        if first <= letter <= last:
            return f"(modules {first}-{last})"
    return "(modules _)"


# First layer: one job for each file.


def measure_file(root: str, path: str) -> Measures:
    """Measure the source file at `path` below `root`.

    A file that does not decode or parse, as some of the library's own tests do not on purpose, is
    `unparsable`, and only its lines are counted.
    Raises OSError when it cannot be read.
    """
    content = Path(root, path).read_bytes()
    measures = dict.fromkeys(MEASURES, 0)
    measures["lines"] = len(content.splitlines())
    try:
        source = importlib.util.decode_source(content)
        tree = parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return measures | {"unparsable": 1}
    return measures | measure_module(source, tree)


_warning_filters = threading.Lock()


def parse(source: str) -> ast.Module:
    """Give the syntax tree of a module. Raises SyntaxError or ValueError when it has none."""
    # The filters belong to the whole process, and a worker may run jobs in several threads. Under
    # `-W error` a doubtful escape sequence would make a sound file unparsable.
    with _warning_filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def measure_module(source: str, tree: ast.Module) -> Measures:
    """Count what a module is made of."""
    statements = list(nested_statements(tree))
    functions = [node for node, _ in statements if is_function(node)]
    classes = [node for node, _ in statements if isinstance(node, ast.ClassDef)]
    imports = [node for node, _ in statements if isinstance(node, ast.Import | ast.ImportFrom)]
    documentable = [tree, *functions, *classes]
    docstrings = [lines for node in documentable if (lines := docstring_lines(node))]
    length, line = longest_function(functions)
    return {
        "code_lines": count_code_lines(source, docstrings),
        "functions": len(functions),
        "classes": len(classes),
        "imports": len(imports),
        "documentable": len(documentable),
        "documented": len(docstrings),
        "deepest_nesting": max((depth for _, depth in statements), default=0),
        "longest_function": length,
        "longest_function_line": line,
    }


def nested_statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, int]]:
    """Yield each statement and the number of blocks around it, in no particular order."""
    waiting: list[tuple[ast.AST, int]] = [(tree, 0)]
    while waiting:
        block, inside = waiting.pop()
        for child in ast.iter_child_nodes(block):
            if isinstance(child, ast.stmt):
                depth = inside - 1 if is_elif(block, child) else inside
                yield child, depth
                waiting.append((child, depth + 1))
            elif isinstance(child, ast.ExceptHandler | ast.match_case):
                waiting.append((child, inside))


def is_elif(block: ast.AST, child: ast.stmt) -> bool:
    """Tell `elif` from an `if` inside `else`: the tree has the same shape for both."""
    if not (isinstance(block, ast.If) and isinstance(child, ast.If)):
        return False
    return child.col_offset == block.col_offset


def is_function(node: ast.AST) -> bool:
    """Tell whether the node defines a function or method."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def longest_function(functions: Iterable[ast.stmt]) -> tuple[int, int]:
    """Give the length of the longest function and the line that it begins on; zeros for none."""
    spans = [
        ((node.end_lineno or node.lineno) - node.lineno + 1, node.lineno) for node in functions
    ]
    return max(spans, key=lambda span: (span[0], -span[1]), default=(0, 0))


def docstring_lines(node: ast.AST) -> range | None:
    """Give the lines of a module's, class's or function's docstring, None where it has none."""
    body = getattr(node, "body", [])
    if not body or not isinstance(body[0], ast.Expr):
        return None
    text = body[0].value
    if not isinstance(text, ast.Constant) or not isinstance(text.value, str):
        return None
    return range(text.lineno, (text.end_lineno or text.lineno) + 1)


def count_code_lines(source: str, docstrings: Iterable[range]) -> int:
    """Count the lines that are neither blank nor a comment nor part of a docstring."""
    prose = {number for lines in docstrings for number in lines}
    lines = enumerate(source.split("\n"), start=1)
    stripped = (line.strip() for number, line in lines if number not in prose)
    return sum(line != "" and not line.startswith("#") for line in stripped)


# Second layer: one job for each package.


def summarise_package(
    package: str, paths: dict[str, str], parent_results: dict[str, Measures]
) -> PackageSummary:
    """Gather the measures of a package's files; `paths` says which file each parent measured."""
    measured = sorted((paths[parent], measures) for parent, measures in parent_results.items())
    return {
        "package": package,
        "totals": combine([measures for _, measures in measured]),
        "files": {path: [measures[key] for key in MEASURES] for path, measures in measured},
    }


def combine(parts: Sequence[Measures]) -> Measures:
    """Add up what can be added, and take the highest of the rest."""
    totals = {key: sum(part[key] for part in parts) for key in SUMS}
    highest = {key: max(part[key] for part in parts) for key in MAXIMA}
    counted = sum(part.get("files", 1) for part in parts)
    return {"files": counted, **totals, **highest}


# Third layer: the report.


def write_report(output: str, python: str, parent_results: dict[str, PackageSummary]) -> Written:
    """Write the report's three files into the folder `output`; a second run changes nothing."""
    packages = sorted(parent_results.values(), key=lambda summary: summary["package"])
    files = file_rows(packages)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "files.csv", files_csv(files))
    replace_file(folder / "packages.csv", packages_csv(packages))
    replace_file(folder / "report.md", report_markdown(python, packages, files))
    return {"report": str(folder / "report.md"), "files": len(files)}


def file_rows(packages: Iterable[PackageSummary]) -> list[FileRow]:
    """Give the rows of all files, by path."""
    rows = [
        FileRow(summary["package"], path, dict(zip(MEASURES, numbers, strict=True)))
        for summary in packages
        for path, numbers in summary["files"].items()
    ]
    return sorted(rows, key=lambda row: row.path)


def replace_file(path: Path, text: str) -> None:
    """Write the whole file or leave it as it was."""
    # Always the same name: what a killed run left half written, the next one writes over.
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())  # or a power loss could leave the new name with nothing in it
    unfinished.replace(path)


def files_csv(files: Iterable[FileRow]) -> str:
    """Give a line for each file."""
    rows = ((row.path, row.package, *row.measures.values()) for row in files)
    return csv_text(("path", "package", *MEASURES), rows)


def packages_csv(packages: Iterable[PackageSummary]) -> str:
    """Give a line for each package."""
    keys = ("files", *SUMS, *MAXIMA)
    rows = ((summary["package"], *(summary["totals"][key] for key in keys)) for summary in packages)
    return csv_text(("package", *keys), rows)


def csv_text(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Give a header and its rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def report_markdown(
    python: str, packages: Sequence[PackageSummary], files: Sequence[FileRow]
) -> str:
    """Give the report: everything in one table, then the extremes, then what did not parse."""
    totals = combine([summary["totals"] for summary in packages])
    sections = [
        f"# The standard library of Python {python}\n",
        headline(totals),
        "## Packages\n",
        package_table(packages, totals),
        "## Longest files\n",
        ranking(files, "lines", "Lines"),
        "## Longest functions\n",
        ranking(files, "longest_function", "Lines", with_line=True),
        "## Deepest nesting\n",
        ranking(files, "deepest_nesting", "Blocks"),
        "## Unparsable files\n",
        unparsable_list(files),
    ]
    return "\n".join(sections)


def headline(totals: Measures) -> str:
    """Say the whole in two sentences."""
    return (
        f"{totals['files']:,} files hold {totals['lines']:,} lines, {totals['code_lines']:,} of "
        f"them code: {totals['functions']:,} functions, {totals['classes']:,} classes and "
        f"{totals['imports']:,} import statements. Of the modules, classes and functions "
        f"{coverage(totals)} have a docstring.\n"
    )


def coverage(totals: Measures) -> str:
    """Give the share of documented modules, classes and functions."""
    if totals["documentable"] == 0:
        return "n/a"
    return f"{totals['documented'] / totals['documentable']:.1%}"


def package_table(packages: Iterable[PackageSummary], totals: Measures) -> str:
    """Give a row for each package, and the totals."""
    keys = ("files", "lines", "code_lines", "functions", "classes", "imports", *MAXIMA)
    titles = [key.replace("_", " ").capitalize() for key in keys]
    named = [(f"`{summary['package']}`", summary["totals"]) for summary in packages]
    rows = (
        [name, *(f"{part[key]:,}" for key in keys), coverage(part)]
        for name, part in [*named, ("**All**", totals)]
    )
    return table(["Package", *titles, "Documented"], rows)


def ranking(files: Iterable[FileRow], key: str, title: str, *, with_line: bool = False) -> str:
    """Give the files with the highest numbers, equals by path."""
    highest = sorted(files, key=lambda row: (-row.measures[key], row.path))[:LONGEST_LISTS]
    rows = [
        [f"`{place(row, with_line=with_line)}`", f"{row.measures[key]:,}"]
        for row in highest
        if row.measures[key] > 0
    ]
    return table(["Where", title], rows)


def place(row: FileRow, *, with_line: bool) -> str:
    """Name a file, or where its longest function begins."""
    return f"{row.path}:{row.measures['longest_function_line']}" if with_line else row.path


def unparsable_list(files: Iterable[FileRow]) -> str:
    """Name the files that did not decode or parse."""
    broken = [f"- `{row.path}`\n" for row in files if row.measures["unparsable"]]
    return "".join(broken) or "None.\n"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Give a Markdown table: the first column to the left, numbers to the right."""
    rule = ["---", *["---:"] * (len(titles) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [titles, rule, *rows])


# The two ways to run it.


def build_workflow(
    root: Path, output: Path, limit: int | None = None, max_attempts: int = 20
) -> tuple[Workflow, Job]:
    """Give the workflow and its last job. Many attempts, since a killed worker costs one."""
    workflow = Workflow("stdlib_report")
    gatherers = []
    for package, paths in make_plan(root, limit).items():
        readers = {path: measuring_job(root, path, max_attempts) for path in paths}
        gatherer = Job(
            name=f"package {package}",
            function=summarise_package,
            params={"package": package, "paths": {job.id: path for path, job in readers.items()}},
            max_attempts=max_attempts,
        )
        for job in readers.values():
            workflow.add_job(job)
        workflow.add_job(gatherer, depends_on=list(readers.values()))
        gatherers.append(gatherer)
    report = Job(
        name="report",
        function=write_report,
        params={"output": str(output.resolve()), "python": platform.python_version()},
        max_attempts=max_attempts,
    )
    workflow.add_job(report, depends_on=gatherers)
    return workflow, report


def measuring_job(root: Path, path: str, max_attempts: int) -> Job:
    """Give the job that measures one file."""
    return Job(
        name=f"measure {path}",
        function=measure_file,
        params={"root": str(root.resolve()), "path": path},
        max_attempts=max_attempts,
    )


def run_directly(root: Path, output: Path, limit: int | None = None) -> Written:
    """Do the work of the whole workflow in this process; each path stands for its job's id."""
    summaries = {
        package: summarise_package(
            package,
            {path: path for path in paths},
            {path: measure_file(str(root), path) for path in paths},
        )
        for package, paths in make_plan(root, limit).items()
    }
    return write_report(str(output.resolve()), platform.python_version(), summaries)


# The command.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    options = parse_arguments(arguments)
    if options.command == "wait":
        return wait(options.database, options.job_id)
    root = Path(sysconfig.get_path("stdlib"))
    if options.command == "direct":
        written = run_directly(root, options.output, options.limit)
        print(f"Measured {written['files']} files: {written['report']}")
        return 0
    workflow, report = build_workflow(root, options.output, options.limit, options.max_attempts)
    with closing(JobQueue(options.database)) as queue:
        job_ids = workflow.submit_all(queue)
    print(f"Submitted {len(job_ids)} jobs to {options.database}")
    print(f"Report job: {report.id}")
    return 0


def wait(database: str, job_id: str, pause: float = 0.5) -> int:
    """Wait until the job is finished, with the counts on stderr as they change."""
    shown: Mapping[str, int] = {}
    with closing(JobQueue(database)) as queue:
        while True:
            job = queue.get_status(job_id)
            if not job["exists"]:
                print(f"{database} has no job {job_id}", file=sys.stderr)
                return EXIT_UNKNOWN_JOB
            counts = queue.stats()
            if counts != shown:
                shown = counts
                print(*(f"{key} {count}" for key, count in counts.items()), file=sys.stderr)
            if job["status"] not in {"pending", "running"}:
                break
            time.sleep(pause)
    reason = f": {job['error']}" if job["error"] else ""
    print(f"{job['name']} {job['status']}{reason}", file=sys.stderr)
    return 0 if job["status"] == "completed" else EXIT_UNSUCCESSFUL


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line, or end the process with a usage message."""
    parser = argparse.ArgumentParser(description="Measure the standard library's source files.")
    commands = parser.add_subparsers(dest="command", required=True)
    submitting = commands.add_parser("submit", help="submit the workflow")
    directly = commands.add_parser("direct", help="do the same in this process, without a queue")
    waiting = commands.add_parser("wait", help="wait for the report: 0 completed, 3 otherwise")
    waiting.add_argument("job_id", metavar="ID", help="the id that submit printed")
    for command in (submitting, waiting):
        command.add_argument("--database", default="gigq.db", metavar="FILE")
    for command in (submitting, directly):
        command.add_argument("--output", type=Path, default=Path("stdlib-report"), metavar="DIR")
        command.add_argument("--limit", type=positive, metavar="N", help="measure only N files")
    submitting.add_argument("--max-attempts", type=positive, default=20, metavar="N")
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    """Read a whole number above zero; argparse turns the ValueError into a usage message."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(main())
