"""The reference's fold, told a second time with dictionaries only, to hold ours against it.

It shares no code with the package. An event is its kind and payload; unset optionals are null or
absent; times are compared as instants.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple


class Folded(NamedTuple):
    """Sessions by handle, each with `expired` beside its record, and every handle seen."""

    sessions: dict[str, dict[str, Any]]
    seen: set[str]


def fold(events: Iterable[tuple[str, Any]]) -> Folded:
    """What the events of a sessions topic make, in order."""
    folded = Folded({}, set())
    for kind, payload in events:
        if kind == "session_created":
            _created(folded, payload["record"])
        elif kind == "session_touched":
            _touched(folded, payload)
        elif kind == "session_expired":
            _expired(folded, payload)
    return folded


def _created(folded: Folded, record: dict[str, Any]) -> None:
    handle = record["token_handle"]
    folded.seen.add(handle)
    if handle not in folded.sessions:
        folded.sessions[handle] = {
            "principal": record["principal"],
            "created_at": _at(record["created_at"]),
            "last_seen_at": _at(record["last_seen_at"]),
            "expires_at": _at(record["expires_at"]),
            "attributes": record.get("attributes", {}),
            "expired": False,
        }


def _touched(folded: Folded, touch: dict[str, Any]) -> None:
    session = folded.sessions.get(touch["token_handle"])
    if session is None or session["expired"]:
        return
    session["last_seen_at"] = max(_at(touch["last_seen_at"]), session["last_seen_at"])
    if touch.get("expires_at") is not None:
        session["expires_at"] = _at(touch["expires_at"])
    if touch.get("attributes") is not None:
        session["attributes"] = touch["attributes"]


def _expired(folded: Folded, end: dict[str, Any]) -> None:
    handle = end["token_handle"]
    folded.seen.add(handle)
    session = folded.sessions.get(handle)
    if session is not None:
        session["expired"] = True
        session["expires_at"] = min(session["expires_at"], _at(end["expired_at"]))


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
