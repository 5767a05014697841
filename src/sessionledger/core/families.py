"""Families: the sessions that one login was rotated through.

Rotating replaces a token by another (a new session with the same principal, attributes, external
id and ends). Both belong to one family, named by the handle of its first session.

1. The old session is restricted first: ended, or cut down to a grace within which it still
   authenticates. Its successor never lives longer than it would have.
2. Rotated again within the grace, a token gets another successor, a sibling, and not an error:
   parallel requests must not log anybody out. Their number is bounded. It is as new as its
   siblings, but what was proved with a sibling's token is no proof by the holder of this one.
3. A token presented after its rotation took effect was reused: it, or its successor, may be in a
   thief's hands. That ends the whole family (RFC 9700, section 4.14.2). A grace that is over by
   one clock may still run by another, so within the tolerance it is refused, and ends nobody.
4. With another principal, and at a change of credentials, the successor begins a family of its
   own. A holder of the old token can't follow it there by any of the above.
5. A family ends together: ending one of its sessions ends all that are live.
6. A session is superseded when a newer one of its family stands for it. Either it was rotated, or
   a sibling began after it and it was not seen since.
7. At most `max_family` sessions of a family have no end. One more ends the oldest superseded one.
8. Each session carries the instants of its family's latest rotations. So the log tells how often a
   family was rotated within a minute, whichever processes did it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec.structs import replace

from sessionledger import canonical
from sessionledger.core.ends import CLOCK_TOLERANCE, end_of
from sessionledger.core.events import Created, Expired, Touched
from sessionledger.core.instant import microseconds
from sessionledger.core.lifetimes import Asked, Lifetime, lifetime, slid_expiry, within
from sessionledger.core.parse import merged, parse_attributes, parse_principal
from sessionledger.core.policy import Policy
from sessionledger.core.session import ANONYMOUS, Session, State, Tombstone
from sessionledger.core.token import Handle
from sessionledger.errors import InvalidSession, RotationLimitReached, SessionLimitReached
from sessionledger.plain import as_span

_MICROSECOND = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1) // _MICROSECOND
_TOLERANCE = CLOCK_TOLERANCE // _MICROSECOND
_ON_PURPOSE = ("revoked", "signed_out", "parent_ended", "everybody")


class Rotate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Replace a token: for another principal, with another grace and with changed attributes or
    other ones, if they are given. life: of a log in, which begins one of its own."""

    principal: object = None
    grace: object = None
    changes: object = None
    attributes: object = None
    life: Asked = Asked()


class Rotation(msgspec.Struct, frozen=True, gc=False):
    """What a rotation appends, in this order: first what restricts."""

    restricted: Touched | Expired
    created: Created


def family_of(session: Session) -> Handle:
    """The handle that the session's family goes by."""
    return session.family or session.handle


def is_rotated(session: Session) -> bool:
    """Whether the session was rotated into another of its family."""
    return bool(session.successors)


def belongs_to_family(session: Session) -> bool:
    """Whether there are, or were, other sessions in its family."""
    return session.family is not None or is_rotated(session)


def is_reuse(state: State, now: datetime) -> bool:
    """Whether presenting the token of this session at that instant is reuse.

    Within its grace it is not. Nor is it once somebody ended the session on purpose: then a stolen
    token must not end what its owner kept. A rotation without grace says so in the log, and then
    no clock is asked.
    """
    if not isinstance(state, Session) or not is_rotated(state) or state.cause in _ON_PURPOSE:
        return False
    grace_end = state.deadline or state.expires_at
    return state.cause == "rotated" or _is_long_over(grace_end, now)


def remains_of(state: State, active: Iterable[Session]) -> Tombstone | Literal["forgotten"] | None:
    """What remains of a handle whose events are removed; None if its state has to stay.

    A session that was rotated stays while any of its family is live: its token may still be
    presented, and would end the family. Nothing remains of a generated token, which comes up no
    second time. active: the sessions of its tree that have no end.
    """
    if not isinstance(state, Session) or state.ended_at is None:
        return None
    if is_rotated(state) and any(family_of(one) == family_of(state) for one in active):
        return None
    return "forgotten" if state.generated else Tombstone()


def newest_of(family: Iterable[Session]) -> Session | None:
    """The newest live session of a family that was not rotated itself: what stands for it."""
    leaves = [session for session in family if not is_rotated(session)]
    return max(leaves, key=lambda session: session.version, default=None)


def named(active: Iterable[Session], external_id: str, now: datetime) -> Session | None:
    """The newest live session with an external id."""
    return newest_of(
        one for one in active if one.external_id == external_id and not one.is_expired_at(now)
    )


