"""The commands that show events, also while they happen: events, watch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import islice

from sessionledger import HistoryEntry, Log, SessionStore, StoredEvent
from sessionledger.cli.exit_codes import bad_usage
from sessionledger.cli.input import options
from sessionledger.cli.input.ledger import Ledger, ledger_command
from sessionledger.cli.output import records
from sessionledger.cli.output.answers import show_all, stream
from sessionledger.cli.output.stdout import PATIENCE_SECONDS, check_reader
from sessionledger.cli.parser import Option

PAGE = 1000


@ledger_command(
    options.AFTER,
    options.LIMIT,
    Option("--follow -f", "Go on with events as they are appended."),
    options.ARCHIVE,
)
def events(
    ledger: Ledger,
    json: bool,
    after: int | None,
    limit: int | None,
    follow: bool,
    archive: str | None,
) -> None:
    """List the events of any topic as they are stored.

    With --follow it goes on with what anybody appends, until it is interrupted.
    """
    if not follow:
        with ledger.store_to_read() as store:
            found = islice(store.events(after=after or 0, archive=archive), limit)
            show_all(map(records.event_record, found), records.EVENT_TITLES, json)
        return
    if archive is not None:
        raise bad_usage("--follow can't be given with --archive: give it with --after N later")
    with closing(ledger.log_to_read()) as log:
        followed = islice(_follow(log, ledger.topic, after or 0), limit)
        stream(map(records.event_record, followed), records.EVENT_WIDTHS, json)


@ledger_command(
    options.AFTER, Option("--principal NAME", "Only events of this principal."), options.LIMIT
)
def watch(
    ledger: Ledger, json: bool, after: int | None, principal: str | None, limit: int | None
) -> None:
    """Show what happens to sessions, until interrupted.

    With --after, what was missed comes first. When all of that has been shown, it says so on
    stderr.
    """
    with ledger.store_to_read() as store:
        entries = islice(_entries(store, after, principal), limit)
        stream(map(records.entry_record, entries), records.HISTORY_WIDTHS, json)


def _follow(log: Log, topic: str, after: int) -> Iterator[StoredEvent]:
    while True:
        while page := log.read(topic, after, PAGE):
            yield from page
            after = page[-1].id
        while log.wait(topic, after, PATIENCE_SECONDS) <= after:
            check_reader()


def _entries(
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
