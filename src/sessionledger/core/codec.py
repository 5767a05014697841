"""Events and states as bytes.

`encode_event` writes the reference's payload text; `decode_event` reads what it, or anybody else,
wrote: unset optionals may be null or absent, unknown fields are ignored, and what is finer than a
microsecond is cut off. A payload that can't be read but shows a handle becomes `Malformed`, and so
does one of a damaged event, whose kind is empty; one that shows none concerns nobody and is None.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from sessionledger.canonical import nests_deeper
from sessionledger.core.events import (
    CREATED,
    ERASURE,
    EVERYBODY,
    EVERYBODY_ENDED,
    EXPIRED,
    RESTORED,
    SEALED,
    SELECTED,
    SIGNED_OUT,
    TOUCHED,
    Created,
    DecodedEvent,
    Erasure,
    Everybody,
    EverybodyEnded,
    Expired,
    Malformed,
    Restored,
    Sealed,
    Selected,
    SessionEvent,
    Touched,
)
from sessionledger.core.instant import written
from sessionledger.core.session import Ancestor, Broken, Seen, Session, State, Tombstone
from sessionledger.errors import CorruptLog

Instant = Annotated[datetime, msgspec.Meta(tz=True)]

_EMPTY = msgspec.Raw(b"{}")
_NULL = msgspec.Raw(b"null")
_FINER_THAN_MICROSECONDS = re.compile(r"(?<=\.\d{6})\d+", re.ASCII)
_CHARS_WITH_NANOSECONDS = len("2026-01-01T00:00:00.0000001Z")
_encode = msgspec.json.Encoder().encode


class _Record(msgspec.Struct, gc=False):
    token_handle: str
    principal: str
    created_at: str
    last_seen_at: str
    expires_at: str
    attributes: msgspec.Raw = _EMPTY
    authenticated_at: str | None = None
    deadline: str | None = None
    external_id: str | None = None
    family: str | None = None
    idle_timeout: timedelta | None = None
    ancestors: tuple[Ancestor, ...] | None = None
    rotations: tuple[int, ...] = ()
    generated: bool = False


class _CreatedPayload(msgspec.Struct, gc=False):
    record: _Record


class _NewRecord(msgspec.Struct, gc=False):
    """A record to be written. Keys in the order of their bytes: it is canonical without sorting."""

    ancestors: tuple[Ancestor, ...] | UnsetType
    attributes: msgspec.Raw
    authenticated_at: datetime | str | UnsetType
    created_at: datetime | str
    deadline: datetime | str | UnsetType
    expires_at: datetime | str
    external_id: str | UnsetType
    family: str | UnsetType
    generated: bool | UnsetType
    idle_timeout: timedelta | UnsetType
    last_seen_at: datetime | str
    principal: str
    rotations: tuple[int, ...] | UnsetType
    token_handle: str


class _NewPayload(msgspec.Struct, gc=False):
    record: _NewRecord


class _TouchedPayload(msgspec.Struct, gc=False):
    token_handle: str
    last_seen_at: str
    expires_at: str | None = None
    attributes: msgspec.Raw = _NULL  # not `Raw | None`, which msgspec reads as null only
    authenticated_at: str | None = None
    deadline: str | None = None
    successor: str | None = None
    has_children: bool | None = None
    superseded_by: str | None = None


class _ExpiredPayload(msgspec.Struct, gc=False):
    token_handle: str
    expired_at: str
    cause: str = SIGNED_OUT
    successor: str | None = None
    selection: int | None = None


class _EverybodyPayload(msgspec.Struct, gc=False):
    revoked_at: str


class _Named(msgspec.Struct, gc=False):
    token_handle: str


class _NamedRecord(msgspec.Struct, gc=False):
    record: _Named


_created = msgspec.json.Decoder(_CreatedPayload)
_touched = msgspec.json.Decoder(_TouchedPayload)
_expired = msgspec.json.Decoder(_ExpiredPayload)
_everybody = msgspec.json.Decoder(_EverybodyPayload)
_everybody_ended = msgspec.json.Decoder(EverybodyEnded)
_selected = msgspec.json.Decoder(Selected)
_sealed = msgspec.json.Decoder(Sealed)
_object = msgspec.json.Decoder(dict[str, Any])
_named = msgspec.json.Decoder(_Named)
_named_record = msgspec.json.Decoder(_NamedRecord)
# msgspec lets the second one out for text that is not UTF-8.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)
_read_session = msgspec.json.Decoder(Session).decode

_SEEN, _BROKEN, _TOMBSTONE = b"seen", b"broken", b"tombstone"
_MARKS: dict[bytes, Seen | Broken | Tombstone] = {
    _SEEN: Seen(),
    _BROKEN: Broken(),
    _TOMBSTONE: Tombstone(),
}

_set = msgspec.structs.force_setattr

# What the reference reads too. Beyond it a payload is malformed, whoever reads it: the
# interpreter's own limit depends on how deep its caller stands.
MAX_DEPTH = 127
_HANDLE = re.compile(rb"sha256:v1:[0-9a-f]{64}(?![0-9a-f])")
_FIRST_NAME = re.compile(rb'"(record|attributes|token_handle|expired_at|cause)":')
_NAMED_HANDLE = re.compile(rb'"token_handle"\s*:\s*"(sha256:v1:[0-9a-f]{64})"')


def encode_event(event: SessionEvent | Everybody | EverybodyEnded) -> tuple[str, bytes]:
    """An event as its kind and canonical payload."""
    match event:
        case Created():
            return CREATED, _encode(_NewPayload(_record(event)))
        case Touched():
            return TOUCHED, _encode(_touch(event))
        case Expired():
            return EXPIRED, _encode(_end(event))
        case Everybody():
            return EVERYBODY, _encode({"revoked_at": written(event.revoked_at)})
        case EverybodyEnded():
            return EVERYBODY_ENDED, _encode({"mark": event.mark})


def decode_event(kind: str, payload: bytes) -> DecodedEvent | None:
    """The event that a stored kind and payload stand for; None for one that concerns nobody."""
    read = _READERS.get(kind)
    if read is None:
        return None if kind else _visible(payload)
    if nests_deeper(payload, MAX_DEPTH):
        return _visible(payload)
    try:
        return read(payload)
    except _UNREADABLE:
        return _malformed(kind, payload)


def visible_handle(payload: bytes) -> str | None:
    """The only handle that can be that of an event, at a glance; None where one has to read it."""
    if payload.count(b'"token_handle"') != 1 or b"\\u" in payload:
        return None
    handle = _NAMED_HANDLE.search(payload)
    return None if handle is None else handle[1].decode()


def shows_creation(kind: str, damaged: bytes) -> bool:
    """Whether what is left of an event shows that it began a session."""
    first = _FIRST_NAME.search(damaged)
    return kind == CREATED or (first is not None and first[1] == b"record")


def encode_state(state: Session | Seen | Broken | Tombstone) -> bytes:
    """A state as the bytes of a row, without its version, which the row has beside it."""
    if isinstance(state, Session):
        return _encode(state)
    if isinstance(state, Seen):
        return _SEEN
    return _BROKEN if isinstance(state, Broken) else _TOMBSTONE


def decode_state(state: bytes) -> State:
    """The state that `encode_state` wrote; a session's version is 0."""
    try:
        return _read_session(state)
    except _UNREADABLE:
        mark = _MARKS.get(state)
    if mark is None:
        raise CorruptLog(
            "a row can't be read: run `sessionledger rebuild`, which folds it from its events; if "
            "that does not help, `sessionledger verify` names an event that was damaged"
        )
    return mark


