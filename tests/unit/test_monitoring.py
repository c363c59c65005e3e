"""The alert rules and the dashboard: valid, and about metrics that there are."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gigq.queue.sqlite_store import SqliteStore
from gigq.supervisor.health import READY, check_service
from gigq.supervisor.metrics import METRICS, RESTARTS, WORKER_STATES, exposition

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGS = Path(__file__).parents[2] / "configs"
ALERTS = CONFIGS / "prometheus-alerts.yml"
DASHBOARD = CONFIGS / "grafana-dashboard.json"
SERVICE: dict[str, Any] = {
    "wanted": 2,
    "state": "running",
    "paused": False,
    "trouble": None,
    "start_trouble": None,
    "workers": [
        {"number": 1, "state": "idle", "memory": 1 << 24},
        {"number": 2, "state": "waiting", "failed_starts": 1, "next_try": 1.0},
    ],
    "restarts": {"lost": 2, "other": 1},
    "last_reload_successful": True,
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Give each sample's name in a real output, with the names of its labels."""
    path = tmp_path_factory.mktemp("metrics") / "gigq.db"
    with closing(SqliteStore(path)) as store:
        text = exposition(path, store, SERVICE).decode()
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def queries(value: object) -> Iterator[str]:
    """Give the queries of a dashboard or of rules."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in ("expr", "query") and isinstance(each, str) and "gigq_" in each:
                yield each
            else:
                yield from queries(each)
    elif isinstance(value, list):
        for each in value:
            yield from queries(each)


def documents() -> dict[str, object]:
    """Give what is queried from, by file."""
    return {
        ALERTS.name: yaml.safe_load(ALERTS.read_text()),
        DASHBOARD.name: json.loads(DASHBOARD.read_text()),
    }


@pytest.mark.parametrize("name", documents())
def test_metrics_exist(name: str, samples: dict[str, set[str]]) -> None:
    """Each metric that is named is in the real output, with the labels that are asked for."""
    found = list(queries(documents()[name]))
    assert len(found) >= 10
    for query in found:
        used = re.findall(r"\b(gigq_\w+)(?:\{([^}]*)\})?", query)
        assert used
        for metric, conditions in used:
            assert metric in samples, query
            labels = set(re.findall(r"(\w+)\s*[=!]~?\s*\"", conditions))
            assert labels <= samples[metric] | {"instance"}, query


def test_rules_are_whole() -> None:
    """Each rule has a name of its own, an expression, a severity and a summary; and its page."""
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    page = (CONFIGS.parent / "docs" / "how-to" / "monitor.md").read_text()
    for rule in group["rules"]:
        assert rule["expr"].strip()
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"]
        assert f"`{rule['alert']}`" in page


def test_values_of_labels_exist() -> None:
    """States and reasons that rules and dashboard ask for are those that there are."""
    text = ALERTS.read_text() + DASHBOARD.read_text().replace('\\"', '"')
    for label, known in (("state", WORKER_STATES), ("reason", RESTARTS)):
        for asked in re.findall(rf"\b{label}=~?\"([\w|]+)\"", text):
            assert set(asked.split("|")) <= set(known)
    assert set(WORKER_STATES) > READY


def test_dashboard_is_importable() -> None:
    """Panels have ids of their own, a place, and queries on the data source that is chosen."""
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 15
    for panel in panels:
        assert panel["targets"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    assert "datasource" in [each["name"] for each in dashboard["templating"]["list"]]


def test_every_metric_is_in_the_output(samples: dict[str, set[str]]) -> None:
    """What the reference says of each metric is what the output has."""
    for name, known in METRICS.items():
        sample = f"{name}_bucket" if known.kind == "histogram" else name
        more = {"le"} if known.kind == "histogram" else set()
        assert samples[sample] == {*known.labels} | more
    assert not {"job_id", "id", "pid"} & {label for labels in samples.values() for label in labels}


def test_without_service_or_database(tmp_path: Path) -> None:
    """What cannot be had is missing, and told."""
    text = exposition(tmp_path / "none.db", None, None).decode()
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["gigq_database_readable"] == found["gigq_service_up"] == 0
    assert "gigq_jobs" not in found
    assert "gigq_workers" not in found


def test_names_of_queues_are_escaped(tmp_path: Path) -> None:
    """A queue may be called anything."""
    name = 'a "queue"\\\n{x}'
    with closing(SqliteStore(tmp_path / "gigq.db")) as store:
        with store._connection:
            store._connection.insert("INSERT INTO queue (name) VALUES (?)", (name,))
        text = exposition(store.path, store, None).decode()
    queues = {
        sample.labels.get("queue")
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert {"default", name} <= queues


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ["service: ok", "workers: ok"]),
        ({"state": "draining"}, ["service: is draining: it ends when the running jobs have ended"]),
        ({"paused": True}, ["service: was drained; it goes on after: gigqd resume"]),
        (
            {"trouble": {"error": "disk full", "seconds": 3}},
            ["service: claims nothing: disk full"],
        ),
        (
            {"workers": SERVICE["workers"][1:], "start_trouble": "no Python"},
            ["workers: none is ready, 2 wanted: no Python"],
        ),
    ],
)
def test_checks_of_the_service(change: dict[str, object], expected: list[str]) -> None:
    """What the service says of itself is judged, and each check says what is wrong."""
    checks = check_service({**SERVICE, **change})
    found = [str(check) for check in checks if not change or check.trouble]
    assert found == expected
