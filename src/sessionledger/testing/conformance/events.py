"""A topic as a log: what is appended is what is read, in order, by anybody."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from sessionledger.errors import InvalidEvent
from sessionledger.logs.base import Appended, Change, LogEvent, RowFilter, StoredEvent, Unit
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.fixtures import (
    PATIENCE,
    TOPIC,
    Ledger,
    add,
    concurrently,
    event,
    every_event,
)

# What some encoder once changed: wide integers, floats, separators, control characters.
STRANGE = {"n": 2**70, "x": 1e16, "é": "\u2028", "key": "00", "expires": 1, "live": True}

UNSTORABLE = (
    LogEvent.of("k", {}, headers={"harn.provenance.prev_hash": "sha256:0"}),
    LogEvent("\ud800", b"1", {}, 0),
    LogEvent("k", b"1", {"a": "\ud800"}, 0),
    LogEvent("k", b"no json", {}, 0),
    LogEvent("k", b"1\n", {}, 0),
    LogEvent("k", b'"\xff"', {}, 0),
    LogEvent("k", b"[" * 300 + b"]" * 300, {}, 0),
)


class EventConformance(Conformance):
    """Reading, topics, the empty log, waiting."""

    def test_an_event_is_read_as_it_was_appended(self, ledger: Ledger) -> None:
        told = LogEvent.of(
            "kind é", STRANGE | {"owner": "o"}, headers={"é": "\x00", "a": ""}, occurred_at_ms=-7
        )
        add(ledger.log, [told])
        (stored,) = every_event(ledger.log)
        assert stored.kind == told.kind
        assert stored.payload == told.payload
        assert stored.occurred_at_ms == told.occurred_at_ms
        assert {name: stored.headers[name] for name in told.headers} == told.headers

    def test_events_survive_reopening(self, persistent: Ledger) -> None:
        add(persistent.log, [event(n=n) for n in range(5)])
        before = every_event(persistent.log)
        assert every_event(persistent.reopen()) == before

    def test_pages_join_without_gap_or_overlap(self, ledger: Ledger) -> None:
        add(ledger.log, [event(n=n) for n in range(23)])
        pages: list[StoredEvent] = []
        while page := ledger.log.read(TOPIC, pages[-1].id if pages else 0, 5):
            assert len(page) <= 5
            pages += page
        assert [one.value["n"] for one in pages] == list(range(23))
        assert pages == every_event(ledger.log)

    def test_what_nobody_wrote_is_empty(self, ledger: Ledger) -> None:
        log = ledger.log
        assert log.topics() == []
        assert log.read(TOPIC) == []
        assert log.read_key(TOPIC, b"nobody") == []
        assert log.latest(TOPIC) == 0
        assert log.row(TOPIC, b"nobody") is None
        assert log.state(TOPIC, b"nobody") is None
        assert log.rows(TOPIC) == log.rows(TOPIC, RowFilter(alias="nobody")) == []
        assert log.count(TOPIC) == 0
        assert log.cursor(TOPIC, "nobody") == 0
        assert log.rebuild(TOPIC) == 0
        assert log.append(TOPIC, []) == []
        assert log.wait(TOPIC, 0, timeout=0) == 0
        log.flush()

    def test_what_is_not_there_is_empty_among_what_is(self, ledger: Ledger) -> None:
        (last,) = add(ledger.log, [event(b"k", "alice")])
        log = ledger.log
        assert log.read(TOPIC, last) == log.read(TOPIC, last + 99) == []
        assert log.read_key(TOPIC, b"nobody") == log.read_key(TOPIC, b"k", last) == []
        assert log.row(TOPIC, b"nobody") is None
        assert log.state(TOPIC, b"nobody") is None
        assert log.row(TOPIC, b"") is None
        assert (
            log.rows(TOPIC, RowFilter(owner="nobody"))
            == log.rows(TOPIC, RowFilter(alias="nobody"))
            == []
        )
        assert log.count(TOPIC, RowFilter(owner="nobody")) == 0
        assert log.read("elsewhere") == []

    def test_topics_are_apart(self, ledger: Ledger) -> None:
        add(ledger.log, [event(n=1)], "b.topic")
        add(ledger.log, [event(n=2), event(n=3)], "a-topic")
        assert ledger.log.latest("only-looked-at") == 0
        assert ledger.log.topics() == ["a-topic", "b.topic"]
        assert [one.value["n"] for one in every_event(ledger.log, "a-topic")] == [2, 3]
        assert [one.value["n"] for one in every_event(ledger.log, "b.topic")] == [1]

    def test_what_can_t_be_stored_is_refused_and_stores_nothing(self, ledger: Ledger) -> None:
        for bad in UNSTORABLE:
            with pytest.raises(InvalidEvent):
                add(ledger.log, [event(n=1), bad])
        with pytest.raises(InvalidEvent):
            ledger.log.append(TOPIC, [Unit([])])
        assert every_event(ledger.log) == []

    def test_waiting_for_what_is_there_ends_at_once(self, ledger: Ledger) -> None:
        (last,) = add(ledger.log, [event()])
        assert ledger.log.wait(TOPIC, 0) == last

    def test_waiting_in_vain_answers_the_head(self, ledger: Ledger) -> None:
        (last,) = add(ledger.log, [event()])
        assert ledger.log.wait(TOPIC, last, timeout=0.01) == last

    def test_another_thread_s_append_ends_the_wait(self, ledger: Ledger) -> None:
        waiter = threading.Thread(target=lambda: add(ledger.log, [event()]))
        waiter.start()
        assert ledger.log.wait(TOPIC, 0, ledger.harness.patience) >= 1
        waiter.join()

    def test_appends_of_many_threads_all_arrive_in_their_order(self, ledger: Ledger) -> None:
        def write(writer: int) -> list[int]:
            ids: list[int] = []
            for n in range(15):
                (outcome,) = ledger.log.append(TOPIC, [Unit([Change(event(w=writer, n=n))])])
                assert isinstance(outcome, Appended)
                ids += outcome.ids
            return ids

        ids = concurrently(*(partial(write, writer) for writer in range(8)))
        for mine in ids:
            assert mine == sorted(mine)
        stored = {one.id: (one.value["w"], one.value["n"]) for one in every_event(ledger.log)}
        assert stored == {id: (w, n) for w, mine in enumerate(ids) for n, id in enumerate(mine)}
        assert ledger.log.wait(TOPIC, 0, PATIENCE) == max(stored)
