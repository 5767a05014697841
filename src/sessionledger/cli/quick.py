"""`get` without the framework, whose import takes longer than all the rest of it.

Scripts look sessions up again and again. What is not plainly one of these calls is left to Typer,
whose answer to them would be the same: a test holds the two together.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from sessionledger.cli.answers import show_session
from sessionledger.cli.exits import not_live
from sessionledger.cli.opening import (
    LEDGER,
    LEDGER_VARIABLE,
    TOPIC,
    TOPIC_VARIABLE,
    store_to_read,
)
from sessionledger.cli.secret import read_token


class Get(msgspec.Struct, frozen=True):
    """A look-up of one live session, by its token if not by a handle."""

    ledger: str
    topic: str
    handle: str | None
    json: bool

    def run(self) -> None:
        """Show the session. Raises `Failure` where none is live."""
        with store_to_read(self.ledger, self.topic) as store:
            by_token = self.handle is None
            found = store.get(read_token()) if by_token else store.find(handle=self.handle or "")
        show_session(found, self.json, not_live("token" if by_token else "handle"))


def plain_get(arguments: Sequence[str]) -> Get | None:
    """A `get` of nothing but whole options, each with its value behind it; None for all else."""
    if not arguments or arguments[0] != "get":
        return None
    said: dict[str, str] = {}
    as_json, rest = False, iter(arguments[1:])
    for argument in rest:
        if argument == "--json":
            as_json = True
            continue
        value = next(rest, "-")
        if argument not in ("--ledger", "--topic", "--handle") or value.startswith("-"):
            return None
        said[argument] = value
    ledger = said.get("--ledger", os.environ.get(LEDGER_VARIABLE) or LEDGER)
    topic = said.get("--topic", os.environ.get(TOPIC_VARIABLE) or TOPIC)
    return Get(ledger, topic, said.get("--handle"), as_json)
