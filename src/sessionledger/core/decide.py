"""decide: a command and the state it meets, to the event that should be appended, or None.

One function per command. What they answer is already clamped and absolute: no event needs the
policy to be understood again. They raise `InvalidSession` for what can't be taken.

Creating          refused for a handle that was ever seen; otherwise one `Created`.
Touching          nothing for a session that is unknown or over at that instant; else one `Touched`.
Authenticating    the same, but nothing until a touch is due.
Reauthenticating  one `Touched` that says so.
Patching          nothing for a session that is unknown or over, or where the patch changes nothing;
                  otherwise one `Touched` with what changes, which says nothing of being seen.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from sessionledger import canonical
from sessionledger.core.events import Created, Touched
from sessionledger.core.instant import instant_or
from sessionledger.core.lifetimes import Asked, is_touch_due, lifetime, requested_end, slid_expiry
from sessionledger.core.parse import merged, parse_attributes, parse_external_id, parse_principal
from sessionledger.core.policy import Policy
from sessionledger.core.session import ANONYMOUS, Session, State
from sessionledger.core.token import Handle
from sessionledger.errors import DuplicateSession, InvalidSession, VersionConflict
from sessionledger.plain import as_number

_VISITOR_DIGITS = 32


class Create(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Begin a session; `created_at` defaults to now, its ends to the policy's.

    generated: whether its token is one of this package.
    """

    principal: object
    created_at: object = None
    expires_at: object = None
    ttl: object = None
    idle_timeout: object = None
    absolute_timeout: object = None
    attributes: object = None
    external_id: object = None
    generated: bool = False


class Touch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A session was seen; `last_seen_at` defaults to now, the expiry to what the policy slides."""

    last_seen_at: object = None
    expires_at: object = None
    ttl: object = None
    attributes: object = None


class Patch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Merge changes into the attributes, and move the end where one is given, if the session is at
    the expected version."""

    changes: object
    if_version: object = None
    expires_at: object = None
    ttl: object = None


def decide_create(
    state: State, handle: Handle, command: Create, now: datetime, policy: Policy
) -> Created:
    """One `Created`. Raises `DuplicateSession` for a handle that was ever seen."""
    created_at = instant_or("created_at", command.created_at, now)
    principal = parse_principal(command.principal, policy)
    if principal == ANONYMOUS:  # each is somebody else, for limits and for ends of all
        principal += handle[-_VISITOR_DIGITS:]
    asked = Asked(command.expires_at, command.ttl, command.idle_timeout, command.absolute_timeout)
    life = lifetime(asked, created_at, policy)
    attributes = parse_attributes(command.attributes, policy)
    external_id = parse_external_id(command.external_id, policy)
    if state is not None:
        raise DuplicateSession(f"a session with handle {handle} was created before")
    return Created(
        attributes=b"{}" if attributes is None else attributes,
        created_at=created_at,
        expires_at=life.expires_at,
        last_seen_at=created_at,
        principal=principal,
        token_handle=handle,
        deadline=life.deadline,
        external_id=external_id,
        idle_timeout=life.idle_timeout,
        generated=command.generated,
    )


def decide_touch(
    state: State, handle: Handle, command: Touch, now: datetime, policy: Policy
) -> Touched | None:
    """One `Touched`, or None when the session is unknown or over at that instant."""
    last_seen_at = instant_or("last_seen_at", command.last_seen_at, now)
    expires_at = requested_end(command.expires_at, command.ttl, last_seen_at)
    attributes = parse_attributes(command.attributes, policy)
    if not isinstance(state, Session) or state.is_expired_at(last_seen_at):
        return None
    if expires_at is not None and expires_at <= last_seen_at:
        raise InvalidSession("expires_at", "must be later than last_seen_at")
    if expires_at is None and command.last_seen_at is None:
        expires_at = slid_expiry(state, last_seen_at, policy)
    return Touched(
        attributes=attributes,
        expires_at=_within_deadline(state, expires_at),
        last_seen_at=last_seen_at,
        token_handle=handle,
    )


def decide_authenticate(
    state: State, handle: Handle, now: datetime, policy: Policy
) -> Touched | None:
    """One `Touched`, or None when the session is unknown or over, or no touch is due yet."""
    if not isinstance(state, Session) or not is_touch_due(state, now, policy):
        return None
    return decide_touch(state, handle, Touch(), now, policy)


def decide_reauthenticate(
    state: State, handle: Handle, now: datetime, policy: Policy
) -> Touched | None:
    """One `Touched`, or None when the session is unknown or over."""
    touched = decide_touch(state, handle, Touch(), now, policy)
    return touched and msgspec.structs.replace(touched, authenticated_at=now)


def decide_patch(
    state: State, version: int, command: Patch, now: datetime, policy: Policy
) -> Touched | None:
    """One `Touched`, or None when the session is unknown or over, or stays as it is.

    Raises `VersionConflict` when the session is not at the expected version.
    """
    end = requested_end(command.expires_at, command.ttl, now)
    is_same = is_at(version, command.if_version)
    if parse_attributes(command.changes, policy, field="changes") is None:
        raise InvalidSession("changes", "must be a JSON object, a dict")
    if end is not None and end <= now:
        raise InvalidSession("expires_at", "must be later than now")
    if not isinstance(state, Session) or state.is_expired_at(now):
        return None
    if not is_same:
        raise VersionConflict(version)
    return patch_of(state, command, now, policy)


def patch_of(session: Session, command: Patch, now: datetime, policy: Policy) -> Touched | None:
    """One `Touched` that patches a session, or None where that stays as it is.

    The end of a session that lapsed stays: a patch of its family does not bring it back.
    """
    attributes = parse_attributes(merged(session.attributes, command.changes), policy)
    if attributes == canonical.encode(session.attributes):
        attributes = None
    end = requested_end(command.expires_at, command.ttl, now)
    expires_at = None if session.is_expired_at(now) else _within_deadline(session, end)
    if attributes is None and expires_at in (None, session.expires_at):
        return None
    return Touched(
        attributes=attributes,
        expires_at=expires_at,
        last_seen_at=session.last_seen_at,
        token_handle=session.handle,
    )


def is_at(version: int, expected: object) -> bool:
    """Whether a session is at the version that is expected, if one is. Raises `InvalidSession`."""
    number = as_number(expected)
    if expected is not None and number is None:
        raise InvalidSession("if_version", f"must be a whole number, not {type(expected).__name__}")
    return number in (None, version)


def _within_deadline(session: Session, expires_at: datetime | None) -> datetime | None:
    if expires_at is None or session.deadline is None:
        return expires_at
    return min(expires_at, session.deadline)
