"""Replacing tokens: by rotation, and where credentials were changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from os import urandom
from typing import TypeAlias

import msgspec

from sessionledger.core.annotations import context_headers, refuse_secrets
from sessionledger.core.children import refuse_child, within_parent
from sessionledger.core.events import Created, Expired, Touched
from sessionledger.core.families import (
    Rotate,
    Rotation,
    belongs_to_family,
    decide_change_credentials,
    decide_family,
    decide_rotate,
    family_of,
    is_reuse,
    is_rotated,
    newest_of,
)
from sessionledger.core.session import IssuedSession, Session
from sessionledger.core.token import TOKEN_RANDOM_BYTES, digest, handle_of, issue
from sessionledger.logs.base import Conflict, Rule
from sessionledger.store.engine import MAX_ATTEMPTS, Annotation, Engine, contention
from sessionledger.store.operations.active_sessions import (
    ActiveSession,
    Admission,
    ending,
    family,
    of_tree,
)
from sessionledger.store.operations.families import end_reused
from sessionledger.store.operations.principals import end_many, ending_others
from sessionledger.store.operations.relatives import parent_of
from sessionledger.store.session_fold import session_of
from sessionledger.store.steps import Step

Within: TypeAlias = tuple[Rotation, Sequence[tuple[bytes, int]]]
"""A rotation, and what it reads: the version of the parent that it was decided on."""


class Standing(msgspec.Struct, frozen=True):
    """A live session, and the newest of its family, which stands for it.

    secret: the token that it was named by, if it was. family: its active sessions, if it has any.
    """

    old: ActiveSession
    newest: ActiveSession
    secret: str | None
    family: list[Session]


async def rotate(
    engine: Engine, token: object, handle: object, command: Rotate, annotation: Annotation
) -> IssuedSession | None:
    """Replace the token of a live session; None for any other. Reuse ends its family."""
    key, secret = engine.named("rotate", token, handle)
    now = engine.clock()
    fresh = issue(urandom(TOKEN_RANDOM_BYTES))
    for _ in range(MAX_ATTEMPTS):
        found = await replaceable(engine, key, secret, now, annotation)
        if found is None:
            return None
        old, successor = found.old.session, handle_of(digest(fresh))
        rotation = decide_rotate(
            old, found.newest.session, successor, command, now, engine.policy, found.family
        )
        headers = engine.annotate(annotation)
        admission = Admission(engine, rotation.created.principal, now, headers, before=old)
        rule = admission.rule
        if rotation.created.family is not None:
            rule = _bounding(engine, old, rotation.created, now, headers)
        within = await _within_parent(engine, found, rotation, now)
        if within is None:
            return None
        issued = await _replace(engine, found, within, fresh, now, annotation, rule)
        if issued is not None:
            return issued
        admission.check()
    raise contention(key)


async def change_credentials(
    engine: Engine, token: object, handle: object, annotation: Annotation
) -> IssuedSession | None:
    """Replace the token of a live session, and end all others of its principal, in one unit.

    None for a session that is not live. Reuse ends its family.
    """
    key, secret = engine.named("change_credentials", token, handle)
    now = engine.clock()
    fresh = issue(urandom(TOKEN_RANDOM_BYTES))
    headers = engine.annotate(annotation)
    refuse_secrets(secret, b"", headers)
    for _ in range(MAX_ATTEMPTS):
        found = await replaceable(engine, key, secret, now, annotation)
        if found is None:
            return None
        old = found.old.session
        refuse_child(old)
        # A unit is bounded. Where there are more sessions, most end in units before it.
        await end_many(engine, old, now, headers)
        rotation = decide_change_credentials(
            old, found.newest.session, handle_of(digest(fresh)), now, engine.policy
        )
        rule = ending_others(engine, old, now, headers)
        issued = await _replace(engine, found, (rotation, ()), fresh, now, annotation, rule)
        if issued is not None:
            return issued
    raise contention(key)


async def replaceable(
    engine: Engine, key: bytes, secret: str | None, now: datetime, annotation: Annotation
) -> Standing | None:
    """The session of a key, if it is live. Reuse of its token ends its family."""
    row = await engine.log.row(engine.topic, key)
    old = session_of(row)
    # Who names a session by its handle holds no token that could have been reused.
    if secret is not None and is_reuse(old, now):
        await end_reused(engine, secret, annotation)
    if old is None or row is None or old.is_expired_at(now):
        return None
    found = ActiveSession(row, old)
    members = await family(engine, old) if belongs_to_family(old) else []
    newest = _newest(found, members, now)
    sessions = [one.session for one in members]
    return None if newest is None else Standing(found, newest, secret, sessions)


async def _replace(
    engine: Engine,
    found: Standing,
    within: Within,
    fresh: str,
    now: datetime,
    annotation: Annotation,
    rule: Rule | None,
) -> IssuedSession | None:
    """The session that replaces another; None where others were faster."""
    rotation, reads = within
    headers = engine.annotate(annotation)
    context = {} if annotation.context else context_headers(found.newest.session.context)
    steps = [
        Step(rotation.restricted, headers, found.old.row.key, found.old.row),
        Step(rotation.created, headers | context, digest(fresh), None),
    ]
    reads = [(found.newest.row.key, found.newest.row.version), *reads]
    outcome = await engine.commit(steps, now, found.secret, reads, rule=rule)
    if isinstance(outcome, Conflict):
        return None
    session = outcome.sessions[-1]
    assert session is not None
    return IssuedSession.of(session, fresh)


async def _within_parent(
    engine: Engine, found: Standing, rotation: Rotation, now: datetime
) -> Within | None:
    """A rotation as the parent of a child allows it; None where the parent is over."""
    if not found.old.session.ancestors:
        return rotation, ()
    parent = await parent_of(engine, found.old.session, now)
    if parent is None:
        return None
    created = within_parent(rotation.created, parent.session, found.newest.session)
    return Rotation(rotation.restricted, created), [(parent.row.key, parent.row.version)]


def _bounding(
    engine: Engine, old: Session, created: Created, now: datetime, headers: dict[str, str]
) -> Rule:
    """The rule by which a rotation bounds its family."""

    def choose(tree: Sequence[Session]) -> list[Expired | Touched] | None:
        family = [one for one in tree if family_of(one) == family_of(old)]
        return decide_family(family, old, created, now, engine.policy)

    return ending(engine, of_tree(old), choose, now, headers)


def _newest(
    old: ActiveSession, members: list[ActiveSession], now: datetime
) -> ActiveSession | None:
    """What stands for the family of a live session; None where that is over."""
    if not is_rotated(old.session):
        return old
    live = {one.session: one for one in members if not one.session.is_expired_at(now)}
    newest = newest_of(live)
    return None if newest is None else live[newest]
