"""The scenarios by name, each with the logs that it is tried on."""

from __future__ import annotations

from functools import partial

from torture.scenarios import (
    archives,
    backups,
    clocks,
    compactions,
    crashes,
    damage,
    erasures,
    failures,
    full,
    kills,
    load,
    moves,
    power,
    races,
    stops,
    surfaces,
)
from torture.trial import Scenario

EMBEDDED = ("sqlite", "file")
EVERY = (*EMBEDDED, "postgresql")
_ON_LOGS = {
    "kills": (kills.kills, EMBEDDED),
    "crashes": (crashes.crashes, ("postgresql",)),
    "failures": (failures.failures, EMBEDDED),
    "full": (full.full, EMBEDDED),
    "damage": (damage.damage, EMBEDDED),
    "power": (power.power, EMBEDDED),
    "upgrades": (power.upgrades, EMBEDDED),
    "power_compactions": (power.power_compactions, EMBEDDED),
    "clocks": (clocks.clocks, EVERY),
    "stops": (stops.stops, EVERY),
    "compactions": (compactions.compactions, EVERY),
    "archives": (archives.archives, EVERY),
    "moves": (moves.moves, EVERY),
    "backups": (backups.backups, EVERY),
    "erasures": (erasures.erasures, EVERY),
    "races": (races.races, EVERY),
    "surfaces": (surfaces.surfaces, EMBEDDED),
    "load": (load.load, EVERY),
}

SCENARIOS: dict[str, Scenario] = {
    f"{name}.{log}": partial(scenario, log=log)
    for name, (scenario, logs) in _ON_LOGS.items()
    for log in logs
}

WITH_SHIM = {"failures", "power", "upgrades", "power_compactions", "archives"}
"""Scenarios that need the library in `shim.c`."""
