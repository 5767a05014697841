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
    Bench,
    add,
    event,
    every_event,
    together,
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

    def test_an_event_is_read_as_it_was_appended(self, bench: Bench) -> None:
        told = LogEvent.of(
            "kind é", STRANGE | {"owner": "o"}, headers={"é": "\x00", "a": ""}, occurred_at_ms=-7
        )
        add(bench.log, [told])
        (stored,) = every_event(bench.log)
        assert stored.kind == told.kind
        assert stored.payload == told.payload
        assert stored.occurred_at_ms == told.occurred_at_ms
        assert {name: stored.headers[name] for name in told.headers} == told.headers

    def test_events_survive_reopening(self, persistent: Bench) -> None:
        add(persistent.log, [event(n=n) for n in range(5)])
        before = every_event(persistent.log)
        assert every_event(persistent.reopen()) == before

    def test_pages_join_without_gap_or_overlap(self, bench: Bench) -> None:
        add(bench.log, [event(n=n) for n in range(23)])
        pages: list[StoredEvent] = []
        while page := bench.log.read(TOPIC, pages[-1].id if pages else 0, 5):
            assert len(page) <= 5
            pages += page
        assert [one.value["n"] for one in pages] == list(range(23))
        assert pages == every_event(bench.log)

    def test_what_nobody_wrote_is_empty(self, bench: Bench) -> None:
        log = bench.log
        assert log.topics() == []
        assert log.read(TOPIC) == []
        assert log.read_key(TOPIC, b"nobody") == []
        assert log.latest(TOPIC) == 0
        assert log.row(TOPIC, b"nobody") is None
        assert log.state(TOPIC, b"nobody") is None
        assert log.rows(TOPIC) == log.rows(TOPIC, RowFilter(alias="nobody")) == []
        assert log.count(TOPIC) == 0
        assert log.owner_version(TOPIC, "nobody") == 0
        assert log.cursor(TOPIC, "nobody") == 0
        assert log.rebuild(TOPIC) == 0
        assert log.append(TOPIC, []) == []
        assert log.wait(TOPIC, 0, timeout=0) == 0
        log.flush()

    def test_what_is_not_there_is_empty_among_what_is(self, bench: Bench) -> None:
        (last,) = add(bench.log, [event(b"k", "alice")])
        log = bench.log
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
        assert log.owner_version(TOPIC, "nobody") == 0
        assert log.read("elsewhere") == []

    def test_topics_are_apart(self, bench: Bench) -> None:
        add(bench.log, [event(n=1)], "b.topic")
        add(bench.log, [event(n=2), event(n=3)], "a-topic")
        assert bench.log.latest("only-looked-at") == 0
        assert bench.log.topics() == ["a-topic", "b.topic"]
        assert [one.value["n"] for one in every_event(bench.log, "a-topic")] == [2, 3]
        assert [one.value["n"] for one in every_event(bench.log, "b.topic")] == [1]

    def test_what_can_t_be_stored_is_refused_and_stores_nothing(self, bench: Bench) -> None:
        for bad in UNSTORABLE:
            with pytest.raises(InvalidEvent):
                add(bench.log, [event(n=1), bad])
        with pytest.raises(InvalidEvent):
            bench.log.append(TOPIC, [Unit([])])
        assert every_event(bench.log) == []

    def test_waiting_for_what_is_there_ends_at_once(self, bench: Bench) -> None:
        (last,) = add(bench.log, [event()])
        assert bench.log.wait(TOPIC, 0) == last

    def test_waiting_in_vain_answers_the_head(self, bench: Bench) -> None:
        (last,) = add(bench.log, [event()])
        assert bench.log.wait(TOPIC, last, timeout=0.01) == last

    def test_another_thread_s_append_ends_the_wait(self, bench: Bench) -> None:
        waiter = threading.Thread(target=lambda: add(bench.log, [event()]))
        waiter.start()
        assert bench.log.wait(TOPIC, 0, bench.harness.patience) >= 1
        waiter.join()

    def test_appends_of_many_threads_all_arrive_in_their_order(self, bench: Bench) -> None:
        def write(writer: int) -> list[int]:
            ids: list[int] = []
            for n in range(15):
                (outcome,) = bench.log.append(TOPIC, [Unit([Change(event(w=writer, n=n))])])
                assert isinstance(outcome, Appended)
                ids += outcome.ids
            return ids

        ids = together(*(partial(write, writer) for writer in range(8)))
        for mine in ids:
            assert mine == sorted(mine)
        stored = {one.id: (one.value["w"], one.value["n"]) for one in every_event(bench.log)}
        assert stored == {id: (w, n) for w, mine in enumerate(ids) for n, id in enumerate(mine)}
        assert bench.log.wait(TOPIC, 0, PATIENCE) == max(stored)
