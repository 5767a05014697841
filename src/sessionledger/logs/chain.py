"""The hash chain: each event carries the hash of the one before it and its own.

The record hash is SHA-256 over compact, key-sorted JSON of event id, headers, kind, time, payload
and topic. The headers lack the hash itself, and the payload's bytes are those that are stored.
There is no key, so this finds accidents and careless edits only. Somebody who can rewrite the whole
log can recompute all hashes: keep `head` elsewhere and compare.

A stub stands for an event that was erased. It has the hash of that event, and one of its own. Later
events list which stubs there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from hashlib import sha256

import msgspec

from sessionledger.errors import InvalidEvent
from sessionledger.logs.base import LogEvent, StoredEvent

SCHEMA_HEADER = "harn.provenance.schema"
PREV_HEADER = "harn.provenance.prev_hash"
HASH_HEADER = "harn.provenance.record_hash"
STUB_HEADER = "sessionledger.stub"
"""The hash of a stub, which covers all of it but this header."""
SCHEMA = "harn-eventlog-provenance-v1"
RESERVED_PREFIX = "harn.provenance."

# Kinds and topics are few, and each event has both.
_text = lru_cache(1024)(msgspec.json.Encoder().encode)

encode_headers = msgspec.json.Encoder(order="sorted").encode
"""Headers as they are stored and hashed: a compact JSON object, keys sorted by bytes."""


_headers = msgspec.json.Decoder(dict[str, str])


def decode_headers(text: bytes | str) -> dict[str, str]:
    """Headers as they are stored; none where that is not what they are."""
    try:
        return _headers.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def around_chain(headers: Mapping[str, str]) -> tuple[bytes, bytes]:
    """The headers as they are stored, before and after those of the chain."""
    first = {name: value for name, value in headers.items() if name < RESERVED_PREFIX}
    rest = {name: value for name, value in headers.items() if name not in first}
    before = encode_headers(first)[:-1] + b"," if first else b"{"
    return before, b"," + encode_headers(rest)[1:] if rest else b"}"


class Head(msgspec.Struct, frozen=True, gc=False):
    """The end of a topic: the id of its newest event and that event's hash; 0 and None if empty."""

    id: int
    hash: str | None


class Break(msgspec.Struct, frozen=True):
    """The first event at which a chain does not hold, and in what way."""

    id: int
    problem: str


EMPTY = Head(0, None)
"""The head of a topic without events."""


def link(topic: str, event: LogEvent, id: int, prev: str | None) -> StoredEvent:
    """The event as it is stored after one with the hash `prev`, under that id."""
    headers = dict(event.headers)
    if prev is not None:
        headers[PREV_HEADER] = prev
    headers[SCHEMA_HEADER] = SCHEMA
    headers[HASH_HEADER] = _hash(
        topic, id, event.kind, event.payload, headers, event.occurred_at_ms
    )
    return StoredEvent(id, event.kind, event.payload, headers, event.occurred_at_ms)


def head_after(event: StoredEvent) -> Head:
    """The head of a topic whose newest event this is."""
    return Head(event.id, event.headers.get(HASH_HEADER))


def record_hash(topic: str, event: StoredEvent) -> str:
    """The hash that the event should carry."""
    headers = {key: value for key, value in event.headers.items() if key != HASH_HEADER}
    return _hash(topic, event.id, event.kind, event.payload, headers, event.occurred_at_ms)


def stub_of(
    topic: str, event: StoredEvent, kind: str, payload: bytes, headers: Mapping[str, str], at: int
) -> StoredEvent:
    """What stands in the place of an event, which keeps its id and its place in the chain."""
    kept = {
        name: value for name, value in event.headers.items() if name.startswith(RESERVED_PREFIX)
    }
    left = {**headers, **kept}
    left.pop(STUB_HEADER, None)
    left[STUB_HEADER] = _hash(topic, event.id, kind, payload, left, at)
    return StoredEvent(event.id, kind, payload, left, at)


def is_stub(topic: str, event: StoredEvent) -> bool:
    """Whether an event is a stub as it was written. A list has to say that it should be one."""
    headers = dict(event.headers)
    found = headers.pop(STUB_HEADER, None)
    if found is None:
        return False
    return found == _hash(topic, event.id, event.kind, event.payload, headers, event.occurred_at_ms)


def unchained(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers without those of the chain."""
    return {key: value for key, value in headers.items() if not key.startswith(RESERVED_PREFIX)}


def verify(
    topic: str,
    events: Iterable[StoredEvent],
    head: Head = EMPTY,
    stubs: Mapping[int, Collection[str]] = {},
) -> Head | Break:
    """Walk the events that follow `head`; the new head, or the first event where it breaks.

    stubs: the hashes of the stubs that each event may be replaced by.
    """
    for event in events:
        problem = _problem(topic, event, head, stubs.get(event.id, ()))
        if problem is not None:
            return Break(event.id, problem)
        head = head_after(event)
    return head


def check_headers(event: LogEvent) -> None:
    """Raises `InvalidEvent` for an event that brings headers of the chain with it."""
    for key in event.headers:
        if key.startswith(RESERVED_PREFIX):
            raise InvalidEvent(f"the header {key!r} is the log's to write")


def _problem(topic: str, event: StoredEvent, head: Head, stubs: Collection[str]) -> str | None:
    if event.id <= head.id:
        return f"its id does not follow {head.id}"
    if head.hash is not None and event.headers.get(PREV_HEADER) != head.hash:
        return "it does not follow the event before it: one was removed, added or moved"
    if head.id == 0 and PREV_HEADER in event.headers:
        return "it follows an event that is not there: the beginning was removed"
    if HASH_HEADER not in event.headers:
        return "it is not chained"
    if event.headers[HASH_HEADER] != record_hash(topic, event):
        if is_stub(topic, event):
            is_listed = event.headers[STUB_HEADER] in stubs
            return None if is_listed else "it was erased, and no list of erased events has it"
        return "its content does not match its hash: it was changed"
    return None


def _hash(
    topic: str, id: int, kind: str, payload: bytes, headers: Mapping[str, str], at: int
) -> str:
    text = b'{"event_id":%d,"headers":%b,"kind":%b,"occurred_at_ms":%d,"payload":%b,"topic":%b}' % (
        id,
        encode_headers(headers),
        _text(kind),
        at,
        payload,
        _text(topic),
    )
    return "sha256:" + sha256(text).hexdigest()