def decide_rotate(
    old: Session,
    newest: Session,
    successor: Handle,
    command: Rotate,
    now: datetime,
    policy: Policy,
    family: Iterable[Session] = (),
) -> Rotation:
    """The rotation of a live session.

    `newest` stands for its family: the session itself, or what it was rotated into before.
    `family`: its other active sessions. Raises `SessionLimitReached` when it has as many successors
    as it may, and `RotationLimitReached` when its family was rotated too often.
    """
    principal = rotated_principal(old, command, policy)
    grace = _grace(command, policy)
    parse_attributes(command.changes, policy, field="changes")
    stays = principal == old.principal and command.life == Asked()
    if old.ancestors and not stays:
        raise InvalidSession("principal", "of a child can't change: begin another child")
    if stays and len(old.successors) >= policy.max_successors:
        raise SessionLimitReached(
            f"{old.handle} was rotated {policy.max_successors} times within its grace"
        )
    created = _begun(newest, successor, now, policy)
    if command.life != Asked():
        created = _reborn(created, lifetime(command.life, now, policy), now)
    if command.attributes is not None:
        whole = parse_attributes(command.attributes, policy)
        created = replace(created, attributes=whole or b"{}")
    elif command.changes is not None:
        changed = parse_attributes(merged(newest.attributes, command.changes), policy)
        created = replace(created, attributes=changed)
    if stays:
        created = replace(
            created,
            authenticated_at=old.reauthenticated_at,
            family=family_of(old),
            rotations=rotations_with([old, *family], now, policy),
        )
    else:
        created = replace(created, principal=principal)
    return Rotation(_restricted(old, grace, successor if stays else None, now), created)


def decide_change_credentials(
    old: Session, newest: Session, successor: Handle, now: datetime, policy: Policy
) -> Rotation:
    """A new token for a live session, whose bearer proved just now who it is.

    It begins a family of its own, and the old session ends without a successor. So nothing that
    happens to the old family reaches it.
    """
    return Rotation(end_of(old, now, "rotated"), _begun(newest, successor, now, policy))


def is_superseded(session: Session) -> bool:
    """Whether a newer session of its family stands for it."""
    return bool(session.successors) or session.superseded_by is not None


def rotations_with(family: Iterable[Session], now: datetime, policy: Policy) -> tuple[int, ...]:
    """The instants of a family's rotations within the last minute, and of one more.

    Each is different, so that none is counted twice. Raises `RotationLimitReached`.
    """
    at, most = microseconds(now), policy.max_rotations_per_minute
    recent = _recent(family, at)
    if len(recent) >= most:
        wait = (recent[-most] + _MINUTE - at) * _MICROSECOND
        raise RotationLimitReached(f"the family was rotated {most} times within a minute", wait)
    return (*recent, max(at, recent[-1] + 1) if recent else at)


def decide_family(
    family: Sequence[Session], old: Session, created: Created, now: datetime, policy: Policy
) -> list[Expired | Touched] | None:
    """What a rotation does to the other active sessions of a family, in their order.

    What was superseded and lapsed ends, so that ending the family costs little whatever its past.
    The surplus ends too, the superseded first. The rest is superseded from now on. None where the
    family was rotated meanwhile, and the rotation has to be decided again.
    """
    if not set(created.rotations[:-1]).issuperset(_recent(family, microseconds(now))):
        return None
    others = [one for one in family if one.handle != old.handle]
    # By a clock that is ahead as well: until then the token may be within its grace.
    over = [one for one in others if is_superseded(one) and _is_long_over(one.expires_at, now)]
    rest = [one for one in others if one not in over]
    surplus = max(0, len(rest) + 2 - policy.max_family)
    going = over + sorted(rest, key=lambda one: not is_superseded(one))[:surplus]
    ends = [_making_room(one, now) for one in going]
    staying = (one for one in others if one not in going and not is_superseded(one))
    return [*ends, *(_superseded(one, Handle(created.token_handle)) for one in staying)]


def _is_long_over(end: datetime, now: datetime) -> bool:
    """Whether it is over by every clock that may be right."""
    return now - end >= CLOCK_TOLERANCE


def _recent(family: Iterable[Session], at: int) -> list[int]:
    """The instants of a family's rotations within a minute."""
    known = {instant for session in family for instant in session.rotations}
    # What a clock far ahead wrote does not count: others would have to wait for it.
    return sorted(one for one in known if at - _MINUTE < one <= at + _TOLERANCE)


