"""Touching: what happens to a live session, within what its parent allows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from msgspec.structs import replace

from sessionledger.core import decide
from sessionledger.core.events import Touched
from sessionledger.core.session import Session, State
from sessionledger.core.token import Handle, handle_of
from sessionledger.logs.base import Conflict, Row
from sessionledger.store.engine import MAX_ATTEMPTS, NO_ANNOTATION, Annotation, Engine, contention
from sessionledger.store.operations import families
from sessionledger.store.operations.relatives import among_relatives
from sessionledger.store.session_fold import session_of, state_of
from sessionledger.store.steps import Step

Decide: TypeAlias = Callable[[State, Handle, datetime], Touched | None]
IsRecorded: TypeAlias = Callable[[Session, datetime, datetime], bool]


async def touch(
    engine: Engine,
    token: object,
    handle: object,
    command: decide.Touch,
    annotation: Annotation = NO_ANNOTATION,
) -> Session | None:
    """Record that a live session was seen; None for any other."""
    key, secret = engine.named("touch", token, handle)
    over = families.end_by_ttl(command, secret)
    if over is not None:
        over = replace(over, expired_at=command.last_seen_at)
        return await families.end(engine, key, over, annotation, secret)
    says_more = annotation.reason is not None or annotation.actor is not None

    def decision(state: State, handle: Handle, now: datetime) -> Touched | None:
        return decide.decide_touch(state, handle, command, now, engine.policy)

    def is_recorded(session: Session, since: datetime, now: datetime) -> bool:
        # A time that is still to come was told before, and says nothing about others' touches.
        if command != decide.Touch() or says_more or not since <= session.last_seen_at <= now:
            return False
        return annotation.context in (None, session.context)

    return await _see(engine, key, secret, decision, annotation, is_recorded)


async def reauthenticate(
    engine: Engine, token: object, handle: object, annotation: Annotation = NO_ANNOTATION
) -> Session | None:
    """Record that the bearer of a live session proved who it is; None for any other."""
    key, secret = engine.named("reauthenticate", token, handle)

    def decision(state: State, handle: Handle, now: datetime) -> Touched | None:
        return decide.decide_reauthenticate(state, handle, now, engine.policy)

    return await _see(engine, key, secret, decision, annotation)


def _never(*_: object) -> bool:
    return False


async def _see(
    engine: Engine,
    key: bytes,
    secret: str | None,
    decided: Decide,
    annotation: Annotation,
    is_recorded: IsRecorded = _never,
) -> Session | None:
    """Carry out what happens to a live session only; None for any other."""
    happened = False

    def decision(state: State, handle: Handle, now: datetime) -> Touched | None:
        nonlocal happened
        event = decided(state, handle, now)
        happened = event is not None
        return event

    session = await carry_out(engine, key, decision, annotation, secret, is_recorded)
    return session if happened else None


async def carry_out(
    engine: Engine,
    key: bytes,
    decided: Decide,
    annotation: Annotation,
    secret: str | None,
    is_recorded: IsRecorded = _never,
) -> Session | None:
    """Decide on the row of a key, append, and decide again where others were faster.

    Each decision is as of its own instant. So of many concurrent touches, the first that decides
    again is later than all others began. These find that, and write nothing.

    is_recorded: whether the session shows, since an instant, what was to be recorded. The session
    afterwards, whether or not anything had to be appended; None where the key never had one, or
    where its parent is over.
    """
    handle, begun = handle_of(key), engine.clock()
    now = begun
    headers = engine.annotate(annotation)
    row = await engine.log.row(engine.topic, key)
    for _ in range(MAX_ATTEMPTS):
        event = decided(state_of(row), handle, now)
        if event is None:
            return session_of(row)
        step = Step(event, headers, key, row)
        if row is None or row.group is None:
            outcome = await engine.commit_one(step, now, secret)
        else:
            outcome = await _commit_in_tree(engine, step, row, now, secret)
        if not isinstance(outcome, Conflict):
            return outcome
        row = outcome.current if outcome.key == key else await engine.log.row(engine.topic, key)
        session, now = session_of(row), engine.clock()
        is_live = session is not None and not session.is_expired_at(now)
        if session is not None and is_live and is_recorded(session, begun, now):
            return session
    raise contention(key)


async def _commit_in_tree(
    engine: Engine, step: Step, row: Row, now: datetime, secret: str | None
) -> Session | Conflict | None:
    unit = await among_relatives(engine, session_of(row), [step], now)
    if unit is None:
        return None
    outcome = await engine.commit(unit.steps, now, secret, unit.reads, unit.rule)
    return outcome if isinstance(outcome, Conflict) else outcome.sessions[0]
