"""How the logs of the tests are opened: by other processes too, which import this and no more."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from sessionledger import Log, open_log
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
