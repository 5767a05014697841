"""Active sessions: those that have no end of their own, whether they lapsed or not.

Whether a session lapsed depends on whose clock is asked; whether it was ended stands in the log. So
what ends sessions, or counts them for a limit, goes by the log alone: by a rule, which is decided
while the unit is written. It sees every session that was begun before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import TypeAlias

import msgspec

from sessionledger.core.annotations import is_personal, refuse_secrets, with_context
from sessionledger.core.children import (
    belongs_to_tree,
    decide_ends_below,
    decide_room_below,
    tree_of,
)
from sessionledger.core.codec import encode_event
from sessionledger.core.events import Expired, Touched
from sessionledger.core.families import decide_room, decide_unique, family_of, named
from sessionledger.core.instant import microseconds
from sessionledger.core.session import Broken, Session
from sessionledger.core.token import handle_of
from sessionledger.errors import SessionLimitReached
from sessionledger.logs.base import OVER, LogEvent, Row, RowFilter, Rule, Unit, Verdict
from sessionledger.store.engine import Engine
from sessionledger.store.session_fold import NOBODY, intact_session_of, state_of
from sessionledger.store.steps import salted

Choose: TypeAlias = Callable[[Sequence[Session]], Iterable[Expired | Touched] | None]
"""Which of the active sessions end, or are touched. None refuses the unit."""

Follow: TypeAlias = Callable[[Collection[str], Sequence[Session]], Iterable[Expired] | None]
"""The same of the active sessions of some trees, once it is known whose handles end."""


class ActiveSession(msgspec.Struct, frozen=True, gc=False):
    """A session that was not ended, and its row."""

    row: Row
    session: Session


def of_principal(principal: str) -> RowFilter:
    """The active sessions of a principal."""
    return RowFilter(owner=principal, live_at=OVER)


def of_tree(session: Session) -> RowFilter:
    """The active sessions of a tree. One without relatives is not among them."""
    return RowFilter(group=tree_of(session), live_at=OVER)


async def tree(engine: Engine, session: Session) -> list[ActiveSession]:
    """The active sessions of a tree, as they are now."""
    found = engine.rows(of_tree(session))
    return [
        ActiveSession(row, one)
        async for row in found
        if (one := intact_session_of(row)) is not None
    ]


async def family(engine: Engine, session: Session) -> list[ActiveSession]:
    """The active sessions of a family, as they are now."""
    found = await tree(engine, session)
    return [one for one in found if family_of(one.session) == family_of(session)]


def ending(
    engine: Engine,
    where: RowFilter,
    choose: Choose,
    now: datetime,
    headers: dict[str, str],
    *,
    after: Row | None = None,
    limit: int | None = None,
    follow: Follow | None = None,
    groups: Sequence[str] = (),
    end_damaged: bool = True,
) -> Rule:
    """The rule that ends, or touches, those of the active sessions that are chosen.

    follow: what happens in their trees, and in those of `groups`. Without it, all ends that is
    below somebody who was chosen, unless the rule goes by trees: then it is given them already.
    It ends damaged ones as well: nobody can tell whether they were to be kept. With
    `end_damaged=False` it leaves them, as nobody can tell whether they were meant. Raises
    `InvalidSession` for headers that hold a token.
    """
    refuse_secrets(None, b"", headers)
    at = microseconds(now) // 1000

    def decide(rows: Sequence[Row]) -> Verdict | None:
        chosen = told(rows, choose)
        if chosen is None:
            return None
        damaged = [row for row in rows if end_damaged and isinstance(state_of(row), Broken)]
        ends = [Expired(now, handle_of(row.key), "revoked") for row in damaged]
        return [*chosen, *zip(damaged, map(log_event, ends), strict=True)]

    def then(verdict: Verdict, rows: Sequence[Row]) -> Verdict | None:
        ended = {handle_of(row.key) for row, _ in verdict}
        if follow is not None:
            return told(rows, partial(follow, ended))
        return told(rows, lambda trees: decide_ends_below(trees, ended, now))

    def told(rows: Sequence[Row], choose: Choose) -> list[tuple[Row, LogEvent]] | None:
        known: dict[str, Row] = {handle_of(row.key): row for row in rows}
        chosen = choose([one for row in rows if (one := intact_session_of(row)) is not None])
        if chosen is None:
            return None
        return [(known[event.token_handle], log_event(event)) for event in chosen]

    def log_event(event: Expired | Touched) -> LogEvent:
        kept = salted(headers) if is_personal(event, headers) else headers
        happened = LogEvent(*encode_event(event), kept, at)
        engine.fold.remember(happened, with_context(event, headers))
        return happened

    return Rule(where, decide, after, limit, None if where.group else then, groups)


async def settle(engine: Engine) -> None:
    """Wait for what was read to be kept, as an append would. An answer then says that it holds."""
    nobody = Rule(of_principal(NOBODY), lambda _: [])
    await engine.log.append(engine.topic, [Unit(rule=nobody)])


def leaving(session: Session, now: datetime) -> Follow:
    """What follows where nobody of a session's family is left: all below it ends."""

    def follow(ended: Collection[str], trees: Sequence[Session]) -> list[Expired]:
        family = {one.handle for one in trees if family_of(one) == family_of(session)}
        return decide_ends_below(trees, {*ended, session.handle, *family}, now)

    return follow


