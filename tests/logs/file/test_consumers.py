"""Cursors in files: as the reference has them, never back, and whose file it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sessionledger import CorruptLog, InvalidEvent
from sessionledger.logs.file import FileLog
from sessionledger.testing.fixtures import TOPIC, concurrently
from tests.logs.file.locations import opened


def cursor_file(root: Path, topic: str = TOPIC, consumer: str = "mailer") -> Path:
    return root / "consumers" / f"{topic}__{consumer}.json"


def test_the_file_is_the_reference_s(log: FileLog, root: Path) -> None:
    log.ack(TOPIC, "mailer", 7)
    told = json.loads(cursor_file(root).read_text())
    assert list(told) == ["topic", "consumer_id", "cursor", "updated_at_ms"]
    assert (told["topic"], told["consumer_id"], told["cursor"]) == (TOPIC, "mailer", 7)
    assert told["updated_at_ms"] > 1_700_000_000_000


def test_what_the_reference_acknowledged_is_known(log: FileLog, root: Path) -> None:
    log.ack(TOPIC, "mailer", 1)
    told = {"topic": TOPIC, "consumer_id": "mailer", "cursor": 9, "updated_at_ms": 1}
    cursor_file(root).write_text(json.dumps(told))
    assert log.cursor(TOPIC, "mailer") == 9
    log.ack(TOPIC, "mailer", 5)
    assert log.cursor(TOPIC, "mailer") == 9


def test_of_two_pairs_that_share_a_file_the_second_is_refused(log: FileLog) -> None:
    log.ack("a__b", "c", 7)
    with pytest.raises(InvalidEvent, match="another name"):
        log.ack("a", "b__c", 3)
    assert log.cursor("a", "b__c") == 0
    assert log.cursor("a__b", "c") == 7


def test_names_too_long_together_are_refused(log: FileLog) -> None:
    with pytest.raises(InvalidEvent, match="too long"):
        log.ack("t" * 200, "c" * 200, 1)
    assert log.cursor("t" * 200, "c" * 200) == 0


def test_a_file_that_can_t_be_read_is_named(log: FileLog, root: Path) -> None:
    log.ack(TOPIC, "mailer", 7)
    cursor_file(root).write_text("{")
    with pytest.raises(CorruptLog, match="mailer"):
        log.cursor(TOPIC, "mailer")
    log.ack(TOPIC, "other", 1)
    assert log.cursor(TOPIC, "other") == 1


def test_of_many_at_once_the_furthest_stays(root: Path) -> None:
    with opened(root) as one, opened(root) as other:
        logs = [one, other]
        concurrently(*[lambda n=n: logs[n % 2].ack(TOPIC, "mailer", n) for n in range(1, 21)])
        assert one.cursor(TOPIC, "mailer") == other.cursor(TOPIC, "mailer") == 20
    assert [path.name for path in cursor_file(root).parent.iterdir()] == [cursor_file(root).name]
