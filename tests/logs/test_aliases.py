"""Aliases beside the other choices of a listing, and of any text; the suite tests the rest."""

from __future__ import annotations

from typing import Any

from sessionledger import Log, RowFilter
from sessionledger.testing.fixtures import TOPIC, Ledger, add, event

KEYS = [bytes([number]) * 32 for number in range(1, 9)]


def called(log: Log, alias: str, **which: Any) -> list[bytes]:
    return [row.key for row in log.rows(TOPIC, RowFilter(alias=alias, **which))]


def test_an_alias_goes_with_every_other_choice(ledger: Ledger) -> None:
    log = ledger.log
    add(log, [event(KEYS[0], alias="one", expires=10), event(KEYS[1], "bob", alias="one")])
    add(log, [event(KEYS[2], alias="one"), event(KEYS[3], alias="one", live=False)])
    assert called(log, "one", owner="alice") == [KEYS[0], KEYS[2], KEYS[3]]
    assert called(log, "one", owner="carol") == []
    assert called(log, "one", live_at=15) == [KEYS[1], KEYS[2]]
    assert called(log, "one", owner="alice", live_at=15) == [KEYS[2]]
    assert called(log, "one", expires_before=25) == [KEYS[0]]


def test_any_text_is_an_alias(ledger: Ledger) -> None:
    texts = ["%", "_", "a'b", '"', "é", "\U0001f511", "a\0b", " "]
    add(ledger.log, [event(key, alias=text) for key, text in zip(KEYS, texts, strict=True)])
    for key, text in zip(KEYS, texts, strict=True):
        assert called(ledger.log, text) == [key]
    assert called(ledger.log, "") == called(ledger.log, "None") == []
