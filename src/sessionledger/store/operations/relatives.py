"""What a change of a session reads and changes beside it: its parent, and all below it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from sessionledger.core.children import (
    belongs_to_tree,
    decide_narrowing,
    parent_among,
    within_parent,
)
from sessionledger.core.events import Touched
from sessionledger.core.session import Session
from sessionledger.logs.base import Rule
from sessionledger.store.engine import Engine
from sessionledger.store.operations.active_sessions import ActiveSession, ending, of_tree, tree
from sessionledger.store.session_fold import session_of
from sessionledger.store.steps import Step


class AmongRelatives(msgspec.Struct, frozen=True):
    """A unit of touches: as the parent allows them, with its version, and what they take away."""

    steps: Sequence[Step]
    reads: Sequence[tuple[bytes, int]] = ()
    rule: Rule | None = None


async def among_relatives(
    engine: Engine, session: Session | None, steps: Sequence[Step], now: datetime
) -> AmongRelatives | None:
    """Touches of a live session, and of others of its family, within its tree.

    None where its parent is over. Raises `InvalidSession` for attributes that it does not have.
    """
    if session is None or not belongs_to_tree(session):
        return AmongRelatives(steps)
    reads = []
    if session.ancestors:
        parent = await parent_of(engine, session, now)
        if parent is None:
            return None
        steps = [_within(step, parent.session) for step in steps]
        reads.append((parent.row.key, parent.row.version))
    touches = [touch for step in steps if (touch := _taking_away(step)) is not None]
    rule = None
    if touches:
        rule = _narrowing(engine, session, touches, now, steps[0].headers)
    return AmongRelatives(steps, reads, rule)


async def parent_of(engine: Engine, child: Session, now: datetime) -> ActiveSession | None:
    """What stands for the parent of a child; None where that is over."""
    members = {one.session: one for one in await tree(engine, child)}
    parent = parent_among(members, child, now)
    return None if parent is None else members[parent]


def _within(step: Step, parent: Session) -> Step:
    assert isinstance(step.event, Touched)
    return replace(step, event=within_parent(step.event, parent, session_of(step.row)))


def _taking_away(step: Step) -> Touched | None:
    """The touch of a step, if it may leave its session with less than its children have."""
    before, event = session_of(step.row), step.event
    if before is None or not isinstance(event, Touched):
        return None
    is_nearer = event.expires_at is not None and event.expires_at < before.expires_at
    return event if is_nearer or event.attributes is not None else None


def _narrowing(
    engine: Engine,
    session: Session,
    touches: Sequence[Touched],
    now: datetime,
    headers: dict[str, str],
) -> Rule:
    """The rule that takes from all below a session what is taken from it."""
    return ending(
        engine, of_tree(session), lambda trees: decide_narrowing(trees, touches), now, headers
    )
