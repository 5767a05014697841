"""The dashboard asks for metrics that there are, and each panel says what it shows."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest

from tests.deploy.exposition import DEPLOY, families, unknown_in

DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "sessionledger.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
CHARTS = [panel for panel in PANELS if panel["type"] != "row"]
COLUMNS = 24


@pytest.mark.middle
def test_every_panel_asks_for_metrics_that_there_are(exposition: str) -> None:
    exposed = families(exposition)
    for panel in CHARTS:
        assert panel["targets"]
        for target in panel["targets"]:
            assert [*unknown_in(target["expr"], exposed)] == [], panel["title"]


@pytest.mark.middle
def test_every_metric_is_on_the_dashboard(exposition: str) -> None:
    told = json.dumps(DASHBOARD)
    assert {f.name for f in families(exposition).values() if f.name not in told} == set()


def test_every_panel_has_a_title_a_description_and_a_unit() -> None:
    for panel in CHARTS:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_every_panel_has_its_own_place() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    covered = [
        {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        for at in (panel["gridPos"] for panel in PANELS)
    ]
    assert all(x < COLUMNS for cells in covered for x, _ in cells)
    assert not any(one & other for one, other in combinations(covered, 2))


def test_every_variable_is_defined_and_every_source_is_the_chosen_one() -> None:
    told = json.dumps(PANELS)
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", told))
    assert used - {"__rate_interval"} == names
    sources = [part["datasource"] for panel in CHARTS for part in (panel, *panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)


def test_grafana_11_and_newer_take_its_schema() -> None:
    """Grafana migrates a lower version, and needs none for these panels."""
    assert DASHBOARD["schemaVersion"] >= 39
    assert {panel["type"] for panel in CHARTS} <= {"timeseries", "stat", "table"}
    assert "id" not in DASHBOARD  # Grafana gives one at the import
