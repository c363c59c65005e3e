"""The configuration file of a running service: read anew as a whole, or not at all."""

from __future__ import annotations

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
            settings.worker_environment()
            _check_interpreter(settings, self.path)
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


def _check_interpreter(settings: Settings, configuration: Path) -> None:
    """Refuse an interpreter that cannot start, before workers are replaced by none."""
    python = settings.workers.python
    if python and shutil.which(python) is None:
        message = f"{configuration}: workers.python: {python} is not there or not executable"
        raise SettingsError(message)
