"""One event of a unit: with what it was decided on, and as it is appended."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping
from os import urandom

import msgspec

from sessionledger.core.annotations import SALT, is_personal, refuse_secrets, with_context
from sessionledger.core.codec import encode_event
from sessionledger.core.events import SessionEvent
from sessionledger.core.fold import evolve
from sessionledger.core.session import State
from sessionledger.core.token import FORGOTTEN_KEY, is_shaped_as_generated
from sessionledger.errors import InvalidSession
from sessionledger.logs.base import Change, Conflict, LogEvent, Put, Row
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
    headers = salted(step.headers) if is_personal(step.event, step.headers) else step.headers
    happened = LogEvent(kind, payload, headers, at)
    if step.key is None:
        return Change(happened), None
    after = evolve(state_of(step.row), with_context(step.event, step.headers))
    assert after is not None
    expected = 0 if step.row is None else step.row.version
    return Change(happened, Put(step.key, draft_of(after), expected)), after


def salted(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an event with personal data, with 16 random bytes beside them."""
    return {**headers, SALT: b2a_base64(urandom(16), newline=False)[:22].decode()}


def unforgotten(supplied: str) -> list[tuple[bytes, int]]:
    """What the first use of a supplied token rests on: no token that it may be was forgotten."""
    return [(FORGOTTEN_KEY, 0)] if is_shaped_as_generated(supplied) else []


def refuse_forgotten(conflict: Conflict) -> None:
    """Raises `InvalidSession` for a token that may have been used, and forgotten since."""
    if conflict.key == FORGOTTEN_KEY:
        problem = "is shaped like a generated one, and this ledger forgot which of those were used"
        raise InvalidSession("token", f"{problem}: leave it out to get a new one")
