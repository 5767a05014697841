"""Rotating, ending and patching: what may concern a whole family of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from sessionledger.core import decide
from sessionledger.core.annotations import refuse_secrets
from sessionledger.core.children import belongs_to_tree, decide_end_family
from sessionledger.core.ends import Expire, decide_expire, end_of
from sessionledger.core.events import Cause, Expired
from sessionledger.core.families import is_reuse, is_rotated
from sessionledger.core.session import Session
from sessionledger.core.token import digest, handle_of, parse_handle, parse_token
from sessionledger.errors import InvalidSession, VersionConflict
from sessionledger.logs.base import Conflict, Row, Rule
from sessionledger.plain import as_span
from sessionledger.store.engine import MAX_ATTEMPTS, NO_ANNOTATION, Annotation, Engine, contention
from sessionledger.store.operations.active_sessions import (
    ActiveSession,
    ending,
    family,
    of_tree,
    settle,
)
from sessionledger.store.operations.relatives import among_relatives
from sessionledger.store.session_fold import intact_session_of, session_of, state_of
from sessionledger.store.steps import Step


async def end_reused(engine: Engine, secret: str, annotation: Annotation) -> None:
    """End the family of a session whose token was reused, if the policy says so."""
    engine.telemetry.reused()
    if engine.policy.on_reuse == "deny":
        return
    key, now = digest(secret), engine.clock()
    headers = engine.annotate(storable(engine, annotation, secret))
    for _ in range(MAX_ATTEMPTS):
        row = await engine.log.row(engine.topic, key)
        presented = session_of(row)
        if presented is None or not is_reuse(presented, now):
            return
        marked = Step(end_of(presented, now, "reused"), headers, key, row)
        rule = _ending_others(engine, presented, now, "reused", headers)
        if not isinstance(await engine.commit([marked], now, rule=rule), Conflict):
            return
    raise contention(key)


def storable(engine: Engine, annotation: Annotation, secret: str) -> Annotation:
    """What may be said of an event that happens in any case; nothing where it can't be said.

    What comes with a request, too long a user agent say, must not keep reuse from being seen.
    """
    try:
        refuse_secrets(secret, b"", engine.annotate(annotation))
    except InvalidSession as error:
        engine.report("annotate", error)
        return NO_ANNOTATION
    return annotation


async def expire(
    engine: Engine, token: object, command: Expire, annotation: Annotation
) -> Session | None:
    """End the session of a token, and its family; None for an unknown one."""
    secret = parse_token(token, engine.policy)
    return await end(engine, digest(secret), command, annotation, secret)


async def revoke(
    engine: Engine, handle: object, command: Expire, annotation: Annotation
) -> Session | None:
    """End the session of a handle, and its family; None for an unknown one."""
    return await end(engine, parse_handle(handle), command, annotation, None)


def end_by_ttl(command: decide.Touch | decide.Patch, secret: str | None) -> Expire | None:
    """The end that a time to live of zero is, unless the command tells another one."""
    if as_span(command.ttl) != timedelta(0) or command.expires_at is not None:
        return None
    return Expire(cause="revoked" if secret is None else "signed_out")


async def end(
    engine: Engine, key: bytes, command: Expire, annotation: Annotation, secret: str | None
) -> Session | None:
    """End the session of a key, and its family; None for an unknown one."""
    handle, now = handle_of(key), engine.clock()
    headers = engine.annotate(annotation)
    refuse_secrets(secret, b"", headers)
    for _ in range(MAX_ATTEMPTS):
        row = await engine.log.row(engine.topic, key)
        session = intact_session_of(row)
        is_live = session is not None and not session.is_expired_at(now)
        version = 0 if row is None else row.version
        if not decide.is_at(version, command.if_version) and is_live:
            raise VersionConflict(version)
        event = decide_expire(state_of(row), handle, command, now)
        steps = [] if event is None else [Step(event, headers, key, row)]
        rule = None
        if session is not None and belongs_to_tree(session):
            rule = _ending_others(engine, session, now, command.cause, headers)
        if not steps and rule is None:
            if session is not None:
                await settle(engine)
            return session
        outcome = await engine.commit(steps, now, secret, rule=rule)
        if not isinstance(outcome, Conflict):
            return outcome.sessions[0] if steps else session
    raise contention(key)


def _ending_others(
    engine: Engine, session: Session, now: datetime, cause: Cause, headers: dict[str, str]
) -> Rule:
    """The rule that ends the others of a session's family, and all below it. Its own end names its
    version: so nobody is rotated out of it meanwhile."""

    def choose(tree: Sequence[Session]) -> list[Expired]:
        return decide_end_family(tree, session, now, cause)

    return ending(engine, of_tree(session), choose, now, headers)


async def patch(
    engine: Engine, token: object, handle: object, command: decide.Patch, annotation: Annotation
) -> Session | None:
    """Merge changes into a live session's attributes; None for any other.

    Through a token that was rotated they reach its family.
    """
    key, secret = engine.named("patch", token, handle)
    over = end_by_ttl(command, secret)
    if over is not None:
        over = replace(over, if_version=command.if_version)
        return await end(engine, key, over, annotation, secret)
    now, headers = engine.clock(), engine.annotate(annotation)
    row = await engine.log.row(engine.topic, key)
    for _ in range(MAX_ATTEMPTS):
        state = state_of(row)
        version = 0 if row is None else row.version
        event = decide.decide_patch(state, version, command, now, engine.policy)
        if row is None or not isinstance(state, Session) or state.is_expired_at(now):
            return None
        steps = [] if event is None else [Step(event, headers, key, row)]
        reads = [(key, version)]
        if is_rotated(state):
            members = await family(engine, state)
            # Who is rotated meanwhile hands on the old attributes, patched here or not.
            reads += [(one.row.key, one.row.version) for one in members]
            steps += _patches(engine, members, row, command, headers, now)
        if not steps:
            return session_of(row)
        unit = await among_relatives(engine, state, steps, now)
        if unit is None:
            return None
        outcome = await engine.commit(unit.steps, now, secret, [*reads, *unit.reads], unit.rule)
        if not isinstance(outcome, Conflict):
            return outcome.sessions[0] if steps[0].key == key else session_of(row)
        row = await engine.log.row(engine.topic, key)
    raise contention(key)


def _patches(
    engine: Engine,
    members: Sequence[ActiveSession],
    row: Row,
    command: decide.Patch,
    headers: dict[str, str],
    now: datetime,
) -> list[Step]:
    """The same patch of the others of a family."""
    steps = []
    for one in members:
        event = decide.patch_of(one.session, command, now, engine.policy)
        if event is not None and one.row.key != row.key:
            steps.append(Step(event, headers, one.row.key, one.row))
    return steps
