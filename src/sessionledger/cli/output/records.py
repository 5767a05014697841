"""What the store answers, as records. Their fields are the columns of lines, in this order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sessionledger
from sessionledger import Session
from sessionledger.cli.exit_codes import Failure
from sessionledger.cli.output.answers import columns, show, show_secret
from sessionledger.cli.output.formatting import Record

SESSION_TITLES = columns(
    "principal, state, last_seen_at last seen, expires_at expires, client, handle"
)
HISTORY_TITLES = columns(
    "event_id event, occurred_at when, kind what, cause, reason, actor, context, changes"
)
PRINCIPAL_HISTORY_TITLES = HISTORY_TITLES | columns("handle")
EVERYBODY_HISTORY_TITLES = HISTORY_TITLES | columns("principal, handle")
INTERVAL_TITLES = columns("begins_at begins, begun, bar, ended, reused")
EVENT_TITLES = columns("id event, occurred_at when, kind what, handle, payload")
MAINTAINED_TITLES = columns("topic, swept, events removed, held_back_by held back by")
FINDING_TITLES = columns("severity, code, subject what, problem is wrong, remedy what to do")

HISTORY_WIDTHS = columns(
    "event_id 6, occurred_at 20, kind 15, principal 20, handle 74, cause 10, reason 12, changes 0"
)
EVENT_WIDTHS = columns("id 6, occurred_at 20, kind 15, handle 74, payload 0")

_BAR_CHARS = 20
_CLIENT = ("device", "address")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def fields(value: Any, names: str) -> Record:
    """The attributes of a value that have these names."""
    return {name: getattr(value, name) for name in names.split()}


def session_record(session: Session, now: datetime) -> Record:
    """A session, and whether it is `live`, `lapsed` or `ended` at that instant."""
    return {
        **fields(session, "handle principal"),
        "state": _state(session, now),
        **fields(session, "created_at last_seen_at expires_at deadline ended_at version"),
        **fields(
            session,
            "attributes authenticated_at idle_timeout context external_id family parent "
            "successors cause",
        ),
    }


def listed_record(session: Session, now: datetime) -> Record:
    """The same for a table, which has room for the client's device and address."""
    told = (session.context.get(name, "") for name in _CLIENT)
    return session_record(session, now) | {"client": " ".join(filter(None, told))}


def show_session(
    session: Session | None, as_json: bool, otherwise: Failure, at: datetime | None = None
) -> None:
    """The session, and its state now or at an instant. Raises `otherwise` for None."""
    if session is None:
        raise otherwise
    show(session_record(session, at or datetime.now(UTC)), as_json)


def show_issued(issued: sessionledger.IssuedSession, as_json: bool) -> None:
    """A new session with its token: alone in a pipe, below the rest on a terminal."""
    show_secret("token", issued.token, session_record(issued, datetime.now(UTC)), as_json)


def entry_record(entry: sessionledger.HistoryEntry) -> Record:
    """One event of a session's history."""
    return fields(
        entry,
        "event_id occurred_at handle kind reason actor context changes readable principal cause",
    )


def interval_record(interval: sessionledger.ActivityInterval, most: int | None = None) -> Record:
    """An hour or a day. For a table, of which `most` began in the busiest one, with a bar."""
    told = fields(interval, "begins_at begun rotated children ended reused everybody")
    if most is None:
        return told
    ends = ", ".join(f"{count} {cause}" for cause, count in interval.ended.items())
    return told | {"bar": "█" * -(-_BAR_CHARS * interval.begun // max(most, 1)), "ended": ends}


def counts_record(counts: sessionledger.Counts) -> Record:
    """How many logins there are in each state."""
    return fields(counts, "live lapsed ended as_of")


def event_record(event: sessionledger.StoredEvent) -> Record:
    """An event as it is stored; a payload that is no JSON is shown as text."""
    payload = _payload(event)
    return {
        "id": event.id,
        "kind": event.kind,
        "occurred_at": _instant(event.occurred_at_ms),
        "handle": _handle(payload),
        "payload": payload,
        "headers": dict(event.headers),
    }


def head_record(head: sessionledger.LedgerHead) -> Record:
    """The newest event, in parts and as the text that `verify --expect` takes."""
    return {"head": str(head), "topic": head.topic, "id": head.id, "hash": head.hash}


def verification_record(found: sessionledger.Verification) -> Record:
    """What verify found; the event and its problem are None when all is well."""
    return {
        "ok": found.ok,
        "events": found.events,
        "head": str(found.head),
        "broken_id": found.broken.id if found.broken else None,
        "problem": found.broken.problem if found.broken else None,
        "cut": found.cut,
        "erased": len(found.erased),
    }


def finding_record(finding: sessionledger.Finding) -> Record:
    """A problem of the ledger, and what to do."""
    return fields(finding, "severity code subject problem remedy")


def compaction_record(found: sessionledger.Compacted) -> Record:
    """What a compaction removed, or would remove."""
    return fields(found, "cut events bytes sessions forgotten held_back_by sealed")


def maintained_record(topic: str, done: sessionledger.Maintained) -> Record:
    """What a round of maintenance did in a topic."""
    removed = done.compacted.get(topic)
    return {
        "topic": topic,
        "swept": done.swept[topic],
        **(compaction_record(removed) if removed else {}),
    }


def erasure_record(found: sessionledger.Erasure) -> Record:
    """What an erasure did, and what is left."""
    return {
        "sessions": len(found.handles),
        **fields(found, "events guessable"),
        "pending": list(found.pending),
        "remains": list(found.remains),
        "mentions": [fields(one, "topic event_id handle where") for one in found.mentions],
    }


def backup_record(found: sessionledger.BackedUp) -> Record:
    """A backup, and the head of each of its topics."""
    return {
        "path": str(found.path),
        "bytes": found.bytes,
        "ok": found.ok,
        "heads": [str(topic.head) for topic in found.topics],
    }


def copy_record(found: sessionledger.Copied) -> Record:
    """A copy, and the head of each of its topics."""
    heads = [str(topic.head) for topic in found.topics]
    return {"to": found.to, "moved": found.moved, "heads": heads}


def reference_record(found: sessionledger.CopiedForReference) -> Record:
    """A copy for the reference, and what the reference can't know."""
    told = fields(found, "to live ended families children forgotten")
    return told | {"heads": [str(head) for head in found.heads]}


def restore_record(found: sessionledger.Restored) -> Record:
    """What a ledger was made of."""
    return {
        "topics": [fields(topic, "topic events ended restored") for topic in found.topics],
    }


def stats_record(stats: sessionledger.Stats) -> Record:
    """How much there is, and how the log describes itself."""
    return {
        **fields(stats, "topic events sessions live tombstones oldest_at consumers"),
        **fields(stats, "cut compacted_at erased erasure_pending"),
        "maintained_at": stats.maintained and stats.maintained.at,
        "maintained": stats.maintained and stats.maintained.outcome,
        **fields(stats.log, "backend location durability chained"),
        **stats.log.details,
    }


def _state(session: Session, now: datetime) -> str:
    if session.ended_at is not None:
        return "ended"
    return "lapsed" if session.is_expired_at(now) else "live"


def _payload(event: sessionledger.StoredEvent) -> Any:
    try:
        return event.value
    except ValueError:
        return event.payload.decode(errors="backslashreplace")


def _handle(payload: Any) -> str | None:
    """The handle in an event's payload, where events of sessions have it."""
    match payload:
        case {"token_handle": str(handle)} | {"record": {"token_handle": str(handle)}}:
            return handle
    return None


def _instant(milliseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
