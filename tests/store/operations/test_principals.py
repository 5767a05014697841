"""By principal and by external id: ended at once, limited in number, and listed."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any, Literal

import pytest

from sessionledger import (
    DuplicateSession,
    InvalidSession,
    Policy,
    Session,
    SessionLimitReached,
    SessionStore,
)
from sessionledger.core.token import Handle, digest, handle_of
from sessionledger.testing.clock import Clock
from sessionledger.testing.fixtures import PATIENCE
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import Bench, Kind
from tests.store.operations.test_families import is_over, rotated
from tests.store.test_store import some

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def created(store: SessionStore, many: int, principal: str = "alice", **told: Any) -> list[str]:
    return [store.create(principal, **told).token for _ in range(many)]


def handle(token: str) -> Handle:
    return handle_of(digest(token))


# -- log_out_everywhere


def test_a_bearer_logs_out_everywhere(store: SessionStore) -> None:
    alices, bobs = created(store, 3), created(store, 1, "bob")
    alices.append(rotated(store, alices[0]).token)
    assert store.log_out_everywhere(alices[3], reason="signed out", actor="alice") == 3
    assert is_over(store, *alices)
    assert all(map(store.get, bobs))
    ends = [list(store.history(handle=handle(token)))[-1] for token in alices]
    assert {(end.cause, end.reason, end.actor) for end in ends} == {
        ("signed_out", "signed out", "alice")
    }
    assert len({event.headers["sessionledger.unit"] for event in store.events(after=6)}) == 4


def test_a_token_that_was_ended_logs_nobody_out(store: SessionStore) -> None:
    over, live = created(store, 2)
    store.expire(over)
    assert store.log_out_everywhere(over) == store.log_out_everywhere("x" * 40) == 0
    assert store.get(live) is not None


def test_a_token_that_was_reused_ends_its_family_and_no_more(bench: Bench) -> None:
    store = bench.on(bench.log())
    old, other = created(store, 2)
    new = rotated(store, old, grace=timedelta(0)).token
    assert store.log_out_everywhere(old) == 0
    assert is_over(store, old, new)
    assert store.get(other) is not None


def test_a_token_that_lapsed_logs_out_everywhere(bench: Bench) -> None:
    """By another clock it may be live: an end is not refused for a clock."""
    store = bench.on(bench.log())
    lapsed, live = created(store, 1, ttl=HOUR)[0], created(store, 1)[0]
    bench.clock.advance(HOUR)
    assert store.log_out_everywhere(lapsed) == 2
    assert is_over(store, live)


# -- revoke_all


def test_all_of_a_principal_and_nobody_else_s(store: SessionStore) -> None:
    alices, bobs = created(store, 3), created(store, 2, "bob")
    assert store.revoke_all(" alice ", reason="stolen", actor="root", context={"a": "b"}) == 3
    assert is_over(store, *alices)
    assert all(map(store.get, bobs))
    assert store.revoke_all("alice") == store.revoke_all("nobody") == 0
    assert store.head().id == 8
    for token in alices:
        entry = list(store.history(handle=handle(token)))[-1]
        assert (entry.kind, entry.reason, entry.actor) == ("session_expired", "stolen", "root")
        assert entry.context == {"a": "b"}


@pytest.mark.parametrize("odd", ["al\u200bice", "\uff41lice", "a\x00b"], ids=ascii)
def test_a_principal_that_is_no_longer_taken_is_found_and_ended(bench: Bench, odd: str) -> None:
    any_principal = Policy(confusable_principals=True, control_characters=True)
    log = bench.log()
    lenient, strict = bench.on(log, policy=any_principal), bench.on(log)
    token = lenient.create(odd).token
    lenient.create("alice")
    session = strict.authenticate(token)
    assert session is not None
    assert session.principal == odd
    assert strict.rotate(token) is not None
    with pytest.raises(InvalidSession):
        strict.create(odd)
    assert strict.count(principal=odd) == 1
    assert strict.count(principal=odd, superseded=True) == 2
    assert [one.principal for one in strict.history(principal=odd)][:1] == [odd]
    assert strict.revoke_all(odd) == 1, "one log in, though it was rotated"
    assert strict.count(principal=odd) == 0
    assert strict.count(principal="alice") == 1


def test_some_may_be_kept(store: SessionStore) -> None:
    kept, other, gone = created(store, 3)
    assert store.revoke_all("alice", keep=[handle(kept), handle(other)]) == 1
    assert store.revoke_all("alice", keep=handle(kept)) == 1
    assert is_over(store, other, gone)
    assert store.get(kept) is not None
    with pytest.raises(InvalidSession):
        store.revoke_all("alice", keep=[kept])


def test_a_thief_s_sibling_is_not_kept_with_what_is(store: SessionStore) -> None:
    store.create("alice", token=TOKEN)
    mine, thiefs = rotated(store), rotated(store)
    assert store.revoke_all("alice", keep=[mine.handle]) == 0, "the log in goes on"
    assert is_over(store, TOKEN, thiefs.token)
    assert store.get(mine.token) is not None


def test_a_replaced_token_is_never_kept(store: SessionStore) -> None:
    store.create("alice", token=TOKEN)
    mine = rotated(store)
    assert store.revoke_all("alice", keep=[handle(TOKEN), mine.handle]) == 0
    assert is_over(store, TOKEN)
    assert store.get(mine.token) is not None
    assert store.revoke_all("alice", keep=[handle(TOKEN)]) == 1
    assert is_over(store, mine.token)


def test_a_log_in_counts_once(store: SessionStore) -> None:
    created(store, 2)
    store.create("alice", token=TOKEN)
    rotated(store)
    rotated(store)
    assert store.revoke_all("alice") == 3
    assert store.count(principal="alice") == 0


def test_what_was_ended_is_not_ended_again_and_what_lapsed_is(
    store: SessionStore, clock: Clock
) -> None:
    created(store, 1, ttl=SECOND)
    ended, _ = created(store, 2)
    store.expire(ended)
    clock.advance(365 * 24 * HOUR)
    assert store.revoke_all("alice") == 2
    assert store.head().id == 6
    lapsed = next(iter(store.sessions(principal="alice", state="all")))
    assert (lapsed.cause, lapsed.ended_at) == ("revoked", lapsed.created_at + SECOND)


@pytest.mark.parametrize(
    "told",
    [{}, {"principal": "alice", "external_id": "sid"}, {"principal": " "}, {"external_id": 7}],
)
def test_it_takes_a_principal_or_an_external_id(store: SessionStore, told: dict[str, Any]) -> None:
    created(store, 1, external_id="sid")
    with pytest.raises(InvalidSession):
        store.revoke_all(**told)
    assert store.count() == 1


def test_a_back_channel_logout_ends_what_has_the_external_id(store: SessionStore) -> None:
    mine = created(store, 2, external_id="sid-1")
    shared = created(store, 1, "bob", external_id="sid-1")
    other = created(store, 1, external_id="sid-2") + created(store, 1)
    assert store.revoke_all(external_id="sid-1", reason="logout") == 3
    assert is_over(store, *mine, *shared)
    assert all(map(store.get, other))
    assert store.revoke_all(external_id="sid-1") == 0


def test_a_rotated_session_keeps_its_external_id(store: SessionStore) -> None:
    store.create("anonymous", token=TOKEN, external_id="sid")
    bob = rotated(store, TOKEN, principal="bob")
    assert store.revoke_all(external_id="sid", keep=[bob.handle]) == 1
    assert store.revoke_all(external_id="sid") == 1
    assert is_over(store, TOKEN, bob.token)


def check_atomic(store: SessionStore, tokens: list[str]) -> None:
    """Watch from another thread while all are ended: none, and then all of them."""
    seen: list[int] = []
    done, began = threading.Event(), threading.Event()
    first, last = tokens[0], tokens[-1]

    def watch() -> None:
        while not done.is_set():
            ended = [store.get(first) is None]
            ended.append(store.get(last) is None)
            ended.append(store.get(first) is None)
            # Whoever saw one ended sees all others ended from then on.
            assert ended == sorted(ended)
            seen.append(store.count(principal="alice"))
            began.set()

    errors: list[BaseException] = []

    def run() -> None:
        try:
            watch()
        except BaseException as error:
            errors.append(error)
            began.set()

    watcher = threading.Thread(target=run)
    watcher.start()
    assert began.wait(PATIENCE)
    assert store.revoke_all("alice") == len(tokens)
    done.set()
    watcher.join(PATIENCE)
    assert not errors
    assert set(seen) <= {0, len(tokens)}
    assert store.count(principal="alice") == 0
    assert is_over(store, *tokens[:: max(1, len(tokens) // 100)])


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
@pytest.mark.parametrize("many", [1500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_reader_sees_some_ended_and_others_not(tmp_path: Any, backend: str, many: int) -> None:
    bench = Bench(Kind("sync", backend), tmp_path / "ledger", durability="normal")
    store = SessionStore(bench.log(), clock=bench.clock)
    check_atomic(store, created(store, many))
    assert store.verify().ok
    bench.close()


# -- limits


def limited(bench: Bench, on_limit: Literal["deny", "evict_oldest"], most: int = 2) -> SessionStore:
    return bench.open(policy=Policy(max_sessions_per_principal=most, on_limit=on_limit, ttl=HOUR))


def test_one_more_is_denied_and_nothing_written(bench: Bench, clock: Clock) -> None:
    store = limited(bench, "deny")
    tokens = created(store, 2)
    head = store.head()
    with pytest.raises(SessionLimitReached):
        store.create("alice", token=TOKEN)
    assert store.head() == head
    created(store, 2, "bob")
    store.expire(tokens[0])
    assert store.create("alice", token=TOKEN)
    clock.advance(HOUR)
    assert len(created(store, 2)) == 2


def test_the_oldest_makes_room_in_the_same_unit(bench: Bench, clock: Clock) -> None:
    store = limited(bench, "evict_oldest")
    tokens = [store.create("alice").token]
    for _ in range(3):
        clock.advance(SECOND)
        tokens.append(store.create("alice", reason="login").token)
    assert [store.get(token) is not None for token in tokens] == [False, False, True, True]
    entry = list(store.history(handle=handle(tokens[0])))[-1]
    assert (entry.kind, entry.cause, entry.reason) == ("session_expired", "evicted", "login")
    assert store.count(principal="alice") == 2
    with pytest.raises(DuplicateSession):
        store.create("alice", token=tokens[0])
    assert store.count(principal="alice") == 2


def test_a_smaller_limit_ends_as_many_as_it_takes(bench: Bench, clock: Clock) -> None:
    log = bench.log()
    for _ in range(5):
        bench.on(log).create("alice")
        clock.advance(SECOND)
    smaller = Policy(max_sessions_per_principal=2, on_limit="evict_oldest")
    newest = bench.on(log, policy=smaller).create("alice")
    left = list(bench.on(log).sessions(principal="alice"))
    assert len(left) == 2
    assert newest.handle in [session.handle for session in left]


def test_a_family_counts_once(bench: Bench) -> None:
    store = limited(bench, "deny")
    store.create("alice", token=TOKEN)
    tokens = [rotated(store).token for _ in range(4)]
    store.create("alice", token=OTHER)
    assert store.rotate(tokens[0]) is not None
    with pytest.raises(SessionLimitReached):
        store.create("alice")


def test_an_evicted_family_goes_as_a_whole(bench: Bench, clock: Clock) -> None:
    store = limited(bench, "evict_oldest", most=1)
    store.create("alice", token=TOKEN)
    successor = rotated(store)
    clock.advance(SECOND)
    newest = store.create("alice")
    assert is_over(store, TOKEN, successor.token)
    assert store.get(newest.token) is not None


def test_who_logs_in_on_a_session_is_limited_too(bench: Bench, clock: Clock) -> None:
    deny = limited(bench, "deny", most=1)
    deny.create("alice")
    deny.create("anonymous", token=TOKEN)
    head = deny.head()
    with pytest.raises(SessionLimitReached):
        deny.rotate(TOKEN, principal="alice")
    assert deny.head() == head
    assert deny.get(TOKEN) is not None


def test_who_logs_in_on_a_session_evicts_too(bench: Bench) -> None:
    store = limited(bench, "evict_oldest", most=1)
    first = store.create("alice")
    store.create("anonymous", token=TOKEN)
    alice = rotated(store, TOKEN, principal="alice")
    assert is_over(store, first.token)
    assert [one.handle for one in store.sessions(principal="alice")] == [alice.handle]


# -- listings


def test_listings_tell_device_and_address(store: SessionStore, clock: Clock) -> None:
    store.create("alice", token=TOKEN, context={"device": "phone", "address": "::1"})
    store.create("alice", token=OTHER, external_id="sid")
    clock.advance(timedelta(minutes=10))
    store.authenticate(TOKEN, context={"device": "phone", "address": "::2"})
    listed = {session.handle: session for session in store.sessions(principal="alice")}
    assert listed[handle(TOKEN)].context == {"device": "phone", "address": "::2"}
    assert listed[handle(OTHER)].context == {}
    store.rebuild()
    assert {one.handle: one for one in store.sessions(principal="alice")} == listed


def test_a_listing_goes_by_external_id(store: SessionStore, clock: Clock) -> None:
    tokens = created(store, 7, external_id="sid") + created(store, 2, "bob", external_id="sid")
    created(store, 3)
    store.expire(tokens[0])
    listing = store.sessions(external_id=" sid ", page_size=2)
    assert [one.handle for one in listing] == [handle(token) for token in tokens[1:]]
    pages = list(store.sessions(external_id="sid", state="all", page_size=4).pages())
    assert [len(page.sessions) for page in pages] == [4, 4, 1]
    again = store.sessions(external_id="sid", state="all", page_size=4, after=pages[0].cursor)
    assert [one.handle for one in again] == [handle(token) for token in tokens[4:]]
    both = store.sessions(principal="bob", external_id="sid")
    assert [one.handle for one in both] == [handle(token) for token in tokens[7:]]
    assert list(store.sessions(external_id="other")) == []


@pytest.mark.parametrize("wrong", ["", 7, "\ud800", "a\0b", "x" * 513, "harn_sess_" + "x" * 43])
def test_an_external_id_that_can_t_be_is_refused(store: SessionStore, wrong: Any) -> None:
    with pytest.raises(InvalidSession) as caught:
        store.create("alice", external_id=wrong)
    assert caught.value.field == "external_id"
    assert store.head().id == 0


def test_the_own_token_is_no_external_id(store: SessionStore) -> None:
    with pytest.raises(InvalidSession) as caught:
        store.create("alice", token="x" * 40, external_id="x" * 40)
    assert "x" * 40 not in str(caught.value)


def test_an_external_id_is_part_of_the_session(store: SessionStore) -> None:
    issued = store.create("alice", external_id="sid")
    found: Session = some(store.get(issued.token))
    assert found.external_id == "sid"
    assert next(iter(store.history(handle=issued.handle))).changes["external_id"] == "sid"
