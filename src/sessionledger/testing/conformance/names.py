"""Names, limits and closing: every call takes what it may and refuses the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sessionledger.errors import InvalidEvent, StoreClosed
from sessionledger.logs.base import Log
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.fixtures import FOLD, TOPIC, Ledger, add, event

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
    "examine": lambda log, topic: log.examine(topic, lambda _: []),
    "rebuild": lambda log, topic: log.rebuild(topic),
    "ack": lambda log, topic: log.ack(topic, "c", 1),
    "cursor": lambda log, topic: log.cursor(topic, "c"),
}
BAD_NAMES = ["", ".", "..", "a/b", "a b", "é", "a\n", "\x00", "x" * 201]


class NameConformance(Conformance):
    """Topics are named, limits are one or more, and what is closed is closed."""

    @pytest.mark.parametrize("call", CALLS)
    def test_a_bad_topic_is_refused(self, ledger: Ledger, call: str) -> None:
        for name in BAD_NAMES:
            with pytest.raises(InvalidEvent):
                CALLS[call](ledger.log, name)
        assert ledger.log.topics() == []

    @pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 200])
    def test_a_good_topic_is_taken(self, ledger: Ledger, name: str) -> None:
        add(ledger.log, [event()], name)
        assert ledger.log.topics() == [name]

    def test_a_bad_consumer_is_refused(self, ledger: Ledger) -> None:
        for name in BAD_NAMES:
            with pytest.raises(InvalidEvent):
                ledger.log.ack(TOPIC, name, 1)
            with pytest.raises(InvalidEvent):
                ledger.log.cursor(TOPIC, name)

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_is_one_or_more(self, ledger: Ledger, limit: int) -> None:
        add(ledger.log, [event(b"k")])
        for call in (
            lambda: ledger.log.read(TOPIC, limit=limit),
            lambda: ledger.log.read_key(TOPIC, b"k", limit=limit),
            lambda: ledger.log.rows(TOPIC, limit=limit),
        ):
            with pytest.raises(InvalidEvent):
                call()

    @pytest.mark.parametrize("call", [call for call in CALLS if call != "fold_with"])
    def test_a_closed_log_refuses(self, ledger: Ledger, call: str) -> None:
        add(ledger.log, [event(b"k")])
        ledger.log.close()
        ledger.log.close()
        with pytest.raises(StoreClosed):
            CALLS[call](ledger.log, TOPIC)

    def test_a_closed_log_refuses_the_rest(self, ledger: Ledger) -> None:
        ledger.log.close()
        with pytest.raises(StoreClosed):
            ledger.log.topics()
        with pytest.raises(StoreClosed):
            ledger.log.flush()

    def test_a_log_says_what_it_is(self, ledger: Ledger) -> None:
        told = ledger.log.describe()
        assert told.backend
        assert isinstance(told.chained, bool)
