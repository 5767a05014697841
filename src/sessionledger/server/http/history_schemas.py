"""Documents of what happened: histories, and counts of them."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from sessionledger import Activity, HistoryEntry, HistoryPage
from sessionledger.server.http.schemas import HandleText, Stamp, plain_value
from sessionledger.timestamps import stamp

Document = TypeVar("Document", bound=msgspec.Struct)


class EntryDocument(msgspec.Struct, kw_only=True):
    """One event of a session. changes: its fields that differ afterwards, with their new values.

    cause: what ended the session, where the event is an end.
    """

    event_id: int
    occurred_at: Stamp
    kind: str
    handle: HandleText | None
    principal: str | None
    cause: str | None
    reason: str | None
    actor: str | None
    context: dict[str, str]
    changes: dict[str, Any]
    readable: bool


class History(msgspec.Struct):
    """What happened. cursor: the event after which the next page begins, null after the last.

    cut: earlier events, up to this one, were removed; 0 on all other pages.
    """

    events: list[EntryDocument]
    cursor: int | None
    cut: int


class IntervalDocument(msgspec.Struct, kw_only=True):
    """What happened in an hour or a day. ended: recorded ends by their cause.

    rotated: replaced tokens. children: sessions below another one. everybody: how often one event
    ended everybody's sessions.
    """

    begins_at: Stamp
    begun: int
    rotated: int
    children: int
    ended: dict[str, int]
    reused: int
    everybody: int


class ActivityDocument(msgspec.Struct):
    """What happened, oldest first. counted_from: since when no event is missing.

    more: the next request counts more of the earlier ones.
    """

    intervals: list[IntervalDocument]
    counted_from: Stamp
    more: bool


def entry_document(entry: HistoryEntry) -> EntryDocument:
    """An event as clients get it."""
    changes = {name: plain_value(value) for name, value in entry.changes.items()}
    return msgspec.structs.replace(_filled(EntryDocument, entry), changes=changes)


def history_document(page: HistoryPage) -> History:
    """A page of a history as clients get it."""
    return History([entry_document(entry) for entry in page.entries], page.cursor, page.cut)


def activity_document(activity: Activity) -> ActivityDocument:
    """Counts as clients get them."""
    intervals = [_filled(IntervalDocument, one) for one in activity.intervals]
    return ActivityDocument(intervals, stamp(activity.counted_from), activity.more)


def _filled(document: type[Document], value: Any) -> Document:
    """A document with the fields of a value that have the same names."""
    names = document.__struct_fields__
    return document(**{name: plain_value(getattr(value, name)) for name in names})
