"""`gigq doctor`: what is wrong with a database, its service and their surroundings.

Nothing is created or changed. Each check is a generator of findings, in a module of its own.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from gigq.cli.check_file import check_file, check_log, check_sqlite
from gigq.cli.check_functions import MOST_FUNCTIONS, check_functions
from gigq.cli.check_permissions import check_permissions
from gigq.cli.check_service import check_clock, check_packages, check_service, check_workers
from gigq.cli.check_storage import check_storage
from gigq.cli.finding import Finding
from gigq.queue.companions import Companions, real
from gigq.queue.errors import GigqError, SettingsError
from gigq.queue.ownership import may_act_for
from gigq.queue.settings import Settings, read_settings
from gigq.queue.sqlite_store import SqliteStore, exists

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gigq.queue.records import WantedFunction


def diagnose(database: Path, configuration: Path | None) -> Iterator[Finding]:
    """Examine everything, in the order in which one thing rests on the other."""
    database = real(database)
    companions = Companions(database)
    yield from check_packages()
    yield from check_sqlite()
    settings = _settings(configuration, secrets=not exists(database) or may_act_for(database))
    if isinstance(settings, Finding):
        yield settings
    yield from check_storage(database)
    yield from check_file(database)
    if not exists(database):
        return
    yield from check_permissions(database, companions, configuration)
    yield from check_log(database)
    yield from check_service(companions, database)
    try:
        store = SqliteStore(database, create=False)
    except GigqError:
        return  # check_file has said why
    functions: list[WantedFunction] = []
    with closing(store):
        try:
            yield from check_workers(store, companions, database)
            yield from check_clock(store)
            functions = store.wanted_functions(MOST_FUNCTIONS)
        except GigqError as error:
            yield Finding("error", str(error), f"fuser -v {database}")
    if isinstance(settings, Settings):
        yield from check_functions(functions, settings, companions, database)


def _settings(configuration: Path | None, *, secrets: bool) -> Settings | Finding:
    try:
        return read_settings(configuration, secrets=secrets)
    except SettingsError as error:
        return Finding("error", str(error), f"gigqd check --config {configuration}")


__all__ = ["Finding", "diagnose"]