def _begun(newest: Session, successor: Handle, now: datetime, policy: Policy) -> Created:
    """A session that carries on another one, in a family of its own and proved just now."""
    return Created(
        attributes=canonical.encode(newest.attributes),
        created_at=newest.created_at,
        expires_at=slid_expiry(newest, now, policy) or newest.expires_at,
        last_seen_at=max(now, newest.last_seen_at),
        principal=newest.principal,
        token_handle=successor,
        authenticated_at=now,
        deadline=newest.deadline,
        external_id=newest.external_id,
        idle_timeout=newest.idle_timeout,
        ancestors=newest.ancestors,
        generated=True,
        context=newest.context,
    )


def _reborn(created: Created, life: Lifetime, now: datetime) -> Created:
    return replace(
        created,
        created_at=now,
        last_seen_at=now,
        expires_at=life.expires_at,
        deadline=life.deadline,
        idle_timeout=life.idle_timeout,
    )


def rotated_principal(old: Session, command: Rotate, policy: Policy) -> str:
    """Whom the successor is for. Raises `InvalidSession`."""
    if command.principal is None:
        return old.principal
    principal = parse_principal(command.principal, policy)
    if principal == ANONYMOUS:
        raise InvalidSession("principal", "can't become anonymous: create another session")
    return principal


def decide_room(active: Sequence[Session], now: datetime, policy: Policy) -> list[Expired]:
    """The ends that make room for one more session of a principal, oldest first.

    Children do not count, unless principals are unique. Raises `SessionLimitReached` where nobody
    live has to make room.
    """
    decide_unique(active, now, policy)
    most = policy.max_sessions_per_principal
    if most is None:
        return []
    logins = [session for session in active if not session.ancestors]
    return make_room(logins, most, policy.on_limit, now, "the principal")


def decide_unique(active: Iterable[Session], now: datetime, policy: Policy) -> list[Expired]:
    """Nothing, where a principal may have one more session. Raises `SessionLimitReached` where it
    may have no other, and has one."""
    if policy.unique_principals and any(not session.is_expired_at(now) for session in active):
        raise SessionLimitReached("the principal has a live session, and may have no other")
    return []


def make_room(
    active: Iterable[Session],
    most: int,
    on_limit: Literal["deny", "evict_oldest"],
    now: datetime,
    whose: str,
) -> list[Expired]:
    """The ends that make room for one more of these sessions, oldest first.

    A family counts once, and not when it lapsed. What lapsed goes before all others. Raises
    `SessionLimitReached` where nobody live has to make room.
    """
    families: dict[Handle, list[Session]] = {}
    for session in sorted(active, key=lambda session: session.created_at):
        families.setdefault(family_of(session), []).append(session)
    if len(families) < most:
        return []
    lapsed, live = _parted(families.values(), now)
    if on_limit == "deny" and len(live) >= most:
        raise SessionLimitReached(f"{whose} has {len(live)} sessions; {most} are allowed")
    surplus = [*lapsed, *live][: len(families) - most + 1]
    return [_making_room(session, now) for family in surplus for session in family]


def _making_room(session: Session, now: datetime) -> Expired:
    return end_of(session, now, "lapsed" if session.is_expired_at(now) else "evicted")


def _parted(
    families: Iterable[list[Session]], now: datetime
) -> tuple[list[list[Session]], list[list[Session]]]:
    """Families that lapsed, and those of which anything is live."""
    parted: tuple[list[list[Session]], list[list[Session]]] = ([], [])
    for family in families:
        parted[any(not session.is_expired_at(now) for session in family)].append(family)
    return parted


def _restricted(
    old: Session, grace: timedelta, successor: Handle | None, now: datetime
) -> Touched | Expired:
    if not grace:
        return Expired(
            expired_at=now, token_handle=old.handle, cause="rotated", successor=successor
        )
    end = within(old.expires_at, now, grace)
    return Touched(
        attributes=None,
        expires_at=end,
        last_seen_at=max(now, old.last_seen_at),
        token_handle=old.handle,
        deadline=end,
        successor=successor,
    )


def _grace(command: Rotate, policy: Policy) -> timedelta:
    grace = policy.rotation_grace if command.grace is None else command.grace
    span = as_span(grace)
    if span is None:
        raise InvalidSession("grace", f"must be a timedelta, not {type(grace).__name__}")
    if span < timedelta(0):
        raise InvalidSession("grace", f"must not be negative, but is {span}")
    return span


def _superseded(session: Session, successor: Handle) -> Touched:
    return Touched(
        attributes=None,
        expires_at=None,
        last_seen_at=session.last_seen_at,
        token_handle=session.handle,
        superseded_by=successor,
    )
