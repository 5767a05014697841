"""Authenticating bearers: the call for every request."""

from __future__ import annotations

from datetime import timedelta

from sessionledger.core import decide
from sessionledger.core.codec import decode_session
from sessionledger.core.families import is_reuse
from sessionledger.core.lifetimes import is_touch_due, parse_span
from sessionledger.core.session import Session
from sessionledger.core.token import digest, parse_token
from sessionledger.errors import (
    InvalidSession,
    LogUnavailable,
    ReauthenticationRequired,
    WriteContention,
)
from sessionledger.logs.base import KeyState
from sessionledger.plain import as_text
from sessionledger.store.engine import Annotation, Engine
from sessionledger.store.operations.families import end_reused, storable
from sessionledger.store.operations.touch import carry_out


def presented(engine: Engine, token: object) -> tuple[str, bytes] | None:
    """The token that a client presented, and its key; None for what can't be one.

    Raises `InvalidSession` only for what no client can send: a client's garbage is its own error.
    """
    if not isinstance(token, str | None) and as_text(token) is None:
        raise InvalidSession("token", f"must be text, not {type(token).__name__}")
    try:
        secret = parse_token(token, engine.policy)
        return secret, digest(secret)
    except InvalidSession:
        return None


def needs_only_a_read(engine: Engine, session: Session | None, max_auth_age: object) -> bool:
    """Whether there is nothing to do for a session but to answer it."""
    return (
        session is not None
        and max_auth_age is None
        and not is_touch_due(session, engine.clock(), engine.policy)
    )


async def authenticate(
    engine: Engine,
    secret: str,
    found: KeyState | None,
    max_auth_age: object,
    annotation: Annotation,
) -> Session | None:
    """The live session of a token, from what was found of it; a touch when it is due.

    Reuse of a rotated token ends its family. Raises `ReauthenticationRequired`.
    """
    now = engine.clock()
    session = None if found is None else decode_session(found[0], found[2])
    if session is None:
        return None
    try:
        if is_reuse(session, now):
            await end_reused(engine, secret, annotation)
        elif not session.is_expired_at(now) and is_touch_due(session, now, engine.policy):
            session = await _touch(engine, secret, annotation)
    except (LogUnavailable, WriteContention) as error:
        # What can't be written down is no reason to turn a valid session away.
        engine.report("authenticate", error)
    if session is None or session.is_expired_at(now):
        return None
    if max_auth_age is not None:
        _check_age(
            session, now - session.authenticated_at, parse_span("max_auth_age", max_auth_age)
        )
    return session


async def _touch(engine: Engine, secret: str, annotation: Annotation) -> Session | None:
    return await carry_out(
        engine,
        digest(secret),
        lambda state, handle, now: decide.decide_authenticate(state, handle, now, engine.policy),
        storable(engine, annotation, secret),
        secret,
    )


def _check_age(session: Session, age: timedelta, most: timedelta) -> None:
    if age > most:
        raise ReauthenticationRequired(
            f"{session.handle} authenticated {age.total_seconds():.0f} s ago; "
            f"{most.total_seconds():.0f} s are asked for"
        )
