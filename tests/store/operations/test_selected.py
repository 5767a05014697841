"""Ending the sessions that meet some criteria."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from ipaddress import ip_network
from itertools import takewhile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from sessionledger import HistoryEntry, InvalidSession, Session, SessionStore
from sessionledger.store.operations import selected
from sessionledger.testing.clock import Clock
from tests import reference_fold
from tests.store.conftest import TOKEN
from tests.store.facade import URLS, Bench, Kind

MINUTE = timedelta(minutes=1)
NAIVE = datetime(2026, 5, 2, 13)  # noqa: DTZ001  naive is what it is about


def begun(store: SessionStore, clock: Clock) -> list[Session]:
    """Three sessions that differ in all that can be asked for, a minute apart."""
    told: list[dict[str, Any]] = [
        {"external_id": "a", "attributes": {"role": "admin", "level": 1}},
        {"external_id": "b", "attributes": {"role": "admin", "level": True}},
        {"external_id": "a", "attributes": {"level": [1]}},
    ]
    addresses = ["192.0.2.7", "::ffff:192.0.2.200", "2001:db8::1"]
    sessions: list[Session] = []
    for name, address, one in zip(("alice", "bob", "carol"), addresses, told, strict=True):
        sessions.append(store.create(name, context={"address": address}, **one))
        clock.advance(MINUTE)
    return sessions


def minutes(count: int) -> timedelta:
    return count * MINUTE


SELECTED: dict[str, tuple[dict[str, Any], Sequence[int]]] = {
    "principals": ({"principals": ["alice", " carol "]}, [0, 2]),
    "one-principal": ({"principals": "bob"}, [1]),
    "external-id": ({"external_id": "a"}, [0, 2]),
    "begun-before": ({"begun_before": minutes(1)}, [0]),
    "begun-after": ({"begun_after": minutes(1)}, [1, 2]),
    "begun-within": ({"begun_after": minutes(1), "begun_before": minutes(2)}, [1]),
    "seen-before": ({"last_seen_before": minutes(2)}, [0, 1]),
    "seen-after": ({"last_seen_after": minutes(2)}, [2]),
    "network": ({"address_in": ip_network("192.0.2.0/24")}, [0, 1]),
    "network-as-text": ({"address_in": "192.0.2.0/25"}, [0]),
    "network-v6": ({"address_in": ip_network("2001:db8::/32")}, [2]),
    "attributes": ({"attributes": {"role": "admin"}}, [0, 1]),
    "attribute-of-a-type": ({"attributes": {"level": 1}}, [0]),
    "attribute-with-a-list": ({"attributes": {"level": [1]}}, [2]),
    "all-together": ({"external_id": "a", "attributes": {"role": "admin"}}, [0]),
    "nobody": ({"principals": ["bob"], "external_id": "a"}, []),
}


@pytest.mark.parametrize(("criteria", "expected"), SELECTED.values(), ids=SELECTED)
def test_those_that_meet_every_criterion_end(
    store: SessionStore, clock: Clock, criteria: dict[str, Any], expected: Sequence[int]
) -> None:
    start, sessions = clock.now, begun(store, clock)
    given: dict[str, Any] = {
        name: start + value if isinstance(value, timedelta) else value
        for name, value in criteria.items()
    }
    head = store.head()
    assert store.revoke_where(**given, dry_run=True) == len(expected)
    assert store.head() == head, "it only counted"
    assert store.revoke_where(**given) == len(expected)
    left = [number for number in range(3) if store.find(handle=sessions[number].handle)]
    assert left == [number for number in range(3) if number not in expected]
    assert store.revoke_where(**given) == 0
    assert store.head().id == head.id + len(expected) + bool(expected)
    assert store.diagnose() == []


BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "nothing": ("criteria", {}),
    "no-principal": ("principals", {"principals": []}),
    "blank-principal": ("principal", {"principals": [" "]}),
    "number": ("principal", {"principals": 7}),
    "many": ("principals", {"principals": [f"p{number}" for number in range(1001)]}),
    "no-attribute": ("attributes", {"attributes": {}}),
    "list": ("attributes", {"attributes": ["role"]}),
    "token": ("attributes", {"attributes": {"role": "harn_sess_" + "A" * 43}}),
    "naive": ("begun_before", {"begun_before": NAIVE}),
    "text-time": ("last_seen_after", {"last_seen_after": "2026-05-02T13:00:00Z"}),
    "host-bits": ("address_in", {"address_in": "192.0.2.7/24"}),
    "no-network": ("address_in", {"address_in": "office"}),
    "blank-id": ("external_id", {"external_id": " "}),
    "reason": ("reason", {"external_id": "a", "reason": 7}),
}


@pytest.mark.parametrize(("field", "given"), BAD.values(), ids=BAD)
def test_what_can_t_be_taken_is_named_and_ends_nobody(
    store: SessionStore, field: str, given: dict[str, Any]
) -> None:
    store.create("alice", token=TOKEN)
    with pytest.raises(InvalidSession) as refused:
        store.revoke_where(**given)
    assert refused.value.field == field
    assert (store.head().id, store.count()) == (1, 1)


def test_no_criterion_names_the_call_that_ends_everybody(store: SessionStore) -> None:
    with pytest.raises(InvalidSession, match="revoke_everybody"):
        store.revoke_where()


def test_one_event_and_every_end_say_who_did_it_and_why(store: SessionStore, clock: Clock) -> None:
    alice, *_ = begun(store, clock)
    told: dict[str, Any] = {"reason": "stolen laptops", "actor": "ops"}
    assert store.revoke_where(external_id="a", address_in="192.0.2.0/24", **told) == 1
    *_, event, end = store.events()
    assert event.kind == "selection_revoked"
    assert event.value["counted"] == 1
    assert event.value["criteria"] == {"external_id": "a", "address_in": "192.0.2.0/24"}
    kept = {"sessionledger.reason": "stolen laptops", "sessionledger.actor": "ops"}
    assert kept.items() <= event.headers.items()
    assert kept.items() <= end.headers.items()
    assert end.value["selection"] == event.id
    *_, entry = store.history(handle=alice.handle)
    assert (entry.cause, entry.reason, entry.actor) == ("revoked", "stolen laptops", "ops")
    assert entry.changes["selection"] == event.id
    store.rebuild()
    assert store.count() == 2
    assert store.diagnose() == []


def test_the_event_is_told_in_histories_and_to_who_watches(
    store: SessionStore, clock: Clock
) -> None:
    alice, bob, _ = begun(store, clock)
    store.create("alice", token=TOKEN)
    store.revoke_where(principals="alice", reason="stolen laptops", actor="ops")
    (event,) = [one for one in store.events() if one.kind == "selection_revoked"]
    watched = [one for one in told(store, None) if one.event_id == event.id]
    assert [(one.kind, one.handle, one.reason, one.actor, one.changes) for one in watched] == [
        ("selection_revoked", None, "stolen laptops", "ops", {})
    ]
    assert [one.event_id for one in told(store, "nobody")] == [event.id]
    for size in (1, 2, 3, 1000):
        entries = list(store.history(handle=alice.handle, page_size=size))
        kinds = ["session_created", "selection_revoked", "session_expired"]
        assert [one.kind for one in entries] == kinds
        assert (entries[1].event_id, entries[1].reason) == (event.id, "stolen laptops")
        assert (entries[1].cause, entries[1].changes) == (None, {})
        both = list(store.history(principal="alice", page_size=size))
        assert [one.kind for one in both].count("selection_revoked") == 2
        assert [one.event_id for one in both] == sorted(one.event_id for one in both)
        rest = list(store.history(handle=alice.handle, after=event.id, page_size=size))
        assert [one.kind for one in rest] == ["session_expired"]
    assert "selection_revoked" not in [one.kind for one in store.history(handle=bob.handle)]


@pytest.mark.parametrize("backend", URLS)
def test_a_session_that_is_touched_amid_a_selection_tells_it_in_order(
    tmp_path: Path, backend: str
) -> None:
    with closing(Bench(Kind("sync", backend), tmp_path / "ledger")) as bench:
        tell_a_selection_amid_touches(bench.open())


def tell_a_selection_amid_touches(store: SessionStore) -> None:
    _, bob = (store.create(name) for name in ("alice", "bob"))

    def touch(ended: int) -> None:
        # Between the event and this session's end, which comes with the next page of principals.
        assert (store.touch(bob.token) is not None) == (ended == 1)

    with patch.object(selected, "OWNERS", 1):
        store.revoke_where(principals=["alice", "bob"], progress=touch)
    kinds = ["session_created", "selection_revoked", "session_touched", "session_expired"]
    for size in (1, 2, 3, 1000):
        entries = list(store.history(handle=bob.handle, page_size=size))
        assert [one.kind for one in entries] == kinds


def told(store: SessionStore, principal: str | None) -> list[HistoryEntry]:
    """What a watch tells until it caught up."""
    entries = takewhile(
        lambda one: isinstance(one, HistoryEntry), store.watch(after=0, principal=principal)
    )
    return [one for one in entries if isinstance(one, HistoryEntry)]


def test_a_child_that_is_selected_too_counts_whoever_ends_it(store: SessionStore) -> None:
    """By chance the rule of its parent's principal comes before its own."""
    for number in range(8):
        parent = store.create(f"alice-{number}", attributes={"role": "admin"})
        store.create(f"bot-{number}", parent=parent.token, attributes={"role": "admin"})
        store.create(f"cron-{number}", parent=parent.token)
    assert store.revoke_where(attributes={"role": "admin"}, dry_run=True) == 16
    assert store.revoke_where(attributes={"role": "admin"}) == 16


