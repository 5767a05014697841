"""Several processes at one path: each sees the others' commits, and none is starved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from sessionledger.logs.base import Log, RowFilter
from sessionledger.testing import jobs
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.conformance.readers import KEYS, assert_units_are_whole
from sessionledger.testing.conformance.rows import ASKING, assert_rows_are_folded
from sessionledger.testing.fixtures import TOPIC, Ledger, event, every_event
from sessionledger.testing.other_process import Child

WRITERS = 4
FEW, MANY = 400, 10_000
"""Commits after which shares may be judged, and after which they are."""

FIRST_QUESTIONS: dict[str, Callable[[Log], object]] = {
    **ASKING,
    "latest": lambda log: log.latest(TOPIC),
    "read": lambda log: log.read(TOPIC),
    "wait": lambda log: log.wait(TOPIC, 0, 0),
    "rebuild": lambda log: log.rebuild(TOPIC),
}


def writers(ledger: Ledger, count: int) -> list[Child]:
    """So many other processes, each with the log open."""
    children = [ledger.child() for _ in range(count)]
    for child in children:
        assert child.do(jobs.ready)
    return children


def fair(shares: Counter[int]) -> bool:
    """Whether the slowest got at least half of what the fastest got."""
    return 2 * min(shares.values()) >= max(shares.values())


def shares_of(log: Log, patience: float) -> Counter[int]:
    """Who wrote how many of the events since every writer had begun, once that can be judged.

    The lock does not go round strictly, so a short run may be lopsided. A run is fair as soon as
    the shares are, at `FEW` events or more. It is unfair if they are not by `MANY`.
    """
    shares = Counter(dict.fromkeys(range(WRITERS), 0))
    begun: set[int] = set()
    after = 0
    while shares.total() < MANY and not (shares.total() >= FEW and fair(shares)):
        assert log.wait(TOPIC, after, patience) > after
        for one in log.read(TOPIC, after):
            after = one.id
            begun.add(one.value["w"])
            if len(begun) == WRITERS:
                shares[one.value["w"]] += 1
    return shares


class ProcessConformance(Conformance):
    """Other processes, that read or write at the same time."""

    def test_another_process_s_commit_is_in_the_first_answer(self, followed: Ledger) -> None:
        """Whatever is asked first, of a log that was opened before the commit."""
        followed.log.close()
        (writer,) = writers(followed, 1)
        for n, (name, ask) in enumerate(FIRST_QUESTIONS.items()):
            writer.do(jobs.append, event(b"new%d" % n, "alice"))
            writer.do(jobs.append, event(bytes(4), "alice"))
            before = ask(followed.open())
            unasked = followed.open()
            newer = event(b"newer%d" % n, "alice", alias="the other")
            writer.do(jobs.append, event(bytes(4), n=n), newer)
            assert ask(unasked) != before, name
            assert_rows_are_folded(unasked)

    def test_another_process_s_append_ends_the_wait(self, followed: Ledger) -> None:
        followed.log.close()
        (writer,) = writers(followed, 1)
        reader = followed.open()
        writer.begin(jobs.append, event())
        assert reader.wait(TOPIC, 0, followed.harness.patience) >= 1
        assert writer.answer() == (reader.latest(TOPIC),)

    def test_no_reader_sees_half_of_another_process_s_unit(self, followed: Ledger) -> None:
        followed.log.close()
        (writer,) = writers(followed, 1)
        reader = followed.open()
        writer.begin(jobs.append_whole_until_stopped, KEYS)
        seen = 0
        while seen < 40 * len(KEYS):
            assert reader.wait(TOPIC, seen, followed.harness.patience) > seen
            seen = assert_units_are_whole(reader)
        writer.stop()
        assert writer.answer() * len(KEYS) == assert_units_are_whole(reader)

    def test_a_tailing_reader_misses_nothing_of_other_processes(self, shared: Ledger) -> None:
        each = 40
        children = writers(shared, WRITERS)
        for number, child in enumerate(children):
            child.begin(jobs.append_many, number, each)
        seen: list[int] = []
        while len(seen) < WRITERS * each:
            after = seen[-1] if seen else 0
            assert shared.log.wait(TOPIC, after, shared.harness.patience) > after
            seen += [one.id for one in shared.log.read(TOPIC, after)]
        assert seen == sorted(id for child in children for id in child.answer())
        assert seen == [one.id for one in every_event(shared.log)]

    def test_one_of_several_processes_creates_a_key(self, shared: Ledger) -> None:
        keys = [bytes([n]) for n in range(40)]
        children = writers(shared, WRITERS)
        for child in children:
            child.begin(jobs.create_each, keys)
        won = [child.answer() for child in children]
        assert [sum(of_key) for of_key in zip(*won, strict=True)] == [1] * len(keys)
        assert len(every_event(shared.log)) == len(keys)
        assert_rows_are_folded(shared.log)

    def test_a_rule_holds_a_limit_among_processes(self, shared: Ledger) -> None:
        limit = 7
        children = writers(shared, WRITERS)
        for number, child in enumerate(children):
            keys = [bytes([number, n]) for n in range(40)]
            child.begin(jobs.create_within, keys, "alice", limit)
        assert sum(child.answer() for child in children) == limit
        assert shared.log.count(TOPIC, RowFilter(owner="alice")) == limit

    def test_of_several_writing_processes_none_is_starved(self, shared: Ledger) -> None:
        children = writers(shared, WRITERS)
        for number, child in enumerate(children):
            child.begin(jobs.append_until_stopped, number)
        shares = shares_of(shared.log, shared.harness.patience)
        for child in children:
            child.stop()
        assert sum(child.answer() for child in children) == len(every_event(shared.log))
        assert fair(shares), shares
