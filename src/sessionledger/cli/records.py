"""What the store answers, as records: their fields are the columns of lines, in this order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sessionledger.cli.present import Record

if TYPE_CHECKING:  # each command shows one of them, and need not import the others
    from sessionledger import (
        Finding,
        HistoryEntry,
        LedgerHead,
        Session,
        Stats,
        StoredEvent,
        Verification,
    )

SESSION_TITLES = {
    "principal": "principal",
    "state": "state",
    "last_seen_at": "last seen",
    "expires_at": "expires",
    "whence": "whence",
    "handle": "handle",
}
HISTORY_TITLES = {
    "event_id": "event",
    "occurred_at": "when",
    "kind": "what",
    "cause": "cause",
    "reason": "reason",
    "actor": "actor",
    "context": "context",
    "changes": "changes",
}
HISTORY_WIDTHS = {
    "event_id": 6,
    "occurred_at": 20,
    "kind": 15,
    "principal": 20,
    "handle": 74,
    "cause": 10,
    "reason": 12,
    "changes": 0,
}
EVENT_TITLES = {
    "id": "event",
    "occurred_at": "when",
    "kind": "what",
    "handle": "handle",
    "payload": "payload",
}
EVENT_WIDTHS = {"id": 6, "occurred_at": 20, "kind": 15, "handle": 74, "payload": 0}
FINDING_TITLES = {
    "severity": "severity",
    "code": "code",
    "subject": "what",
    "problem": "is wrong",
    "remedy": "what to do",
}

WHENCE = ("device", "address")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def session_record(session: Session, now: datetime) -> Record:
    """A session, and whether it is `live`, `lapsed` or `ended` at that instant."""
    return {
        "handle": session.handle,
        "principal": session.principal,
        "state": _state(session, now),
        "created_at": session.created_at,
        "last_seen_at": session.last_seen_at,
        "expires_at": session.expires_at,
        "deadline": session.deadline,
        "ended_at": session.ended_at,
        "version": session.version,
        "attributes": session.attributes,
        "authenticated_at": session.authenticated_at,
        "idle_timeout": session.idle_timeout,
        "context": session.context,
        "external_id": session.external_id,
        "family": session.family,
        "cause": session.cause,
    }


def listed_record(session: Session, now: datetime) -> Record:
    """The same for a table, which has room for the device and the address of the context."""
    told = (session.context.get(name, "") for name in WHENCE)
    return session_record(session, now) | {"whence": " ".join(filter(None, told))}


def entry_record(entry: HistoryEntry) -> Record:
    """One event of a session's history."""
    return {
        "event_id": entry.event_id,
        "occurred_at": entry.occurred_at,
        "handle": entry.handle,
        "kind": entry.kind,
        "reason": entry.reason,
        "actor": entry.actor,
        "context": entry.context,
        "changes": entry.changes,
        "readable": entry.readable,
        "principal": entry.principal,
        "cause": entry.cause,
    }


def event_record(event: StoredEvent) -> Record:
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


def head_record(head: LedgerHead) -> Record:
    """The newest event, in parts and as the text that `verify --expect` takes."""
    return {"head": str(head), "topic": head.topic, "id": head.id, "hash": head.hash}


def verification_record(found: Verification) -> Record:
    """What verify found; the event and its problem are None when all is well."""
    return {
        "ok": found.ok,
        "events": found.events,
        "head": str(found.head),
        "broken_id": found.broken.id if found.broken else None,
        "problem": found.broken.problem if found.broken else None,
    }


def finding_record(finding: Finding) -> Record:
    """Something that is wrong, and what to do."""
    names = ("severity", "code", "subject", "problem", "remedy")
    return {name: getattr(finding, name) for name in names}


def stats_record(stats: Stats) -> Record:
    """How much there is, and what the log says of itself."""
    return {
        "topic": stats.topic,
        "events": stats.events,
        "sessions": stats.sessions,
        "live": stats.live,
        "backend": stats.log.backend,
        "location": stats.log.location,
        "durability": stats.log.durability,
        "chained": stats.log.chained,
        **stats.log.details,
    }


def _state(session: Session, now: datetime) -> str:
    if session.ended_at is not None:
        return "ended"
    return "lapsed" if session.is_expired_at(now) else "live"


def _payload(event: StoredEvent) -> Any:
    try:
        return event.value
    except ValueError:
        return event.payload.decode(errors="backslashreplace")


def _handle(payload: Any) -> str | None:
    """The handle that an event concerns, where it says so in the way of sessions."""
    match payload:
        case {"token_handle": str(handle)} | {"record": {"token_handle": str(handle)}}:
            return handle
    return None


def _instant(milliseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
