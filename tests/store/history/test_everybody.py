"""The history of everybody, filters, and histories newest first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import CaughtUp, HistoryEntry, HistoryPage, InvalidSession, SessionStore
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.store.history import reader
from sessionledger.testing.clock import NOON, Clock
from tests.logs.openers import address
from tests.store.conftest import OTHER, TOKEN
from tests.store.history.scenes import ACTORS, Calls, calls, ledger, perform

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
KINDS = ("session_created", "session_touched", "session_expired", "everybody_revoked")
CAUSES = ("revoked", "lapsed", "everybody", "rotated", "reused", "parent_ended")

filters = st.fixed_dictionaries(
    {},
    optional={
        "actor": st.sampled_from(ACTORS),
        "kind": st.sampled_from(KINDS),
        "cause": st.sampled_from(CAUSES),
        "since": st.integers(0, 400).map(lambda minutes: NOON + minutes * MINUTE),
        "until": st.integers(401, 900).map(lambda minutes: NOON + minutes * MINUTE),
    },
)


def watched(store: SessionStore) -> list[HistoryEntry]:
    """All that a watch tells of the past."""
    told = takewhile(lambda one: not isinstance(one, CaughtUp), store.watch(after=0))
    return [one for one in told if isinstance(one, HistoryEntry)]


def admitted(
    entry: HistoryEntry, since: datetime | None = None, until: datetime | None = None, **same: Any
) -> bool:
    return (
        (since is None or since <= entry.occurred_at)
        and (until is None or entry.occurred_at < until)
        and all(value in (None, getattr(entry, name)) for name, value in same.items())
    )


def in_order(entries: list[HistoryEntry]) -> list[tuple[int, str | None]]:
    return sorted((one.event_id, one.handle) for one in entries)


@given(calls, st.integers(1, 9))
def test_the_history_of_everybody_is_what_a_watch_tells(made: Calls, size: int) -> None:
    store, clock = ledger()
    perform(store, clock, made)
    whole = watched(store)
    assert list(store.history()) == whole
    assert list(store.history(page_size=size)) == whole
    assert list(store.history(newest_first=True, page_size=size)) == whole[::-1]


@given(calls, filters, st.integers(1, 9), st.booleans(), st.integers(1, 7))
def test_a_filter_leaves_out_what_does_not_match_and_changes_nothing_else(
    made: Calls, wanted: dict[str, Any], size: int, newest_first: bool, page: int
) -> None:
    store, clock = ledger()
    perform(store, clock, made)
    handles = {entry.handle for entry in store.history() if entry.handle is not None}
    everyone: list[dict[str, Any]] = [{}, {"principal": "alice"}, {"principal": "service"}]
    for whose in (*everyone, *({"handle": handle} for handle in list(handles)[:3])):
        whole = [one for one in store.history(**whose) if admitted(one, **wanted)]
        with pytest.MonkeyPatch.context() as patching:
            patching.setattr(reader, "EVENT_PAGE", page)
            told = store.history(**whose, **wanted, newest_first=newest_first, page_size=size)
            entries = list(told)
        assert in_order(entries) == in_order(whole)
        ids = [one.event_id for one in entries]
        assert ids == sorted(ids, reverse=newest_first)
        assert {(one.event_id, one.handle): one for one in entries} == {
            (one.event_id, one.handle): one for one in whole
        }


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("whose", [{}, {"principal": "alice"}, {"handle": None}])
def test_each_page_goes_on_where_the_last_one_ended(
    store: SessionStore, whose: dict[str, Any], newest_first: bool
) -> None:
    issued = store.create("alice")
    for n in range(7):
        store.create("bob" if n % 2 else "alice")
        store.patch(issued.token, {"n": n}, actor="web" if n % 2 else "cron")
    if "handle" in whose:
        whose = {"handle": issued.handle}
    for wanted in ({}, {"actor": "web"}, {"kind": "session_created"}):
        asked: dict[str, Any] = {**whose, **wanted, "newest_first": newest_first}
        whole, told = list(store.history(**asked)), []
        page: HistoryPage | None = None
        while page is None or page.cursor is not None:
            after = None if page is None else page.cursor
            page = next(iter(store.history(**asked, after=after, page_size=2).pages()))
            told += page.entries
        assert told == whole
        assert [one.event_id for one in whole] == sorted(
            (one.event_id for one in whole), reverse=newest_first
        )


def test_a_page_ends_after_a_bounded_look_also_where_it_found_nothing(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "EVENT_PAGE", 5)
    monkeypatch.setattr(reader, "MOST_LOOKED_AT", 10)
    for n in range(24):
        store.create("alice", actor="rare" if n == 12 else None)
    for newest_first, entries in ((False, [0, 1, 0]), (True, [0, 1, 0])):
        pages = list(store.history(actor="rare", newest_first=newest_first).pages())
        assert [len(page.entries) for page in pages] == entries
        assert [page.cursor for page in pages[:-1]] == ([15, 5] if newest_first else [10, 20])
        assert pages[-1].cursor is None


def test_states_are_read_for_what_is_told_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    log = MemoryLog()
    store, _ = ledger(log)
    for n in range(50):
        store.create("alice", actor="rare" if n == 25 else "web")
    read: list[bytes] = []
    read_key = log.read_key

    def counted(topic: str, key: bytes, *rest: Any) -> Any:
        read.append(key)
        return read_key(topic, key, *rest)

    monkeypatch.setattr(log, "read_key", counted)
    (found,) = store.history(actor="rare")
    assert found.changes["principal"] == "alice"
    assert len(set(read)) == 1


def test_what_is_not_told_counts_for_what_is(store: SessionStore) -> None:
    store.create("alice", token=TOKEN, actor="web")
    for n, actor in ((1, "web"), (2, "cron"), (1, "web")):
        store.patch(TOKEN, {"n": n}, actor=actor)
    for newest_first in (False, True):
        told = list(store.history(actor="web", kind="session_touched", newest_first=newest_first))
        assert [entry.changes for entry in told] == [{"attributes": {"n": 1}}] * 2


def test_a_history_of_everybody_folds_each_event_about_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = MemoryLog()
    store, _ = ledger(log)
    for token in (TOKEN, OTHER):
        store.create("alice", token=token)
    for n in range(100):
        store.patch(TOKEN, {"n": n})
        store.patch(OTHER, {"n": n})
    read, read_key = [0], log.read_key

    def counted(*given: Any) -> Any:
        found = read_key(*given)
        read[0] += len(found)
        return found

    monkeypatch.setattr(log, "read_key", counted)
    for kind in (None, "session_touched"):
        read[0] = 0
        monkeypatch.setattr(reader, "EVENT_PAGE", 10)
        assert len(list(store.history(page_size=10, kind=kind))) >= 200
        assert read[0] < 1000


def test_an_end_of_everybody_and_a_selection_are_told_once(store: SessionStore) -> None:
    for _ in range(3):
        store.create("alice")
    store.revoke_where(principals=["alice"], reason="stolen", actor="carol")
    store.create("bob")
    store.revoke_everybody(reason="keys", actor="carol")
    store.sweep()
    told = [(one.kind, one.handle is None) for one in store.history(actor="carol")]
    ends = [("session_expired", False)]
    assert told == [("selection_revoked", True), *ends * 3, ("everybody_revoked", True), *ends]
    assert [one.reason for one in store.history(kind="selection_revoked")] == ["stolen"]
    assert len(list(store.history(cause="everybody"))) == 2
    assert len(list(store.history(cause="revoked", principal="alice"))) == 3


def test_a_session_has_one_end_while_everybody_s_are_being_recorded(store: SessionStore) -> None:
    handles = [store.create("alice").handle for _ in range(3)]
    store.revoke_everybody()
    assert store.sweep(limit=1) == 1
    for newest_first, size in ((False, 1), (False, 9), (True, 1), (True, 2), (True, 9)):
        listed = store.history(principal="alice", newest_first=newest_first, page_size=size)
        told = list(listed)
        ends = [one for one in told if one.kind != "session_created"]
        assert {one.handle for one in ends} == {*handles}
        assert sorted(one.kind for one in ends) == [*["everybody_revoked"] * 2, "session_expired"]


def test_a_time_is_found_also_where_clocks_differ(store: SessionStore, clock: Clock) -> None:
    for minutes in range(0, 300, 3):
        # Each clock is wrong by up to half of what may be.
        clock.now = NOON + minutes * MINUTE + (minutes % 7 - 3) * timedelta(seconds=9)
        store.create("alice")
    whole = list(store.history())
    for since, until in ((0, 500), (30, 31), (100, 200), (299, 400), (400, 500), (-5, 0)):
        span = (NOON + since * MINUTE, NOON + until * MINUTE)
        expected = [one for one in whole if span[0] <= one.occurred_at < span[1]]
        for newest_first in (False, True):
            told = store.history(since=span[0], until=span[1], newest_first=newest_first)
            assert in_order(list(told)) == in_order(expected)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"kind": "session_moved"}, "kind"),
        ({"cause": "boredom"}, "cause"),
        ({"actor": 7}, "actor"),
        ({"since": datetime(2026, 5, 2)}, "since"),  # noqa: DTZ001  refused for that
        ({"since": NOON, "until": NOON}, "until"),
        ({"archive": "there"}, "archive"),
    ],
)
def test_what_can_not_be_asked_for_is_refused_at_once(
    store: SessionStore, wanted: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidSession) as caught:
        store.history(**wanted)
    assert caught.value.field == field


@pytest.fixture(params=["sqlite", "file"])
def cut(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[SessionStore, Clock]]:
    clock = Clock()
    url = address(str(request.param), tmp_path / "ledger")
    with SessionStore.open(url, clock=clock, monotonic=lambda: clock.now.timestamp()) as store:
        store.create("alice", token=TOKEN, ttl=90 * DAY)
        store.expire(store.create("bob", ttl=90 * DAY).token)
        clock.advance(3 * DAY)
        store.touch(TOKEN, attributes={"a": 1})
        store.create("bob", token=OTHER, ttl=DAY)
        assert store.compact(retention=2 * DAY).cut == 3
        yield store, clock


def test_a_history_that_was_cut_says_so_where_it_reaches_the_cut(
    cut: tuple[SessionStore, Clock],
) -> None:
    store, clock = cut
    pages = list(store.history(page_size=1).pages())
    assert [page.cut for page in pages] == [3, *[0] * (len(pages) - 1)]
    pages = list(store.history(page_size=1, newest_first=True).pages())
    assert [page.cut for page in pages] == [*[0] * (len(pages) - 1), 3]
    assert [page.cut for page in store.history(kind="session_created").pages()] == [3]
    told = [one.event_id for page in pages for one in page.entries]
    assert told == [one.event_id for one in store.history()][::-1] == [5, 4]
    (begun,) = store.history(since=clock.now - MINUTE, kind="session_touched")
    assert begun.changes["attributes"] == {"a": 1}


def test_what_was_removed_is_of_no_concern_to_a_later_range(
    cut: tuple[SessionStore, Clock],
) -> None:
    store, clock = cut
    clock.advance(DAY)
    for _ in range(20):
        store.create("carol")
    pages = list(store.history(since=clock.now - MINUTE).pages())
    assert [page.cut for page in pages] == [0]
    assert {one.principal for page in pages for one in page.entries} == {"carol"}
    assert [page.cut for page in store.history(until=clock.now - MINUTE).pages()] == [3]


def test_a_compaction_ends_a_history_that_goes_back(cut: tuple[SessionStore, Clock]) -> None:
    store, clock = cut
    pages = store.history(page_size=1, newest_first=True).pages()
    assert [one.event_id for one in next(pages).entries] == [5]
    clock.advance(3 * DAY)
    store.create("carol", ttl=90 * DAY)
    found = store.compact(retention=2 * DAY)
    assert found.cut >= 5
    (page,) = pages
    assert (page.entries, page.cursor, page.cut) == ([], None, found.cut)
