"""What is left of events once a person is erased, and the lists that say so. Pure.

1. A stub has the handle, and the day on which it happened. It has no salt. So nobody can try whose
   event the hash belonged to that is kept in the chain.
2. To the reference a stub is an ordinary event, of a session without a principal. To this package
   it makes a tombstone.
3. A plain sighting or end tells times alone. It stays, since its hash without a salt would confirm
   any guess of the times.
4. What others said of the person is blanked. Their events keep all else, and get another salt.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeAlias

import msgspec

from sessionledger.core.annotations import (
    ACTOR,
    CONTEXT_PREFIX,
    ERASED,
    REASON,
    SALT,
    is_personal,
)
from sessionledger.core.codec import encode_event
from sessionledger.core.events import (
    Created,
    DecodedEvent,
    Expired,
    Malformed,
    SessionEvent,
    Touched,
)
from sessionledger.core.history import RecordedEvent
from sessionledger.core.instant import from_milliseconds
from sessionledger.core.session import Ancestor, Session
from sessionledger.core.token import Handle

BLANK = "[erased]"
"""What stands in the place of what others said of an erased person."""
DAY_MS = 86_400_000

Content: TypeAlias = tuple[str, bytes, dict[str, str], int]
"""Kind, payload, headers without those of the log, and when it happened, in milliseconds."""


class Replaced(msgspec.Struct, frozen=True, array_like=True):
    """An event that is replaced: its id, its hash, and that of its stub.

    blanked: the headers that were blanked, where it is an event of somebody else.
    """

    id: int
    hash: str | None
    stub: str
    blanked: tuple[str, ...] = ()


class ErasureList(msgspec.Struct, frozen=True):
    """The events that are replaced, and the handles whose rows are."""

    events: tuple[Replaced, ...]
    handles: tuple[Handle, ...] = ()


encode_list = msgspec.json.Encoder(order="sorted").encode
decode_list = msgspec.json.Decoder(ErasureList).decode


class Who(msgspec.Struct, frozen=True):
    """Whose sessions are erased: all of a principal, those with some handles, or all of principals
    that somebody else knows."""

    principal: str | None
    handles: Collection[str] = ()
    is_erased: Callable[[str], bool] | None = None

    def owns(self, session: Created | Session, handle: str) -> bool:
        """Whether a session is theirs, or below one of theirs."""
        above: tuple[Ancestor, ...] = session.ancestors
        if handle in self.handles or any(one.family in self.handles for one in above):
            return True
        principals = {session.principal, *(one.principal for one in above)}
        if self.is_erased is not None and any(map(self.is_erased, principals)):
            return True
        return self.principal is not None and self.principal in principals

    def pattern(self) -> re.Pattern[str] | None:
        """What finds the principal in a text, as a word of its own."""
        if self.principal is None:
            return None
        return re.compile(rf"(?<!\w){re.escape(self.principal)}(?!\w)")


def is_erasable(happened: DecodedEvent, headers: Mapping[str, str]) -> bool:
    """Whether an event of an erased session is replaced. headers: without those of the log."""
    is_read = isinstance(happened, Created | Touched | Expired)
    return isinstance(happened, Malformed) or (is_read and is_personal(happened, headers))


def erased(event: RecordedEvent, happened: DecodedEvent) -> Content:
    """What is left of an event of an erased session."""
    handle = Handle(happened.token_handle)
    day_ms = event.occurred_at_ms - event.occurred_at_ms % DAY_MS
    left: SessionEvent
    match happened:
        case Created():
            left = Created(
                attributes=b"{}",
                created_at=_day(happened.created_at),
                expires_at=_day(happened.expires_at),
                last_seen_at=_day(happened.last_seen_at),
                principal="",
                token_handle=handle,
            )
        case Touched():
            left = Touched(None, None, _day(happened.last_seen_at), handle)
        case Expired():
            left = Expired(_day(happened.expired_at), handle)
        case _:
            left = Expired(from_milliseconds(day_ms), handle)
    return (*encode_event(left), {ERASED: "1"}, day_ms)


def blanked(event: RecordedEvent, headers: Mapping[str, str], names: Collection[str]) -> Content:
    """An event without what some of its headers say. headers: without those of the log."""
    left = {name: BLANK if name in names else value for name, value in headers.items()}
    if SALT in left:
        # One that can be made again by an erasure that goes on, and tells nothing of the old one.
        left[SALT] = b64encode(sha256(headers[SALT].encode()).digest()[:16])[:22].decode()
    return event.kind, event.payload, left, event.occurred_at_ms


def mentioning(headers: Mapping[str, str], pattern: re.Pattern[str] | None) -> tuple[str, ...]:
    """The headers in which somebody said something of the person."""
    if pattern is None:
        return ()
    told = [name for name in headers if name in (ACTOR, REASON) or name.startswith(CONTEXT_PREFIX)]
    return tuple(name for name in told if pattern.search(headers[name]))


def without(session: Session, told: Mapping[str, Collection[str]]) -> Session:
    """A session of somebody else, without what its context says. told: what the headers said."""
    context = {
        name: BLANK if text in told.get(CONTEXT_PREFIX + name, ()) else text
        for name, text in session.context.items()
    }
    return msgspec.structs.replace(session, context=context)


def _day(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
