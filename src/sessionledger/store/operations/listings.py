"""Listings: pages of sessions, and how many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from sessionledger.core.parse import parse_external_id, parse_principal
from sessionledger.core.policy import Policy
from sessionledger.core.session import Session
from sessionledger.errors import CorruptLog
from sessionledger.logs.base import Row, RowFilter
from sessionledger.store.engine import Engine
from sessionledger.store.pages import PAGE_SIZE, Page, check_size, cursor_of, row_at
from sessionledger.store.session_fold import NOBODY, session_of

# Whom one asks about may be anyone that others, the reference above all, made sessions for.
ANYBODY = Policy.reference()


class Selection(msgspec.Struct, frozen=True, gc=False):
    """Which sessions: of a principal, with an external id of the application, live ones.

    superseded: also those that a newer one of their family stands for.
    """

    principal: object = None
    external_id: object = None
    live: bool = True
    superseded: bool = False

    def owner(self) -> str | None:
        """Whose. Raises `InvalidSession`."""
        return None if self.principal is None else parse_principal(self.principal, ANYBODY)

    def alias(self) -> str | None:
        """By which name. Raises `InvalidSession`."""
        return parse_external_id(self.external_id, ANYBODY)


async def page(engine: Engine, which: Selection, after: str | None, size: int = PAGE_SIZE) -> Page:
    """A page of sessions. Raises `InvalidSession` for a cursor or a size that is none."""
    with engine.telemetry.call("sessions") as call:
        # One more than is shown, to know whether another page follows.
        limit = check_size(size) + 1
        where = _filter(engine, which)
        found = await engine.log.rows(engine.topic, where, row_at(after), limit)
        cursor = None
        if len(found) == limit:
            del found[size:]
            cursor = cursor_of(found[-1])
        return call.answer(Page(list(_sessions(engine, found)), cursor))


def _sessions(engine: Engine, rows: Iterable[Row]) -> Iterator[Session]:
    """The sessions in rows; a damaged one is reported, and the others are listed."""
    for row in rows:
        try:
            session = session_of(row)
        except CorruptLog as error:
            engine.report("sessions", error)
        else:
            if session is not None:
                yield session


async def count(engine: Engine, which: Selection) -> int:
    """How many there are."""
    count = await engine.log.count(engine.topic, _filter(engine, which))
    if which.live or which.principal is not None or which.external_id is not None:
        return count
    return count - await engine.log.count(engine.topic, RowFilter(owner=NOBODY))


def _filter(engine: Engine, which: Selection) -> RowFilter:
    live_at = engine.nanoseconds() // 1000 if which.live else None
    return RowFilter(
        owner=which.owner(), alias=which.alias(), live_at=live_at, replaced=which.superseded
    )
