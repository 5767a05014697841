"""Which sessions of a backup stay live, by a newer backup of the same ledger.

A session stays live if it is live in the newer one, and its token was not replaced since. It is as
the older backup has it, but lives no longer than in the newer one. All others get an end.
"""

from __future__ import annotations

from datetime import datetime

from sessionledger.core.annotations import REASON
from sessionledger.core.codec import encode_event
from sessionledger.core.events import Expired, SessionEvent, Touched
from sessionledger.core.instant import microseconds
from sessionledger.core.token import handle_of
from sessionledger.errors import LogUnavailable
from sessionledger.logs.base import OVER, LogEvent, Row, RowFilter
from sessionledger.logs.compaction.transfer import PAGE
from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.store.audit.reports import LedgerHead
from sessionledger.store.copies.comparison import head_of
from sessionledger.store.session_fold import SessionFold, intact_session_of

RESTORING = "restored from a backup"


def ends_of(backup: SQLiteLog, newer: SQLiteLog, head: LedgerHead, now: datetime) -> list[LogEvent]:
    """What ends sessions of a topic that are live in a backup with this head.

    Raises `LogUnavailable` for a newer backup that lacks the head, or later events.
    """
    topic = head.topic
    if newer.cut(topic).id > head.id or head_of(newer, topic, head.id).hash != head.hash:
        raise LogUnavailable(
            f"the newer backup does not have event {head.id} of {topic!r}, the older one's last: "
            "take one of the same ledger that was made sooner"
        )
    for log in (backup, newer):
        log.fold_with(topic, SessionFold(topic))
    ends, after, live = list[LogEvent](), None, RowFilter(live_at=OVER)
    while rows := backup.rows(topic, live, after, PAGE):
        after = rows[-1]
        ends += [
            _event(end, now) for row in rows for end in _ends(row, newer.row(topic, row.key), now)
        ]
    return ends


def _ends(row: Row, newer: Row | None, now: datetime) -> list[SessionEvent]:
    session, later = intact_session_of(row), intact_session_of(newer)
    handle = handle_of(row.key)
    if session is None or later is None:
        return [Expired(now, handle, cause="revoked")]
    if later.ended_at is not None:
        return [Expired(later.ended_at, handle, cause=later.cause or "revoked")]
    if later.successors:
        return [Expired(now, handle, cause="rotated")]
    if later.expires_at < session.expires_at:
        sooner, seen = later.expires_at, session.last_seen_at
        return [Touched(None, sooner, seen, handle, deadline=later.deadline)]
    return []


def _event(end: SessionEvent, now: datetime) -> LogEvent:
    return LogEvent(*encode_event(end), {REASON: RESTORING}, microseconds(now) // 1000)
