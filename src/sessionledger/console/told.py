"""Sessions and what happened to them, in the words of the pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from sessionledger import HistoryEntry, Session
from sessionledger.integrations.devices.page import device_of, login_of

WHAT = {
    "session_created": "Began",
    "session_touched": "Changed",
    "session_expired": "Ended",
    "everybody_revoked": "Everybody was logged out",
    "selection_revoked": "A selection of sessions was ended",
    "ledger_restored": "The ledger was restored from a backup",
}
CAUSES = {
    "revoked": "revoked",
    "signed_out": "signed out",
    "rotated": "got a new token",
    "reused": "an old token was used again",
    "evicted": "made room for a newer one",
    "lapsed": "its time was over",
    "parent_ended": "its parent ended",
    "everybody": "everybody was logged out",
}


class Told(msgspec.Struct, frozen=True):
    """A session as the pages show it. login: the handle that names it through rotations."""

    session: Session
    state: str
    device: str
    agent: str
    address: str
    login: str


def told_of(session: Session, now: datetime | None = None) -> Told:
    """How the pages show a session at an instant."""
    device = device_of(session, session)
    named = " on ".join(filter(None, (device["browser"], device["system"])))
    return Told(
        session,
        state_at(session, now or datetime.now(UTC)),
        named or device["user_agent"] or "",
        session.context.get("user_agent", ""),
        session.context.get("address", ""),
        login_of(session),
    )


def state_at(session: Session, now: datetime) -> str:
    """`live`, `lapsed` or `ended`."""
    if session.ended_at is not None:
        return "ended"
    return "lapsed" if session.expires_at <= now else "live"


class ToldEvent(msgspec.Struct, frozen=True):
    """An event as a timeline shows it. changes: what it changed, as texts."""

    entry: HistoryEntry
    what: str
    cause: str
    changes: Mapping[str, str]


def told_event(entry: HistoryEntry) -> ToldEvent:
    """How the pages show an event."""
    is_touch = entry.kind == "session_touched"
    what = WHAT.get(entry.kind, entry.kind)
    if is_touch and entry.changes.keys() <= {"last_seen_at", "expires_at"}:
        what = "Seen"
    if is_touch and "successors" in entry.changes:
        what = "Got a new token"
    cause = CAUSES.get(entry.cause or "", entry.cause or "")
    return ToldEvent(entry, what, cause, {n: as_text(v) for n, v in entry.changes.items()})


def as_text(value: Any) -> str:
    """A value of JSON, as people read it."""
    if isinstance(value, str):
        return value
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode()
