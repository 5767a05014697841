"""What a running service answers at `/metrics`, with each metric that it can have, and PromQL."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import promql_parser

from sessionledger import SessionStore
from tests import postgres_server
from tests.server.served import Served, command, make_key

DEPLOY = Path(__file__).parents[2] / "deploy"
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_SELECTOR = re.compile(r"\b((?:sessionledger_\w+|up)\b)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
# What Prometheus adds to each sample.
_OF_THE_TARGET = {"job", "instance"}


@dataclass
class Family:
    """A metric: what is told of it, and the labels that its samples have."""

    name: str
    help: str
    type: str
    samples: list[tuple[str, dict[str, str], float]] = field(default_factory=list)

    @property
    def labels(self) -> set[str]:
        return {label for _, labels, _ in self.samples for label in labels}


def families(text: str) -> dict[str, Family]:
    """The metrics of an exposition, by the names that a query uses. Fails where it is malformed."""
    assert text.endswith("\n")
    found: dict[str, Family] = {}
    lines = text.splitlines()
    for above, line in zip(["", *lines], lines, strict=False):
        if line.startswith("# HELP "):
            _, _, name, help = line.split(" ", 3)
            assert name not in found, f"{name} is told of twice"
            family = found[name] = Family(name, help, "")
        elif line.startswith("# TYPE "):
            assert above.startswith(f"# HELP {family.name} "), line
            family.type = line.split()[3]
        else:
            told = _SAMPLE.match(line)
            assert told, line
            assert told[1].startswith(family.name), line
            family.samples.append((told[1], dict(_LABEL.findall(told[2] or "")), float(told[3])))
    by_sample: defaultdict[str, list[Family]] = defaultdict(list)
    for family in found.values():
        for sample in {name for name, _, _ in family.samples}:
            by_sample[sample].append(family)
    return {name: one for name, (one,) in by_sample.items()}


def complete(folder: Path) -> str:
    """The exposition of a service that has every metric: on PostgreSQL, with answers from memory.

    Something was removed by maintenance, and something refused.
    """
    url = postgres_server.address(folder)
    long_ago = datetime.now(UTC) - timedelta(days=100)
    with SessionStore.open(url, clock=lambda: long_ago, monotonic=lambda: 0.0) as store:
        store.expire(store.create("alice").token)
    command(folder, "maintain", "--retention", "2d", "--ledger", url)
    key = make_key(folder, "root", ledger=url)
    with Served(folder, "--ledger", url, "--max-staleness", "60s", "--no-access-log") as served:
        token = served.create(key)["token"]
        assert served.call("GET", "/auth", token).status_code == 200
        assert served.call("GET", "/auth", "harn_sess_" + "Z" * 43).status_code == 401
        return served.call("GET", "/metrics").text


def unknown_in(query: str, exposed: dict[str, Family]) -> Iterator[str]:
    """What a query names that no service exposes. Fails where it is no PromQL."""
    promql_parser.parse(re.sub(r"\$(?:\w+|\{\w+\})", "5m", query))
    for name, matchers in _SELECTOR.findall(query):
        if name == "up":
            known: set[str] = set()
        elif name in exposed:
            known = exposed[name].labels
        else:
            yield name
            continue
        for label in set(_MATCHER.findall(matchers)) - known - _OF_THE_TARGET:
            yield f"{name}{{{label}}}"
