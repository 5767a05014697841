"""Rotating, ending and patching: what may concern a whole family of sessions."""

from __future__ import annotations

from datetime import datetime
from os import urandom

from sessionledger.core import decide
from sessionledger.core.annotations import carried, refuse_secrets
from sessionledger.core.families import (
    EVICTED,
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
from sessionledger.core.session import IssuedSession, Session
from sessionledger.core.token import (
    TOKEN_RANDOM_BYTES,
    digest,
    handle_of,
    issue,
    key_of,
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
from sessionledger.store.steps import Step
from sessionledger.store.table import session_of, state_of


async def rotate(
    engine: Engine, token: object, handle: object, command: Rotate, why: Why
) -> IssuedSession | None:
    """Replace the token of a live session; None for any other. Reuse ends its family."""
    key, secret = _named("rotate", engine, token, handle)
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
        steps, guards = await _rotation(engine, old, row, digest(fresh), command, now, why)
        outcome = await engine.commit(steps, now, guards, secret) if steps else None
        if outcome is None:
            return None
        if not isinstance(outcome, Conflict):
            session = outcome[-1]
            assert session is not None
            return IssuedSession.of(session, fresh)
    raise contention(key)


async def _rotation(
    engine: Engine, old: Session, row: Row, key: bytes, command: Rotate, now: datetime, why: Why
) -> tuple[list[Step], list[Guard]]:
    """What a rotation appends, and on what condition; nothing where the family is over."""
    newest = old
    if is_rotated(old):
        members, _ = await _family(engine, old, now)
        found = newest_of(members)
        if found is None:
            return [], []
        newest = found
    rotation = decide_rotate(old, newest, handle_of(key), command, now, engine.policy)
    headers = engine.annotate(why)
    told = headers if why.context else headers | carried(newest.context)
    steps = [Step(rotation.restricted, headers, row.key, row)]
    guards = []
    if rotation.created.principal != old.principal:
        ends, guard = await engine.admit(rotation.created.principal, now)
        steps += [Step(end, headers | reason(EVICTED)) for end in ends]
        guards.append(guard)
    return [*steps, Step(rotation.created, told, key, None)], guards


async def end_reused(engine: Engine, secret: str, why: Why) -> None:
    """End the family of a session whose token was reused, if the policy says so."""
    engine.telemetry.reused()
    if engine.policy.on_reuse == "deny":
        return
    key, now = digest(secret), engine.clock()
    headers = engine.annotate(sayable(engine, why, secret)) | reason(REUSED)
    for _ in range(MAX_ATTEMPTS):
        row = await engine.log.row(engine.topic, key)
        presented = session_of(row)
        if presented is None or not is_reuse(presented, now):
            return
        members, guard = await _family(engine, presented, now)
        marked, *ends = decide_reuse(members, presented, now)
        steps = [Step(marked, headers, key, row), *(Step(end, headers) for end in ends)]
        if not isinstance(await engine.commit(steps, now, [guard]), Conflict):
            return
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
    for _ in range(MAX_ATTEMPTS):
        state = state_of(row)
        event = decide.decide_expire(state, handle, command, now)
        steps = [] if event is None else [Step(event, headers, key, row)]
        guards: list[Guard] = []
        if isinstance(state, Session) and belongs_to_family(state):
            members, guard = await _family(engine, state, now)
            steps += [Step(end, headers) for end in decide_end_all(members, handle, now)]
            guards.append(guard)
        if not steps:
            return session_of(row)
        outcome = await engine.commit(steps, now, guards, secret)
        if not isinstance(outcome, Conflict):
            return outcome[0] if event is not None else session_of(row)
        row = await engine.log.row(engine.topic, key)
    raise contention(key)


async def patch(
    engine: Engine, token: object, handle: object, command: decide.Patch, why: Why
) -> Session | None:
    """Merge changes into a live session's attributes; None for any other.

    Through a token that was rotated they reach its family.
    """
    key, secret = _named("patch", engine, token, handle)
    now, headers = engine.clock(), engine.annotate(why)
    row = await engine.log.row(engine.topic, key)
    for _ in range(MAX_ATTEMPTS):
        state = state_of(row)
        version = 0 if row is None else row.version
        event = decide.decide_patch(state, version, handle_of(key), command, now, engine.policy)
        if not isinstance(state, Session) or state.is_expired_at(now):
            return None
        steps = [] if event is None else [Step(event, headers, key, row)]
        if is_rotated(state):
            steps += await _patches(engine, state, command, now, headers)
        if not steps:
            return session_of(row)
        outcome = await engine.commit(steps, now, (), secret)
        if not isinstance(outcome, Conflict):
            return outcome[0] if event is not None else session_of(row)
        row = await engine.log.row(engine.topic, key)
    raise contention(key)


def _named(call: str, engine: Engine, token: object, handle: object) -> tuple[bytes, str | None]:
    """The key of the session that is meant, and its token where that is how it was named."""
    if (token is None) == (handle is None):
        raise InvalidSession("token", f"or handle: {call} takes one of them")
    if token is None:
        return parse_handle(handle), None
    secret = parse_token(token, engine.policy)
    return digest(secret), secret


async def _patches(
    engine: Engine, through: Session, command: decide.Patch, now: datetime, headers: dict[str, str]
) -> list[Step]:
    """The same changes for the other live sessions of the family."""
    members, _ = await _family(engine, through, now)
    changes = decide.Patch(changes=command.changes)
    steps = []
    for member in members:
        key = key_of(member.handle)
        if key is None or member.handle == through.handle:
            continue
        row = await engine.log.row(engine.topic, key)
        state, version = state_of(row), 0 if row is None else row.version
        event = decide.decide_patch(state, version, member.handle, changes, now, engine.policy)
        if event is not None:
            steps.append(Step(event, headers, key, row))
    return steps


async def _family(engine: Engine, session: Session, now: datetime) -> tuple[list[Session], Guard]:
    """The live sessions of a family, and the condition that it got no other since."""
    live, guard = await engine.live_of(session.principal, now)
    return [one for one in live if family_of(one) == family_of(session)], guard
