"""A topic as a log: ids, order, pages, cursors, waiting."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sessionledger import InvalidEvent, Log, LogEvent, StoreClosed, Unit
from tests.logs.bench import FOLD, PATIENCE, TOPIC, Bench, add, event, every_event, together

ROOT = Path(__file__).parents[2]


def test_ids_begin_at_one_and_increase(bench: Bench) -> None:
    ids = add(bench.log, [event(n=n) for n in range(5)])
    ids += add(bench.log, [event(n=5)])
    assert ids[0] == 1
    assert list(ids) == sorted(set(ids))
    assert bench.log.latest(TOPIC) == ids[-1]


def test_ids_are_not_used_again_after_reopening(persistent: Bench) -> None:
    seen: list[int] = []
    for n in range(4):
        seen += add(persistent.reopen(), [event(n=n), event(n=-n)])
    assert seen == sorted(set(seen))
    assert [one.id for one in every_event(persistent.reopen())] == seen


def test_an_event_is_read_as_it_was_appended(bench: Bench) -> None:
    value = {"n": 2**70, "x": 1e16, "é": "\u2028", "key": "00", "expires": 1, "live": True}
    told = LogEvent.of("kind é", value | {"owner": "o"}, headers={"é": "\x00", "a": ""})
    add(bench.log, [told])
    (stored,) = every_event(bench.log)
    assert (stored.kind, stored.payload, stored.occurred_at_ms) == (
        told.kind,
        told.payload,
        told.occurred_at_ms,
    )
    assert {name: stored.headers[name] for name in told.headers} == told.headers


def test_pages_join_without_gap_or_overlap(bench: Bench) -> None:
    add(bench.log, [event(n=n) for n in range(23)])
    pages: list[Any] = []
    while page := bench.log.read(TOPIC, pages[-1].id if pages else 0, 5):
        assert len(page) <= 5
        pages += page
    assert pages == every_event(bench.log)


def test_what_nobody_wrote_is_empty(bench: Bench) -> None:
    log = bench.log
    assert log.topics() == []
    assert log.read(TOPIC) == []
    assert log.read_key(TOPIC, b"nobody") == []
    assert log.latest(TOPIC) == 0
    assert log.row(TOPIC, b"nobody") is None
    assert log.state(TOPIC, b"nobody") is None
    assert log.rows(TOPIC) == []
    assert log.count(TOPIC) == 0
    assert log.owner_version(TOPIC, "nobody") == 0
    assert log.cursor(TOPIC, "nobody") == 0
    assert log.rebuild(TOPIC) == 0
    assert log.append(TOPIC, []) == []
    assert log.wait(TOPIC, 0, timeout=0) == 0


def test_topics_are_apart(bench: Bench) -> None:
    add(bench.log, [event(n=1)], "b.topic")
    add(bench.log, [event(n=2), event(n=3)], "a-topic")
    bench.log.latest("only-looked-at")
    assert bench.log.topics() == ["a-topic", "b.topic"]
    assert [one.value["n"] for one in every_event(bench.log, "a-topic")] == [2, 3]
    assert [one.id for one in every_event(bench.log, "b.topic")] == [1]


CALLS: dict[str, Callable[[Log, str], object]] = {
    "fold_with": lambda log, topic: log.fold_with(topic, FOLD),
    "append": lambda log, topic: add(log, [event()], topic),
    "read": lambda log, topic: log.read(topic),
    "read_key": lambda log, topic: log.read_key(topic, b"k"),
    "latest": lambda log, topic: log.latest(topic),
    "wait": lambda log, topic: log.wait(topic, 0, 0),
    "row": lambda log, topic: log.row(topic, b"k"),
    "state": lambda log, topic: log.state(topic, b"k"),
    "rows": lambda log, topic: log.rows(topic),
    "count": lambda log, topic: log.count(topic),
    "owner_version": lambda log, topic: log.owner_version(topic, "o"),
    "rebuild": lambda log, topic: log.rebuild(topic),
    "ack": lambda log, topic: log.ack(topic, "c", 1),
    "cursor": lambda log, topic: log.cursor(topic, "c"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "é", "a\n", "\x00", "x" * 201])
def test_a_bad_name_is_refused(bench: Bench, call: str, name: str) -> None:
    with pytest.raises(InvalidEvent):
        CALLS[call](bench.log, name)
    assert bench.log.topics() == []


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 200])
def test_a_good_name_is_taken(bench: Bench, name: str) -> None:
    add(bench.log, [event()], name)
    assert bench.log.topics() == [name]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_one_or_more(bench: Bench, limit: int) -> None:
    add(bench.log, [event(b"k")])
    for call in (
        lambda: bench.log.read(TOPIC, limit=limit),
        lambda: bench.log.read_key(TOPIC, b"k", limit=limit),
        lambda: bench.log.rows(TOPIC, limit=limit),
    ):
        with pytest.raises(InvalidEvent):
            call()


def test_what_can_t_be_stored_is_refused_and_stores_nothing(bench: Bench) -> None:
    forged = LogEvent.of("k", {}, headers={"harn.provenance.prev_hash": "sha256:0"})
    with pytest.raises(InvalidEvent):
        add(bench.log, [event(n=1), forged])
    with pytest.raises(InvalidEvent):
        bench.log.append(TOPIC, [Unit([])])
    assert every_event(bench.log) == []


@pytest.mark.parametrize("value", [float("nan"), "\ud800", {1: 2}, object()])
def test_an_event_holds_json_only(value: object) -> None:
    with pytest.raises(InvalidEvent):
        LogEvent.of("kind", value)


def test_cursors_never_go_back(bench: Bench) -> None:
    bench.log.ack(TOPIC, "mailer", 7)
    bench.log.ack(TOPIC, "mailer", 3)
    assert bench.log.cursor(TOPIC, "mailer") == 7
    assert bench.log.cursor(TOPIC, "other") == 0
    assert bench.log.cursor("elsewhere", "mailer") == 0


def test_cursors_survive_reopening(persistent: Bench) -> None:
    persistent.log.ack(TOPIC, "mailer", 7)
    log = persistent.reopen()
    assert log.cursor(TOPIC, "mailer") == 7
    log.ack(TOPIC, "mailer", 5)
    assert persistent.reopen().cursor(TOPIC, "mailer") == 7


def test_a_bad_consumer_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidEvent):
        bench.log.ack(TOPIC, "a/b", 1)
    with pytest.raises(InvalidEvent):
        bench.log.cursor(TOPIC, "")


def test_waiting_for_what_is_there_ends_at_once(bench: Bench) -> None:
    add(bench.log, [event()])
    assert bench.log.wait(TOPIC, 0) == 1


def test_waiting_in_vain_answers_the_head(bench: Bench) -> None:
    add(bench.log, [event()])
    assert bench.log.wait(TOPIC, 1, timeout=0.01) == 1


def test_another_thread_s_append_ends_the_wait(bench: Bench) -> None:
    waiter = threading.Thread(target=lambda: add(bench.log, [event()]))
    waiter.start()
    assert bench.log.wait(TOPIC, 0, PATIENCE) == 1
    waiter.join()


APPEND = """
import sys
from sessionledger import open_log
from tests.logs.bench import FOLD, TOPIC, add, event
log = open_log(sys.argv[1])
log.fold_with(TOPIC, FOLD)
add(log, [event()])
"""


def test_another_process_s_append_ends_the_wait(shared: Bench) -> None:
    with subprocess.Popen([sys.executable, "-c", APPEND, shared.url], cwd=ROOT) as writer:
        assert shared.log.wait(TOPIC, 0, PATIENCE) == 1
        assert writer.wait(PATIENCE) == 0


def test_a_tailing_reader_misses_nothing(bench: Bench) -> None:
    writers, each = 16, 12
    seen: list[Any] = []

    def tail() -> None:
        while len(seen) < writers * each:
            after = seen[-1].id if seen else 0
            assert bench.log.wait(TOPIC, after, PATIENCE) > after
            seen.extend(bench.log.read(TOPIC, after, 7))

    def write(writer: int) -> None:
        for n in range(each):
            add(bench.log, [event(w=writer, n=n)])

    together(tail, *(partial(write, writer) for writer in range(writers)))
    assert seen == every_event(bench.log)
    for writer in range(writers):
        mine = [one.value["n"] for one in seen if one.value["w"] == writer]
        assert mine == list(range(each))


@pytest.mark.parametrize("call", CALLS)
def test_a_closed_log_refuses(bench: Bench, call: str) -> None:
    add(bench.log, [event(b"k")])
    bench.log.close()
    bench.log.close()
    if call == "fold_with":
        return
    with pytest.raises(StoreClosed):
        CALLS[call](bench.log, TOPIC)


def test_a_closed_log_refuses_the_rest(bench: Bench) -> None:
    bench.log.close()
    with pytest.raises(StoreClosed):
        bench.log.topics()
    with pytest.raises(StoreClosed):
        bench.log.flush()
