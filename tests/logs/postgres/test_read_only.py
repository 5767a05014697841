"""A ledger that is only read: nothing is made, and a gap is folded in memory."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sessionledger import LogEvent, LogUnavailable, NoLedger, SessionStore, open_log, open_snapshot
from sessionledger.store.engine import SESSIONS_TOPIC
from tests import postgres_server
from tests.logs import bare_postgres


def told(store: SessionStore) -> list[Any]:
    handles = [session.handle for session in store.sessions(state="all")]
    return [
        handles,
        [session.handle for session in store.sessions(principal="alice")],
        [store.find(handle=handle) for handle in handles],
        [list(store.history(handle=handle)) for handle in handles],
        [store.count(), store.count(principal="bob", state="all"), store.verify().events],
    ]


def rows(place: Path) -> list[tuple[Any, ...]]:
    name = postgres_server.schema(place)
    return [
        *postgres_server.execute(f"SELECT * FROM {name}.ledger_rows ORDER BY key"),
        *postgres_server.execute(f"SELECT * FROM {name}.topic_heads"),
    ]


def test_a_gap_is_folded_in_memory_and_nothing_is_written(tmp_path: Path) -> None:
    url = postgres_server.address(tmp_path)
    with SessionStore.open(url) as store:
        ended = store.create("alice").handle
        store.create("bob")
    event = {"token_handle": ended, "expired_at": "2026-01-01T00:00:00Z"}
    bare_postgres.append(tmp_path, SESSIONS_TOPIC, [LogEvent.of("session_expired", event)])
    before = rows(tmp_path)
    with closing(open_snapshot(url)) as log:
        shown = SessionStore(log)
        assert shown.find(handle=ended) is None
        answers = told(shown)
        for change in (lambda: shown.create("eve"), lambda: log.ack(SESSIONS_TOPIC, "mailer", 1)):
            with pytest.raises(LogUnavailable, match="only shown"):
                change()
    assert rows(tmp_path) == before
    with SessionStore.open(url) as store:
        assert told(store) == answers


def test_a_user_who_may_only_select_reads_it(tmp_path: Path) -> None:
    url, name = postgres_server.address(tmp_path), postgres_server.schema(tmp_path)
    with SessionStore.open(url) as store:
        store.create("alice")
    role = f"reader_{name[-20:]}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN")
    postgres_server.execute(f"GRANT USAGE ON SCHEMA {name} TO {role}")
    postgres_server.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {role}")
    with closing(open_snapshot(url.replace("postgres@", f"{role}@"))) as log:
        assert SessionStore(log).count(principal="alice") == 1


def test_a_schema_without_a_ledger_is_named_and_stays_away(tmp_path: Path) -> None:
    name = postgres_server.schema(tmp_path)
    with pytest.raises(NoLedger, match=name):
        open_snapshot(postgres_server.address(tmp_path))
    there = f"SELECT count(*) FROM pg_namespace WHERE nspname = '{name}'"
    assert postgres_server.execute(there) == [(0,)]
    open_log(postgres_server.address(tmp_path)).close()
    open_snapshot(postgres_server.address(tmp_path)).close()
