from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sessionledger import SessionStore
from tests.cli.running import Line

OLD = datetime.now(UTC) - timedelta(days=100)


@pytest.fixture
def handles(line: Line) -> list[str]:
    """Sessions of a hundred days ago: one that lives, and one that ended."""
    url = f"sqlite:///{line.folder / 'sessions.db'}"
    with SessionStore.open(url, clock=lambda: OLD) as store:
        issued = [store.create(who, ttl=timedelta(days=900)) for who in ("alice", "bob")]
        store.expire(issued[1].token)
    return [one.handle for one in issued]


def test_compact_first_dry(line: Line, handles: list[str]) -> None:
    line.create()
    told = line("compact", "--retention", "90d", "--dry-run", "--json").record
    expected = {"cut": 3, "events": 3, "sessions": 0, "forgotten": 1, "sealed": False}
    assert {name: told[name] for name in expected} == expected
    assert line("compact", "--retention", "90d", "--json").record == told | {"sealed": True}
    assert line("get", "--handle", handles[0]).code == 0
    assert line("get", "--handle", handles[1]).code == 1
    assert line("verify", "--json").record["cut"] == 3


def test_what_was_removed_is_said(line: Line, handles: list[str]) -> None:
    line.create()
    line("compact", "--retention", "90d")
    refused = line("events")
    assert (refused.code, refused.out) == (3, "")
    assert "up to 3" in refused.err
    assert [record["id"] for record in line("events", "--after", "3", "--json").records] == [4, 5]
    told = line("history", "--handle", handles[0], "--json")
    assert (told.code, told.records) == (0, [])
    assert "up to 3" in told.err
    assert line("history", "--handle", "sha256:v1:" + "0" * 64).code == 1


def test_a_retention_has_to_be_long_and_not_shorter_than_before(
    line: Line, handles: list[str]
) -> None:
    assert handles
    assert line("compact").code == 2
    assert line("compact", "--retention", "47h").code == 2
    assert line("compact", "--retention", "90d").code == 0
    answer = line("compact", "--retention", "60d")
    assert (answer.code, "--shorten" in answer.err) == (2, True)
    assert line("compact", "--retention", "60d", "--shorten").code == 0


def test_a_webhook_holds_it_back_until_it_is_given_up_or_removed(
    line: Line, handles: list[str]
) -> None:
    assert handles
    add = ("webhooks", "add", "https://example.com/", "--after", "1", "--json")
    id = line(*add).record["id"]
    consumer = line("compact", "--retention", "90d", "--dry-run", "--json").record["held_back_by"]
    assert id in consumer
    assert line("compact", "--retention", "90d", "--give-up", "nobody").code == 2
    given_up = line("compact", "--retention", "90d", "--give-up", consumer, "--dry-run", "--json")
    assert given_up.record["held_back_by"] is None
    assert line("webhooks", "remove", id).code == 0
    assert line("compact", "--retention", "90d", "--json").record["cut"] == 3
