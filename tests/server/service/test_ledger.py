"""A service that maintains its ledger while clients use it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from sessionledger import SessionStore
from sessionledger.testing.fixtures import until
from tests.cli.running import Line
from tests.logs.openers import address
from tests.server.served import PATIENCE_SECONDS, Served, command

DAY = timedelta(days=1)
EVENTS = 3000
SCOPES = ("--scope", "sessions:create", "--scope", "sessions:read", "--scope", "sessions:write")


def old_ledger(url: str, events: int = EVENTS) -> str:
    """A ledger with events of five days ago; the token of its session."""
    then = datetime.now(UTC) - 5 * DAY
    with SessionStore.open(url, clock=lambda: then, durability="normal") as store:
        token = store.create("alice", ttl=90 * DAY).token
        for number in range(events):
            store.touch(token, attributes={"number": number})
    with SessionStore.open(
        url, clock=lambda: then, durability="normal", topic="sessionledger.replays"
    ) as replays:
        replays.create("a request", ttl=DAY)
    return token


@pytest.mark.middle
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_it_removes_old_events_while_clients_are_answered(tmp_path: Path, backend: str) -> None:
    url = address(backend, tmp_path / "ledger")
    token = old_ledger(url)
    key = command(tmp_path, "keys", "create", "root", *SCOPES, "--ledger", url)
    admin, bearer = ({"Authorization": f"Bearer {secret}"} for secret in (key, token))
    options = ("--ledger", url, "--workers", "2", "--no-access-log", "--retention", "2d")
    with Served(tmp_path, *options) as served:

        def use(_: int) -> set[int]:
            """Log in and be recognized, until the old events are gone."""
            told, is_cut = set(), False
            with httpx.Client(base_url=served.url, timeout=PATIENCE_SECONDS) as client:
                while not is_cut:
                    made = client.post("/v1/sessions", json={"principal": "bob"}, headers=admin)
                    stats = client.get("/v1/stats", headers=admin)
                    passed = client.get("/auth", headers=bearer)
                    told |= {made.status_code, passed.status_code, stats.status_code}
                    is_cut = stats.json()["maintained"] is not None
            return told

        with ThreadPoolExecutor(4) as clients:
            assert list(clients.map(use, range(4))) == [{200, 201}] * 4
        stats = served.call("GET", "/v1/stats", key).json()
        assert (stats["cut"], stats["maintained"]) == (EVENTS + 1, "succeeded")
        assert stats["oldest_at"] > (datetime.now(UTC) - DAY).isoformat()
        assert served.stop() == 0
        assert served.rest()[1:] == []
    with SessionStore.open(url) as store:
        assert store.get(token) is not None
        assert store.verify().ok
    with SessionStore.open(url, topic="sessionledger.replays") as replays:
        assert replays.stats().cut == 1
        assert replays.count() == 0


def test_the_figures_of_the_ledger_are_among_the_metrics(tmp_path: Path) -> None:
    url = address("sqlite", tmp_path / "ledger")
    with SessionStore.open(url) as store:
        store.create("alice")
        store.expire(store.create("bob").token)
        store.maintain()
    with Served(tmp_path, "--ledger", url, "--no-access-log") as served:
        lines = served.client.get("/metrics").text.splitlines()
    assert "# TYPE sessionledger_log_events gauge" in lines
    assert "sessionledger_log_events 3" in lines
    assert 'sessionledger_sessions{state="live"} 1' in lines
    assert 'sessionledger_sessions{state="ended"} 1' in lines
    assert 'sessionledger_sessions{state="tombstone"} 0' in lines
    assert "sessionledger_consumer_lag_events 0" in lines
    assert "sessionledger_maintenance_failed 0" in lines
    names = {line.partition(" ")[0] for line in lines}
    assert "sessionledger_maintenance_timestamp_seconds" in names
    assert "sessionledger_log_oldest_event_timestamp_seconds" in names
    assert "sessionledger_log_size_bytes" in names
    assert "sessionledger_compaction_timestamp_seconds" not in names
    assert len(set(lines)) == len(lines)


@pytest.mark.middle
def test_without_a_retention_all_events_stay(tmp_path: Path) -> None:
    url = address("sqlite", tmp_path / "ledger")
    token = old_ledger(url, 2)
    with Served(tmp_path, "--ledger", url, "--no-access-log", "--sweep-interval", "1s") as served:
        bearer = {"Authorization": f"Bearer {token}"}
        until(lambda: served.client.get("/auth", headers=bearer).status_code == 200)
        assert served.stop() == 0
    with SessionStore.open(url) as store:
        stats = store.stats()
    assert (stats.cut, stats.maintained) == (0, None)


def test_a_retention_that_can_t_be_is_refused_before_anything(tmp_path: Path) -> None:
    done = Line(tmp_path)("serve", "--retention", "47h")
    assert done.code == 2
    assert "retention must be at least 48 hours" in done.err
    assert not (tmp_path / "sessions.db").exists()
