"""The command about itself: version, completion."""

from __future__ import annotations

import click

from gigq.cli.options import command
from gigq.cli.show.style import out
from gigq.version import __version__

_HOW = {
    "bash": 'eval "$(gigq completion bash)"',
    "zsh": 'eval "$(gigq completion zsh)"',
    "fish": "gigq completion fish | source",
}


@command("version", shows="")
def version() -> None:
    """Print the version."""
    import platform  # noqa: PLC0415
    import sqlite3  # noqa: PLC0415

    python = platform.python_version()
    out(f"gigq {__version__} (Python {python}, SQLite {sqlite3.sqlite_version})")


@command("completion", shows="bash >> ~/.bashrc")
@click.argument("shell", type=click.Choice(list(_HOW)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a shell's completion script.

    It completes commands, options and the ids of jobs.
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    found = get_completion_class(shell)
    if found is None:
        raise AssertionError(shell)
    script = found(context.find_root().command, {}, "gigq", "_GIGQ_COMPLETE").source_template
    variables = {
        "complete_func": "_gigq_completion",
        "complete_var": "_GIGQ_COMPLETE",
        "prog_name": "gigq",
    }
    out(f"# {_HOW[shell]}")
    out((script % variables).strip())
