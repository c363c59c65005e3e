"""The options that each submitted job may have, whatever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import click

from gigq.cli.options import complete_id, limit, moment, seconds
from gigq.queue.job import DEFAULT_TIMEOUT, OnParentFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from gigq.cli.options import Decorated


def job_options(*, attempts: int) -> Callable[[Decorated], Decorated]:
    """Add the options that each job may have."""
    options = [
        click.option("--priority", type=int, default=0, show_default=True, help="Higher is first."),
        click.option(
            "--max-attempts",
            type=click.IntRange(min=1),
            default=attempts,
            show_default=True,
            help="How often it may be begun.",
        ),
        click.option(
            "--timeout",
            metavar="TIME|none",
            type=limit,
            default=str(DEFAULT_TIMEOUT),
            show_default=True,
            help="Seconds, or 5m, 2h, after which an attempt is stopped.",
        ),
        click.option(
            "--max-memory",
            metavar="SIZE",
            help="Memory, such as 512M, beyond which an attempt is stopped.",
        ),
        click.option("--description", metavar="TEXT", default="", help="What it is for."),
        click.option(
            "--retry-delay",
            metavar="TIME",
            type=seconds,
            default="0",
            show_default=True,
            help="Seconds between a failed attempt and the next.",
        ),
        click.option(
            "--queue",
            metavar="NAME",
            default="default",
            show_default=True,
            help="A name to tell jobs apart by.",
        ),
        click.option("--delay", metavar="TIME", type=seconds, help="Not before so many seconds."),
        click.option("--run-at", metavar="TIME", type=moment, help="Not before this ISO time."),
        click.option("--cwd", metavar="DIR", type=click.Path(), help="The directory to run in."),
        click.option(
            "--on-parent-failure",
            type=click.Choice(get_args(OnParentFailure)),
            default="cancel",
            show_default=True,
            help="What becomes of it when a job that it depends on fails.",
        ),
        click.option(
            "--depends-on",
            "dependencies",
            metavar="ID",
            shell_complete=complete_id,
            multiple=True,
            help="Not before this job has completed; may be repeated.",
        ),
        click.option("--wait", is_flag=True, help="Wait until it has ended, as gigq wait does."),
        click.option("--follow", is_flag=True, help="Print what it prints, as gigq follow does."),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but the id."),
    ]

    def decorate(decorated: Decorated) -> Decorated:
        for option in reversed(options):
            option(decorated)
        return decorated

    return decorate
