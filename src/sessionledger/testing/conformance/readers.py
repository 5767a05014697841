"""Readers beside writers: they miss nothing, and see no half of anything and nothing stale."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from operator import eq

from sessionledger.logs.base import Change, Log, StoredEvent, Unit
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.fixtures import TOPIC, Ledger, add, concurrently, event, every_event

KEYS = [bytes([n]) * 4 for n in range(4)]
WRITERS = 16
READERS = 3
WRITES = 40


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


def beside_readers(write: Callable[[int], object], look: Callable[[], object]) -> None:
    """Write again and again while others look: each looks at least once between two writes."""
    looks = [0] * READERS
    over = threading.Event()

    def write_on() -> None:
        try:
            for n in range(WRITES):
                write(n)
                before = [*looks]
                while not over.is_set() and any(map(eq, looks, before)):
                    over.wait(0.0001)
        finally:
            over.set()

    def look_on(reader: int) -> None:
        try:
            while not over.is_set():
                look()
                looks[reader] += 1
        finally:
            over.set()

    concurrently(write_on, *(partial(look_on, reader) for reader in range(READERS)))


class ReaderConformance(Conformance):
    """What readers see while others write."""

    def test_no_reader_sees_half_of_a_unit(self, ledger: Ledger) -> None:
        beside_readers(
            lambda n: ledger.log.append(TOPIC, [whole(n)]),
            lambda: assert_units_are_whole(ledger.log),
        )
        assert assert_units_are_whole(ledger.log) == WRITES * len(KEYS)

    def test_a_tailing_reader_misses_nothing(self, ledger: Ledger) -> None:
        each = 12
        seen: list[StoredEvent] = []

        def tail() -> None:
            while len(seen) < WRITERS * each:
                after = seen[-1].id if seen else 0
                assert ledger.log.wait(TOPIC, after, ledger.harness.patience) > after
                seen.extend(ledger.log.read(TOPIC, after, 7))

        def write(writer: int) -> None:
            for n in range(each):
                add(ledger.log, [event(w=writer, n=n)])

        concurrently(tail, *(partial(write, writer) for writer in range(WRITERS)))
        assert seen == every_event(ledger.log)
        for writer in range(WRITERS):
            mine = [one.value["n"] for one in seen if one.value["w"] == writer]
            assert mine == list(range(each))

    def test_no_row_is_older_than_what_was_acknowledged(self, ledger: Ledger) -> None:
        """A reader that learns of an append by other means must see it in the row."""
        acknowledged = [0]

        def write(n: int) -> None:
            (acknowledged[0],) = add(ledger.log, [event(KEYS[0], n=n)])

        def look() -> None:
            least = acknowledged[0]
            row, state = ledger.log.row(TOPIC, KEYS[0]), ledger.log.state(TOPIC, KEYS[0])
            assert least == 0 or (row is not None and row.version >= least)
            assert least == 0 or (state is not None and state[0] >= least)

        beside_readers(write, look)
