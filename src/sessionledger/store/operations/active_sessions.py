"""Active sessions: those that have no end of their own, whether they lapsed or not.

Whether a session lapsed depends on whose clock is asked; whether it was ended stands in the log. So
what ends sessions, or counts them for a limit, goes by the log alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from sessionledger.core.events import Expired
from sessionledger.core.families import decide_room
from sessionledger.core.session import Session
from sessionledger.core.token import Handle
from sessionledger.logs.base import OVER, Guard, Row, RowFilter
from sessionledger.store.engine import Engine
from sessionledger.store.session_fold import session_of
from sessionledger.store.steps import Step

GUARDED_ATTEMPTS = 3
"""How often ends are refused for a session that was begun meanwhile, before they go unguarded."""


class ActiveSession(msgspec.Struct, frozen=True, gc=False):
    """A session that was not ended, and its row."""

    row: Row
    session: Session


async def active_sessions(
    engine: Engine, *, owner: str | None = None, alias: str | None = None
) -> list[ActiveSession]:
    """The sessions of an owner, or with an alias, that were not ended, oldest first."""
    rows = engine.rows(RowFilter(owner=owner, alias=alias, live_at=OVER))
    return [
        ActiveSession(row, session)
        async for row in rows
        if (session := session_of(row)) is not None
    ]


async def guarded(engine: Engine, principal: str) -> tuple[list[ActiveSession], Guard]:
    """Those of a principal, and the condition that no other was begun since."""
    version = await engine.log.owner_version(engine.topic, principal)
    return await active_sessions(engine, owner=principal), Guard(principal, version)


def sessions_in(found: Iterable[ActiveSession]) -> list[Session]:
    """The sessions alone."""
    return [one.session for one in found]


async def admit(
    engine: Engine, principal: str, now: datetime, headers: dict[str, str]
) -> tuple[list[Step], Guard]:
    """What makes room for one more session of a principal, and what that rests on.

    What lapsed does not count, and is ended where it would, so that it does not come back: as it
    was read, since a touch may have been faster. Raises `SessionLimitReached`.
    """
    found, guard = await guarded(engine, principal)
    known = {one.session.handle: one for one in found}
    ends = decide_room(sessions_in(found), now, engine.policy)
    return [_making_room(end, known[Handle(end.token_handle)], headers) for end in ends], guard


def _making_room(end: Expired, ended: ActiveSession, headers: dict[str, str]) -> Step:
    if end.cause == "lapsed":
        return Step(end, headers, ended.row.key, ended.row)
    return Step(end, headers)
