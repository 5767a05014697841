"""Events and states as bytes: exact both ways, and forgiving only where the reference is."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import Session, canonical
from sessionledger.core.codec import (
    decode_event,
    decode_session,
    decode_state,
    encode_event,
    encode_state,
    visible_handle,
)
from sessionledger.core.events import (
    CREATED,
    EXPIRED,
    KINDS,
    SIGNED_OUT,
    TOUCHED,
    Created,
    Expired,
    Malformed,
    SessionEvent,
    Touched,
)
from sessionledger.core.fold import evolve
from sessionledger.core.session import Broken, Seen
from sessionledger.core.token import key_of
from tests.sameness import same_instant, same_json
from tests.strategies import (
    HANDLE,
    START,
    events,
    handles,
    instants,
    json_objects,
    json_values,
    texts,
)

RECORD = {
    "token_handle": HANDLE,
    "principal": "alice",
    "created_at": "2026-05-02T12:00:00Z",
    "last_seen_at": "2026-05-02T12:00:00Z",
    "expires_at": "2026-05-02T13:00:00Z",
}


@given(events(instants))
def test_an_event_survives_its_bytes(event: SessionEvent) -> None:
    again = decode_event(*encode_event(event))
    assert again == event
    for name in event.__struct_fields__:
        if name.endswith("_at") or name == "deadline":
            assert same_instant(getattr(again, name), getattr(event, name))


@given(events(instants))
def test_a_payload_is_canonical(event: SessionEvent) -> None:
    _, payload = encode_event(event)
    assert canonical.encode(canonical.decode(payload)) == payload


@given(json_objects, texts, instants)
def test_a_session_survives_its_bytes(attributes: dict[str, Any], principal: str, at: Any) -> None:
    session = Session(HANDLE, principal, at, at, at, attributes, deadline=at, ended_at=at)
    again = decode_state(encode_state(session))
    assert isinstance(again, Session)
    assert again == session
    assert same_json(again.attributes, attributes)
    assert same_instant(again.deadline, at)


@given(events(instants), st.lists(handles, max_size=3))
def test_whatever_an_event_makes_survives_its_bytes(
    event: SessionEvent, successors: list[str]
) -> None:
    state = evolve(None, event)
    if isinstance(state, Session):
        told: dict[str, Any] = {"successors": tuple(successors), "context": {"device": "phone"}}
        state = msgspec.structs.replace(state, **told)
    assert state is None or decode_state(encode_state(state)) == state


@given(events(instants))
def test_what_is_not_set_is_not_written(event: SessionEvent) -> None:
    ours = {"authenticated_at", "deadline", "external_id", "family", "idle_timeout"}
    ours |= {"successor", "cause"}
    payload = canonical.decode(encode_event(event)[1])
    written = payload.get("record", payload).keys()
    told = {name for name in ours if getattr(event, name, None) not in (None, SIGNED_OUT)}
    assert written & ours == told
    assert "context" not in written


def test_our_fields_are_written_in_their_place() -> None:
    until = START + timedelta(hours=1)
    ours: dict[str, Any] = {"authenticated_at": START, "deadline": until, "external_id": "sid"}
    ours |= {"family": HANDLE, "idle_timeout": timedelta(minutes=30)}
    created = Created(b"{}", START, START, START, "alice", HANDLE, **ours)
    payload = encode_event(created)[1]
    assert canonical.encode(canonical.decode(payload)) == payload
    record = canonical.decode(payload)["record"]
    assert record["authenticated_at"] == "2026-05-02T12:00:00Z"
    assert record["deadline"] == "2026-05-02T13:00:00Z"
    assert (record["external_id"], record["family"]) == ("sid", HANDLE)
    assert record["idle_timeout"] == "PT1800S"
    ended = encode_event(Expired(START, HANDLE, cause="reused"))[1]
    at, handle = b'"2026-05-02T12:00:00Z"', HANDLE.encode()
    assert ended == b'{"cause":"reused","expired_at":%b,"token_handle":"%b"}' % (at, handle)


@given(st.integers(1, 2**62))
def test_a_decoded_session_has_the_version_of_its_row(version: int) -> None:
    session = Session(HANDLE, "alice", START, START, START, {})
    again = decode_session(version, encode_state(session))
    assert again is not None
    assert again.version == version


@pytest.mark.parametrize("state", [Seen(), Broken()])
def test_the_other_states_survive_their_bytes(state: Seen | Broken) -> None:
    assert decode_state(encode_state(state)) == state
    assert decode_session(1, encode_state(state)) is None


def test_payloads_are_the_reference_s_byte_for_byte() -> None:
    created = Created(b'{"n":1e+16}', START, START, START, "alice", HANDLE)
    touched = Touched(None, None, START, HANDLE)
    at = b'"2026-05-02T12:00:00Z"'
    handle = HANDLE.encode()
    assert encode_event(created) == (
        CREATED,
        b'{"record":{"attributes":{"n":1e+16},"created_at":%b,"expires_at":%b,'
        b'"last_seen_at":%b,"principal":"alice","token_handle":"%b"}}' % (at, at, at, handle),
    )
    assert encode_event(touched) == (
        TOUCHED,
        b'{"attributes":null,"expires_at":null,"last_seen_at":%b,"token_handle":"%b"}'
        % (at, handle),
    )
    assert encode_event(Expired(START, HANDLE)) == (
        EXPIRED,
        b'{"expired_at":%b,"token_handle":"%b"}' % (at, handle),
    )


@pytest.mark.parametrize("given_as", [{}, {"attributes": {}}, {"attributes": {}, "new": [1]}])
def test_absent_and_unknown_fields_are_taken(given_as: dict[str, Any]) -> None:
    event = decode_event(CREATED, json.dumps({"record": RECORD | given_as}).encode())
    assert event == Created(
        b"{}", START, START.replace(hour=13), START, "alice", HANDLE, deadline=None
    )


@pytest.mark.parametrize("unset", [{}, {"expires_at": None, "attributes": None}])
def test_unset_optionals_are_null_or_absent(unset: dict[str, Any]) -> None:
    payload = {"token_handle": HANDLE, "last_seen_at": "2026-05-02T12:00:00Z"} | unset
    event = decode_event(TOUCHED, json.dumps(payload).encode())
    assert event == Touched(None, None, START, HANDLE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"created_at": "yesterday"},
        {"created_at": "2026-05-02T12:00:00"},
        {"created_at": 5},
        {"principal": None},
        {"attributes": None},
        {"attributes": []},
        {"attributes": {"n": "REPLACED"}},
        {"expires_at": "2026-13-02T12:00:00Z"},
    ],
)
def test_an_unreadable_event_still_names_its_handle(wrong: dict[str, Any]) -> None:
    payload = json.dumps({"record": RECORD | wrong}).replace('"REPLACED"', "1e999")
    assert decode_event(CREATED, payload.encode()) == Malformed(HANDLE)


@pytest.mark.parametrize("kind", [TOUCHED, EXPIRED])
def test_an_unreadable_touch_or_expiry_still_names_its_handle(kind: str) -> None:
    assert decode_event(kind, json.dumps({"token_handle": HANDLE}).encode()) == Malformed(HANDLE)


@pytest.mark.parametrize("kind", [CREATED, TOUCHED, EXPIRED])
@pytest.mark.parametrize(
    "payload", [b"", b"null", b"{}", b"[]", b'{"record":1}', b"\xff", b"[" * 9]
)
def test_an_event_that_names_nobody_concerns_nobody(kind: str, payload: bytes) -> None:
    assert decode_event(kind, payload) is None


@given(texts.filter(lambda kind: kind not in (CREATED, TOUCHED, EXPIRED)), st.binary())
def test_an_unknown_kind_concerns_nobody(kind: str, payload: bytes) -> None:
    assert decode_event(kind, payload) is None


@given(st.sampled_from([CREATED, TOUCHED, EXPIRED]), st.binary() | json_values.map(json.dumps))
def test_decoding_never_raises(kind: str, payload: bytes | str) -> None:
    text = payload if isinstance(payload, bytes) else payload.encode()
    assert decode_event(kind, text) is None


@given(st.sampled_from([CREATED, TOUCHED, EXPIRED]), json_values)
def test_decoding_never_raises_for_what_names_a_handle(kind: str, other: Any) -> None:
    named = RECORD | {"attributes": other, "expired_at": other, "record": RECORD}
    event = decode_event(kind, msgspec.json.encode(named))
    assert event is not None
    assert event.token_handle == HANDLE


SEEN, OTHER = HANDLE.encode(), b"sha256:v1:" + b"0" * 64


@pytest.mark.parametrize(
    "payload",
    [
        b'{"token_handle":"%b"}' % SEEN,
        b'{"record":{"token_handle":"%b"}}' % SEEN,
        b'{"attributes":{"token_handle":"%b"}}' % SEEN,
        b'{"token\\u005fhandle":"%b","a":{"token_handle":"%b"}}' % (OTHER, SEEN),
        b'{"token_handle":"%b","a":{"token_handle":"%b"}}' % (OTHER, SEEN),
        b'{"a":{"token_handle":"%b"},"token_handle":"\\u0073ha256:v1:%b"}' % (SEEN, OTHER[-64:]),
        b'{"token_handle" : "x","a":"\\"token_handle\\":\\"%b\\""}' % SEEN,
        b'{"token_handle":"%b"' % SEEN,
        b'{"token_handle":5}',
        b"[]",
        b"",
    ],
)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_handle_in_sight_is_the_only_one_that_reading_can_find(kind: str, payload: bytes) -> None:
    in_sight = visible_handle(payload)
    happened = decode_event(kind, payload)
    if in_sight is not None and happened is not None and key_of(happened.token_handle):
        assert happened.token_handle == in_sight
