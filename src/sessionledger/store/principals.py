"""All sessions of a principal, or with an external id of the application, ended at once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sessionledger.core.families import decide_end_all
from sessionledger.core.session import Session
from sessionledger.core.token import handle_of, parse_handle
from sessionledger.errors import InvalidSession, WriteContention
from sessionledger.logs.base import Conflict, Guard
from sessionledger.store.engine import MAX_ATTEMPTS, Engine, Why
from sessionledger.store.listings import Selection
from sessionledger.store.steps import Step


async def revoke_all(engine: Engine, which: Selection, keep: Iterable[str], why: Why) -> int:
    """End the live sessions selected, but for those to keep, in one unit; how many that were.

    Nobody sees some of them ended and others not, and a session begun meanwhile is ended too.
    """
    owner, alias = which.owner(), which.alias()
    if (owner is None) == (alias is None):
        raise InvalidSession("principal", "or external_id: revoke_all takes one of them")
    kept = {handle_of(parse_handle(handle)) for handle in _several(keep)}
    headers, now = engine.annotate(why), engine.clock()
    ended = 0
    for _ in range(MAX_ATTEMPTS):
        live, guards = await _selected(engine, owner, alias, now)
        ends = decide_end_all((one for one in live if one.handle not in kept), None, now)
        if not ends:
            return ended
        steps = [Step(end, headers) for end in ends]
        if isinstance(await engine.commit(steps, now, guards), Conflict):
            continue
        ended += len(ends)
        # No guard tells of whom else a session with that external id was begun for: look again.
        if owner is not None:
            return ended
    raise WriteContention(f"sessions were begun {MAX_ATTEMPTS} times in a row: try again")


async def _selected(
    engine: Engine, owner: str | None, alias: str | None, now: datetime
) -> tuple[list[Session], list[Guard]]:
    if owner is not None:
        live, guard = await engine.live_of(owner, now)
        return live, [guard]
    # Whose they are is known once they are listed; what was begun since shows in the guards.
    owners = {session.principal for session in await engine.sessions(now, alias=alias)}
    guards = [Guard(owner, await engine.log.owner_version(engine.topic, owner)) for owner in owners]
    return await engine.sessions(now, alias=alias), guards


def _several(keep: Iterable[str]) -> Iterable[str]:
    """One handle is meant as one, and not as its letters."""
    return [keep] if isinstance(keep, str) else keep