class Admission:
    """Room for one more session. refusal: why there is none, once it was asked.

    rule: None where there is no limit. parent: of a child. before: what a log in replaces.
    unless: an external id that no live session of the principal may have.
    """

    def __init__(
        self,
        engine: Engine,
        principal: str,
        now: datetime,
        headers: dict[str, str],
        parent: Session | None = None,
        before: Session | None = None,
        unless: str | None = None,
    ) -> None:
        self.refusal: SessionLimitReached | None = None
        self._now, self._unless = now, unless
        self._replaced = None if before is None else before.handle
        self._policy = policy = engine.policy
        self.rule: Rule | None = None
        if parent is not None and not policy.unique_principals:
            self.rule = ending(engine, of_tree(parent), self._below, now, headers)
        elif parent is not None:
            self.rule = ending(
                engine,
                of_principal(principal),
                self._unique,
                now,
                headers,
                follow=lambda _, tree: self._below(tree),
                groups=[tree_of(parent)],
            )
        elif policy.max_sessions_per_principal or policy.unique_principals or unless is not None:
            follow = None if before is None else leaving(before, now)
            groups = [] if before is None else [tree_of(before)]
            self.rule = ending(
                engine,
                of_principal(principal),
                self._choose,
                now,
                headers,
                follow=follow,
                groups=groups,
            )
        elif before is not None and belongs_to_tree(before):
            below = partial(leaving(before, now), ())
            self.rule = ending(engine, of_tree(before), below, now, headers)

    def check(self) -> None:
        """Raises `SessionLimitReached` where the unit was refused for that."""
        if self.refusal is not None:
            raise self.refusal

    def _choose(self, sessions: Sequence[Session]) -> list[Expired] | None:
        if self._unless is not None and named(sessions, self._unless, self._now) is not None:
            return None
        others = [one for one in sessions if one.handle != self._replaced]
        return self._asked(lambda: decide_room(others, self._now, self._policy))

    def _unique(self, sessions: Sequence[Session]) -> list[Expired] | None:
        return self._asked(lambda: decide_unique(sessions, self._now, self._policy))

    def _below(self, tree: Sequence[Session]) -> list[Expired] | None:
        return self._asked(lambda: decide_room_below(tree, self._now, self._policy))

    def _asked(self, room: Callable[[], list[Expired]]) -> list[Expired] | None:
        self.refusal = None
        try:
            return room()
        except SessionLimitReached as refusal:
            self.refusal = refusal
            return None
