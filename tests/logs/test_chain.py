"""The hash chain, purely: every kind of tampering shows. That logs chain, the suite tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sessionledger import InvalidEvent, LogEvent, StoredEvent
from sessionledger.logs import chain
from sessionledger.logs.chain import EMPTY, Break, Head
from sessionledger.testing.fixtures import TOPIC, event
from tests.strategies import json_values, texts


def linked(count: int) -> list[StoredEvent]:
    """A chain of so many events."""
    events: list[StoredEvent] = []
    head = EMPTY
    for n in range(count):
        events.append(chain.link(TOPIC, event(n=n), head.id + 1, head.hash))
        head = chain.head_after(events[-1])
    return events


LENGTH = 8
EVENTS = linked(LENGTH)
places = st.integers(0, LENGTH - 1)
inner = st.integers(0, LENGTH - 2)


def assert_breaks_at(events: list[StoredEvent], id: int) -> None:
    broken = chain.verify(TOPIC, events)
    assert isinstance(broken, Break), "nobody noticed"
    assert broken.id == id


def test_an_untouched_chain_holds() -> None:
    assert chain.verify(TOPIC, EVENTS) == Head(LENGTH, EVENTS[-1].headers[chain.HASH_HEADER])
    assert chain.verify(TOPIC, []) == EMPTY


@given(places)
def test_a_chain_can_be_walked_in_parts(place: int) -> None:
    head = chain.verify(TOPIC, EVENTS[:place])
    assert isinstance(head, Head)
    assert chain.verify(TOPIC, EVENTS[place:], head) == chain.head_after(EVENTS[-1])


CHANGES: dict[str, Callable[[StoredEvent], StoredEvent]] = {
    "kind": lambda e: replace(e, kind=e.kind + "x"),
    "payload": lambda e: replace(e, payload=e.payload.replace(b"alice", b"mallo")),
    "spacing": lambda e: replace(e, payload=e.payload.replace(b":", b": ", 1)),
    "time": lambda e: replace(e, occurred_at_ms=e.occurred_at_ms + 1),
    "header": lambda e: replace(e, headers={**e.headers, "new": "x"}),
    "schema": lambda e: replace(e, headers={**e.headers, chain.SCHEMA_HEADER: "x"}),
    "hash": lambda e: replace(e, headers={**e.headers, chain.HASH_HEADER: "sha256:0"}),
    "unchained": lambda e: replace(e, headers={}),
}


@pytest.mark.parametrize("change", CHANGES)
@given(place=places)
def test_a_change_is_found(change: str, place: int) -> None:
    events = [*EVENTS]
    events[place] = CHANGES[change](events[place])
    assert_breaks_at(events, place + 1)


@given(places)
def test_a_change_with_its_hash_recomputed_is_found_at_the_next(place: int) -> None:
    events = [*EVENTS]
    changed = CHANGES["payload"](events[place])
    rehashed = {**changed.headers, chain.HASH_HEADER: chain.record_hash(TOPIC, changed)}
    events[place] = replace(changed, headers=rehashed)
    if place == LENGTH - 1:
        assert chain.verify(TOPIC, events) != chain.head_after(EVENTS[-1])
    else:
        assert_breaks_at(events, place + 2)


@given(inner)
def test_a_removal_is_found(place: int) -> None:
    assert_breaks_at(EVENTS[:place] + EVENTS[place + 1 :], place + 2)


@given(places, places)
def test_an_exchange_is_found(one: int, other: int) -> None:
    if one == other:
        return
    events = [*EVENTS]
    events[one], events[other] = events[other], events[one]
    assert isinstance(chain.verify(TOPIC, events), Break)


@given(places, places)
def test_a_reordering_under_the_old_ids_is_found(one: int, other: int) -> None:
    if one == other:
        return
    events = [*EVENTS]
    events[one], events[other] = (
        replace(EVENTS[other], id=one + 1),
        replace(EVENTS[one], id=other + 1),
    )
    assert_breaks_at(events, min(one, other) + 1)


@given(inner)
def test_an_insertion_is_found(place: int) -> None:
    """Even one that was linked to the event before it: the next one gives it away."""
    before = EVENTS[place]
    forged = chain.link(TOPIC, event(n=99), before.id + 1, before.headers[chain.HASH_HEADER])
    moved = [replace(later, id=later.id + 1) for later in EVENTS[place + 1 :]]
    assert_breaks_at([*EVENTS[: place + 1], forged, *moved], place + 3)


@given(places)
def test_a_repetition_is_found(place: int) -> None:
    assert_breaks_at([*EVENTS[: place + 1], *EVENTS[place:]], place + 1)


def test_events_of_another_topic_are_found() -> None:
    broken = chain.verify("elsewhere", EVENTS)
    assert isinstance(broken, Break)
    assert broken.id == 1


@given(texts, json_values, st.dictionaries(texts, texts, max_size=3), st.integers(0, 2**53))
def test_the_hash_is_over_the_text_that_was_agreed_on(
    kind: str, value: Any, headers: dict[str, str], at: int
) -> None:
    stored = chain.link(
        TOPIC, LogEvent.of(kind, value, headers=headers, occurred_at_ms=at), 7, "sha256:before"
    )
    hashed = dict(stored.headers)
    own = hashed.pop(chain.HASH_HEADER)
    parts = {
        "event_id": "7",
        "headers": dumped(hashed),
        "kind": dumped(kind),
        "occurred_at_ms": str(at),
        "payload": stored.payload.decode(),
        "topic": dumped(TOPIC),
    }
    text = "{" + ",".join(f'"{name}":{part}' for name, part in parts.items()) + "}"
    assert own == "sha256:" + sha256(text.encode()).hexdigest()
    assert hashed[chain.PREV_HEADER] == "sha256:before"
    assert hashed[chain.SCHEMA_HEADER] == "harn-eventlog-provenance-v1"


def dumped(value: Any) -> str:
    """As `serde_json` writes it: compact, not escaping what needs no escape, keys by bytes."""
    if isinstance(value, dict):
        value = dict(sorted(value.items(), key=lambda item: item[0].encode()))
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def test_headers_of_the_chain_are_the_log_s_to_write() -> None:
    with pytest.raises(InvalidEvent, match="prev_hash"):
        chain.check_headers(LogEvent.of("k", {}, headers={chain.PREV_HEADER: "x"}))


def test_the_first_event_names_none_before_it() -> None:
    assert chain.PREV_HEADER not in EVENTS[0].headers
    assert all(chain.PREV_HEADER in later.headers for later in EVENTS[1:])
