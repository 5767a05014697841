"""The words of the pages for what happens."""

from __future__ import annotations

from sessionledger import HistoryEntry
from sessionledger.console import told


def test_every_kind_and_every_cause_has_words() -> None:
    assert told.WHAT.keys() == set(HistoryEntry.KINDS)
    assert told.CAUSES.keys() == set(HistoryEntry.CAUSES)
