"""All sessions of a principal, or with an external id of the application, ended at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sessionledger.core.ends import decide_end_all
from sessionledger.core.events import Expired
from sessionledger.core.families import family_of, is_rotated
from sessionledger.core.session import Session
from sessionledger.core.token import handle_of, parse_handle
from sessionledger.errors import InvalidSession
from sessionledger.logs.base import OVER, Conflict, RowFilter
from sessionledger.store.engine import Annotation, Engine
from sessionledger.store.operations.active_sessions import ending
from sessionledger.store.operations.listings import Selection

AT_ONCE = 10_000
"""So many sessions end in one unit."""
A_PAGE = 500
"""So many end in each unit where there are more."""


async def revoke_all(
    engine: Engine, which: Selection, keep: Iterable[str], annotation: Annotation
) -> int:
    """End the active sessions selected, but for those to keep; how many logins ended.

    Each unit ends all that were begun before it, in the order of their creation. So none is left
    that was begun before the last one.
    """
    where = RowFilter(owner=which.owner(), alias=which.alias(), live_at=OVER)
    if (where.owner is None) == (where.alias is None):
        raise InvalidSession("principal", "or external_id: revoke_all takes one of them")
    kept = {handle_of(parse_handle(handle)) for handle in _several(keep)}
    families_kept: set[str] = set()
    headers, now = engine.annotate(annotation), engine.clock()

    def choose(sessions: Sequence[Session]) -> list[Expired]:
        stay = {one.handle for one in sessions if one.handle in kept and not is_rotated(one)}
        families_kept.update(family_of(one) for one in sessions if one.handle in stay)
        going = [one for one in sessions if one.handle not in stay]
        return decide_end_all(going, None, now, "revoked")

    many = await engine.log.count(engine.topic, where) > AT_ONCE
    limit = A_PAGE if many else 2 * AT_ONCE
    alone, families, last, more = 0, set[str](), None, True
    while more:
        rule = ending(engine, where, choose, now, headers, after=last, limit=limit)
        outcome = await engine.commit([], now, rule=rule)
        assert not isinstance(outcome, Conflict)
        last, more = outcome.appended.last, outcome.appended.last is not None
        alone += sum(row.group is None for row, _ in outcome.appended.ruled)
        families.update(row.group for row, _ in outcome.appended.ruled if row.group is not None)
    return alone + len(families - families_kept)


def _several(keep: Iterable[str]) -> Iterable[str]:
    """One handle is meant as one, and not as its letters."""
    return [keep] if isinstance(keep, str) else keep
