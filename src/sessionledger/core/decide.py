"""decide: a command and the state it meets, to the event that should be appended, or None.

One function per command. What they answer is already clamped and absolute: no event needs the
policy to be understood again. They raise `InvalidSession` for what can't be taken.

Creating     refused for a handle that was ever seen; otherwise one `Created`.
Touching     nothing for a session that is unknown or over at that instant; otherwise one `Touched`.
Expiring     nothing for an unknown handle, and nothing for one that was ended before, unless the
             time was given, which may be earlier than the recorded one; otherwise one `Expired`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from unicodedata import category

import msgspec

from sessionledger import canonical
from sessionledger.core.events import Created, Expired, Touched
from sessionledger.core.instant import later_by, parse_instant
from sessionledger.core.policy import DEEPEST_ATTRIBUTES, Policy
from sessionledger.core.session import Session, State
from sessionledger.core.token import TOKEN_PREFIX, WHITE_SPACE, Handle
from sessionledger.errors import DuplicateSession, InvalidSession


class Create(msgspec.Struct, frozen=True, kw_only=True):
    """Begin a session; `created_at` defaults to now, the expiry to the policy's."""

    principal: object
    created_at: object = None
    expires_at: object = None
    ttl: object = None
    attributes: object = None


class Touch(msgspec.Struct, frozen=True, kw_only=True):
    """A session was seen; `last_seen_at` defaults to now, the expiry to what the policy slides."""

    last_seen_at: object = None
    expires_at: object = None
    ttl: object = None
    attributes: object = None


class Expire(msgspec.Struct, frozen=True, kw_only=True):
    """End a session; `expired_at` defaults to now."""

    expired_at: object = None


def decide_create(
    state: State, handle: Handle, command: Create, now: datetime, policy: Policy
) -> Created:
    """One `Created`. Raises `DuplicateSession` for a handle that was ever seen."""
    created_at = _instant("created_at", command.created_at, now)
    principal = parse_principal(command.principal, policy)
    end = _end_of_new(command, created_at, policy)
    attributes = parse_attributes(command.attributes, policy)
    if state is not None:
        raise DuplicateSession(f"a session with handle {handle} was created before")
    idle_end = _idle_end(created_at, policy)
    return Created(
        attributes=b"{}" if attributes is None else attributes,
        created_at=created_at,
        expires_at=end if idle_end is None else min(end, idle_end),
        last_seen_at=created_at,
        principal=principal,
        token_handle=handle,
        deadline=None if idle_end is None else end,
    )


def decide_touch(
    state: State, handle: Handle, command: Touch, now: datetime, policy: Policy
) -> Touched | None:
    """One `Touched`, or None when the session is unknown or over at that instant."""
    last_seen_at = _instant("last_seen_at", command.last_seen_at, now)
    expires_at = _given_end(command.expires_at, command.ttl, last_seen_at)
    attributes = parse_attributes(command.attributes, policy)
    if not isinstance(state, Session) or state.is_expired_at(last_seen_at):
        return None
    if expires_at is not None and expires_at <= last_seen_at:
        raise InvalidSession("expires_at", "must be later than last_seen_at")
    if expires_at is None and command.last_seen_at is None:
        expires_at = _slid(state, last_seen_at, policy)
    return Touched(
        attributes=attributes,
        expires_at=_within_deadline(state, expires_at),
        last_seen_at=last_seen_at,
        token_handle=handle,
    )


def decide_expire(state: State, handle: Handle, command: Expire, now: datetime) -> Expired | None:
    """One `Expired`, or None when that would change nothing."""
    expired_at = _instant("expired_at", command.expired_at, now)
    if state is None:
        return None
    ended = isinstance(state, Session) and state.ended_at is not None
    if ended and command.expired_at is None:
        return None
    return Expired(expired_at=expired_at, token_handle=handle)


