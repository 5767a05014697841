"""The commands that list: sessions, history, events."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, NamedTuple

import typer

from sessionledger import Log, Page, SessionStore, StoredEvent
from sessionledger.cli import options
from sessionledger.cli.exits import unknown
from sessionledger.cli.opening import open_events, open_to_read, store_to_read
from sessionledger.cli.present import (
    PATIENCE_SECONDS,
    Record,
    check_reader,
    on_terminal,
    show_all,
    stream,
)
from sessionledger.cli.records import (
    EVENT_TITLES,
    EVENT_WIDTHS,
    HISTORY_TITLES,
    SESSION_TITLES,
    entry_record,
    event_record,
    listed_record,
    session_record,
)

PAGE = 1000

All = Annotated[bool, typer.Option("--all", help="Also those that lapsed or were ended.")]
AfterCursor = Annotated[
    str | None, typer.Option("--after", metavar="CURSOR", help="Go on where a page ended.")
]
AfterEvent = Annotated[
    int, typer.Option("--after", min=0, metavar="N", help="Only events with an id above this.")
]

Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Go on with events as they are appended.")
]


def sessions(
    principal: options.ByPrincipal = None,
    external_id: options.ByExternalId = None,
    all: All = False,
    limit: options.Limit = None,
    after: AfterCursor = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """List the live sessions: of a principal or an external id by age, or all by handle.

    With --limit, the cursor for --after is printed on stderr when there may be more.
    """
    now = datetime.now(UTC)
    with store_to_read(ledger, topic) as store:
        which = _Which(principal, external_id, not all)
        pages = _pages(store, which, after, limit)
        record = listed_record if on_terminal() and not json else session_record
        records = (record(session, now) for page in pages for session in page.sessions)
        show_all(records, SESSION_TITLES, json)


def history(
    handle: options.ByHandle = None,
    principal: options.ByPrincipal = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Tell what happened to a session, or to all of a principal, oldest first."""
    with store_to_read(ledger, topic) as store:
        entries = store.history(handle=handle, principal=principal)
    if not entries:
        raise unknown("handle" if principal is None else "principal")
    titles = HISTORY_TITLES if principal is None else HISTORY_TITLES | {"handle": "handle"}
    show_all(map(entry_record, entries), titles, json)


def events(
    after: AfterEvent = 0,
    limit: options.Limit = None,
    follow: Follow = False,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """List the events of any topic, as they are stored.

    With --follow it goes on, with what anybody appends, until it is interrupted.
    """
    opened = open_events if follow else open_to_read
    with closing(opened(ledger)) as log:
        if follow:
            followed = islice(_follow(log, topic, after), limit)
            stream(map(event_record, followed), EVENT_WIDTHS, json)
        else:
            records: Iterator[Record] = map(event_record, _events(log, topic, after, limit))
            show_all(records, EVENT_TITLES, json)


class _Which(NamedTuple):
    """What `SessionStore.sessions` is asked for."""

    principal: str | None
    external_id: str | None
    live: bool


def _pages(
    store: SessionStore, which: _Which, after: str | None, limit: int | None
) -> Iterator[Page]:
    left = limit
    while True:
        size = PAGE if left is None else min(left, PAGE)
        listing = store.sessions(**which._asdict(), after=after, page_size=size)
        page = next(listing.pages())
        yield page
        after = page.cursor
        if after is None:
            return
        if left is not None:
            left -= size
            if not left:
                print(f"more: --after {after}", file=sys.stderr)
                return


def _follow(log: Log, topic: str, after: int) -> Iterator[StoredEvent]:
    while True:
        for event in _events(log, topic, after, None):
            yield event
            after = event.id
        while log.wait(topic, after, PATIENCE_SECONDS) <= after:
            check_reader()


def _events(log: Log, topic: str, after: int, limit: int | None) -> Iterator[StoredEvent]:
    left = limit
    while left is None or left > 0:
        page = log.read(topic, after, PAGE if left is None else min(left, PAGE))
        if not page:
            return
        yield from page
        after = page[-1].id
        left = None if left is None else left - len(page)
