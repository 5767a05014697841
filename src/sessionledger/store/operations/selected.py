"""Ending the sessions that meet some criteria, whosever they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from sessionledger.core.annotations import refuse_secrets
from sessionledger.core.children import decide_ends_below
from sessionledger.core.criteria import Criteria, parse_criteria
from sessionledger.core.ends import end_of
from sessionledger.core.events import CREATED, SELECTED, Expired
from sessionledger.core.families import family_of
from sessionledger.core.instant import microseconds
from sessionledger.core.session import Session
from sessionledger.core.token import handle_of
from sessionledger.logs.base import (
    OVER,
    Appended,
    Change,
    LogEvent,
    Progress,
    Row,
    RowFilter,
    Rule,
    Unit,
)
from sessionledger.store.engine import EVENT_PAGE, Annotation, Engine
from sessionledger.store.operations.active_sessions import ending, settle
from sessionledger.store.operations.listings import ANYBODY
from sessionledger.store.operations.principals import A_PAGE, end_by
from sessionledger.store.session_fold import intact_session_of
from sessionledger.store.steps import salted

OWNERS = 20
"""The units of so many principals are written together."""


class _Call(msgspec.Struct, frozen=True):
    """What one call ends, when it was made, and what is told with each end.

    selection: the id of its event, once that is appended.
    """

    criteria: Criteria
    now: datetime
    headers: dict[str, str]
    selection: int | None = None

    def login(self, row: Row) -> str | None:
        """The family of a selected session, else None. A damaged one counts alone, if named."""
        session = intact_session_of(row)
        if session is None:
            return handle_of(row.key) if self.is_named else None
        return family_of(session) if self.criteria.select(session, self.now) else None

    @property
    def is_named(self) -> bool:
        """Whether a row is known to be meant, as far as that can be told without its state."""
        return bool(self.criteria.principals or self.criteria.external_id)

    def rule(self, engine: Engine, owner: str) -> Rule:
        """The rule that ends the selected sessions of a principal."""
        return ending(
            engine,
            RowFilter(owner=owner, alias=self.criteria.external_id, live_at=OVER),
            self._choose,
            self.now,
            self.headers,
            limit=A_PAGE,
            follow=self._follow,
            end_damaged=self.is_named,
        )

    def _choose(self, sessions: Sequence[Session]) -> list[Expired]:
        chosen = (one for one in sessions if self.criteria.select(one, self.now))
        return [end_of(one, self.now, "revoked", self.selection) for one in chosen]

    def _follow(self, ended: Collection[str], trees: Sequence[Session]) -> list[Expired]:
        """The ends of the rest of their families, and of all below them."""
        families = {family_of(one) for one in trees if one.handle in ended}
        rest = [one for one in trees if family_of(one) in families and one.handle not in ended]
        ends = [end_of(one, self.now, "revoked", self.selection) for one in rest]
        over = {*ended, *(one.handle for one in rest)}
        below = decide_ends_below(trees, over, self.now)
        return [*ends, *(replace(end, selection=self.selection) for end in below)]

    def event(self, counted: int) -> LogEvent:
        """What says who ended what, and why. Raises `InvalidSession` for a token in it."""
        payload = self.criteria.encode(counted, self.now)
        refuse_secrets(None, payload, self.headers)
        return LogEvent(SELECTED, payload, salted(self.headers), microseconds(self.now) // 1000)


async def revoke_where(
    engine: Engine,
    given: Mapping[str, object],
    annotation: Annotation,
    dry_run: bool,
    progress: Progress | None,
) -> int:
    """End the active sessions that meet the criteria; how many logins ended, or would end.

    When this returns, none is left that met them at the call, or that began since and meets them.
    """
    call = _Call(parse_criteria(given, ANYBODY), engine.clock(), engine.annotate(annotation))
    call.event(0)
    begun = await engine.log.latest(engine.topic)
    logins, owners = await _counted(engine, call, progress if dry_run else None)
    if dry_run:
        return len(logins)
    if not logins:
        await settle(engine)
        return 0
    event = Unit([Change(call.event(len(logins)))])
    (outcome,) = await engine.log.append(engine.topic, [event])
    assert isinstance(outcome, Appended)
    call = replace(call, selection=outcome.ids[0])
    names, ended = list(owners), set[str]()
    for start in range(0, len(names), OWNERS):
        rules = [call.rule(engine, owner) for owner in names[start : start + OWNERS]]
        ended |= await end_by(engine, rules, call.login)
        if progress is not None:
            progress(len(ended))
    async for owner in _begun_since(engine, call, begun):
        ended |= await end_by(engine, [call.rule(engine, owner)], call.login)
    return len(ended)


async def _counted(
    engine: Engine, call: _Call, progress: Progress | None
) -> tuple[set[str], dict[str, None]]:
    """The logins that meet the criteria, and whose they are. progress: told of rows looked at."""
    logins, owners, looked_at = set[str](), dict[str, None](), 0
    for owner in call.criteria.principals or (None,):
        where = RowFilter(owner=owner, alias=call.criteria.external_id, live_at=OVER)
        async for row in engine.rows(where):
            looked_at += 1
            if progress is not None and looked_at % EVENT_PAGE == 0:
                progress(looked_at)
            if (login := call.login(row)) is not None:
                logins.add(login)
                owners[row.owner] = None
    return logins, owners


async def _begun_since(engine: Engine, call: _Call, after: int) -> AsyncIterator[str]:
    """The principals of selected sessions that began after an event, as successors do too."""
    while page := await engine.events(after, EVENT_PAGE):
        for event in page:
            key = engine.fold.key_unremembered(event) if event.kind == CREATED else None
            row = None if key is None else await engine.log.row(engine.topic, key)
            session = intact_session_of(row) if row is not None and row.live else None
            if session is not None and call.criteria.select(session, call.now):
                yield session.principal
        after = page[-1].id
