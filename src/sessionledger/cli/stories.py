"""The commands that tell what was and what happens: as-of, watch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Annotated

import typer

from sessionledger import HistoryEntry, SessionStore
from sessionledger.cli import options
from sessionledger.cli.answers import show_session
from sessionledger.cli.exits import unknown
from sessionledger.cli.opening import open_store, store_to_read
from sessionledger.cli.present import PATIENCE_SECONDS, check_reader, stream
from sessionledger.cli.records import HISTORY_WIDTHS, entry_record

At = Annotated[
    datetime, typer.Option("--at", parser=options.instant, metavar="TIME", help="As RFC 3339.")
]
OneHandle = Annotated[str, typer.Option("--handle", metavar="HANDLE", help="The session.")]
AfterEvent = Annotated[
    int | None,
    typer.Option("--after", min=0, metavar="N", help="First what followed this event; 0 for all."),
]


def as_of(
    handle: OneHandle,
    at: At,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Show the session of a handle as it was known at an instant, live or not."""
    with store_to_read(ledger, topic) as store:
        found = store.as_of(handle=handle, at=at)
    show_session(found, json, unknown("handle at that time"), at)


def watch(
    after: AfterEvent = None,
    principal: options.ByPrincipal = None,
    limit: options.Limit = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Tell what happens to sessions, as it happens, until it is interrupted.

    With --after first what was missed. Says on stderr when all that had happened is told.
    """
    with open_store(ledger, topic) as store:
        entries = islice(_happening(store, after, principal), limit)
        stream(map(entry_record, entries), HISTORY_WIDTHS, json)


def _happening(
    store: SessionStore, after: int | None, principal: str | None
) -> Iterator[HistoryEntry]:
    caught_up = False
    heartbeat = timedelta(seconds=PATIENCE_SECONDS)
    for happened in store.watch(after=after, principal=principal, heartbeat=heartbeat):
        if isinstance(happened, HistoryEntry):
            yield happened
            continue
        if not caught_up:
            print(f"caught up: --after {happened.cursor}", file=sys.stderr, flush=True)
            caught_up = True
        check_reader()
