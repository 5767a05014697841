"""evolve: the state after an event. The rules, which are the reference's:

1. The first `Created` of a handle wins; later ones change nothing.
2. `Touched` on a live session: `last_seen_at` becomes the later of the two, `expires_at` and
   `attributes` are replaced when given (ours: never past a deadline that the session carries).
   On anything else it changes nothing.
3. `Expired` is terminal; `expires_at` becomes the earlier of the two. A handle that was named by
   an expiry counts as seen, also when no session was there.
4. Ours: an event that can't be decoded ends the session of its handle, for good, as of when it
   was last seen. (The reference refuses every session from then on.)
5. Ours: a deadline only ever comes nearer, and a rotation without grace is one. Successors add
   up, and are forgotten once reuse of the token was recorded. The context is that of the latest
   sighting that told one. A session that is seen again is superseded by no sibling any more.
6. Ours: `Everybody` is an end of every session that began before it.
7. Ours: a tombstone, which compaction leaves, stays what it is. A seal makes one, of the handle
   that stands for all that were forgotten. A list of erased events makes one, and so does a stub.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from sessionledger.canonical import decode_object, encode
from sessionledger.core.events import (
    Created,
    DecodedEvent,
    Erased,
    Erasure,
    Everybody,
    EverybodyEnded,
    Expired,
    Malformed,
    Restored,
    Sealed,
    Selected,
    SessionEvent,
    Touched,
)
from sessionledger.core.lifetimes import nearer
from sessionledger.core.session import Broken, Seen, Session, State, Tombstone
from sessionledger.core.token import Handle


def evolve(state: State, event: DecodedEvent) -> State:
    """The state of a handle after one more event. Never raises; equal input, equal output."""
    match event:
        case Created():
            return _created(state, event)
        case Touched():
            return _touched(state, event)
        case Expired():
            return _expired(state, event)
        case Everybody():
            return _revoked(state, event)
        case EverybodyEnded() | Selected():
            return state
        case Sealed() | Restored() | Erasure() | Erased():
            return Tombstone()
        case Malformed():
            return _malformed(state)


def shortest(session: Session) -> list[SessionEvent]:
    """The fewest events that fold to a session, as far as the reference knows it."""
    times = session.created_at, session.expires_at, session.last_seen_at
    begun = Created(encode(session.attributes), *times, session.principal, session.handle)
    return (
        [begun] if session.ended_at is None else [begun, Expired(session.ended_at, session.handle)]
    )


def _created(state: State, event: Created) -> State:
    if state is not None and not isinstance(state, Seen):
        return state
    return Session(
        handle=Handle(event.token_handle),
        principal=event.principal,
        created_at=event.created_at,
        last_seen_at=event.last_seen_at,
        expires_at=event.expires_at,
        attributes=decode_object(event.attributes),
        deadline=event.deadline,
        idle_timeout=event.idle_timeout,
        reauthenticated_at=event.authenticated_at,
        context=dict(event.context),
        external_id=event.external_id,
        family=None if event.family is None else Handle(event.family),
        ancestors=event.ancestors,
        rotations=event.rotations,
        generated=event.generated,
    )


def _touched(state: State, event: Touched) -> State:
    if not isinstance(state, Session) or state.ended_at is not None:
        return state
    # Where the two are equal instants, the newer one and its offset stand, as in the reference.
    later = event.last_seen_at >= state.last_seen_at
    deadline = nearer(state.deadline, event.deadline)
    touched = replace(
        state,
        last_seen_at=event.last_seen_at if later else state.last_seen_at,
        expires_at=_expiry_after(state, event, deadline),
        attributes=_attributes_after(state, event),
        deadline=deadline,
    )
    return _with_rare_fields(touched, state, event)


def _with_rare_fields(touched: Session, before: Session, event: Touched) -> Session:
    """What few touches tell: a proof of who it is, a successor, where it came from."""
    if event.context and event.last_seen_at > before.last_seen_at:
        touched = replace(touched, context=dict(event.context))
    if event.authenticated_at is not None:
        proved = max(event.authenticated_at, before.authenticated_at)
        touched = replace(touched, reauthenticated_at=proved)
    if event.successor is not None:
        touched = replace(touched, successors=(*before.successors, Handle(event.successor)))
    if event.has_children and not before.has_children:
        touched = replace(touched, has_children=True)
    if event.superseded_by is not None:
        return replace(touched, superseded_by=Handle(event.superseded_by))
    if before.superseded_by is not None and event.last_seen_at > before.last_seen_at:
        return replace(touched, superseded_by=None)
    return touched


def _expiry_after(state: Session, event: Touched, deadline: datetime | None) -> datetime:
    expires_at = state.expires_at if event.expires_at is None else event.expires_at
    return expires_at if deadline is None else min(expires_at, deadline)


def _attributes_after(state: Session, event: Touched) -> dict[str, Any]:
    return state.attributes if event.attributes is None else decode_object(event.attributes)


def _expired(state: State, event: Expired) -> State:
    if state is None:
        return Seen()
    if not isinstance(state, Session):
        return state
    ended_at = event.expired_at if state.ended_at is None else min(state.ended_at, event.expired_at)
    return replace(
        state,
        expires_at=min(state.expires_at, event.expired_at),
        deadline=state.deadline
        if event.successor is None
        else nearer(state.deadline, event.expired_at),
        ended_at=ended_at,
        cause=event.cause if state.ended_at is None else state.cause,
        selection=event.selection if state.ended_at is None else state.selection,
        successors=_successors_after(state, event),
        superseded_by=_newest_after(state, event),
    )


def _revoked(state: State, event: Everybody) -> State:
    if not isinstance(state, Session) or state.ended_at is not None:
        return state
    end = Expired(
        expired_at=min(event.revoked_at, state.expires_at),
        token_handle=state.handle,
        cause="everybody",
    )
    return _expired(state, end)


def _successors_after(state: Session, event: Expired) -> tuple[Handle, ...]:
    if event.cause == "reused":
        return ()
    added = () if event.successor is None else (Handle(event.successor),)
    return (*state.successors, *added)


def _newest_after(state: Session, event: Expired) -> Handle | None:
    """What stands for a session: a recorded reuse forgets its successors, and not that."""
    if event.cause == "reused" and state.successors:
        return state.successors[-1]
    return state.superseded_by


def _malformed(state: State) -> State:
    if isinstance(state, Tombstone):
        return state
    if not isinstance(state, Session):
        return Broken()
    if state.ended_at is not None:
        return state
    over = min(state.last_seen_at, state.expires_at)
    return replace(state, expires_at=over, ended_at=over)
