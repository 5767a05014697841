"""The scenarios by name, each with the logs that it is tried on."""

from __future__ import annotations

from functools import partial

from torture.scenarios import kills
from torture.trial import Scenario

EMBEDDED = ("sqlite", "file")

SCENARIOS: dict[str, Scenario] = {
    **{f"kills.{log}": partial(kills.kills, log=log) for log in EMBEDDED},
}
