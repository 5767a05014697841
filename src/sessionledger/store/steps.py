"""One event of a unit: with what it was decided on, and as it is appended."""

from __future__ import annotations

import msgspec

from sessionledger.core.annotations import refuse_secrets, with_context
from sessionledger.core.codec import encode_event
from sessionledger.core.events import SessionEvent
from sessionledger.core.fold import evolve
from sessionledger.core.session import State
from sessionledger.logs.base import Change, LogEvent, Put, Row
from sessionledger.store.session_fold import draft_of, state_of


class Step(msgspec.Struct, frozen=True, gc=False):
    """One event of a unit, with its headers.

    key, row: the key and the row that it was decided on. Without a key it was decided on nothing,
    and happens whatever the row has become meanwhile: what ends a session for good may be so.
    """

    event: SessionEvent
    headers: dict[str, str]
    key: bytes | None = None
    row: Row | None = None


def prepare(step: Step, at: int, secret: str | None) -> tuple[Change, State]:
    """The change that a step makes, and the state that it leads to, if it was decided on one."""
    kind, payload = encode_event(step.event)
    refuse_secrets(secret, payload, step.headers)
    happened = LogEvent(kind, payload, step.headers, at)
    if step.key is None:
        return Change(happened), None
    after = evolve(state_of(step.row), with_context(step.event, step.headers))
    assert after is not None
    expected = 0 if step.row is None else step.row.version
    return Change(happened, Put(step.key, draft_of(after), expected)), after