def decode_session(version: int, state: bytes) -> Session | None:
    """The session in a row of that version; None where the row holds no session."""
    try:
        session = _read_session(state)
    except _UNREADABLE:
        decode_state(state)
        return None
    _set(session, "version", version)
    return session


# Keys are written in the order of their bytes: the text is canonical without sorting. What is ours
# is left out while it is unset.


def _record(event: Created) -> _NewRecord:
    authenticated_at, deadline = event.authenticated_at, event.deadline
    return _NewRecord(
        event.ancestors or UNSET,
        msgspec.Raw(event.attributes),
        UNSET if authenticated_at is None else written(authenticated_at),
        written(event.created_at),
        UNSET if deadline is None else written(deadline),
        written(event.expires_at),
        UNSET if event.external_id is None else event.external_id,
        UNSET if event.family is None else event.family,
        event.generated or UNSET,
        UNSET if event.idle_timeout is None else event.idle_timeout,
        written(event.last_seen_at),
        event.principal,
        event.rotations or UNSET,
        event.token_handle,
    )


def _touch(event: Touched) -> dict[str, object]:
    touch: dict[str, object] = {
        "attributes": None if event.attributes is None else msgspec.Raw(event.attributes)
    }
    if event.authenticated_at is not None:
        touch["authenticated_at"] = written(event.authenticated_at)
    if event.deadline is not None:
        touch["deadline"] = written(event.deadline)
    touch["expires_at"] = None if event.expires_at is None else written(event.expires_at)
    if event.has_children:
        touch["has_children"] = True
    touch["last_seen_at"] = written(event.last_seen_at)
    if event.successor is not None:
        touch["successor"] = event.successor
    if event.superseded_by is not None:
        touch["superseded_by"] = event.superseded_by
    touch["token_handle"] = event.token_handle
    return touch


