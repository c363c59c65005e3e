"""Which database a command works on, and opening it for a look.

A look creates nothing, and reads no configuration when the database was named otherwise: to check
the whole file for one line of output would take longer than the look.
"""

from __future__ import annotations

import os
import shlex
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gigq.cli.exits import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gigq.queue.sqlite_store import SqliteStore


@dataclass
class Where:
    """What the command line says of the database: --db and --config."""

    db: Path | None = None
    config: Path | None = None
    _has_told: bool = False

    def path(self) -> Path:
        """Give the database's absolute path. Raises SettingsError for an unusable configuration."""
        chosen = self.db or os.environ.get("GIGQ_DB")
        if chosen:
            return Path(chosen).absolute()
        from gigq.queue.settings import find_database  # noqa: PLC0415 (slow, and seldom needed)

        configuration = self.configuration()
        path = find_database(None, configuration)
        if configuration is not None and self.config is None:
            self._tell_of_another(path, configuration)
        return path

    def _tell_of_another(self, path: Path, configuration: Path) -> None:
        """Say, once, that the database which lies here is not the one that is used."""
        here = Path("gigq.db").absolute()
        other = configuration.parent != here.parent and here != path and here.exists()
        if other and not self._has_told and "_GIGQ_COMPLETE" not in os.environ:
            from gigq.cli.show.style import note  # noqa: PLC0415 (seldom needed)

            note(f"using {path}, as {configuration} says; for {here}: --db gigq.db")
            self._has_told = True

    def configuration(self) -> Path | None:
        """Give the configuration's path, None for none. Raises SettingsError."""
        from gigq.queue.settings import find_configuration  # noqa: PLC0415

        return find_configuration(self.config)

    @contextmanager
    def look(self) -> Iterator[SqliteStore]:
        """Open the database that is there.

        Raises Failure where there is none yet, StoreError for one that cannot be used.
        """
        from gigq.queue.sqlite_store import SqliteStore, exists  # noqa: PLC0415

        path = self.path()
        if not exists(path):
            what = "is empty" if path.exists() else "does not exist"
            message = (
                f"the database {path} ({self._chosen_by()}) {what}; "
                "name another with --db, or submit a job to it: gigq submit --help"
            )
            raise Failure(message)
        store = SqliteStore(path, create=False)
        try:
            yield store
        finally:
            store.close()

    def typed(self, command: str) -> str:
        """Let a `gigq` command that somebody is to type find the same database."""
        words = command.partition(" ")
        if words[0] != "gigq" or (self.db is None and self.config is None):
            return command
        return f"gigq --db {shlex.quote(str(self.path()))} {words[2]}"

    def _chosen_by(self) -> str:
        if self.db is not None:
            return "from --db"
        if os.environ.get("GIGQ_DB"):
            return "from $GIGQ_DB"
        configuration = self.configuration()
        return "by default" if configuration is None else f"from {configuration}"
