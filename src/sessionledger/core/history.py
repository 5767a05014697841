"""What happened to a session, told from its events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec

from sessionledger.core.annotations import ACTOR, REASON, context_of
from sessionledger.core.codec import decode_event
from sessionledger.core.events import Malformed
from sessionledger.core.fold import evolve
from sessionledger.core.instant import EPOCH
from sessionledger.core.session import Session, State
from sessionledger.core.token import Handle

_UNTOLD = ("handle", "version")


class Recorded(Protocol):
    """An event as a log keeps it."""

    @property
    def id(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def occurred_at_ms(self) -> int: ...


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a session: when, what, why, who, whence, and what it changed.

    changes: the session's fields that differ afterwards, with their new values; empty for an
    event that changed nothing. readable: False for an event that can't be decoded.
    """

    event_id: int
    handle: Handle
    kind: str
    occurred_at: datetime
    reason: str | None
    actor: str | None
    context: dict[str, str]
    changes: dict[str, Any]
    readable: bool = True


def narrate(handle: Handle, events: Iterable[Recorded]) -> Iterator[HistoryEntry]:
    """The history of one handle from all its events, in order."""
    state: State = None
    for event in events:
        happened = decode_event(event.kind, event.payload)
        after = state if happened is None else evolve(state, happened)
        yield HistoryEntry(
            event_id=event.id,
            handle=handle,
            kind=event.kind,
            occurred_at=_instant(event.occurred_at_ms),
            reason=event.headers.get(REASON),
            actor=event.headers.get(ACTOR),
            context=context_of(event.headers),
            changes=_changes(state, after),
            readable=not isinstance(happened, Malformed),
        )
        state = after


def _changes(before: State, after: State) -> dict[str, Any]:
    if not isinstance(after, Session):
        return {}
    names = [name for name in Session.__struct_fields__ if name not in _UNTOLD]
    return {
        name: getattr(after, name)
        for name in names
        if getattr(before, name, None) != getattr(after, name)
    }


def _instant(milliseconds: int) -> datetime:
    try:
        return EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
