"""What is not ended: live, or lapsed so recently that a request under way may still prolong it.

A touch is decided before its session lapses and committed after; and the clocks of two processes
differ. So what ends sessions, or counts them for a limit, looks a little way back.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from sessionledger.core.events import Expired
from sessionledger.core.families import EVICTED, decide_room
from sessionledger.core.instant import earlier_by, microseconds
from sessionledger.core.policy import Policy
from sessionledger.core.session import Session
from sessionledger.core.token import Handle
from sessionledger.logs.base import Guard, Row, RowFilter
from sessionledger.store.clock import TOLERANCE
from sessionledger.store.engine import LAPSED, Engine, reason
from sessionledger.store.session_fold import session_of
from sessionledger.store.steps import Step

GUARDED_ATTEMPTS = 3
"""How often ends are refused for a session that was begun meanwhile, before they go unguarded."""


class Unended(msgspec.Struct, frozen=True, gc=False):
    """A session that is not ended, and its row."""

    row: Row
    session: Session


def margin(policy: Policy) -> timedelta:
    """How long after its lapse a session may still be prolonged: what lapsed before is over, and
    left to `sweep`."""
    return max(policy.sweep_margin, TOLERANCE)


async def unended(
    engine: Engine, now: datetime, *, owner: str | None = None, alias: str | None = None
) -> list[Unended]:
    """The sessions of an owner, or an alias, that are not over yet, oldest first."""
    since = microseconds(earlier_by(now, margin(engine.policy)))
    rows = engine.rows(RowFilter(owner=owner, alias=alias, live_at=since))
    return [Unended(row, session) async for row in rows if (session := session_of(row)) is not None]


async def guarded(engine: Engine, principal: str, now: datetime) -> tuple[list[Unended], Guard]:
    """Those of a principal, and the condition that no other was begun since."""
    version = await engine.log.owner_version(engine.topic, principal)
    return await unended(engine, now, owner=principal), Guard(principal, version)


def sessions_in(found: Iterable[Unended]) -> list[Session]:
    """The sessions alone."""
    return [one.session for one in found]


async def admit(
    engine: Engine, principal: str, now: datetime, headers: dict[str, str]
) -> tuple[list[Step], Guard]:
    """What makes room for one more session of a principal, and what that rests on.

    What lapsed does not count, and is ended where it would, so that it does not come back: as it
    was read, since a touch may have been faster. Raises `SessionLimitReached`.
    """
    found, guard = await guarded(engine, principal, now)
    known = {one.session.handle: one for one in found}
    ends = decide_room(sessions_in(found), now, engine.policy)
    return [_making_room(end, known[Handle(end.token_handle)], now, headers) for end in ends], guard


def _making_room(end: Expired, ended: Unended, now: datetime, headers: dict[str, str]) -> Step:
    if ended.session.is_expired_at(now):
        return Step(end, headers | reason(LAPSED), ended.row.key, ended.row)
    return Step(end, headers | reason(EVICTED))
