"""How far a wait is: a bar on standard error, where that is a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from gigq.cli.show.style import coloured

if TYPE_CHECKING:
    from collections.abc import Iterator


class Show(Protocol):
    """Shows `done` of `total` and a text; total None: nobody knows."""

    def __call__(self, done: float, total: float | None, text: str) -> None:
        """Show it."""


@contextmanager
def progress_bar() -> Iterator[Show | None]:
    """Show a bar while the block runs; gives None where nobody would see it move."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 (slow, and only for terminals)
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.fields[told]}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True, force_terminal=True, no_color=not coloured(sys.stderr))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, told="")

        def show(done: float, total: float | None, text: str) -> None:
            bar.update(task, completed=done, total=total, told=text)

        yield show