def test_children_that_end_with_a_selection_name_it(store: SessionStore) -> None:
    parent = store.create("alice", token=TOKEN)
    child = store.create("bot", parent=TOKEN)
    store.revoke_where(principals=["alice"], reason="left")
    for one, cause in ((parent, "revoked"), (child, "parent_ended")):
        *_, selection, end = store.history(handle=one.handle)
        assert (selection.kind, selection.reason) == ("selection_revoked", "left")
        assert (end.cause, end.changes["selection"]) == (cause, selection.event_id)


def test_the_reference_sees_them_end(store: SessionStore, clock: Clock) -> None:
    begun(store, clock)
    store.revoke_where(external_id="a")
    events = [(event.kind, event.value) for event in store.events()]
    ended = [one["expired"] for one in reference_fold.fold(events).sessions.values()]
    assert ended == [True, False, True]


def test_a_family_ends_as_one_login_and_its_children_with_it(store: SessionStore) -> None:
    first = store.create("alice", attributes={"role": "admin"})
    second = store.rotate(first.token, grace=MINUTE)
    assert second is not None
    child = store.create("job", parent=second.token)
    assert store.revoke_where(attributes={"role": "admin"}, dry_run=True) == 1
    assert store.revoke_where(attributes={"role": "admin"}) == 1
    for token in (first.token, second.token, child.token):
        assert store.get(token) is None


