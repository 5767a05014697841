"""Rotating, ending and patching: what may concern a whole family of sessions."""

from __future__ import annotations

from datetime import datetime
from os import urandom

from sessionledger.core import decide
from sessionledger.core.annotations import carried, refuse_secrets
from sessionledger.core.families import (
    REUSED,
    Rotate,
    belongs_to_family,
    decide_end_all,
    decide_reuse,
    decide_rotate,
    family_of,
    is_reuse,
    is_rotated,
    newest_of,
)
from sessionledger.core.instant import earlier_by
from sessionledger.core.session import IssuedSession, Session
from sessionledger.core.token import (
    TOKEN_RANDOM_BYTES,
    digest,
    handle_of,
    issue,
    parse_handle,
    parse_token,
)
from sessionledger.errors import InvalidSession
from sessionledger.logs.base import Conflict, Guard, Row
from sessionledger.store.engine import (
    MAX_ATTEMPTS,
    NOTHING_SAID,
    Engine,
    Why,
    contention,
    reason,
)
from sessionledger.store.operations.active_sessions import (
    GUARDED_ATTEMPTS,
    Unended,
    admit,
    guarded,
    margin,
    sessions_in,
)
from sessionledger.store.session_fold import session_of, state_of
from sessionledger.store.steps import Step


async def rotate(
    engine: Engine, token: object, handle: object, command: Rotate, why: Why
) -> IssuedSession | None:
    """Replace the token of a live session; None for any other. Reuse ends its family."""
    key, secret = engine.named("rotate", token, handle)
    now = engine.clock()
    fresh = issue(urandom(TOKEN_RANDOM_BYTES))
    for _ in range(MAX_ATTEMPTS):
        row = await engine.log.row(engine.topic, key)
        old = session_of(row)
        # Who names a session by its handle holds no token that could have been reused.
        if secret is not None and is_reuse(old, now):
            await end_reused(engine, secret, why)
        if old is None or row is None or old.is_expired_at(now):
            return None
        newest = await _newest(engine, old, row, now)
        if newest is None:
            return None
        steps, guards = await _rotation(engine, old, row, newest, digest(fresh), command, now, why)
        reads = [(newest.row.key, newest.row.version)]
        outcome = await engine.commit(steps, now, guards, secret, reads)
        if not isinstance(outcome, Conflict):
            session = outcome[-1]
            assert session is not None
            return IssuedSession.of(session, fresh)
    raise contention(key)


async def _newest(engine: Engine, old: Session, row: Row, now: datetime) -> Unended | None:
    """What stands for the family of a live session; None where that is over."""
    if not is_rotated(old):
        return Unended(row, old)
    members, _ = await _family(engine, old, now)
    live = {one.session: one for one in members if not one.session.is_expired_at(now)}
    newest = newest_of(live)
    return None if newest is None else live[newest]


async def _rotation(
    engine: Engine,
    old: Session,
    row: Row,
    newest: Unended,
    key: bytes,
    command: Rotate,
    now: datetime,
    why: Why,
) -> tuple[list[Step], list[Guard]]:
    """What a rotation appends, and on what condition."""
    rotation = decide_rotate(old, newest.session, handle_of(key), command, now, engine.policy)
    headers = engine.annotate(why)
    told = headers if why.context else headers | carried(newest.session.context)
    steps = [Step(rotation.restricted, headers, row.key, row)]
    guards = []
    if rotation.created.principal != old.principal:
        ends, guard = await admit(engine, rotation.created.principal, now, headers)
        steps += ends
        guards.append(guard)
    return [*steps, Step(rotation.created, told, key, None)], guards


async def end_reused(engine: Engine, secret: str, why: Why) -> None:
    """End the family of a session whose token was reused, if the policy says so."""
    engine.telemetry.reused()
    if engine.policy.on_reuse == "deny":
        return
    key, now = digest(secret), engine.clock()
    headers = engine.annotate(sayable(engine, why, secret)) | reason(REUSED)
    for attempt in range(MAX_ATTEMPTS):
        row = await engine.log.row(engine.topic, key)
        presented = session_of(row)
        if presented is None or not is_reuse(presented, now):
            return
        members, guard = await _family(engine, presented, now)
        marked, *ends = decide_reuse(sessions_in(members), presented, now)
        steps = [Step(marked, headers, key, row), *(Step(end, headers) for end in ends)]
        guards = [guard] if attempt < GUARDED_ATTEMPTS else []
        if not isinstance(await engine.commit(steps, now, guards), Conflict):
            if not guards:
                await _end_rest(engine, key, presented, now, headers)
            return
    raise contention(key)