def parse_principal(principal: object, policy: Policy) -> str:
    """The principal without surrounding white space. Raises `InvalidSession`."""
    if not isinstance(principal, str):
        raise InvalidSession("principal", f"must be text, not {type(principal).__name__}")
    trimmed = principal.strip(WHITE_SPACE)
    if not trimmed:
        raise InvalidSession("principal", "must not be empty")
    if policy.max_principal_chars is not None and len(trimmed) > policy.max_principal_chars:
        raise InvalidSession(
            "principal", f"must be at most {policy.max_principal_chars} characters long"
        )
    if trimmed.startswith(TOKEN_PREFIX) and not policy.token_shaped_principals:
        raise InvalidSession("principal", "looks like a token, and tokens are never stored")
    # Printable text, which nearly every principal is, holds neither controls nor surrogates.
    if not trimmed.isprintable():
        _refuse_unwritable("principal", trimmed, policy)
    return trimmed


def parse_attributes(attributes: object, policy: Policy) -> bytes | None:
    """The canonical text of the attributes, None when none were given. Raises `InvalidSession`."""
    if attributes is None:
        return None
    if not isinstance(attributes, Mapping):
        raise InvalidSession(
            "attributes", f"must be a JSON object, a dict, not {type(attributes).__name__}"
        )
    if not attributes:
        return b"{}"
    deepest = DEEPEST_ATTRIBUTES
    if policy.max_attributes_depth is not None:
        deepest = min(deepest, policy.max_attributes_depth)
    text, problem = None, ""
    try:
        text = canonical.encode(attributes, max_depth=deepest)
    except canonical.NotJSON as error:
        problem = str(error)
    if text is None:
        if "deeper than allowed" in problem:
            problem = f"nest more than {deepest} levels deep"
        raise InvalidSession("attributes", problem)
    if policy.max_attributes_bytes is not None and len(text) > policy.max_attributes_bytes:
        raise InvalidSession(
            "attributes", f"take {len(text)} bytes as JSON; {policy.max_attributes_bytes} fit"
        )
    return text


def _instant(field: str, value: object, now: datetime) -> datetime:
    return now if value is None else parse_instant(field, value)


def _given_end(expires_at: object, ttl: object, start: datetime) -> datetime | None:
    if expires_at is not None and ttl is not None:
        raise InvalidSession("ttl", "and expires_at say the same thing twice: give one of them")
    if ttl is not None:
        return later_by("ttl", start, _span(ttl))
    return None if expires_at is None else parse_instant("expires_at", expires_at)


def _span(ttl: object) -> timedelta:
    if not isinstance(ttl, timedelta):
        raise InvalidSession("ttl", f"must be a timedelta, not {type(ttl).__name__}")
    if ttl <= timedelta(0):
        raise InvalidSession("ttl", "must be longer than nothing")
    return ttl


def _end_of_new(command: Create, created_at: datetime, policy: Policy) -> datetime:
    end = _given_end(command.expires_at, command.ttl, created_at)
    if end is None:
        return later_by("ttl", created_at, policy.ttl)
    if end <= created_at:
        raise InvalidSession("expires_at", "must be later than created_at")
    return end


def _idle_end(seen_at: datetime, policy: Policy) -> datetime | None:
    if policy.idle_timeout is None:
        return None
    return later_by("expires_at", seen_at, policy.idle_timeout)


def _slid(session: Session, seen_at: datetime, policy: Policy) -> datetime | None:
    """The expiry that sliding gives: only where the session carries a deadline, never earlier.

    A session that was created without one was promised its `expires_at`, and keeps it.
    """
    idle_end = _idle_end(seen_at, policy)
    if session.deadline is None or idle_end is None:
        return None
    return max(session.expires_at, idle_end)


def _within_deadline(session: Session, expires_at: datetime | None) -> datetime | None:
    if expires_at is None or session.deadline is None:
        return expires_at
    return min(expires_at, session.deadline)


def _refuse_unwritable(field: str, text: str, policy: Policy) -> None:
    categories = {category(character) for character in text}
    if "Cs" in categories:
        raise InvalidSession(field, "holds a lone surrogate, which is not text")
    if "Cc" in categories and not policy.control_characters:
        raise InvalidSession(field, "must not hold control characters")