def test_a_replaced_token_within_its_grace_takes_its_login_along(
    store: SessionStore, clock: Clock
) -> None:
    first = store.create("alice", context={"address": "192.0.2.7"})
    second = store.rotate(first.token, grace=MINUTE)
    assert second is not None
    clock.advance(MINUTE / 2)
    store.touch(second.token, context={"address": "198.51.100.1"})
    assert store.revoke_where(address_in="192.0.2.0/24") == 1
    assert store.get(second.token) is None


def test_a_rotation_does_not_make_a_login_younger(store: SessionStore, clock: Clock) -> None:
    first = store.create("alice")
    clock.advance(MINUTE)
    second = store.rotate(first.token)
    assert second is not None
    assert store.revoke_where(begun_before=clock.now) == 1
    assert store.get(second.token) is None


def test_a_superseded_session_does_not_tell_when_its_login_was_seen(
    store: SessionStore, clock: Clock
) -> None:
    first = store.create("alice", context={"address": "192.0.2.7"})
    second = store.rotate(first.token, grace=MINUTE)
    assert second is not None
    clock.advance(10 * MINUTE)
    store.touch(second.token, context={"address": "198.51.100.1"})
    assert store.revoke_where(last_seen_before=clock.now) == 0
    assert store.revoke_where(address_in="192.0.2.0/24") == 0
    assert store.get(second.token) is not None


def test_one_that_lapsed_ends_too(store: SessionStore, clock: Clock) -> None:
    """By another clock it may be live."""
    lapsed = store.create("alice", ttl=MINUTE)
    clock.advance(2 * MINUTE)
    assert store.revoke_where(begun_before=clock.now) == 1
    *_, entry = store.history(handle=lapsed.handle)
    assert entry.cause == "revoked"


def test_many_sessions_of_many_principals_end_page_after_page(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessionledger.store.operations.selected.A_PAGE", 2)
    monkeypatch.setattr("sessionledger.store.operations.selected.OWNERS", 3)
    store, told = bench.open(), list[int]()
    kept = [store.create("other", attributes={"keep": True}).handle for _ in range(2)]
    for number in range(35):
        store.create(f"p{number % 7}", attributes={"keep": False})
    assert store.revoke_where(attributes={"keep": False}, progress=told.append) == 35
    assert [one.handle for one in store.sessions(principal="other")] == kept
    assert store.count() == 2
    assert told == sorted(told)
    assert told[-1] == 35


def test_one_that_begins_while_others_end_is_ended_too() -> None:
    """Otherwise a successor could get ahead of the call."""
    with SessionStore.open("memory:") as store:
        store.create("alice", attributes={"role": "admin"})

        def begin(_: int) -> None:
            store.create("late", token=TOKEN, attributes={"role": "admin"})

        assert store.revoke_where(attributes={"role": "admin"}, progress=begin) == 2
        assert store.get(TOKEN) is None


def test_a_dry_run_tells_at_how_many_it_looked(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selected, "EVENT_PAGE", 4)
    for _ in range(10):
        store.create("alice")
    told: list[int] = []
    assert store.revoke_where(principals=["bob"], dry_run=True, progress=told.append) == 0
    assert store.revoke_where(principals=["alice"], dry_run=True, progress=told.append) == 10
    assert told == [4, 8]
    assert store.count() == 10
