"""The metrics keep to Prometheus' rules, and the alert rules to the metrics."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import sessionledger
from tests.deploy.exposition import DEPLOY, families, unknown_in
from tests.servers import program
from tests.test_docs import ROOT, anchors

RULES = DEPLOY / "prometheus" / "alerts.yml"
PAGE = ROOT / "docs" / "operating.md"
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]

pytestmark = pytest.mark.middle

# By https://prometheus.io/docs/practices/naming/: a unit, a kind, or the things that are counted.
_ENDS = {
    "counter": r"_total",
    "histogram": r"_seconds",
    "gauge": r"_(seconds|bytes|info|events|sessions|streams|rows|misses|topics)",
}
_BOOLEANS = {"sessionledger_maintenance_failed"}


def test_every_metric_has_help_a_type_and_a_unit(exposition: str) -> None:
    found = {family.name: family for family in families(exposition).values()}
    assert len(found) >= 19
    for family in found.values():
        assert re.fullmatch(r"[A-Z0-9].*[^.]\.", family.help), family
        assert family.name in _BOOLEANS or re.search(f"{_ENDS[family.type]}$", family.name), family


def test_the_build_says_its_version_and_its_python(exposition: str) -> None:
    (sample,) = families(exposition)["sessionledger_build_info"].samples
    labels = {"version": sessionledger.__version__, "python": platform.python_version()}
    assert sample == ("sessionledger_build_info", labels, 1.0)


def test_every_alert_asks_for_metrics_that_there_are(exposition: str) -> None:
    exposed = families(exposition)
    assert {a["alert"]: [*unknown_in(a["expr"], exposed)] for a in ALERTS} == {
        alert["alert"]: [] for alert in ALERTS
    }


def test_a_metric_and_a_label_that_there_are_not_are_noticed(exposition: str) -> None:
    exposed = families(exposition)
    query = 'rate(sessionledger_none_total[5m]) + sessionledger_sessions{kind="x",job="y"}'
    assert [*unknown_in(query, exposed)] == [
        "sessionledger_none_total",
        "sessionledger_sessions{kind}",
    ]


def test_every_alert_leads_to_its_own_section() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert len(set(names)) == len(names)
    for alert in ALERTS:
        url, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert (url, anchor) == ("docs/operating.md", alert["alert"].lower())
        assert anchor in anchors(PAGE)
        assert alert["annotations"]["summary"]
        assert alert["labels"]["severity"] in ("critical", "warning")
    assert re.findall(r"^### (Sessionledger\w+)$", PAGE.read_text(), re.MULTILINE) == names


def test_every_alert_rings_in_a_unit_test() -> None:
    told = (RULES.parent / "alerts_test.yml").read_text()
    rings = re.findall(r'alertname="(\w+)",alertstate="firing"|alertname: (\w+)', told)
    assert {alert["alert"] for alert in ALERTS} == {one or other for one, other in rings}


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("check", "config", "scrape.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    told = subprocess.run(
        [program("promtool"), *arguments],
        cwd=RULES.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_promtool_finds_nothing_wrong_with_the_metrics(exposition: str, tmp_path: Path) -> None:
    told = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=exposition,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout + told.stderr) == (0, "")