def _end(event: Expired) -> dict[str, object]:
    end: dict[str, object] = {} if event.cause == SIGNED_OUT else {"cause": event.cause}
    end["expired_at"] = written(event.expired_at)
    if event.selection is not None:
        end["selection"] = event.selection
    if event.successor is not None:
        end["successor"] = event.successor
    end["token_handle"] = event.token_handle
    return end


def _read_created(payload: bytes) -> Created:
    record = _created.decode(payload).record
    return Created(
        attributes=_object_text(record.attributes),
        created_at=_instant(record.created_at),
        expires_at=_instant(record.expires_at),
        last_seen_at=_instant(record.last_seen_at),
        principal=record.principal,
        token_handle=record.token_handle,
        authenticated_at=_optional_instant(record.authenticated_at),
        deadline=_optional_instant(record.deadline),
        external_id=record.external_id,
        family=record.family,
        idle_timeout=record.idle_timeout,
        ancestors=record.ancestors or (),
        rotations=record.rotations,
        generated=record.generated,
    )


def _read_touched(payload: bytes) -> Touched:
    touch = _touched.decode(payload)
    given = bytes(touch.attributes) != b"null"
    return Touched(
        attributes=_object_text(touch.attributes) if given else None,
        expires_at=_optional_instant(touch.expires_at),
        last_seen_at=_instant(touch.last_seen_at),
        token_handle=touch.token_handle,
        authenticated_at=_optional_instant(touch.authenticated_at),
        deadline=_optional_instant(touch.deadline),
        successor=touch.successor,
        has_children=bool(touch.has_children),
        superseded_by=touch.superseded_by,
    )


def _read_expired(payload: bytes) -> Expired:
    end = _expired.decode(payload)
    return Expired(
        expired_at=_instant(end.expired_at),
        token_handle=end.token_handle,
        cause=end.cause,
        successor=end.successor,
        selection=end.selection,
    )


def _read_everybody(payload: bytes) -> Everybody:
    return Everybody(_instant(_everybody.decode(payload).revoked_at))


_READERS: dict[str, Callable[[bytes], DecodedEvent]] = {
    CREATED: _read_created,
    TOUCHED: _read_touched,
    EXPIRED: _read_expired,
    EVERYBODY: _read_everybody,
    EVERYBODY_ENDED: _everybody_ended.decode,
    SELECTED: _selected.decode,
    SEALED: _sealed.decode,
    RESTORED: msgspec.json.Decoder(Restored).decode,
    ERASURE: lambda _: Erasure(),
}


def _instant(text: str) -> datetime:
    # Cut, because msgspec would round, and so move an end past what was promised.
    if len(text) >= _CHARS_WITH_NANOSECONDS:
        text = _FINER_THAN_MICROSECONDS.sub("", text)
    return msgspec.convert(text, Instant)


def _optional_instant(text: str | None) -> datetime | None:
    return None if text is None else _instant(text)


def _object_text(raw: msgspec.Raw) -> bytes:
    """The text itself, once it is known to hold an object that can be read."""
    text = bytes(raw)
    if text != b"{}":
        _object.decode(text)
    return text


def _malformed(kind: str, payload: bytes) -> Malformed | Sealed | None:
    if kind == SEALED:
        return Sealed(forgotten=1)  # it may have said so
    try:
        if kind == CREATED:
            return Malformed(_named_record.decode(payload).record.token_handle)
        return Malformed(_named.decode(payload).token_handle)
    except _UNREADABLE:
        return _visible(payload)


def _visible(damaged: bytes) -> Malformed | None:
    """The handle that can be seen in what is not what was written any more.

    The last one: the handle is what each of our payloads ends with, and before it stand
    attributes, in which there may be anything.
    """
    handles = _NAMED_HANDLE.findall(damaged)
    if not handles and b'"token_handle"' not in damaged:
        # Those in the headers are of others.
        handles = _HANDLE.findall(damaged.partition(b',"headers":{')[0])
    return Malformed(handles[-1].decode()) if handles else None
