"""What is sent: an event of a session as a thin message.

It says what happened to whose session, without the attributes that the application keeps in it. A
receiver that needs them asks for the session by its handle.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from sessionledger import HistoryEntry
from sessionledger.timestamps import stamp

CREATED: Final = "session.created"
TOUCHED: Final = "session.touched"
EXPIRED: Final = "session.expired"
EVERYBODY: Final = "everybody.revoked"
SELECTION: Final = "selection.revoked"
RESTORED: Final = "ledger.restored"
TEST: Final = "webhook.test"
FOR_ALL = (EVERYBODY, SELECTION, RESTORED)
TYPES = (CREATED, TOUCHED, EXPIRED, *FOR_ALL)

_OF_KIND = {
    "session_created": CREATED,
    "session_touched": TOUCHED,
    "session_expired": EXPIRED,
    "everybody_revoked": EVERYBODY,
    "selection_revoked": SELECTION,
    "ledger_restored": RESTORED,
}

_encode = msgspec.json.Encoder().encode


class Data(msgspec.Struct, frozen=True):
    """Which session, and what happened to it, why and by whom.

    kind: as the history names the event. handle: None where one call ends many sessions. cause:
    what ended it, where the event is an end. changed: names of the fields that are different now.
    readable: False for an event that was damaged, and so ended its session.
    """

    event_id: int
    kind: str
    handle: str | None
    principal: str | None
    cause: str | None
    reason: str | None
    actor: str | None
    context: dict[str, str]
    changed: list[str]
    readable: bool


class Message(msgspec.Struct, frozen=True):
    """The body of a webhook: a type, when it happened, and the data of that type."""

    type: str
    timestamp: str
    data: Data


def type_of(entry: HistoryEntry) -> str:
    """The type of the message about an event. One that can't be read ended its session."""
    return _OF_KIND.get(entry.kind, EXPIRED) if entry.readable else EXPIRED


def body_of(entry: HistoryEntry) -> bytes:
    """The message about an event, as JSON: the same bytes whenever it is sent."""
    taken = {name: getattr(entry, name) for name in Data.__struct_fields__ if name != "changed"}
    data = Data(**taken, changed=sorted(entry.changes))
    return _encode(Message(type_of(entry), stamp(entry.occurred_at), data))


def test_body(endpoint: str, at: datetime) -> bytes:
    """The message that tries an endpoint, by its id: it is about no event."""
    return _encode({"type": TEST, "timestamp": stamp(at), "data": {"endpoint": endpoint}})
