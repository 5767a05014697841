"""Active sessions: those that have no end of their own, whether they lapsed or not.

Whether a session lapsed depends on whose clock is asked; whether it was ended stands in the log. So
what ends sessions, or counts them for a limit, goes by the log alone: by a rule, which is decided
while the unit is written. It sees every session that was begun before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec

from sessionledger.core.annotations import refuse_secrets
from sessionledger.core.codec import encode_event
from sessionledger.core.events import Expired
from sessionledger.core.families import decide_room, family_of
from sessionledger.core.instant import microseconds
from sessionledger.core.session import Broken, Session
from sessionledger.core.token import handle_of
from sessionledger.errors import SessionLimitReached
from sessionledger.logs.base import OVER, LogEvent, Row, RowFilter, Rule, Verdict
from sessionledger.store.engine import Engine
from sessionledger.store.session_fold import intact_session_of, state_of

Choose: TypeAlias = Callable[[Sequence[Session]], Iterable[Expired] | None]
"""Which of the active sessions end. None refuses the unit."""


class ActiveSession(msgspec.Struct, frozen=True, gc=False):
    """A session that was not ended, and its row."""

    row: Row
    session: Session


def of_principal(principal: str) -> RowFilter:
    """The active sessions of a principal."""
    return RowFilter(owner=principal, live_at=OVER)


def of_family(session: Session) -> RowFilter:
    """The active sessions of a family. One that was never rotated is not among them."""
    return RowFilter(group=family_of(session), live_at=OVER)


async def family(engine: Engine, session: Session) -> list[ActiveSession]:
    """The active sessions of a family, as they are now."""
    found = engine.rows(of_family(session))
    return [
        ActiveSession(row, one)
        async for row in found
        if (one := intact_session_of(row)) is not None
    ]


def ending(
    engine: Engine,
    where: RowFilter,
    choose: Choose,
    now: datetime,
    headers: dict[str, str],
    *,
    after: Row | None = None,
    limit: int | None = None,
) -> Rule:
    """The rule that ends those of the active sessions that are chosen.

    It ends damaged ones as well: nobody can tell whether they were to be kept. Raises
    `InvalidSession` for headers that hold a token.
    """
    refuse_secrets(None, b"", headers)
    at = microseconds(now) // 1000

    def decide(rows: Sequence[Row]) -> Verdict | None:
        known: dict[str, Row] = {handle_of(row.key): row for row in rows}
        states = [(handle, state_of(row)) for handle, row in known.items()]
        damaged = [handle for handle, state in states if isinstance(state, Broken)]
        chosen = choose([state for _, state in states if isinstance(state, Session)])
        if chosen is None:
            return None
        ends = [*chosen, *(Expired(now, handle, "revoked") for handle in damaged)]
        return [(known[end.token_handle], event_of(end)) for end in ends]

    def event_of(end: Expired) -> LogEvent:
        event = LogEvent(*encode_event(end), headers, at)
        engine.fold.remember(event, end)
        return event

    return Rule(where, decide, after, limit)


class Admission:
    """Room for one more session of a principal. refusal: why there is none, once it was asked."""

    def __init__(
        self, engine: Engine, principal: str, now: datetime, headers: dict[str, str]
    ) -> None:
        self.refusal: SessionLimitReached | None = None
        self._now = now
        self._policy = engine.policy
        self.rule: Rule | None = None
        if engine.policy.max_sessions_per_principal is not None:
            self.rule = ending(engine, of_principal(principal), self._choose, now, headers)

    def check(self) -> None:
        """Raises `SessionLimitReached` where the unit was refused for that."""
        if self.refusal is not None:
            raise self.refusal

    def _choose(self, sessions: Sequence[Session]) -> list[Expired] | None:
        self.refusal = None
        try:
            return decide_room(sessions, self._now, self._policy)
        except SessionLimitReached as refusal:
            self.refusal = refusal
            return None
