"""Reason, actor and context as headers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sessionledger import InvalidSession, Policy, canonical
from sessionledger.core.annotations import (
    CONTEXT_PREFIX,
    annotate,
    context_headers,
    context_of,
    is_personal,
    refuse_secrets,
    with_context,
)
from sessionledger.core.codec import encode_event
from sessionledger.core.events import Created, Expired, Touched
from tests.strategies import HANDLE, START, texts, tokens

POLICY = Policy()
CREATED = Created(b"{}", START, START, START, "alice", HANDLE)
TOUCHED = Touched(None, None, START, HANDLE)
ENDED = Expired(START, HANDLE)
keys = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=10)


@given(texts, texts, st.dictionaries(keys, texts, max_size=4))
def test_the_context_comes_back(reason: str, actor: str, context: dict[str, str]) -> None:
    headers = annotate(reason, actor, context, POLICY)
    assert context_of(headers) == context
    assert headers["sessionledger.reason"] == reason
    assert headers["sessionledger.actor"] == actor


def test_nothing_said_is_no_header() -> None:
    assert annotate(None, None, None, POLICY) == {}
    assert annotate(None, None, {}, POLICY) == {}


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("reason", (7, None, None)),
        ("reason", ("\ud800", None, None)),
        ("actor", (None, b"root", None)),
        ("actor", (None, "\udfff", None)),
        ("context", (None, None, [("a", "b")])),
        ("context", (None, None, "device")),
        ("context", (None, None, {"": "x"})),
        ("context", (None, None, {"é": "x"})),
        ("context", (None, None, {"a\n": "x"})),
        ("context", (None, None, {1: "x"})),
        ("context", (None, None, {"a": 1})),
        ("context", (None, None, {"a": "\ud800"})),
        ("context", (None, None, {"a": "x" * 4096})),
        ("context", ("é" * 2100, None, None)),
    ],
)
def test_what_can_t_be_said_names_its_field(field: str, said: tuple[Any, Any, Any]) -> None:
    with pytest.raises(InvalidSession) as caught:
        annotate(*said, POLICY)
    assert caught.value.field == field


def created(attributes: bytes, principal: str) -> bytes:
    return encode_event(Created(attributes, START, START, START, principal, HANDLE))[1]


@given(tokens, st.sampled_from(["value", "key", "principal"]), texts, texts)
def test_a_token_in_what_would_be_stored_is_refused(
    token: str, place: str, before: str, after: str
) -> None:
    hidden = before + token + after
    attributes = {"value": {"a": [hidden]}, "key": {hidden: 1}, "principal": {}}[place]
    payload = created(canonical.encode(attributes), hidden if place == "principal" else "alice")
    with pytest.raises(InvalidSession) as caught:
        refuse_secrets(token, payload, {})
    assert token not in f"{caught.value} {caught.value!r} {caught.value.args}"


@pytest.mark.parametrize("headers", [{"a": "{}"}, {"{}": "a"}, {"a": "before {} after"}])
def test_a_token_in_a_header_is_refused(headers: dict[str, str]) -> None:
    token = "x" * 40
    told = {key.format(token): value.format(token) for key, value in headers.items()}
    with pytest.raises(InvalidSession):
        refuse_secrets(token, b"{}", told)


def test_a_context_has_one_order() -> None:
    headers = annotate(None, None, {"b": "1", "a": "2", "c": "3"}, POLICY)
    assert list(context_of(headers)) == ["a", "b", "c"]


@given(st.dictionaries(keys, texts, max_size=4))
def test_an_event_gets_the_context_of_its_headers(context: dict[str, str]) -> None:
    headers = annotate("why", "who", context, POLICY)
    assert context_headers(context) == {
        k: v for k, v in headers.items() if k.startswith(CONTEXT_PREFIX)
    }
    for event in (CREATED, TOUCHED):
        told = with_context(event, headers)
        assert isinstance(told, Created | Touched)
        assert told.context == context
        assert replace(told, context={}) == event
    assert with_context(ENDED, headers) == ENDED


def test_what_does_not_hold_the_token_is_taken() -> None:
    refuse_secrets("x" * 40, created(b'{"a":1}', "alice"), {"a": "b"})


def test_an_event_is_personal_if_it_tells_what_could_be_guessed() -> None:
    assert is_personal(CREATED, {})
    assert is_personal(replace(TOUCHED, attributes=b"{}"), {})
    assert is_personal(TOUCHED, {"sessionledger.context.ip": "192.0.2.1"})
    assert is_personal(ENDED, {"sessionledger.actor": "bob"})
    assert not is_personal(TOUCHED, {})
    assert not is_personal(ENDED, {})