async def _end_rest(
    engine: Engine, key: bytes, ended: Session, now: datetime, headers: dict[str, str]
) -> None:
    """End what a family was rotated into while it was ended, until nobody is left."""
    for _ in range(MAX_ATTEMPTS):
        members, _ = await _family(engine, ended, now)
        ends = decide_end_all(sessions_in(members), None, now)
        if not ends:
            return
        await engine.commit([Step(end, headers) for end in ends], now)
    raise contention(key)


def sayable(engine: Engine, why: Why, secret: str) -> Why:
    """What may be said of an event that happens in any case; nothing where it can't be said.

    What comes with a request, too long a user agent say, must not keep reuse from being seen.
    """
    try:
        refuse_secrets(secret, b"", engine.annotate(why))
    except InvalidSession as error:
        engine.report("annotate", error)
        return NOTHING_SAID
    return why


async def expire(engine: Engine, token: object, command: decide.Expire, why: Why) -> Session | None:
    """End the session of a token, and its family; None for an unknown one."""
    secret = parse_token(token, engine.policy)
    return await _end(engine, digest(secret), command, why, secret)


async def revoke(
    engine: Engine, handle: object, command: decide.Expire, why: Why
) -> Session | None:
    """End the session of a handle, and its family; None for an unknown one."""
    return await _end(engine, parse_handle(handle), command, why, None)


async def _end(
    engine: Engine, key: bytes, command: decide.Expire, why: Why, secret: str | None
) -> Session | None:
    handle, now = handle_of(key), engine.clock()
    headers = engine.annotate(why)
    row = await engine.log.row(engine.topic, key)
    for attempt in range(MAX_ATTEMPTS):
        session, others, guards = session_of(row), list[Step](), list[Guard]()
        family = session if session is not None and belongs_to_family(session) else None
        if family is not None:
            members, guard = await _family(engine, family, now)
            ends = decide_end_all(sessions_in(members), handle, now)
            others = [Step(end, headers) for end in ends]
            guards = [guard] if attempt < GUARDED_ATTEMPTS else []
            # Listing may take long, and who is signed out may be touched at each request.
            row = await engine.log.row(engine.topic, key)
        event = decide.decide_expire(state_of(row), handle, command, now)
        steps = others if event is None else [Step(event, headers, key, row), *others]
        if not steps:
            return session_of(row)
        outcome = await engine.commit(steps, now, guards, secret)
        if not isinstance(outcome, Conflict):
            if family is not None and not guards:
                await _end_rest(engine, key, family, now, headers)
            return outcome[0] if event is not None else session_of(row)
        row = await engine.log.row(engine.topic, key)
    raise contention(key)


async def patch(
    engine: Engine, token: object, handle: object, command: decide.Patch, why: Why
) -> Session | None:
    """Merge changes into a live session's attributes; None for any other.

    Through a token that was rotated they reach its family.
    """
    key, secret = engine.named("patch", token, handle)
    now, headers = engine.clock(), engine.annotate(why)
    row = await engine.log.row(engine.topic, key)
    for _ in range(MAX_ATTEMPTS):
        state = state_of(row)
        version = 0 if row is None else row.version
        event = decide.decide_patch(state, version, handle_of(key), command, now, engine.policy)
        if not isinstance(state, Session) or state.is_expired_at(now):
            return None
        steps = [] if event is None else [Step(event, headers, key, row)]
        reads = [(key, version)]
        if is_rotated(state):
            members, _ = await _family(engine, state, now)
            # Who is rotated meanwhile hands on the old attributes, patched here or not.
            reads += [(one.row.key, one.row.version) for one in members]
            steps += _patches(engine, state, members, command, now, headers)
        if not steps:
            return session_of(row)
        outcome = await engine.commit(steps, now, (), secret, reads)
        if not isinstance(outcome, Conflict):
            return outcome[0] if event is not None else session_of(row)
        row = await engine.log.row(engine.topic, key)
    raise contention(key)


def _patches(
    engine: Engine,
    through: Session,
    members: list[Unended],
    command: decide.Patch,
    now: datetime,
    headers: dict[str, str],
) -> list[Step]:
    """The same changes for the other sessions of the family."""
    changes, steps = decide.Patch(changes=command.changes), []
    # What just lapsed is patched as well: a touch under way may still prolong it.
    at = earlier_by(now, margin(engine.policy))
    for one in members:
        key, version, handle = one.row.key, one.row.version, one.session.handle
        event = decide.decide_patch(one.session, version, handle, changes, at, engine.policy)
        if event is not None and handle != through.handle:
            steps.append(Step(event, headers, key, one.row))
    return steps


async def _family(engine: Engine, session: Session, now: datetime) -> tuple[list[Unended], Guard]:
    """The sessions of a family that are not over, and the condition that it got no other since."""
    found, guard = await guarded(engine, session.principal, now)
    family = family_of(session)
    return [one for one in found if family_of(one.session) == family], guard
