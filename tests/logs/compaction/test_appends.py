"""Who may append to a topic that was compacted, and what holds a compaction back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionledger.errors import CorruptLog, InvalidEvent
from sessionledger.logs.base import Appended, Change, Unit
from sessionledger.testing.conformance.compaction import compact, compactable
from sessionledger.testing.conformance.rules import KEYS
from sessionledger.testing.fixtures import TOPIC, Ledger, add, event
from tests.logs.conftest import LOGS


@pytest.fixture(params=[name for name, harness in LOGS.items() if harness.compacts])
def compacted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(LOGS[request.param], tmp_path / "ledger")
    yield ledger
    ledger.close()


def test_nobody_appends_without_the_fold_or_as_a_foreign_writer(compacted: Ledger) -> None:
    """The folder of text files can't refuse a line, and so is refused as a whole."""
    add(compacted.log, [event(KEYS[0]), event(KEYS[1])])
    compact(compacted.log, 1)
    if compacted.harness.shared:
        bare = compacted.open(fold=False)
        with pytest.raises(InvalidEvent):
            bare.append(TOPIC, [Unit([Change(event(KEYS[0]))])])
    head = compacted.log.latest(TOPIC)
    if compacted.log.describe().backend == "file":
        path = compacted.path / "topics" / f"{TOPIC}.jsonl"
        size = path.stat().st_size
        compacted.append_bare(event(KEYS[0]))
        with pytest.raises(CorruptLog, match=f"truncate -s {size}"):
            compacted.log.latest(TOPIC)
        os.truncate(path, size)
    elif compacted.harness.append_bare is not None:
        with pytest.raises(Exception):  # noqa: B017  as that program has it
            compacted.append_bare(event(KEYS[0]))
    assert compacted.log.latest(TOPIC) == head
    (outcome,) = compacted.log.append(TOPIC, [Unit([Change(event(KEYS[0]))])])
    assert isinstance(outcome, Appended)


def test_cursors_are_told_and_forgotten(compacted: Ledger) -> None:
    log = compacted.log
    log.ack(TOPIC, "slow", 3)
    log.ack(TOPIC, "fast", 7)
    assert compactable(log).cursors(TOPIC) == {"slow": 3, "fast": 7}
    compactable(log).forget_cursor(TOPIC, "slow")
    assert compactable(log).cursors(TOPIC) == {"fast": 7}
