"""The configuration file of a running service: read anew as a whole, or not at all."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import msgspec

from gigq.queue.errors import SettingsError
from gigq.queue.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from gigq.queue.settings import Settings
    from gigq.supervisor.log import Log


class Configuration:
    """The file, and the settings in force, which may differ from it in the database."""

    def __init__(self, path: Path | None, settings: Settings, log: Log) -> None:
        """Serve with `settings`, which were read from `path`; None: there is no file."""
        self.path = path
        self.refused = ""  # what is wrong with the file as it stands now
        self._log = log
        self._in_force = settings
        self._as_written = settings if path is None else read_settings(path)

    def read_again(self) -> Settings:
        """Give the settings that the file has now. Raises SettingsError, and says so in the log."""
        if self.path is None:
            return self._in_force
        try:
            settings = read_settings(self.path)
            check_paths(settings, self.path)
        except SettingsError as error:
            self.refused = str(error)
            self._log.event("configuration_refused", error=self.refused)
            raise
        self.refused = ""
        self._log.event("configuration_reloaded", configuration=self.path)
        self._in_force = self._with_own_database(settings)
        return self._in_force

    def _with_own_database(self, settings: Settings) -> Settings:
        """Keep the database that is served: another one takes another start."""
        if settings.database != self._as_written.database:
            self._log.event(
                "configuration_ignored", setting="database", error="gigqd has to be started anew"
            )
        self._as_written = settings
        return msgspec.structs.replace(settings, database=self._in_force.database)


def check_paths(settings: Settings, configuration: Path | None) -> None:
    """Refuse settings by which no worker could start, or no job run, as things are.

    Raises SettingsError: for an environment file that cannot be read, an interpreter that cannot
    be started, a directory that cannot be entered.
    """
    settings.worker_environment()
    workers, wrong = settings.workers, ""
    if workers.python and shutil.which(workers.python) is None:
        wrong = f"workers.python: {workers.python} is not there or not executable"
    elif workers.directory and not os.access(workers.directory, os.X_OK):
        wrong = f"workers.directory: {workers.directory} cannot be entered"
    if wrong:
        message = f"{configuration}: {wrong}"
        raise SettingsError(message)
