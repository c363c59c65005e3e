"""Submitting: functions and command lines."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gigq.cli.exits import Failure
from gigq.cli.identify import find_job
from gigq.cli.job_options import job_options
from gigq.cli.options import command, pass_where
from gigq.cli.show.style import note, out
from gigq.cli.show.words import printable
from gigq.queue.errors import InvalidJobError
from gigq.queue.job import Job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gigq.cli.where import Where
    from gigq.queue.records import NewJob

_LONGEST_NAME = 60  # characters of a command line that become a job's name


class CommandJob(Job):
    """A job that runs a command line instead of a function of the user's."""

    def to_record(self, now: int, directory: str | None = None) -> NewJob:
        """Give what the store keeps; nothing of the project has to be imported for it."""
        return super().to_record(now, directory)._replace(kind="command", import_root="")


class After(NamedTuple):
    """What is to happen once the job is submitted."""

    wait: bool
    follow: bool
    quiet: bool


@command("submit", shows="myapp.jobs.load --name load -p day=7")
@click.argument("function", metavar="MODULE.FUNCTION")
@click.option("--name", metavar="N", help="What the job is called; else as the function.")
@click.option(
    "-p",
    "--param",
    "params",
    metavar="K=V",
    multiple=True,
    help="A keyword argument, JSON or else text; may be repeated.",
)
@click.option("--unchecked", is_flag=True, help="Do not look whether the function is there.")
@job_options(attempts=3)
@pass_where
def submit(
    where: Where,
    /,
    function: str,
    name: str | None,
    params: tuple[str, ...],
    *,
    unchecked: bool,
    wait: bool,
    follow: bool,
    quiet: bool,
    **options: Any,  # noqa: ANN401 (of Job)
) -> None:
    """Submit a function as a job.

    A worker imports it from the current directory, or from where it is installed. Prints "Job
    submitted: ID".
    """
    named = function.rpartition(".")[2] if name is None else name
    job = _job(where, Job, named, function, _params(params), **options)
    if not unchecked:
        _check(function)
    _submit(where, job, After(wait, follow, quiet))


@command(
    "run",
    shows="--name backup --timeout 2h -- tar cf backup.tar data",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("argv", metavar="-- CMD [ARG]...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--name", metavar="N", help="What the job is called; else as the command line.")
@job_options(attempts=1)
@pass_where
def run(
    where: Where,
    /,
    argv: tuple[str, ...],
    name: str | None,
    *,
    wait: bool,
    follow: bool,
    quiet: bool,
    **options: Any,  # noqa: ANN401 (of Job)
) -> None:
    """Submit a command line as a job.

    It runs in the current directory, in the workers' environment, and no shell reads it; for one,
    write: gigq run -- sh -c 'a | b'. The job fails when its exit code is not 0.
    """
    from gigq.worker.command import MODULE, NAME  # noqa: PLC0415 (for command lines only)

    text = shlex.join(argv)
    short = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
    params = {"argv": list(argv)}
    job = _job(
        where, CommandJob, short if name is None else name, f"{MODULE}.{NAME}", params, **options
    )
    _submit(where, job, After(wait, follow, quiet))


def _params(given: Sequence[str]) -> dict[str, Any]:
    params = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not equals or not name:
            message = f"--param takes K=V, not {each!r}"
            raise click.UsageError(message)
        params[name] = _value(text)
    return params


def _value(text: str) -> Any:  # noqa: ANN401 (any JSON value)
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text


def _no_number(name: str) -> None:
    """Refuse NaN and Infinity, which JSON does not have: they are text."""
    raise ValueError(name)


def _job(
    where: Where,
    kind: type[Job],
    name: str,
    function: str,
    params: dict[str, Any],
    *,
    dependencies: Sequence[str],
    **options: Any,  # noqa: ANN401 (of Job)
) -> Job:
    """Describe the job, its dependencies by their whole ids. Raises UsageError."""
    parents: list[str] = []
    if dependencies:
        with where.look() as store:
            parents = [find_job(store, each).uuid for each in dependencies]
    try:
        job = kind(name, function, params, dependencies=parents, **options)
        job.to_record(0)  # for its complaints
    except InvalidJobError as error:
        raise click.UsageError(str(error)) from None
    return job


def _check(function: str) -> None:
    """Warn of a function that is not to be found, or refuse it where that is certain."""
    from gigq.cli.function_check import doubt_about  # noqa: PLC0415 (for functions only)

    doubt = doubt_about(function)
    if doubt is None:
        return
    if doubt.certain:
        message = f"{printable(doubt.problem)} To submit it all the same, add --unchecked."
        raise Failure(message)
    note(f"warning: {printable(doubt.problem)}")


def _submit(where: Where, job: Job, after: After) -> None:
    from gigq.queue.job_queue import JobQueue  # noqa: PLC0415 (after the mistakes are found)
    from gigq.queue.sqlite_store import exists  # noqa: PLC0415

    path = where.path()
    fresh = not exists(path)
    with JobQueue(path) as queue:
        queue.submit(job)
    if fresh:
        note(f"warning: created the database {path}")
    # Where the output of the job follows, it alone is the data.
    if not after.follow:
        _tell_id(job.id, job.id if after.quiet else f"Job submitted: {job.id}")
    elif not after.quiet:
        click.echo(f"Job submitted: {job.id}", err=True)
    if after.wait or after.follow:
        _see_it_end(where, job.id, after)


def _tell_id(uuid: str, text: str) -> None:
    """Print it. Who learns it only so must not take the job for one that was not submitted."""
    try:
        out(text)
        sys.stdout.flush()
    except OSError as error:
        note(f"job {uuid} was submitted, and its id cannot be printed")
        raise error from None


def _see_it_end(where: Where, uuid: str, after: After) -> None:
    """Wait or follow; exit as the job's end says."""
    with where.look() as store:
        if after.follow:
            from gigq.cli.output import follow_to_end  # noqa: PLC0415

            code = follow_to_end(store, find_job(store, uuid), from_first=True)
        else:
            from gigq.cli.awaiting import wait_for  # noqa: PLC0415

            code = wait_for(store, lambda: [uuid])
    raise click.exceptions.Exit(code)
