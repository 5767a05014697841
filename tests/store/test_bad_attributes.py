"""Attributes and annotations that can't be taken: refused by name, nothing written."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from sessionledger import InvalidSession, SessionStore
from sessionledger.testing.clock import NOON
from tests.store.conftest import OTHER, TOKEN

SURROGATE = "\ud800"
ROOM = 64 * 1024 - len('{"a":""}')
QUOTED = 'qu"oted\\token_' + "x" * 40
SECRETS = [OTHER, QUOTED, "\u0442\u043e\u043a\u0435\u043d" * 8]


def nested(levels: int) -> dict[str, Any]:
    """An object of so many levels."""
    inner: dict[str, Any] = {}
    for _ in range(levels - 1):
        inner = {"a": inner}
    return inner


def listed(levels: int) -> dict[str, Any]:
    """An object of so many levels, all but the first of them arrays."""
    inner: list[Any] = []
    for _ in range(levels - 2):
        inner = [inner]
    return {"a": inner}


def endless() -> dict[str, Any]:
    whole: dict[str, Any] = {}
    whole["whole"] = whole
    return whole


ATTRIBUTES = {
    "list": ["role"],
    "text": "role",
    "number": 7,
    "empty-list": [],
    "false": False,
    "big": {"a": "x" * (ROOM + 1)},
    "big-as-utf8": {"a": "\u00e9" * (ROOM // 2 + 1)},
    "big-when-escaped": {"a": "\n" * (ROOM // 2 + 1)},
    "deep": nested(65),
    "deep-in-lists": listed(65),
    "very-deep": nested(5000),
    "endless": endless(),
    "nan": {"a": math.nan},
    "infinity": {"a": [math.inf]},
    "minus-infinity": {"a": {"b": -math.inf}},
    "surrogate": {"a": SURROGATE},
    "surrogate-key": {SURROGATE: 1},
    "surrogate-inside": {"a": [{"b": "x" + SURROGATE}]},
    "number-key": {1: "a"},
    "none-key": {"a": {None: 1}},
    "tuple-key": {(1, 2): 1},
    "set": {"a": {1, 2}},
    "bytes": {"a": b"b"},
    "datetime": {"a": NOON},
    "span": {"a": timedelta(1)},
    "decimal": {"a": Decimal(1)},
    "object": {"a": object()},
    "token": {"a": TOKEN},
    "token-inside": {"a": [{"b": f"Bearer {TOKEN}"}]},
    "token-as-key": {TOKEN: 1},
}

ANNOTATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "reason-number": ("reason", {"reason": 7}),
    "reason-surrogate": ("reason", {"reason": SURROGATE}),
    "actor-bytes": ("actor", {"actor": b"root"}),
    "actor-surrogate": ("actor", {"actor": "a" + SURROGATE}),
    "context-text": ("context", {"context": "device"}),
    "context-list": ("context", {"context": [("device", "phone")]}),
    "context-number": ("context", {"context": {"port": 80}}),
    "context-none": ("context", {"context": {"device": None}}),
    "context-surrogate": ("context", {"context": {"device": SURROGATE}}),
    "context-key-number": ("context", {"context": {7: "seven"}}),
    "context-key-empty": ("context", {"context": {"": "nothing"}}),
    "context-key-control": ("context", {"context": {"a\n": "b"}}),
    "context-key-script": ("context", {"context": {"ger\u00e4t": "phone"}}),
    "reason-long": ("context", {"reason": "x" * 4097}),
    "long-together": ("context", {"reason": "\u00e9" * 1024, "actor": "x" * 2048}),
    "context-long": ("context", {"context": {"device": "x" * 4096}}),
    "reason-token": ("context", {"reason": f"leaked {TOKEN}"}),
    "actor-token": ("context", {"actor": TOKEN}),
    "context-token": ("context", {"context": {"cookie": f"id={TOKEN}"}}),
    "context-key-token": ("context", {"context": {TOKEN: "cookie"}}),
}


def is_refused(store: SessionStore, field: str, call: str, *given: Any, **named: Any) -> None:
    """The call raises for the field, tells no token and writes nothing."""
    before, session = store.head(), store.get(TOKEN)
    with pytest.raises(InvalidSession) as refused:
        getattr(store, call)(*given, **named)
    assert refused.value.field == field
    assert TOKEN not in str(refused.value) + repr(refused.value)
    assert (store.head(), store.get(TOKEN)) == (before, session)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_that_json_or_the_policy_does_not_allow(
    settled: SessionStore, name: str
) -> None:
    is_refused(settled, "attributes", "touch", TOKEN, attributes=ATTRIBUTES[name])


@pytest.mark.parametrize("name", [name for name in ATTRIBUTES if "token" not in name])
def test_a_session_is_not_created_with_such_attributes(settled: SessionStore, name: str) -> None:
    is_refused(settled, "attributes", "create", "bob", attributes=ATTRIBUTES[name])


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_annotations_that_are_no_text_too_long_or_secret(settled: SessionStore, name: str) -> None:
    field, said = ANNOTATIONS[name]
    is_refused(settled, field, "touch", TOKEN, **said)
    is_refused(settled, field, "expire", TOKEN, **said)


@pytest.mark.parametrize("name", [name for name in ANNOTATIONS if "token" not in name])
def test_other_calls_refuse_such_annotations_too(settled: SessionStore, name: str) -> None:
    field, said = ANNOTATIONS[name]
    session = settled.get(TOKEN)
    assert session is not None
    is_refused(settled, field, "create", "bob", **said)
    is_refused(settled, field, "revoke", handle=session.handle, **said)


def test_a_principal_that_holds_the_token_is_refused_as_such(settled: SessionStore) -> None:
    is_refused(settled, "principal", "create", f"bob {OTHER}", token=OTHER)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_session_is_not_created_with_its_own_token_in_it(
    settled: SessionStore, secret: str
) -> None:
    for field, said in (
        ("attributes", {"attributes": {"a": [f"<{secret}>"]}}),
        ("context", {"reason": secret}),
        ("context", {"actor": secret}),
        ("context", {"context": {"cookie": secret}}),
    ):
        is_refused(settled, field, "create", "bob", token=f" {secret}\n", **said)


@pytest.fixture
def ready(store: SessionStore) -> SessionStore:
    """A store with the token's session, of the test's own."""
    store.create("alice", token=TOKEN)
    return store


@pytest.mark.parametrize("secret", SECRETS)
def test_any_token_that_is_nowhere_else_is_taken(store: SessionStore, secret: str) -> None:
    assert store.create("bob", token=secret).version == 1


@pytest.mark.parametrize(
    "attributes",
    [{}, nested(64), listed(64), {"a": "x" * ROOM}, {"a": (1, 2.5, None, True, 2**80)}],
    ids=["empty", "deep", "deep-in-lists", "big", "all-kinds"],
)
def test_what_is_just_allowed_is_taken(ready: SessionStore, attributes: dict[str, Any]) -> None:
    expected = {key: list(v) if isinstance(v, tuple) else v for key, v in attributes.items()}
    issued = ready.create("bob", attributes=attributes)
    touched = ready.touch(TOKEN, attributes=attributes)
    assert touched is not None
    assert issued.attributes == touched.attributes == expected
    assert ready.get(TOKEN) == touched
    assert ready.get(issued.token) == issued


def test_annotations_of_just_the_allowed_length_are_taken(ready: SessionStore) -> None:
    reason = "x" * (4096 - len("sessionledger.reason"))
    session = ready.expire(TOKEN, reason=reason)
    assert session is not None
    assert list(ready.history(handle=session.handle))[-1].reason == reason
