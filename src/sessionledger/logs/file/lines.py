"""Events as lines, and lines as events: pure.

A line is `{"id":1,"event":{"kind":…,"payload":…,"headers":…,"occurred_at_ms":…}}`, compact, with
the payload's bytes as they are hashed. Reading never fails:

1. An event has the id of its line if that is greater than the id before it, else the next one.
2. A line that is no event becomes a damaged one. It has the kind, if that can be read. Its payload
   is the whole line, which the fold can search for the key that it concerned.
3. Events that follow a torn line without a line end are taken apart from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from sessionledger import canonical
from sessionledger.errors import CorruptLog
from sessionledger.logs import chain
from sessionledger.logs.base import StoredEvent
from sessionledger.logs.units import MAX_PAYLOAD_DEPTH, UNIT_HEADER

# A payload in its event in its line. The reference reads less; the interpreter's own limit depends
# on the depth of the call.
MAX_DEPTH = MAX_PAYLOAD_DEPTH + 2
_MAX_ID = 1 << 62

# How many pieces a damaged line is searched for.
_MAX_GLUED = 100
_BEGINNING = re.compile(rb'\{"id":\d{1,20},"event":(?=\{")')
_ID = re.compile(rb'\{"id":(\d{1,18}),')
# Only if the bytes behind it are intact: otherwise the kind itself may be damaged.
_KIND = re.compile(rb'\{"id":[^,]{0,40},"event":\{"kind":"([^"\\\x00-\x1f]{0,200})","payload":')
_UNIT_NUMBER = re.compile(r"([1-9]\d{0,17})/([1-9]\d{0,17})", re.ASCII)

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)


class _Event(msgspec.Struct, gc=False):
    kind: str
    payload: msgspec.Raw
    headers: dict[str, str]
    occurred_at_ms: int


class _Line(msgspec.Struct, gc=False):
    id: int
    event: _Event


_decode = msgspec.json.Decoder(_Line).decode
_text = msgspec.json.Encoder().encode


def encode(event: StoredEvent) -> bytes:
    """The line of an event, with its end."""
    return b'{"id":%d,"event":{"kind":%b,"payload":%b,"headers":%b,"occurred_at_ms":%d}}\n' % (
        event.id,
        _text(event.kind),
        event.payload,
        chain.encode_headers(event.headers),
        event.occurred_at_ms,
    )


def line_of(event: StoredEvent) -> bytes:
    """The line of an event, which reads as that event. Raises `CorruptLog` where none does."""
    line = encode(event)
    if whole_event(line) != event:
        raise CorruptLog(f"event {event.id} can't be written as a line: its payload is not JSON")
    return line


def event_of(text: bytes, after: int) -> StoredEvent:
    """The event of a piece of a line, which follows the event with the id `after`."""
    return _whole(text, after) or _damaged(text.rstrip(), after)


def visible_id(text: bytes) -> int:
    """The id at the beginning of a line, 0 if there is none."""
    found = _ID.match(text)
    return int(found[1]) if found else 0


def with_rest(damaged: StoredEvent, rest: bytes) -> StoredEvent:
    """A damaged event, and the rest of it, which stands in a line of its own."""
    text = damaged.payload + b"\n" + rest
    return StoredEvent(damaged.id, damaged.kind, text, damaged.headers, damaged.occurred_at_ms)


def whole_event(text: bytes) -> StoredEvent | None:
    """The event of a piece of a line, with the id that stands there; None if it is damaged."""
    return _whole(text, 0)


def whole_events(line: bytes) -> list[StoredEvent]:
    """The events of a line that are whole, with the ids that stand there."""
    starts = beginnings(line)
    pieces = (line[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True))
    return [event for piece in pieces if (event := _whole(piece, 0)) is not None]


def pieces_of(line: bytes, after: int) -> Iterator[tuple[int, bytes, StoredEvent]]:
    """The pieces of a line, one unless it was damaged: where each begins, and its event."""
    event = _whole(line, after)
    if event is not None:
        yield 0, line, event
        return
    starts = beginnings(line)
    for start, end in zip(starts, [*starts[1:], len(line)], strict=True):
        event = event_of(line[start:end], after)
        yield start, line[start:end], event
        after = event.id


def unit_of(event: StoredEvent) -> tuple[int, int]:
    """The number of the event in its unit, from 1, and how many events that has."""
    found = _UNIT_NUMBER.fullmatch(event.headers.get(UNIT_HEADER, ""))
    number, of = (int(found[1]), int(found[2])) if found else (1, 1)
    return (number, of) if number <= of else (1, 1)


def _whole(text: bytes, after: int) -> StoredEvent | None:
    if canonical.nests_deeper(text, MAX_DEPTH):
        return None
    try:
        line = _decode(text)
    except _UNREADABLE:
        return None
    id, event, headers = line.id, line.event, line.event.headers
    if not after < id <= _MAX_ID:
        # The chain may not vouch for an id that is not in the line.
        id, headers = after + 1, chain.unchained(headers)
    return StoredEvent(id, event.kind, bytes(event.payload), headers, event.occurred_at_ms)


def _damaged(text: bytes, after: int) -> StoredEvent:
    return StoredEvent(after + 1, _visible_kind(text), text, {}, 0)


def _visible_kind(text: bytes) -> str:
    found = _KIND.match(text)
    try:
        return "" if found is None else found[1].decode()
    except UnicodeDecodeError:
        return ""


def beginnings(line: bytes) -> list[int]:
    """Where the pieces of a line begin: at 0, and wherever an event does that is whole."""
    starts: list[int] = []
    end = len(line)
    for found in reversed(list(_BEGINNING.finditer(line))[-_MAX_GLUED:]):
        if _whole(line[found.start() : end], 0) is not None:
            end = found.start()
            starts.append(end)
    return sorted({0, *starts})
