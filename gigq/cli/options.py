"""What several commands share on the command line: --db and --config, -o, ids, times, durations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gigq.cli.where import Where
from gigq.queue.shown import in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from click.shell_completion import CompletionItem

Made = TypeVar("Made", bound=click.Command)
Decorated = TypeVar("Decorated", bound="Callable[..., Any] | click.Command")

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([smhdw]?)", re.ASCII)
MOST_LISTED = 1 << 40  # jobs that a limit can mean
_COMPLETED = 50  # ids that a shell is offered

pass_where = click.make_pass_decorator(Where, ensure=True)


def example(line: str) -> str:
    """Give the epilog of a command's help."""
    return f"Example: {line}"


def where_options(made: Made) -> Made:
    """Add --db and --config, which may stand before and after a command; the later one counts."""

    def note(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
        if value is not None and parameter.name is not None:
            if not value.name:
                message = "needs the path of a file"
                raise click.BadParameter(message)
            setattr(context.ensure_object(Where), parameter.name, value)

    for name, text in (
        ("--db", "Database; else as gigq --help says."),
        ("--config", "Configuration that names the database."),
    ):
        click.option(
            name,
            metavar="FILE",
            type=click.Path(readable=False, path_type=Path),
            expose_value=False,
            callback=note,
            help=text,
        )(made)
    return made


def command(
    name: str,
    *,
    of: str = "gigq",
    shows: str,
    context_settings: dict[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command with --db and --config whose help ends with the example `shows`."""
    epilog = example(f"{of} {name} {shows}".strip())

    def decorate(function: Callable[..., Any]) -> click.Command:
        made = click.command(name, epilog=epilog, context_settings=context_settings)
        return where_options(made(function))

    return decorate


def form_option(*forms: str) -> Callable[[Decorated], Decorated]:
    """Add -o; the first form is the default."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help="Form of what is printed.",
    )


def seconds(value: str | float) -> float:
    """Give seconds of a number, or of one with a unit: 90, 1.5, 5m, 2h, 3d. Raises BadParameter."""
    if not isinstance(value, str):
        return float(value)
    found = _DURATION.fullmatch(value.strip().lower())
    if found is None:
        message = f"{value!r} is no duration; write 90, 1.5, 5m, 2h or 3d."
        raise click.BadParameter(message)
    return float(found[1]) * _UNITS[found[2]]


def worker_name(value: str) -> str:
    """Give what a worker may be called. Raises BadParameter."""
    from gigq.queue import values  # noqa: PLC0415 (for workers only)
    from gigq.queue.errors import InvalidJobError  # noqa: PLC0415

    try:
        return values.text(value, "a worker's name")
    except InvalidJobError as error:
        raise click.BadParameter(str(error)) from None


def limit(value: str | float) -> float | None:
    """Give seconds, None for `none`. Raises BadParameter."""
    return None if str(value).strip().lower() == "none" else seconds(value)


def moment(value: str | datetime) -> datetime:
    """Give the time of ISO text, local where it has no offset. Raises BadParameter."""
    from datetime import datetime  # noqa: PLC0415 (few commands take a time)

    try:
        return value if isinstance(value, datetime) else datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError):
        message = f"{value!r} is no time; write 2026-01-31T17:30."
        raise click.BadParameter(message) from None


def moment_or_ago(value: str | datetime) -> datetime:
    """Give a time as `moment` does, or that of so long ago: 2h, 3d. Raises BadParameter."""
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    found = None if isinstance(value, datetime) else _DURATION.fullmatch(value.strip().lower())
    try:
        if found is not None and found[2]:
            return datetime.now(UTC) - timedelta(seconds=float(found[1]) * _UNITS[found[2]])
        return moment(value)
    except (click.BadParameter, OverflowError):
        message = f"{value!r} is no time; write 2h, 3d or 2026-01-31T17:30."
        raise click.BadParameter(message) from None


def complete_id(
    context: click.Context,
    _: click.Parameter,
    incomplete: str,
) -> list[CompletionItem]:
    """Offer a shell ids that begin so, with the jobs' names; none where they cannot be had."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 (for shells only)

    try:
        with context.ensure_object(Where).look() as store:
            found = [store.job(uuid) for uuid in store.find(incomplete.lower(), _COMPLETED)]
    except Exception:  # noqa: BLE001 (a completion must not write into a command line)
        return []
    return [CompletionItem(row.uuid, help=in_one_line(row.name)) for row in found if row]


id_argument = click.argument("job", metavar="ID", shell_complete=complete_id)
ids_argument = click.argument(
    "jobs", metavar="ID...", nargs=-1, required=True, shell_complete=complete_id
)
