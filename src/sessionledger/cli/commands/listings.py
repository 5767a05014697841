"""The commands that list sessions and show their history: sessions, history, as-of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Any

from sessionledger import HistoryEntry, Session
from sessionledger.cli.exit_codes import bad_usage, unknown
from sessionledger.cli.input import options
from sessionledger.cli.input.ledger import Ledger, ledger_command
from sessionledger.cli.input.values import instant
from sessionledger.cli.output import records
from sessionledger.cli.output.answers import show_all
from sessionledger.cli.output.errors import tell
from sessionledger.cli.output.stdout import on_terminal
from sessionledger.cli.output.tree import branch, in_tree_order
from sessionledger.cli.parser import Option

PAGE = 1000


@ledger_command(
    options.PRINCIPAL,
    options.EXTERNAL_ID,
    Option("--all", "Also those that lapsed or were ended."),
    Option("--superseded", "Also those that a rotation replaced by a newer one."),
    options.TREE,
    options.LIMIT,
    options.CURSOR,
)
def sessions(
    ledger: Ledger,
    json: bool,
    principal: str | None,
    external_id: str | None,
    all: bool,
    superseded: bool,
    tree: bool,
    limit: int | None,
    after: str | None,
) -> None:
    """List the live sessions.

    Those of a principal or an external id are listed by age, and those of everybody by handle. With
    --limit, the cursor for --after is printed on stderr when there may be more. With --tree,
    children of any principal stand below the sessions that are listed.
    """
    if tree:
        refuse_pages(limit, after)
    now = datetime.now(UTC)
    with ledger.store_to_read() as store:
        everybody = partial(store.sessions, live=not all, superseded=superseded)
        found = partial(everybody, principal=principal, external_id=external_id)
        for_people = on_terminal() and not json
        record = records.listed_record if for_people else records.session_record
        if tree:
            branches = in_tree_order(found(), everybody())
            listed = (branch(record(one, now), "principal", at, for_people) for at, one in branches)
        else:
            listed = (record(session, now) for session in in_pages(found, after, limit))
        show_all(listed, records.SESSION_TITLES, json)


@ledger_command(
    Option("--handle HANDLE", "The history of one session."),
    Option("--principal NAME", "That of all sessions of a principal."),
    options.LIMIT,
    options.AFTER,
    options.ARCHIVE,
)
def history(
    ledger: Ledger,
    json: bool,
    handle: str | None,
    principal: str | None,
    limit: int | None,
    after: int | None,
    archive: str | None,
) -> None:
    """Show the history of a session or a principal, oldest first.

    With --limit, the event for --after is printed on stderr when there is more.
    """
    titles = records.PRINCIPAL_HISTORY_TITLES if principal else records.HISTORY_TITLES
    with ledger.store_to_read() as store:
        found = store.history(handle=handle, principal=principal, after=after, archive=archive)
        pages = found.pages()
        first = next(pages)
        if not (first.entries or first.cut or after):
            raise unknown("handle" if principal is None else "principal")
        if first.cut:
            tell(f"events up to {first.cut} were removed: this history begins after them")
        entries = (entry for page in chain([first], pages) for entry in page.entries)
        told = _limited(entries, limit)
        show_all(map(records.entry_record, told), titles, json)


@ledger_command(
    options.HANDLE,
    Option("--at TIME", "The instant: 2030-01-31T12:00:00Z.", read=instant, required=True),
)
def as_of(ledger: Ledger, json: bool, handle: str, at: datetime) -> None:
    """Show a session as it was known at an instant, live or not."""
    with ledger.store_to_read() as store:
        found = store.as_of(handle=handle, at=at)
    records.show_session(found, json, unknown("handle at that time"), at)


def refuse_pages(limit: int | None, after: str | None) -> None:
    """Raises `Failure` for a part of a tree: a parent and its children may be on two pages."""
    if limit or after:
        raise bad_usage("--tree lists all of them: leave out --limit and --after")


def in_pages(
    listing: Callable[..., Any], after: str | None, limit: int | None
) -> Iterator[Session]:
    """The sessions of a listing up to a limit. Where more may follow, stderr has the cursor."""
    left = limit
    while True:
        size = PAGE if left is None else min(left, PAGE)
        page = next(listing(after=after, page_size=size).pages())
        yield from page.sessions
        after = page.cursor
        if after is None:
            return
        if left is not None:
            left -= size
            if not left:
                print(f"more: --after {after}", file=sys.stderr)
                return


def _limited(entries: Iterator[HistoryEntry], limit: int | None) -> Iterator[HistoryEntry]:
    last: HistoryEntry | None = None
    for count, entry in enumerate(entries):
        if last is not None and count == limit:
            print(f"more: --after {last.event_id}", file=sys.stderr)
            return
        yield entry
        last = entry
