"""Which commands there are, and where: a command's module is imported when the command is used.

So `gigq --help` and each short look load no more than they need. A test holds the summaries here
against the commands' own first sentences.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from collections.abc import Iterable


class Entry(NamedTuple):
    """A command before its module is imported."""

    module: str  # below gigq.cli
    attribute: str
    summary: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "Submit": {
        "submit": Entry("submitting", "submit", "Submit a function as a job."),
        "run": Entry("submitting", "run", "Submit a command line as a job."),
    },
    "Look": {
        "status": Entry("looking", "status", "Show a job."),
        "list": Entry("looking", "list_jobs", "List jobs, newest first."),
        "stats": Entry("looking", "stats", "Count the jobs of each status."),
        "why": Entry("looking", "why", "Say why a job is where it is, and what to do about it."),
        "logs": Entry("output", "logs", "Print what a job printed."),
        "workflow": Entry("workflows", "workflow", "Show workflows."),
        "metrics": Entry("measuring", "metrics", "Print metrics in the text form of Prometheus."),
    },
    "Wait": {
        "wait": Entry("waiting", "wait", "Wait until jobs have ended."),
        "follow": Entry("output", "follow", "Print what a job prints until it ends."),
    },
    "Change": {
        "cancel": Entry("changing", "cancel", "Cancel jobs."),
        "requeue": Entry("changing", "requeue", "Run unsuccessful jobs again."),
        "clear": Entry("changing", "clear", "Delete completed and cancelled jobs."),
    },
    "Serve and care": {
        "worker": Entry("serving", "worker", "Run jobs until stopped."),
        "doctor": Entry("care", "doctor", "Examine the database and what surrounds it."),
        "backup": Entry(
            "care", "backup", "Copy the database while it is used, and check the copy."
        ),
        "reclaim": Entry(
            "care", "reclaim", "Take back what a worker held that is gone, and that nobody can see."
        ),
        "migrate": Entry("care", "migrate", "Convert a database of an older version."),
        "version": Entry("about", "version", "Print the version."),
        "completion": Entry("about", "completion", "Print a shell's completion script."),
    },
}
ENTRIES = {name: entry for section in SECTIONS.values() for name, entry in section.items()}

# What people look for under another name; a spelling nearby would mislead.
_ELSEWHERE = {
    "start": "gigqd start",
    "stop": "gigqd stop",
    "retry": "gigq requeue",
    "ls": "gigq list",
    "jobs": "gigq list",
    "show": "gigq status",
    "workflows": "gigq workflow list",
}


class SuggestingGroup(click.Group):
    """A group that says which command was perhaps meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command. Raises UsageError, with a suggestion, for a name that is none."""
        name = args[0]
        known = ctx.resilient_parsing or name.startswith("-")
        if not known and self.get_command(ctx, name) is None:
            ctx.fail(f"There is no command {name!r}.{_suggestion(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


def _suggestion(name: str, names: Iterable[str]) -> str:
    elsewhere = _ELSEWHERE.get(name)
    meant = [elsewhere] if elsewhere else difflib.get_close_matches(name, names, n=2)
    return f" Did you mean {' or '.join(map(repr, meant))}?" if meant else ""


class RootGroup(SuggestingGroup):
    """The commands of `SECTIONS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Give the names in the order of the help."""
        return list(ENTRIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        entry = ENTRIES.get(cmd_name)
        if entry is None:
            return None
        found = getattr(import_module(f"gigq.cli.{entry.module}"), entry.attribute)
        if not isinstance(found, click.Command):
            raise TypeError(found)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands by section, importing none."""
        width = max(map(len, ENTRIES))
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(width), entry.summary) for name, entry in entries.items()]
                )
