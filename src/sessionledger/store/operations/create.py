"""Beginning a session, and ending those that make room for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from os import urandom

import msgspec

from sessionledger.core import decide
from sessionledger.core.families import named
from sessionledger.core.parse import parse_external_id, parse_principal
from sessionledger.core.session import ANONYMOUS, IssuedSession, Session
from sessionledger.core.token import (
    TOKEN_RANDOM_BYTES,
    GeneratedToken,
    digest,
    handle_of,
    issue,
    parse_token,
)
from sessionledger.errors import InvalidSession
from sessionledger.logs.base import Conflict, Row
from sessionledger.store.engine import MAX_ATTEMPTS, NO_ANNOTATION, Annotation, Engine, contention
from sessionledger.store.operations.active_sessions import Admission, of_principal
from sessionledger.store.session_fold import intact_session_of, state_of
from sessionledger.store.steps import Step, unforgotten


async def create(
    engine: Engine,
    command: decide.Create,
    token: object = None,
    annotation: Annotation = NO_ANNOTATION,
    parent: object = None,
) -> IssuedSession:
    """Begin a session for a token, a new one if none is given. Raises `DuplicateSession`."""
    secret: str
    given: str | None
    reads: Sequence[tuple[bytes, int]] = ()
    if token is None:
        secret, given = issue(urandom(TOKEN_RANDOM_BYTES)), None
    else:
        secret = given = parse_token(token, engine.policy)
    if given is None or isinstance(token, GeneratedToken):
        command = msgspec.structs.replace(command, generated=True)
    else:
        reads = unforgotten(given)
    if parent is not None:
        from sessionledger.store.operations import children  # few sessions have one

        child = await children.begin(engine, command, secret, given, parent, annotation, reads)
        return IssuedSession.of(child, secret)
    key, now = digest(secret), engine.clock()
    handle, headers = handle_of(key), engine.annotate(annotation)
    policy = engine.policy
    row: Row | None = None
    for _ in range(MAX_ATTEMPTS):
        # A new token has no row; one that was used before shows as a conflict.
        event = decide.decide_create(state_of(row), handle, command, now, policy)
        created = Step(event, headers, key, row)
        if policy.max_sessions_per_principal is None and not policy.unique_principals:
            outcome = await engine.commit_one(created, now, given, reads)
        else:
            outcome = await _commit_within_limit(
                engine, created, event.principal, now, given, reads
            )
        if not isinstance(outcome, Conflict):
            assert outcome is not None
            return IssuedSession.of(outcome, secret)
        row = outcome.current
    raise contention(key)


async def find_or_create(engine: Engine, command: decide.Create, annotation: Annotation) -> Session:
    """The live session of a principal with an external id; a new one where there is none.

    That nobody else began one is decided again while it is written.
    """
    principal = parse_principal(command.principal, engine.policy)
    external_id = parse_external_id(command.external_id, engine.policy)
    if external_id is None:
        raise InvalidSession("external_id", "must be given: it names the session to find")
    if principal == ANONYMOUS:
        raise InvalidSession("principal", "must name one: each anonymous session has its own")
    secret, headers = issue(urandom(TOKEN_RANDOM_BYTES)), engine.annotate(annotation)
    key, command = digest(secret), msgspec.structs.replace(command, generated=True)
    for _ in range(MAX_ATTEMPTS):
        now = engine.clock()
        event = decide.decide_create(None, handle_of(key), command, now, engine.policy)
        rows = engine.rows(of_principal(principal))
        active = [one async for row in rows if (one := intact_session_of(row)) is not None]
        if (found := named(active, external_id, now)) is not None:
            return found
        admission = Admission(engine, principal, now, headers, unless=external_id)
        step = Step(event, headers, key, None)
        outcome = await engine.commit([step], now, None, (), admission.rule)
        if not isinstance(outcome, Conflict):
            begun = outcome.sessions[-1]
            assert begun is not None
            return IssuedSession.of(begun, secret)
        admission.check()
    raise contention(key)


async def _commit_within_limit(
    engine: Engine,
    created: Step,
    principal: str,
    now: datetime,
    secret: str | None,
    reads: Sequence[tuple[bytes, int]],
) -> Session | Conflict | None:
    admission = Admission(engine, principal, now, created.headers)
    outcome = await engine.commit([created], now, secret, reads, admission.rule)
    if isinstance(outcome, Conflict):
        admission.check()
        return outcome
    return outcome.sessions[-1]
