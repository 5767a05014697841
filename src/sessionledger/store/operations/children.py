"""Beginning a child of another session."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sessionledger.core.annotations import refuse_secrets
from sessionledger.core.children import as_child, belongs_to_tree, decide_child, decide_mark
from sessionledger.core.decide import Create, decide_create
from sessionledger.core.session import Session
from sessionledger.core.token import HANDLE_PREFIX, digest, handle_of, parse_handle, parse_token
from sessionledger.errors import InvalidSession
from sessionledger.logs.base import Conflict, Row
from sessionledger.store.engine import MAX_ATTEMPTS, Annotation, Engine, contention
from sessionledger.store.operations.active_sessions import ActiveSession, Admission
from sessionledger.store.operations.rotation import replaceable
from sessionledger.store.session_fold import state_of
from sessionledger.store.steps import Step


async def begin(
    engine: Engine,
    command: Create,
    secret: str,
    given: str | None,
    parent: object,
    annotation: Annotation,
    reads: Sequence[tuple[bytes, int]],
) -> Session:
    """Begin a child of a live session, named by its token or its handle.

    given: the child's token, if the caller gave it. reads: what its use rests on. Raises
    `InvalidSession` where there is no such parent, or where it may do less or ends before;
    `SessionLimitReached`; `DuplicateSession`.
    """
    parent_key, parent_secret = _named(engine, parent)
    key, now = digest(secret), engine.clock()
    handle, headers = handle_of(key), engine.annotate(annotation)
    row: Row | None = None
    for _ in range(MAX_ATTEMPTS):
        above = await _standing(engine, parent_key, parent_secret, now, annotation)
        asked = as_child(command, above.session, engine.policy)
        created = decide_create(state_of(row), handle, asked, now, engine.policy)
        refuse_secrets(parent_secret, created.attributes, headers)
        child = decide_child(created, above.session, engine.policy)
        steps = [Step(child, headers, key, row)]
        if not belongs_to_tree(above.session):
            mark = decide_mark(above.session)
            steps.insert(0, Step(mark, headers, above.row.key, above.row))
        admission = Admission(engine, child.principal, now, headers, above.session)
        within = [(above.row.key, above.row.version), *reads]
        outcome = await engine.commit(steps, now, given, within, admission.rule)
        if not isinstance(outcome, Conflict):
            begun = outcome.sessions[-1]
            assert begun is not None
            return begun
        admission.check()
        row = outcome.current if outcome.key == key else row
    raise contention(key)


def _named(engine: Engine, parent: object) -> tuple[bytes, str | None]:
    """The key of a parent, and its token where that is how it was named."""
    try:
        if isinstance(parent, str) and parent.strip().startswith(HANDLE_PREFIX):
            return parse_handle(parent), None
        secret = parse_token(parent, engine.policy)
        return digest(secret), secret
    except InvalidSession:
        pass  # raised below: the error must have no context, which may hold a token
    raise InvalidSession("parent", "must be the token or the handle of a session")


async def _standing(
    engine: Engine, key: bytes, secret: str | None, now: datetime, annotation: Annotation
) -> ActiveSession:
    """What stands for the family of a parent. Reuse of its token ends it."""
    found = await replaceable(engine, key, secret, now, annotation)
    if found is None:
        raise InvalidSession("parent", "must be a live session of this ledger")
    return found.newest
