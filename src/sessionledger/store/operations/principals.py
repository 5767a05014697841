"""All sessions of a principal, or with an external id of the application, ended at once."""

from __future__ import annotations

from collections.abc import Iterable

from sessionledger.core.ends import decide_end_all
from sessionledger.core.token import handle_of, parse_handle
from sessionledger.errors import InvalidSession, WriteContention
from sessionledger.logs.base import Conflict, Guard
from sessionledger.store.engine import MAX_ATTEMPTS, Annotation, Engine
from sessionledger.store.operations.active_sessions import (
    GUARDED_ATTEMPTS,
    ActiveSession,
    active_sessions,
    guarded,
    sessions_in,
)
from sessionledger.store.operations.listings import Selection
from sessionledger.store.steps import Step


async def revoke_all(
    engine: Engine, which: Selection, keep: Iterable[str], annotation: Annotation
) -> int:
    """End the sessions selected that are not over, but for those to keep; how many that were.

    One unit, unless others are begun meanwhile, time and again: then what was there ends in one
    unit, and after it what it was rotated into.
    """
    owner, alias = which.owner(), which.alias()
    if (owner is None) == (alias is None):
        raise InvalidSession("principal", "or external_id: revoke_all takes one of them")
    kept = {handle_of(parse_handle(handle)) for handle in _several(keep)}
    headers, now = engine.annotate(annotation), engine.clock()
    before = await engine.log.latest(engine.topic)
    ended = 0
    for attempt in range(MAX_ATTEMPTS):
        found, guards = await _selected(engine, owner, alias)
        found = [one for one in found if one.session.handle not in kept]
        if attempt >= GUARDED_ATTEMPTS:
            guards = []
            found = found if any(_is_due(one, before) for one in found) else []
        if not found:
            return ended
        ends = decide_end_all(sessions_in(found), None, now, "revoked")
        steps = [Step(end, headers) for end in ends]
        if isinstance(await engine.commit(steps, now, guards), Conflict):
            continue
        ended += len(steps)
        # No guard tells of whom else a session with that external id was begun for: look again.
        if owner is not None and guards:
            return ended
    raise WriteContention(f"sessions were rotated {MAX_ATTEMPTS} times in a row: try again")


def _is_due(one: ActiveSession, before: int) -> bool:
    """Whether a session must not outlive a call that began after that event: what began later
    need not be ended, but for what may be the successor of what did not."""
    return one.row.created <= before or one.session.family is not None


async def _selected(
    engine: Engine, owner: str | None, alias: str | None
) -> tuple[list[ActiveSession], list[Guard]]:
    if owner is not None:
        found, guard = await guarded(engine, owner)
        return found, [guard]
    # Whose they are is known once they are listed; what was begun since shows in the guards.
    owners = {one.session.principal for one in await active_sessions(engine, alias=alias)}
    guards = [Guard(owner, await engine.log.owner_version(engine.topic, owner)) for owner in owners]
    return await active_sessions(engine, alias=alias), guards


def _several(keep: Iterable[str]) -> Iterable[str]:
    """One handle is meant as one, and not as its letters."""
    return [keep] if isinstance(keep, str) else keep
