"""`gigq`: runs one command line; what happened becomes an exit code and, if need be, a sentence."""

from __future__ import annotations

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
    from gigq.queue.console import give_up_output, prepare_streams, sentence  # noqa: PLC0415

    prepare_streams()
    try:
        code = gigq.main(args=arguments, prog_name="gigq", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        give_up_output()
        return Exit.FAILED
    except Exception as error:
        said = sentence(error)
        if said is None:
            raise
        click.echo(f"gigq: {said}", err=True)
        if isinstance(error, OSError) and error.filename is None:
            give_up_output()
        return Exit.FAILED
    return code if isinstance(code, int) else Exit.DONE
