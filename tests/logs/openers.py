"""How the logs of the tests are opened: by other processes too, which import this and no more."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from urllib.parse import quote

from sessionledger import Log, open_log
from sessionledger.logs.adapters.threads import for_loops
from sessionledger.logs.base import AsyncLog
from sessionledger.testing import AsyncHarness, Harness
from sessionledger.testing.harness import Declared
from tests import postgres_server

ADDRESSES = {"memory": "memory:", "sqlite": "sqlite:///{}", "file": "file://{}"}


def address(name: str, place: Path) -> str:
    """The address of a log at a place."""
    if name == "postgresql":
        return postgres_server.address(place)
    return ADDRESSES[name].format(quote(str(place)))


def open_at(name: str, place: Path) -> Log:
    """A log at a place."""
    return open_log(address(name, place))


def both_colours(harness: Harness) -> AsyncHarness:
    """The log of a harness, in its asynchronous colour."""
    declared = {name: getattr(harness, name) for name in Declared.__dataclass_fields__}
    return AsyncHarness(open=partial(_loop_log, harness), **declared)


async def _loop_log(harness: Harness, place: Path) -> AsyncLog:
    return for_loops(harness.open(place))
