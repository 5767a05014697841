"""Compaction: the oldest events go, and the rows stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Literal

import pytest

from sessionledger.errors import HistoryCut, LogUnavailable, MaintenanceRunning
from sessionledger.logs.base import Conflict, Draft, Log, Row, Unit
from sessionledger.logs.chain import Head, head_after, verify
from sessionledger.logs.compaction.contract import (
    FORGOTTEN,
    CompactableLog,
    Compaction,
    Reduction,
    Remains,
    Removal,
)
from sessionledger.logs.compaction.copyable import CopyableLog
from sessionledger.logs.compaction.seal import BaseHash, problem_of, read_seal
from sessionledger.logs.compaction.transfer import take
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.conformance.rules import KEYS
from sessionledger.testing.fixtures import (
    FOLD,
    TOPIC,
    Ledger,
    add,
    concurrently,
    event,
    put,
    rows_of,
    until,
)
from sessionledger.testing.other_process import Stopped

NOTHING = Draft("", 0, False, b"gone")


def remains(row: Row, _: Sequence[Row]) -> Draft | None:
    """All that is over is replaced."""
    return None if row.live else NOTHING


def compactable(log: Log) -> CompactableLog:
    """The log, which can be compacted."""
    found = log.compactable()
    assert found is not None
    return found


def compact(log: Log, cut: int, remains: Remains = remains) -> Reduction:
    """Remove the events up to one of them."""
    head = head_after(log.read(TOPIC, cut - 1, 1)[0])
    removed = cut - compactable(log).cut(TOPIC).id
    asked = Compaction(Removal(head, removed, 0, 1), 10**9, remains, 1)
    return compactable(log).compact(TOPIC, asked)


def expect_maintained(log: Log) -> None:
    """Nobody may maintain the ledger, since somebody else does."""
    calls: list[Callable[[], object]] = [
        lambda: compact(log, log.latest(TOPIC)),
        lambda: log.rebuild(TOPIC),
        lambda: compactable(log).lease().__enter__(),
    ]
    for call in calls:
        with pytest.raises(MaintenanceRunning):
            call()


def maintain(log: Log, is_stopped: Stopped) -> None:
    """Have the lease until this is to stop; an event tells when it is had."""
    with compactable(log).lease():
        add(log, [event(KEYS[3])])
        until(is_stopped)


class CompactionConformance(Conformance):
    """What a log promises that declares `compacts`."""

    def test_rows_stay_but_for_what_was_over(self, compacted: Ledger) -> None:
        log = compacted.log
        add(log, [event(KEYS[0]), event(KEYS[1]), event(KEYS[1], live=False), event(KEYS[2])])
        # What is over at the cut, and has a later event, stays as well.
        add(log, [event(KEYS[4], live=False)])
        add(log, [event(KEYS[2], live=False), event(KEYS[3]), event(KEYS[4], live=False, n=1)])
        before = {row.key: row for row in log.rows(TOPIC)}
        assert compact(log, 5) == Reduction(1)
        over = before[KEYS[1]]
        before[KEYS[1]] = Row(KEYS[1], over.version, over.created, "", 0, False, b"gone")
        for _ in range(2):
            assert {row.key: row for row in log.rows(TOPIC)} == before
            assert log.rebuild(TOPIC) == 4  # three events and the seal
        if compacted.harness.persists:
            log = compacted.reopen()
            assert {row.key: row for row in log.rows(TOPIC)} == before

    def test_a_write_conflicts_that_was_decided_before_its_row_was_reduced(
        self, compacted: Ledger
    ) -> None:
        log = compacted.log
        add(log, [event(KEYS[0]), event(KEYS[0], live=False)])
        before = log.row(TOPIC, KEYS[0])
        assert before is not None
        compact(log, 2)
        head, reduced = log.latest(TOPIC), log.row(TOPIC, KEYS[0])
        late = event(KEYS[0], live=False, n=1)
        unit = Unit([put(late, before, expected=before.version)])
        assert log.append(TOPIC, [unit]) == [Conflict(key=KEYS[0], current=reduced)]
        assert (log.latest(TOPIC), log.row(TOPIC, KEYS[0])) == (head, reduced)

    def test_what_was_removed_is_refused_and_the_rest_can_be_read(self, compacted: Ledger) -> None:
        log = compacted.log
        add(log, [event(KEYS[0]), event(KEYS[1]), event(KEYS[0], n=1), event(KEYS[2])])
        rest = log.read(TOPIC, 2)
        compact(log, 2)
        for after in (0, 1):
            with pytest.raises(HistoryCut):
                log.read(TOPIC, after)
            with pytest.raises(HistoryCut):
                log.read_key(TOPIC, KEYS[1], after)
        assert log.read(TOPIC, 2, 2) == rest
        assert log.read_key(TOPIC, KEYS[0], 2) == rest[:1]
        assert log.read_key(TOPIC, KEYS[2]) == rest[1:]

    def test_the_chain_goes_on_and_the_seal_has_the_hash_of_the_base(
        self, compacted: Ledger
    ) -> None:
        log = compacted.log
        add(log, [event(KEYS[n % 4], n=n) for n in range(12)])
        events = log.read(TOPIC)
        for cut in (5, 9):
            compact(log, cut)
            (id,) = add(log, [event(KEYS[4], n=cut)])
            known, base = compactable(log).cut(TOPIC), BaseHash()
            rows = compactable(log).base(TOPIC, b"", 100)
            base.see(rows)
            assert rows == sorted(rows_of(events[:cut]).values(), key=lambda row: row.key)
            assert known.id == cut
            assert problem_of(known, log.read(TOPIC, known.seal - 1, 1)[0], base) is None
            ends = verify(TOPIC, log.read(TOPIC, cut), known.head)
            assert isinstance(ends, Head)
            assert ends.id == id == log.latest(TOPIC)

    def test_what_is_forgotten_leaves_nothing_and_the_seal_counts_it(
        self, compacted: Ledger
    ) -> None:
        log = compacted.log
        add(log, [event(KEYS[0]), event(KEYS[1]), event(KEYS[1], live=False)])
        add(log, [event(KEYS[2], live=False), event(KEYS[3], live=False)])
        late = event(KEYS[3], live=False, n=1)
        add(log, [late, event(KEYS[4])])
        before = {row.key: row for row in log.rows(TOPIC)}

        def forgets(row: Row, _: Sequence[Row]) -> Draft | Literal["forgotten"] | None:
            return NOTHING if row.key == KEYS[2] else FORGOTTEN

        assert compact(log, 5, forgets) == Reduction(1, 1)
        kept = before[KEYS[2]]
        before[KEYS[2]] = Row(KEYS[2], kept.version, kept.created, "", 0, False, b"gone")
        del before[KEYS[1]]
        for _ in range(2):
            assert {row.key: row for row in log.rows(TOPIC)} == before
            assert log.row(TOPIC, KEYS[1]) is None
            assert log.state(TOPIC, KEYS[1]) is None
            assert compactable(log).base_row(TOPIC, KEYS[1]) is None
            assert log.read_key(TOPIC, KEYS[1], 0) == []
            log.rebuild(TOPIC)
        cut = compactable(log).cut(TOPIC)
        assert read_seal(log.read(TOPIC, cut.seal - 1, 1)[0]).forgotten == 1
        add(log, [event(KEYS[1], n=5)])
        compact(log, 7, forgets)
        row = log.row(TOPIC, KEYS[1])
        assert row is not None
        assert row.created == row.version == cut.seal + 1

    def test_one_thread_maintains_the_ledger_and_others_write(self, compacted: Ledger) -> None:
        log = compacted.log
        others = [log, compacted.open()] if compacted.harness.shared else [log]
        add(log, [event(key) for key in KEYS])
        with compactable(log).lease():
            with compactable(log).lease():
                assert compact(log, 1) == Reduction()
            log.rebuild(TOPIC)
            for other in others:
                concurrently(partial(expect_maintained, other))
                add(other, [event(KEYS[0])])
        for cut, other in enumerate(others, 2):
            concurrently(partial(compact, other, cut))
            assert compactable(log).cut(TOPIC).id == cut

    def test_a_process_that_is_killed_has_the_lease_no_more(
        self, compacted: Ledger, shared: Ledger
    ) -> None:
        log = compacted.log
        (head,) = add(log, [event(KEYS[0])])
        child = shared.child()
        child.begin(maintain)
        log.wait(TOPIC, head)
        expect_maintained(log)
        child.kill()

        def is_compacted() -> bool:
            with suppress(MaintenanceRunning):
                compact(log, head)
            return compactable(log).cut(TOPIC).id == head

        until(is_compacted)

    def test_a_copy_is_gone_on_with_and_has_what_the_other_log_has(self, copied: Ledger) -> None:
        log, source, told = copied.log, MemoryLog(), list[int]()
        assert isinstance(log, CopyableLog)
        source.fold_with(TOPIC, FOLD)
        add(source, [event(KEYS[n % 4], n=n) for n in range(4)])
        take(source, log, TOPIC, told.append)
        add(source, [event(KEYS[n % 4], n=n) for n in range(4, 6)])
        compact(source, 3)
        take(source, log, TOPIC, told.append)
        assert told == [4, 3]
        with pytest.raises(LogUnavailable):
            log.extend(TOPIC, source.read(TOPIC, 3))
        for _ in range(2):
            assert log.read(TOPIC, 3) == source.read(TOPIC, 3)
            assert log.rows(TOPIC) == source.rows(TOPIC)
            assert log.cut(TOPIC) == source.cut(TOPIC)
            assert log.base(TOPIC, b"", 9) == source.base(TOPIC, b"", 9)
            log.rebuild(TOPIC)
        assert add(log, [event(KEYS[0], n=9)]) == (log.latest(TOPIC),) == (8,)
