"""`gigq`: runs one command line; what happened becomes an exit code and, if need be, a sentence."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import click

from gigq.cli.command_group import RootGroup
from gigq.cli.exits import Exit
from gigq.cli.options import example, where_options
from gigq.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


@where_options
@click.group(
    cls=RootGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example("gigq submit myapp.jobs.load --name load -p day=7 --wait"),
)
@click.version_option(__version__, prog_name="gigq")
def gigq() -> None:
    """Submit jobs, look at them, wait for them.

    The database is --db, else $GIGQ_DB, else what the configuration says, else ./gigq.db. An ID may
    be cut short, as long as no other job's id begins so.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default the process's own; its exit code."""
    _never_fail_to_print()
    try:
        code = gigq.main(args=arguments, prog_name="gigq", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain of what is known.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.FAILED
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        click.echo(f"gigq: {sentence}", err=True)
        return Exit.FAILED
    return code if isinstance(code, int) else Exit.DONE


def _never_fail_to_print() -> None:
    """Show what the terminal's encoding lacks as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _sentence(error: Exception) -> str | None:
    """Say what a user can do something about; None for what is a fault of this program."""
    import sqlite3  # noqa: PLC0415 (only when something went wrong)

    from gigq.queue.errors import GigqError  # noqa: PLC0415

    if isinstance(error, GigqError):
        return str(error)
    if isinstance(error, sqlite3.Error):
        return f"the database cannot be used: {error}; examine it with: gigq doctor"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, FileNotFoundError):  # of os.getcwd, the one call that names no file
        return "the current directory has been removed; change to one that is there"
    return None
