"""`gigq metrics`: what has happened, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gigq.cli.options import command, pass_where
from gigq.queue.errors import GigqError
from gigq.queue.service_lock import service_holder

if TYPE_CHECKING:
    from gigq.cli.where import Where


@command("metrics", shows="> /var/lib/node_exporter/gigq.prom")
@pass_where
def metrics(where: Where) -> None:
    """Print metrics in the text form of Prometheus.

    Those of the database are always there; those of the workers where gigqd runs and this user may
    ask it. The same is answered at /metrics, when [http] listen is set.
    """
    from gigq.supervisor.health import ask_health  # noqa: PLC0415 (seldom used)
    from gigq.supervisor.metrics import exposition  # noqa: PLC0415 (slow to import)

    with where.look() as store:
        service = None
        if service_holder(store.companions) is not None:
            try:
                service = ask_health(store.companions)
            except GigqError as error:
                click.echo(f"gigq: warning: metrics of the service are missing: {error}", err=True)
        click.echo(exposition(store.path, store, service), nl=False)
