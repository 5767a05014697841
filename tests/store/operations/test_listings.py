"""By handle and by principal: finding, revoking, listing, counting, and what happened."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sessionledger import HistoryEntry, InvalidSession, IssuedSession, SessionStore
from sessionledger.store.operations import listings
from sessionledger.testing.clock import NOON, Clock
from tests.store.conftest import OTHER, TOKEN
from tests.store.operations.test_families import rotated

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def some_of(store: SessionStore, principal: str, count: int) -> list[IssuedSession]:
    return [store.create(principal, ttl=HOUR) for _ in range(count)]


def handles(store: SessionStore, **named: object) -> list[str]:
    return [session.handle for session in store.sessions(**named)]  # type: ignore[arg-type]


def test_a_handle_finds_and_revokes(store: SessionStore, clock: Clock) -> None:
    issued = store.create("alice", token=TOKEN)
    assert store.find(handle=f" {issued.handle}\n") == issued
    assert store.find(handle=issued.handle, now=issued.expires_at) is None
    clock.advance(MINUTE)
    ended = store.revoke(handle=issued.handle, reason="stolen")
    assert ended is not None
    assert ended.ended_at == NOON + MINUTE
    assert store.find(handle=issued.handle) is store.get(TOKEN) is store.touch(TOKEN) is None


def test_revoking_may_say_when(store: SessionStore) -> None:
    issued = store.create("alice", created_at=NOON - HOUR)
    ended = store.revoke(handle=issued.handle, expired_at=NOON - MINUTE)
    assert ended is not None
    assert ended.ended_at == NOON - MINUTE


def test_history_tells_what_why_who_and_whence(store: SessionStore, clock: Clock) -> None:
    issued = store.create("alice", ttl=HOUR, actor="login", context={"device": "phone"})
    clock.advance(MINUTE)
    store.touch(issued.token, attributes={"role": "admin"})
    store.expire(issued.token, reason="logout", actor="alice", context={})
    created, touched, expired = list(store.history(handle=issued.handle))
    assert created.kind == "session_created"
    assert (created.actor, created.context, created.reason) == ("login", {"device": "phone"}, None)
    assert created.changes["principal"] == "alice"
    assert touched == HistoryEntry(
        cause=None,
        event_id=2,
        handle=issued.handle,
        principal="alice",
        kind="session_touched",
        occurred_at=NOON + MINUTE,
        reason=None,
        actor=None,
        context={},
        changes={"last_seen_at": NOON + MINUTE, "attributes": {"role": "admin"}},
    )
    assert (expired.reason, expired.actor) == ("logout", "alice")
    assert expired.changes == {"expires_at": NOON + MINUTE, "ended_at": NOON + MINUTE}


def test_history_of_a_principal_is_of_all_their_sessions_in_order(store: SessionStore) -> None:
    store.create("alice", token=TOKEN)
    store.create("bob")
    store.create("alice", token=OTHER)
    store.expire(TOKEN)
    store.touch(OTHER)
    assert [entry.event_id for entry in store.history(principal=" alice ")] == [1, 3, 4, 5]
    assert [entry.event_id for entry in store.history(principal="bob")] == [2]
    assert list(store.history(principal="carol")) == []


def test_sessions_of_a_principal_come_oldest_first(store: SessionStore) -> None:
    mine, others = some_of(store, "alice", 4), some_of(store, "bob", 3)
    store.touch(mine[0].token)
    assert handles(store, principal="alice") == [one.handle for one in mine]
    assert handles(store, principal=" bob") == [one.handle for one in others]
    assert handles(store, principal="carol") == []
    assert handles(store) == sorted(one.handle for one in mine + others)


def test_each_state_is_listed_and_counted_apart(store: SessionStore, clock: Clock) -> None:
    ended, lapsing, live = (store.create("alice", ttl=n * HOUR) for n in (3, 1, 3))
    other = store.create("bob", ttl=3 * HOUR)
    store.expire(ended.token)
    clock.advance(HOUR)
    states = {"live": [live, other], "lapsed": [lapsing], "ended": [ended]}
    for state, sessions in states.items():
        expected = [one.handle for one in sessions]
        assert handles(store, state=state, newest_first=True) == expected[::-1]
        assert sorted(handles(store, state=state)) == sorted(expected)
        assert store.count(state=state) == len(expected)  # type: ignore[arg-type]
    assert handles(store, state="all", newest_first=True) == [
        one.handle for one in (other, live, lapsing, ended)
    ]
    counts = store.counts()
    assert (counts.live, counts.lapsed, counts.ended) == (2, 1, 1)
    store.expire(live.token)
    assert store.counts() is counts  # counted less than a minute ago
    with pytest.raises(InvalidSession, match="state must be one of live, lapsed, ended, all"):
        handles(store, state="gone")


def test_those_that_everybody_s_end_is_to_end_are_ended_before_a_sweep(store: SessionStore) -> None:
    before = store.create("alice").handle
    store.revoke_everybody()
    after = store.create("alice").handle
    for which in ({}, {"principal": "alice"}):
        assert handles(store, state="ended", newest_first=True, **which) == [before]
        assert handles(store, state="live", newest_first=True, **which) == [after]
        assert handles(store, state="all", newest_first=True, **which) == [after, before]
    assert store.count(state="ended") == 1


@pytest.mark.parametrize("state", ["live", "lapsed", "ended", "all"])
def test_pages_newest_first_tell_all_once(store: SessionStore, clock: Clock, state: str) -> None:
    made = [store.create("alice", ttl=(1 + n % 2) * HOUR) for n in range(12)]
    for one in made[::3]:
        store.revoke(handle=one.handle)
    clock.advance(HOUR)
    for which in ({}, {"principal": "alice"}):
        whole = handles(store, state=state, newest_first=True, **which)
        paged = handles(store, state=state, newest_first=True, page_size=2, **which)
        assert paged == whole
        assert len(set(whole)) == len(whole) == store.count(state=state)  # type: ignore[arg-type]


def test_sessions_are_found_by_address_and_by_their_beginning(
    store: SessionStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings, "_LOOK", 2)
    made = []
    for n in range(7):
        made.append(store.create("alice", context={"address": f"192.0.2.{n}"}).handle)
        clock.advance(HOUR)
    assert handles(store, address="192.0.2.3") == [made[3]]
    assert handles(store, address="192.0.2.0/30", newest_first=True) == made[3::-1]
    later = {"begun_after": NOON + 4 * HOUR}
    assert handles(store, **later, newest_first=True) == made[:3:-1]
    assert handles(store, **later, begun_before=NOON + 6 * HOUR) == made[4:6]
    assert sorted(handles(store, begun_before=NOON + HOUR)) == made[:1]
    with pytest.raises(InvalidSession, match="address_in must be a network"):
        handles(store, address="192.0.2.1/24")


def test_a_page_looks_at_so_many_sessions_and_no_more(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings, "_LOOK", 2)
    monkeypatch.setattr(listings, "MOST_LOOKED_AT", 4)
    found = store.create("alice", context={"address": "192.0.2.1"}).handle
    some_of(store, "alice", 5)
    first, second = store.sessions(address="192.0.2.1", newest_first=True).pages()
    assert (first.sessions, [one.handle for one in second.sessions]) == ([], [found])
    assert first.cursor is not None
    assert second.cursor is None


def test_ended_and_lapsed_sessions_are_listed_only_when_asked_for(
    store: SessionStore, clock: Clock
) -> None:
    ended, lapsing, live = (store.create("alice", ttl=n * HOUR) for n in (3, 1, 3))
    store.expire(ended.token)
    clock.advance(HOUR)
    assert handles(store, principal="alice") == handles(store) == [live.handle]
    every = [ended.handle, lapsing.handle, live.handle]
    assert handles(store, principal="alice", state="all") == every
    assert handles(store, state="all") == sorted(every)
    assert (store.count(), store.count(state="all")) == (1, 3)
    assert (store.count(principal="alice"), store.count(principal="alice", state="all")) == (1, 3)
    assert store.count(principal="bob", state="all") == 0


def test_listed_sessions_are_what_get_answers(store: SessionStore) -> None:
    issued = store.create("alice", attributes={"a": [1, {"b": None}]})
    assert list(store.sessions()) == [store.get(issued.token)]


@pytest.mark.parametrize("principal", ["alice", None])
def test_pages_hold_so_many_and_go_on_after_a_cursor(
    store: SessionStore, principal: str | None
) -> None:
    some_of(store, "alice", 7)
    every = handles(store, principal=principal)
    pages = list(store.sessions(principal=principal, page_size=3).pages())
    assert [len(page.sessions) for page in pages] == [3, 3, 1]
    assert [session.handle for page in pages for session in page.sessions] == every
    assert pages[-1].cursor is None
    for place, page in enumerate(pages[:-1]):
        rest = handles(store, principal=principal, after=page.cursor, page_size=2)
        assert rest == every[3 * (place + 1) :]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 1000])
def test_any_page_size_lists_the_same(store: SessionStore, size: int) -> None:
    some_of(store, "alice", 4)
    for principal in ("alice", None):
        assert handles(store, principal=principal, page_size=size) == handles(
            store, principal=principal
        )


def test_an_empty_listing_is_one_empty_page(store: SessionStore) -> None:
    (page,) = store.sessions().pages()
    assert (page.sessions, page.cursor) == ([], None)


def test_what_is_created_or_ended_between_pages_spoils_no_listing(store: SessionStore) -> None:
    mine = some_of(store, "alice", 4)
    first = next(iter(store.sessions(principal="alice", page_size=2).pages()))
    store.expire(mine[1].token)
    store.expire(mine[2].token)
    late = store.create("alice")
    rest = handles(store, principal="alice", after=first.cursor)
    assert rest == [mine[3].handle, late.handle]


def test_a_listing_can_be_read_twice_and_left_early(store: SessionStore) -> None:
    mine = some_of(store, "alice", 3)
    listing = store.sessions(principal="alice", page_size=1)
    assert next(iter(listing)).handle == mine[0].handle
    assert [one.handle for one in listing] == [one.handle for one in mine]
    assert len(list(listing)) == 3


def test_cursors_hold_no_token_and_no_principal(store: SessionStore) -> None:
    some_of(store, "alice", 2)
    cursors = [page.cursor for page in store.sessions(page_size=1).pages() if page.cursor]
    assert cursors
    assert all(cursor.isascii() and "alice" not in cursor for cursor in cursors)


# -- what a rotation replaced


def test_one_browser_is_one_entry(store: SessionStore) -> None:
    here, elsewhere = store.create("alice"), store.create("alice")
    new = rotated(store, here.token)
    listed = [elsewhere.handle, new.handle]
    assert handles(store, principal="alice") == listed
    assert handles(store, principal="alice", state="all") == listed
    assert {one.handle for one in store.sessions()} == set(listed)
    assert store.count() == store.count(principal="alice") == store.stats().live == 2
    rest = [one.handle for one in store.sessions(principal="alice", superseded=True)]
    assert rest == [here.handle, *listed]
    assert store.count(superseded=True) == 3
    assert store.revoke_all("alice") == 2, "which ends them all, and counts logins"
    assert store.count(superseded=True) == 0


def test_a_sibling_shows_once_it_is_used(store: SessionStore, clock: Clock) -> None:
    old = store.create("alice")
    first, second = rotated(store, old.token), rotated(store, old.token)
    assert [one.handle for one in store.sessions(principal="alice")] == [second.handle]
    clock.advance(timedelta(minutes=10))
    assert store.authenticate(first.token) is not None
    listed = [one.handle for one in store.sessions(principal="alice")]
    assert listed == [first.handle, second.handle], "two parties may hold one each"


def test_pages_leave_out_what_was_replaced(store: SessionStore) -> None:
    tokens = [store.create("alice").token for _ in range(5)]
    news = [rotated(store, token).handle for token in tokens]
    pages = list(store.sessions(principal="alice", page_size=2).pages())
    assert [[one.handle for one in page.sessions] for page in pages] == [
        news[:2],
        news[2:4],
        news[4:],
    ]
