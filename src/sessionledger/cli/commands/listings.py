"""The commands that list sessions and what happened: sessions, counts, history, activity, as-of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any

from sessionledger import HistoryEntry, HistoryPage, Page, Session
from sessionledger.cli.exit_codes import bad_usage, unknown
from sessionledger.cli.input import options
from sessionledger.cli.input.ledger import Ledger, ledger_command
from sessionledger.cli.input.values import instant, past, whole_number
from sessionledger.cli.output import records
from sessionledger.cli.output.answers import show, show_all
from sessionledger.cli.output.errors import tell
from sessionledger.cli.output.progress import progress
from sessionledger.cli.output.stdout import on_terminal
from sessionledger.cli.output.tree import branch, in_tree_order
from sessionledger.cli.parser import Option
from sessionledger.timestamps import stamp

PAGE = 1000
_USUAL = {"hour": timedelta(hours=24), "day": timedelta(days=30)}


@ledger_command(
    options.PRINCIPAL,
    options.EXTERNAL_ID,
    Option(
        "--state STATE",
        "live, lapsed, ended, or all of them.",
        default="live",
        suggestions=Page.STATES,
    ),
    Option("--address ADDRESS", "Last seen at this address or network."),
    Option("--begun-after TIME", "Begun from then on; 24h is a day ago.", read=past),
    Option("--begun-before TIME", "Begun before that.", read=past),
    Option("--newest-first", "Turn the order round, also of everybody's."),
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
    tree: bool,
    limit: int | None,
    after: str | None,
    **part: Any,
) -> None:
    """List the live sessions, or those in another state.

    Those of a principal or an external id are listed by age, and those of everybody by handle. With
    --limit, the cursor for --after is printed on stderr when there may be more. With --tree,
    children of any principal stand below the sessions that are listed.
    """
    if tree:
        refuse_pages(limit, after)
    now = datetime.now(UTC)
    with ledger.store_to_read() as store:
        everybody = partial(store.sessions, **part)
        found = partial(everybody, principal=principal, external_id=external_id)
        for_people = on_terminal() and not json
        record = records.listed_record if for_people else records.session_record
        if tree:
            branches = in_tree_order(found(), everybody())
            listed = (branch(record(one, now), "principal", at, for_people) for at, one in branches)
        else:
            listed = (record(session, now) for session in in_pages(found, after, limit))
        show_all(listed, records.SESSION_TITLES, json)


@ledger_command()
def counts(ledger: Ledger, json: bool) -> None:
    """Count how many logins are live, lapsed and ended.

    A lapsed one is over, which no sweep has recorded yet. Ended ones count until a compaction
    removes their events.
    """
    with ledger.store_to_read() as store:
        show(records.counts_record(store.counts()), json)


@ledger_command(
    Option("--handle HANDLE", "The history of one session."),
    Option("--principal NAME", "That of all sessions of a principal."),
    Option("--actor NAME", "Only what this actor did."),
    Option("--kind KIND", "Only events of this kind.", suggestions=HistoryEntry.KINDS),
    Option("--cause CAUSE", "Only ends with this cause.", suggestions=HistoryEntry.CAUSES),
    options.SINCE,
    options.UNTIL,
    Option("--newest-first", "Turn the order round."),
    options.LIMIT,
    Option("--after N", "Go on behind event N.", read=whole_number(0)),
    options.ARCHIVE,
)
def history(
    ledger: Ledger,
    json: bool,
    handle: str | None,
    principal: str | None,
    limit: int | None,
    after: int | None,
    **part: Any,
) -> None:
    """Show what happened to sessions, oldest first.

    Without --handle and --principal that is the history of everybody. With --limit, the event for
    --after is printed on stderr when there is more.
    """
    titles = records.PRINCIPAL_HISTORY_TITLES if principal else records.EVERYBODY_HISTORY_TITLES
    titles = records.HISTORY_TITLES if handle else titles
    with ledger.store_to_read() as store:
        size = PAGE if limit is None else min(limit + 1, PAGE)
        told = store.history(
            handle=handle, principal=principal, after=after, page_size=size, **part
        )
        pages = told.pages()
        first = next(pages)
        is_unknown = not (first.entries or first.cut or after) and not any(part.values())
        if is_unknown and (handle or principal):
            raise unknown("principal" if handle is None else "handle")
        entries = _limited(_entries(chain([first], pages)), limit)
        show_all(map(records.entry_record, entries), titles, json)


@ledger_command(
    options.SINCE,
    options.UNTIL,
    Option("--per UNIT", "By hour or day.", default="hour", suggestions=[*_USUAL]),
)
def activity(
    ledger: Ledger, json: bool, since: datetime | None, until: datetime | None, per: str
) -> None:
    """Count how many sessions began and ended, by hours or days of UTC.

    Without --since it counts the last 24 hours, or 30 days. Events that were removed are missing.
    """
    since = since or datetime.now(UTC) - _USUAL.get(per, timedelta())
    with ledger.store_to_read() as store, progress("counting") as bar:
        told = store.activity(since=since, until=until, per=per)
        while told.more:
            if bar is not None:
                bar(sum(one.begun for one in told.intervals))
            told = store.activity(since=since, until=until, per=per)
    if told.counted_from > told.intervals[0].begins_at:
        tell(f"events before {stamp(told.counted_from)} were removed, so some are not counted")
    for_people = on_terminal() and not json
    most = max(one.begun for one in told.intervals)
    rows = (records.interval_record(one, most if for_people else None) for one in told.intervals)
    show_all(rows, records.INTERVAL_TITLES, json)


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


def _entries(pages: Iterable[HistoryPage]) -> Iterator[HistoryEntry]:
    """The entries of pages. Where the history was cut, stderr says so."""
    for page in pages:
        if page.cut:
            tell(f"events up to {page.cut} were removed: this history begins after them")
        yield from page.entries


def _limited(entries: Iterator[HistoryEntry], limit: int | None) -> Iterator[HistoryEntry]:
    last: HistoryEntry | None = None
    for count, entry in enumerate(entries):
        if last is not None and count == limit:
            print(f"more: --after {last.event_id}", file=sys.stderr)
            return
        yield entry
        last = entry
