"""What happened to a session, told from its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Protocol, get_args

import msgspec

from sessionledger.core.annotations import ACTOR, ERASED, REASON, context_of, with_context
from sessionledger.core.codec import decode_event
from sessionledger.core.events import (
    EVERYBODY,
    EXPIRED,
    FOR_ALL,
    KINDS,
    Cause,
    DecodedEvent,
    Erased,
    Everybody,
    Expired,
    Malformed,
)
from sessionledger.core.fold import evolve
from sessionledger.core.instant import from_milliseconds, parse_instant
from sessionledger.core.session import Session, State
from sessionledger.core.token import Handle
from sessionledger.errors import InvalidSession
from sessionledger.plain import as_text

# What an entry tells of its own, or every event changes.
_UNREPORTED = ("handle", "version", "context", "cause", "generated")
# The other fields, as they are where there is no session yet.
_REPORTED = {
    field.name: None if field.required else field.default
    for field in msgspec.structs.fields(Session)
    if field.name not in _UNREPORTED
}


class EventContent(Protocol):
    """An event as a log is given it."""

    @property
    def kind(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


class RecordedEvent(EventContent, Protocol):
    """An event as a log keeps it."""

    @property
    def id(self) -> int: ...
    @property
    def occurred_at_ms(self) -> int: ...


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a session: when, what, why, who, from where, and what it changed.

    handle: None for an event that concerns many sessions. principal: whom the session is for, None
    where no session was ever there. cause: what ended it, where the event is an end. reason: what
    the caller said. changes: the
    session's fields that differ afterwards, with their new values; empty for an event that changed
    nothing. readable: False for an event that can't be decoded. `KINDS` and `CAUSES` are those that
    there are.
    """

    KINDS: ClassVar[tuple[str, ...]] = (*sorted(KINDS), *sorted(FOR_ALL))
    CAUSES: ClassVar[tuple[str, ...]] = get_args(Cause)

    event_id: int
    handle: Handle | None
    principal: str | None
    kind: str
    occurred_at: datetime
    cause: str | None
    reason: str | None
    actor: str | None
    context: dict[str, str]
    changes: dict[str, Any]
    readable: bool = True


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events a history tells: those with all that is given, from `since` until `until`.

    An event at `until` is not among them.
    """

    actor: str | None = None
    kind: str | None = None
    cause: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def admits(self, event: RecordedEvent) -> bool:
        """Whether an event is told. Its payload is read for its cause alone."""
        return (
            self.kind in (None, event.kind)
            and self.actor in (None, event.headers.get(ACTOR))
            and self._is_in_time(from_milliseconds(event.occurred_at_ms))
            and (self.cause is None or self.cause == _cause_told(event))
        )

    def _is_in_time(self, at: datetime) -> bool:
        begun = self.since is None or self.since <= at
        return begun and (self.until is None or at < self.until)


def parse_filter(given: Mapping[str, object]) -> EventFilter:
    """The filter that a caller asks for; None for what is not asked. Raises `InvalidSession`."""
    told: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    choices = {"actor": (), "kind": HistoryEntry.KINDS, "cause": HistoryEntry.CAUSES}
    for name in told.keys() & choices.keys():
        told[name] = as_text(told[name])
        if told[name] is None:
            raise InvalidSession(name, "must be text")
        if choices[name] and told[name] not in choices[name]:
            raise InvalidSession(name, f"must be one of {', '.join(choices[name])}")
    for name in told.keys() & {"since", "until"}:
        told[name] = parse_instant(name, told[name])
    if {"since", "until"} <= told.keys() and told["since"] >= told["until"]:
        raise InvalidSession("until", "must be later than since")
    return EventFilter(**told)


def entries_of(
    handle: Handle, events: Iterable[RecordedEvent], before: State = None
) -> tuple[list[HistoryEntry], State]:
    """Events that concern one handle, in order, told from the state before, and that afterwards."""
    state, entries = before, []
    for event in events:
        entry, state = entry_of(handle, state, event)
        entries.append(entry)
    return entries, state


def entry_of(handle: Handle, before: State, event: RecordedEvent) -> tuple[HistoryEntry, State]:
    """One event of a handle that was in a state, and the state afterwards."""
    # One that says nothing concerned this handle before it was damaged.
    happened = decoded(event) or Malformed(handle)
    after = evolve(before, happened)
    entry = HistoryEntry(
        event_id=event.id,
        handle=handle,
        principal=after.principal if isinstance(after, Session) else None,
        kind=event.kind,
        occurred_at=from_milliseconds(event.occurred_at_ms),
        cause=_cause(happened),
        reason=event.headers.get(REASON),
        actor=event.headers.get(ACTOR),
        context=context_of(event.headers),
        changes=_changes(before, after),
        readable=not isinstance(happened, Malformed),
    )
    return entry, after


def entry_for_all(event: RecordedEvent) -> HistoryEntry:
    """An event that concerns many sessions."""
    entry, _ = entry_of(Handle(""), None, event)
    return msgspec.structs.replace(entry, handle=None)


def fold(handle: Handle, events: Iterable[RecordedEvent], before: State = None) -> State:
    """The state that events which concern one handle, in order, make of the state before."""
    state = before
    for event in events:
        state = evolve(state, decoded(event) or Malformed(handle))
    return state


def decoded(event: EventContent) -> DecodedEvent | None:
    """What a recorded event stands for, with the context that stands in its headers."""
    happened = decode_event(event.kind, event.payload)
    if happened is not None and ERASED in event.headers:
        return Erased(happened.token_handle)
    return None if happened is None else with_context(happened, event.headers)


def _cause_told(event: EventContent) -> str | None:
    happened = decoded(event) if event.kind in (EXPIRED, EVERYBODY) else None
    return None if happened is None else _cause(happened)


def _cause(happened: DecodedEvent) -> str | None:
    if isinstance(happened, Expired):
        return happened.cause
    return "everybody" if isinstance(happened, Everybody) else None


def _changes(before: State, after: State) -> dict[str, Any]:
    if not isinstance(after, Session):
        return {}
    return {
        name: getattr(after, name)
        for name, unset in _REPORTED.items()
        if getattr(before, name, unset) != getattr(after, name)
    }
