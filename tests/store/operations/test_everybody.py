"""Ending every session by one event."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from sessionledger import (
    Change,
    CorruptLog,
    HistoryEntry,
    InvalidSession,
    LogEvent,
    Policy,
    Row,
    RowFilter,
    SessionStore,
    Unit,
)
from sessionledger.core.codec import encode_event
from sessionledger.core.events import Touched
from sessionledger.core.token import key_of
from sessionledger.logs.base import Draft, Put
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.clock import Clock
from tests import reference_fold
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import Bench

MINUTE = timedelta(minutes=1)
WAYS: dict[str, Callable[[SessionStore], object]] = {
    "get": lambda store: store.get(TOKEN),
    "peek": lambda store: store.peek(TOKEN),
    "authenticate": lambda store: store.authenticate(TOKEN),
    "touch": lambda store: store.touch(TOKEN),
    "touch-before": lambda store: store.touch(TOKEN, last_seen_at=store.create("x").created_at),
    "patch": lambda store: store.patch(TOKEN, {"role": "admin"}),
    "rotate": lambda store: store.rotate(TOKEN),
    "reauthenticate": lambda store: store.reauthenticate(TOKEN),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_nothing_brings_a_session_back(
    store: SessionStore, way: Callable[[SessionStore], object]
) -> None:
    session = store.create("alice", token=TOKEN)
    assert store.get(TOKEN) is not None
    store.revoke_everybody()
    assert way(store) is None
    assert store.find(handle=session.handle) is None
    assert store.sweep() == 1
    assert way(store) is None


def test_those_who_come_after_it_live(store: SessionStore, clock: Clock) -> None:
    store.create("alice", token=TOKEN)
    clock.advance(-MINUTE)
    store.revoke_everybody()
    clock.advance(-MINUTE)
    store.create("alice", token=OTHER)
    assert store.get(TOKEN) is None
    assert store.get(OTHER) is not None
    assert store.count() == store.count(principal="alice") == 1


def test_it_is_told_with_its_reason(store: SessionStore, clock: Clock) -> None:
    session = store.create("alice", token=TOKEN)
    clock.advance(MINUTE)
    told = store.revoke_everybody(reason="leak", actor="ops", context={"address": "192.0.2.1"})
    assert (told.handle, told.principal, told.cause) == (None, None, "everybody")
    assert (told.reason, told.actor, told.context) == ("leak", "ops", {"address": "192.0.2.1"})
    happened = [one for one in take(store, 2) if one.kind == "everybody_revoked"]
    assert happened == [told]
    *_, marked = store.history(handle=session.handle)
    assert (marked.event_id, marked.cause) == (told.event_id, "everybody")
    assert marked.changes["ended_at"] == clock.now
    store.sweep()
    *_, ended = store.history(handle=session.handle)
    assert (ended.kind, ended.cause, ended.reason) == ("session_expired", "everybody", "leak")
    assert ended.actor == "ops"
    assert ended.changes["ended_at"] == clock.now


def take(store: SessionStore, count: int) -> list[HistoryEntry]:
    entries = store.watch(after=0)
    return [next(entries) for _ in range(count)]  # type: ignore[misc]


def test_who_watches_one_principal_is_told_too(store: SessionStore) -> None:
    told = store.revoke_everybody()
    assert next(store.watch(after=0, principal="nobody")) == told


def test_as_of_before_the_mark_it_lived(store: SessionStore, clock: Clock) -> None:
    session = store.create("alice", token=TOKEN)
    clock.advance(MINUTE)
    before, marked = clock.now, clock.now + MINUTE
    clock.advance(MINUTE)
    store.revoke_everybody()
    clock.advance(MINUTE)
    for _ in range(2):
        then = store.as_of(handle=session.handle, at=before)
        assert then is not None
        assert then.ended_at is None
        now = store.as_of(handle=session.handle, at=marked)
        assert now is not None
        assert now.ended_at == marked
        store.sweep()


def test_ends_follow_in_bounded_steps(store: SessionStore) -> None:
    for _ in range(5):
        store.create("alice")
    store.revoke_everybody()
    assert [store.sweep(limit=2) for _ in range(4)] == [2, 2, 1, 0]
    *_, newest = store.events()
    assert newest.kind == "everybody_ended"
    assert store.diagnose() == []


def test_the_reference_sees_them_end_once_the_ends_have_followed(store: SessionStore) -> None:
    store.create("alice")
    store.create("bob")
    store.revoke_everybody()
    assert expired_by_reference(store) == [False, False]
    store.sweep()
    assert expired_by_reference(store) == [True, True]


def expired_by_reference(store: SessionStore) -> list[bool]:
    events = [(event.kind, event.value) for event in store.events()]
    return [one["expired"] for one in reference_fold.fold(events).sessions.values()]


def test_a_clock_that_cannot_be_right_ends_them_nevertheless(
    store: SessionStore, clock: Clock
) -> None:
    store.create("alice", token=TOKEN)
    clock.advance(timedelta(days=-300))
    store.revoke_everybody()
    assert store.get(TOKEN) is None


def test_a_rebuild_in_between_changes_nothing(store: SessionStore) -> None:
    for _ in range(3):
        store.create("alice")
    store.revoke_everybody()
    store.sweep(limit=1)
    listed = list(store.sessions(state="all"))
    store.rebuild()
    assert list(store.sessions(state="all")) == listed
    assert store.count() == 0
    assert store.sweep() == 2
    store.rebuild()
    assert store.count() == 0
    assert store.diagnose() == []


def test_a_limit_has_room_again(bench: Bench) -> None:
    store = bench.open(policy=Policy(max_sessions_per_principal=1, on_limit="deny"))
    store.create("alice")
    store.revoke_everybody()
    store.create("alice", token=TOKEN)
    assert store.revoke_all("alice") == 1


def test_a_token_in_its_reason_is_refused(store: SessionStore) -> None:
    with pytest.raises(InvalidSession):
        store.revoke_everybody(reason=store.create("alice").token)
    assert store.count() == 1


def test_a_damaged_mark_ends_sessions_nevertheless(bench: Bench) -> None:
    """Its time is not known, so they ended when they were last seen."""
    log = bench.log()
    store = bench.on(log)
    session = store.create("alice", token=TOKEN)
    log.append(SESSIONS_TOPIC, [Unit([Change(LogEvent.of("everybody_revoked", []))])])
    assert store.get(TOKEN) is None
    assert store.sweep() == 1
    *_, ended = store.history(handle=session.handle)
    assert ended.changes["ended_at"] == session.last_seen_at


def test_an_event_of_another_program_amid_the_ends_brings_nobody_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = bench.log()
    store = bench.on(log)
    seen = Touched(None, None, bench.clock.now, store.create("alice", token=TOKEN).handle)
    touched = Unit([Change(LogEvent(*encode_event(seen), {}, at_ms(bench)))])
    store.create("bob", token=OTHER)
    store.revoke_everybody()
    listed = log.rows

    def rows(topic: str, where: RowFilter, after: Row | None, limit: int) -> list[Row]:
        found = listed(topic, where, after, limit)
        if where.marked and after is None:
            log.append(SESSIONS_TOPIC, [touched])
        return found

    with monkeypatch.context() as patches:
        patches.setattr(log, "rows", rows)
        assert store.sweep() == 1
        assert store.get(TOKEN) is None
    assert store.sweep() == 1
    assert log.mark(SESSIONS_TOPIC) == 0
    assert store.get(TOKEN) is store.get(OTHER) is None


def test_a_row_that_nobody_can_read_gets_its_end_too(bench: Bench) -> None:
    log = bench.log()
    store = bench.on(log)
    session = store.create("alice", token=TOKEN)
    key = key_of(session.handle)
    assert key is not None
    unreadable = Put(key, Draft("alice", 1 << 60, True, b"?"), session.version)
    note = LogEvent("note", b"{}", {}, at_ms(bench))
    log.append(SESSIONS_TOPIC, [Unit([Change(note, unreadable)])])
    with pytest.raises(CorruptLog):
        store.get(TOKEN)
    store.revoke_everybody()
    assert store.sweep() == 1
    assert log.mark(SESSIONS_TOPIC) == 0
    assert store.get(TOKEN) is None
    *_, newest = store.events()
    assert newest.kind == "everybody_ended"


def at_ms(bench: Bench) -> int:
    return int(bench.clock.now.timestamp() * 1000)
