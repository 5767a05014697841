"""Readers beside writers: they miss nothing, and see no half of anything and nothing stale."""

from __future__ import annotations

import threading
from functools import partial

from sessionledger.logs.base import Change, Log, StoredEvent, Unit
from sessionledger.testing.bench import TOPIC, Bench, add, event, every_event, together
from sessionledger.testing.conformance.bases import Conformance

KEYS = [bytes([n]) * 4 for n in range(4)]
WRITERS = 16


def whole(n: int) -> Unit:
    """A unit that concerns every key, and says so in each of its events."""
    return Unit([Change(event(key, n=n)) for key in KEYS])


def assert_units_are_whole(log: Log) -> int:
    """Whatever a reader sees was written by whole units; how many events it saw."""
    rows = log.rows(TOPIC)
    assert len(rows) in (0, len(KEYS))
    assert log.count(TOPIC) in (0, len(KEYS))
    told = {one.id: one.value["n"] for one in every_event(log)}
    assert list(told.values()) == [n for n in range(len(told) // len(KEYS)) for _ in KEYS]
    assert len({told[row.version] for row in rows}) <= 1, "rows of different units"
    return len(told)


class ReaderConformance(Conformance):
    """What readers see while others write."""

    def test_no_reader_sees_half_of_a_unit(self, bench: Bench) -> None:
        done = threading.Event()

        def write() -> None:
            try:
                for n in range(40):
                    bench.log.append(TOPIC, [whole(n)])
            finally:
                done.set()

        def read() -> None:
            while not done.is_set():
                assert_units_are_whole(bench.log)

        together(write, read, read)
        assert assert_units_are_whole(bench.log) == 40 * len(KEYS)

    def test_a_tailing_reader_misses_nothing(self, bench: Bench) -> None:
        each = 12
        seen: list[StoredEvent] = []

        def tail() -> None:
            while len(seen) < WRITERS * each:
                after = seen[-1].id if seen else 0
                assert bench.log.wait(TOPIC, after, bench.harness.patience) > after
                seen.extend(bench.log.read(TOPIC, after, 7))

        def write(writer: int) -> None:
            for n in range(each):
                add(bench.log, [event(w=writer, n=n)])

        together(tail, *(partial(write, writer) for writer in range(WRITERS)))
        assert seen == every_event(bench.log)
        for writer in range(WRITERS):
            mine = [one.value["n"] for one in seen if one.value["w"] == writer]
            assert mine == list(range(each))

    def test_no_row_is_older_than_what_was_acknowledged(self, bench: Bench) -> None:
        """A reader that learns of an append by other means must see it in the row."""
        acknowledged = [0]
        done = threading.Event()

        def write() -> None:
            try:
                for n in range(60):
                    (acknowledged[0],) = add(bench.log, [event(KEYS[0], n=n)])
            finally:
                done.set()

        def read() -> None:
            while not done.is_set():
                least = acknowledged[0]
                row, state = bench.log.row(TOPIC, KEYS[0]), bench.log.state(TOPIC, KEYS[0])
                assert least == 0 or (row is not None and row.version >= least)
                assert least == 0 or (state is not None and state[0] >= least)

        together(write, *[read] * 3)
