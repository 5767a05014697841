"""Listings: pages of sessions, and how many there are."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial

import msgspec

from sessionledger.core.criteria import Criteria, parse_criteria
from sessionledger.core.instant import microseconds
from sessionledger.core.parse import parse_external_id, parse_principal
from sessionledger.core.policy import Policy
from sessionledger.core.session import Session
from sessionledger.errors import CorruptLog, InvalidSession
from sessionledger.logs.base import Row, RowFilter
from sessionledger.plain import as_text
from sessionledger.store.engine import Engine
from sessionledger.store.pages import PAGE_SIZE, Page, check_size, cursor_of, row_at
from sessionledger.store.session_fold import NOBODY, session_of

# Whom one asks about may be anyone that others, the reference above all, made sessions for.
ANYBODY = Policy.reference()
MOST_LOOKED_AT = 10_000
"""How many rows a page looks at, if no index answers its filter."""
_LOOK = 1000
COUNTED_SECONDS = 60.0
"""How long `counts` answers what it counted."""


class Counts(msgspec.Struct, frozen=True):
    """How many logins there are, as of an instant: live ones, lapsed ones and ended ones.

    lapsed: their time is over, and no sweep has recorded that yet. ended: as far as their rows
    were not replaced by tombstones, when a compaction removed their events.
    """

    live: int
    lapsed: int
    ended: int
    as_of: datetime


class Selection(msgspec.Struct, frozen=True, gc=False):
    """Which sessions: of a principal, with an external id of the application, in a state.

    superseded: also those that a newer one of their family stands for. address: an address or a
    network that they were last seen at. begun_after, begun_before: when their login began.
    """

    principal: object = None
    external_id: object = None
    state: object = "live"
    superseded: bool = False
    address: object = None
    begun_after: object = None
    begun_before: object = None
    newest_first: bool = False

    def owner(self) -> str | None:
        """Whose. Raises `InvalidSession`."""
        return None if self.principal is None else parse_principal(self.principal, ANYBODY)

    def alias(self) -> str | None:
        """By which name. Raises `InvalidSession`."""
        return parse_external_id(self.external_id, ANYBODY)

    def filter(self, now: int) -> RowFilter:
        """What the rows meet, at an instant in microseconds. Raises `InvalidSession`."""
        state = as_text(self.state)
        if state not in Page.STATES:
            raise InvalidSession("state", f"must be one of {', '.join(Page.STATES)}")
        return RowFilter(
            owner=self.owner(),
            alias=self.alias(),
            live_at=now if state == "live" else None,
            expires_before=now + 1 if state == "lapsed" else None,
            over=state == "ended",
            replaced=self.superseded,
            newest_first=self.newest_first,
        )

    def criteria(self) -> Criteria | None:
        """What no index tells. Raises `InvalidSession`."""
        given = {
            "address_in": self.address,
            "begun_after": self.begun_after,
            "begun_before": self.begun_before,
        }
        is_given = any(value is not None for value in given.values())
        return parse_criteria(given, ANYBODY) if is_given else None


async def page(engine: Engine, which: Selection, after: str | None, size: int = PAGE_SIZE) -> Page:
    """A page of sessions. Raises `InvalidSession` for a cursor or a size that is none."""
    with engine.telemetry.call("sessions") as call:
        check_size(size)
        where, criteria = which.filter(_now(engine)), which.criteria()
        if criteria is not None:
            return call.answer(await _searched(engine, where, criteria, after, size))
        # One more than is shown, to know whether another page follows.
        found = await engine.log.rows(engine.topic, where, row_at(after), size + 1)
        cursor = None
        if len(found) > size:
            del found[size:]
            cursor = cursor_of(found[-1])
        return call.answer(Page([one for _, one in _sessions(engine, found)], cursor))


async def _searched(
    engine: Engine, where: RowFilter, criteria: Criteria, after: str | None, size: int
) -> Page:
    """A page of the sessions that meet criteria, as far as it can be found by a bounded look."""
    if criteria.begun_after is not None and not where.by_end:
        begun = await _id_before(engine, criteria.begun_after)
        where = msgspec.structs.replace(where, created_after=begun)
    place, sessions = row_at(after), list[Session]()
    for _ in range(MOST_LOOKED_AT // _LOOK):
        rows = await engine.log.rows(engine.topic, where, place, _LOOK)
        for row, session in _sessions(engine, rows):
            if criteria.describes(session):
                sessions.append(session)
                if len(sessions) == size:
                    return Page(sessions, cursor_of(row))
        if len(rows) < _LOOK:
            return Page(sessions, None)
        place = rows[-1]
    assert place is not None
    return Page(sessions, cursor_of(place))


async def _id_before(engine: Engine, instant: datetime) -> int | None:
    """The id up to which all events happened before an instant; None if some were removed.

    A session began no earlier than the login that it goes on from.
    """
    from sessionledger.store.history.event_order import ids_within  # few processes ever do

    topic, log = engine.topic, engine.log.log
    cut, newest = (await engine.cut()).id, await engine.log.latest(engine.topic)

    def search() -> int:
        at = microseconds(instant) // 1000
        read = partial(log.read, topic)
        return ids_within(read, cut, newest, at, None)[0]

    found = await engine.log.call(search)
    return found if found > cut else None


def _sessions(engine: Engine, rows: Iterable[Row]) -> Iterator[tuple[Row, Session]]:
    """The sessions in rows; a damaged one is reported, and the others are listed."""
    for row in rows:
        try:
            session = session_of(row)
        except CorruptLog as error:
            engine.report("sessions", error)
        else:
            if session is not None:
                yield row, session


async def count(engine: Engine, which: Selection) -> int:
    """How many there are."""
    where = which.filter(_now(engine))
    count = await engine.log.count(engine.topic, where)
    if where.live_at is not None or where.expires_before is not None or where.is_named:
        return count
    return count - await engine.log.count(engine.topic, RowFilter(owner=NOBODY))


async def counts(engine: Engine) -> Counts:
    """How many logins there are in each state, counted less than a minute ago."""
    if engine.counts is not None and time.monotonic() - engine.counts[0] < COUNTED_SECONDS:
        return engine.counts[1]
    begun, now = time.monotonic(), engine.clock()
    live, lapsed, ended = [
        await count(engine, Selection(state=state)) for state in ("live", "lapsed", "ended")
    ]
    answer = Counts(live, lapsed, ended, now)
    engine.counts = (begun, answer)
    return answer


def _now(engine: Engine) -> int:
    return engine.nanoseconds() // 1000
