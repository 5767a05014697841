"""What a log keeps of a session: the fold that is handed to it, and rows read back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sessionledger.core.children import belongs_to_tree, decide_ends_below, tree_of
from sessionledger.core.codec import (
    decode_event,
    decode_session,
    decode_state,
    encode_event,
    encode_state,
    shows_creation,
)
from sessionledger.core.events import (
    EVERYBODY,
    KINDS,
    MARKS,
    DecodedEvent,
    Erased,
    Erasure,
    EverybodyEnded,
    Expired,
    Malformed,
    Restored,
    Sealed,
)
from sessionledger.core.families import is_superseded
from sessionledger.core.fold import evolve
from sessionledger.core.history import decoded
from sessionledger.core.instant import microseconds
from sessionledger.core.session import Broken, Seen, Session, State, Tombstone
from sessionledger.core.token import handle_of, key_of
from sessionledger.errors import CorruptLog
from sessionledger.logs import chain
from sessionledger.logs.base import (
    OVER,
    Draft,
    LogEvent,
    Row,
    RowFilter,
    Rule,
    StoredEvent,
    Verdict,
)

NOBODY = " "
"""The owner of tombstones: no principal is blank."""

_MOST_REMEMBERED = 1000
_UNTOLD = (Sealed, Restored, Erasure, Erased)


class SessionFold:
    """Events of the sessions topic into rows: the key is the handle's digest."""

    marks = MARKS

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._read: dict[int, tuple[LogEvent | StoredEvent, DecodedEvent | None]] = {}

    def key(self, event: LogEvent | StoredEvent) -> bytes | None:
        return _key_of(self.happened(event))

    def key_unremembered(self, event: StoredEvent) -> bytes | None:
        """The key of the session that an event concerns. The event is not kept to be folded."""
        happened = self._decode(event)
        return None if isinstance(happened, _UNTOLD) else _key_of(happened)

    def begins(self, damaged: StoredEvent) -> bool:
        return shows_creation(damaged.kind, damaged.payload)

    def evolve(self, row: Row | None, event: LogEvent | StoredEvent) -> Draft | None:
        # A mark that can't be read ends sessions nevertheless.
        happened = self.happened(event) or Malformed("")
        self._read.pop(id(event), None)
        state = evolve(state_of(row), happened)
        # A touch of a handle that was never created leaves nothing behind.
        return None if state is None else draft_of(state)

    def mark(self, event: StoredEvent, before: int) -> int:
        if event.kind == EVERYBODY:
            return event.id
        return 0 if self._decode(event) == EverybodyEnded(before) else before

    def aftermath(self, row: Row) -> Rule | None:
        """The ends of what others left without a parent."""
        session = None if row.live else intact_session_of(row)
        if session is None or session.ended_at is None or row.group is None:
            return None
        at = session.ended_at

        def decide(rows: Sequence[Row]) -> Verdict:
            known: dict[str, Row] = {handle_of(row.key): row for row in rows}
            tree = [one for row in rows if (one := intact_session_of(row)) is not None]
            ends = decide_ends_below(tree, (), at)
            return [(known[end.token_handle], _log_event(end, at)) for end in ends]

        return Rule(RowFilter(group=row.group, live_at=OVER), decide)

    def happened(self, event: LogEvent | StoredEvent) -> DecodedEvent | None:
        """What an event says; None for one that concerns nobody.

        Reading it is most of folding it. A log asks for the keys of a page of events, and then
        folds them one by one: each is remembered until it is folded.
        """
        known = self._read.get(id(event))
        if known is not None and known[0] is event:
            return known[1]
        happened = self._decode(event)
        self.remember(event, happened)
        return happened

    def remember(self, event: LogEvent | StoredEvent, happened: DecodedEvent | None) -> None:
        """What an event says, for a caller that knows without reading it."""
        if len(self._read) >= _MOST_REMEMBERED:
            self._read.clear()
        self._read[id(event)] = (event, happened)

    def _decode(self, event: LogEvent | StoredEvent) -> DecodedEvent | None:
        return decoded(event) or self._altered(event)

    def _altered(self, event: LogEvent | StoredEvent) -> DecodedEvent | None:
        """A damaged event whose kind is not one of ours any more, as its hash tells: it may have
        been the end of a session, which must not come back."""
        shown = None if event.kind in KINDS else decode_event("", event.payload)
        if shown is None or not isinstance(event, StoredEvent):
            return None
        found = event.headers.get(chain.HASH_HEADER)
        if found is None or found == chain.record_hash(self._topic, event):
            return None
        return shown


def _log_event(end: Expired, at: datetime) -> LogEvent:
    return LogEvent(*encode_event(end), {}, microseconds(at) // 1000)


def _key_of(happened: DecodedEvent | None) -> bytes | None:
    return None if happened is None else key_of(happened.token_handle)


def state_of(row: Row | None) -> State:
    """The state that a row holds. A damaged one fails closed, so that it can still be ended."""
    try:
        return None if row is None else decode_state(row.state)
    except CorruptLog:
        return Broken()


def draft_of(state: Session | Seen | Broken | Tombstone) -> Draft:
    """The row of a state, with what the log indexes by."""
    if isinstance(state, Session):
        expires = microseconds(state.expires_at)
        live = state.ended_at is None
        group = tree_of(state) if belongs_to_tree(state) else None
        names = (state.external_id, group)
        return Draft(
            state.principal, expires, live, encode_state(state), *names, is_superseded(state)
        )
    owner = NOBODY if isinstance(state, Tombstone) else ""
    return Draft(owner, 0, False, encode_state(state))


def session_of(row: Row | None) -> Session | None:
    """The session of a row, also an ended one; None where there never was one.

    Raises `CorruptLog` for a damaged row.
    """
    return None if row is None else decode_session(row.version, row.state)


def intact_session_of(row: Row | None) -> Session | None:
    """The session of a row; None also for a damaged one, so that it does not stop others."""
    try:
        return session_of(row)
    except CorruptLog:
        return None
