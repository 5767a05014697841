"""Commits that wait for a standby: an answer means that the standby has them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from sessionledger import LogTimeout, LogUnavailable, SessionStore
from sessionledger.testing.fixtures import until
from tests.logs.postgres.cutting import Way
from tests.logs.postgres.standing_still import stopped_server
from tests.postgres_server import (
    address,
    execute,
    follower,
    schema,
    server,
    setting,
    use_a_server_apart,
)

pytestmark = pytest.mark.middle

TOKEN = "harn_sess_test_abcdefghijklmnopqrstuvwxyz0123456789"
SHORT = timedelta(seconds=2)
STATEMENT_TIMEOUT_MS = 50
CUTS = ("pg_cancel_backend", "pg_terminate_backend")
WAITING = """SELECT {} FROM pg_stat_activity
    WHERE wait_event = 'SyncRep' AND application_name = '{}' LIMIT 1"""
LONG = WAITING.format("clock_timestamp() - query_start > interval '1 s'", "sessionledger")


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    use_a_server_apart(monkeypatch)


@contextmanager
def without_a_standby() -> Iterator[None]:
    """Every commit waits for a standby that is not there."""
    with setting("synchronous_standby_names", "nobody"):
        until(commits_wait)
        yield


def commits_wait() -> bool:
    """Whether they do, by one that goes on waiting."""
    with closing(psycopg.connect(server(), autocommit=True, application_name="probe")) as probe:
        probe.pgconn.send_query(b"SELECT pg_logical_emit_message(true, 'probe', '')")
        until(lambda: bool(execute(WAITING.format("1", "probe"))) or _is_answered(probe))
        return not _is_answered(probe)


def _is_answered(connection: psycopg.Connection[Any]) -> bool:
    connection.pgconn.consume_input()
    return not connection.pgconn.is_busy()


def cut(function: str) -> bool:
    """End the wait of one commit of ours, if there is one."""
    return bool(execute(WAITING.format(f"{function}(pid)", "sessionledger")))


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises((LogUnavailable, LogTimeout)) as error:
        call()
    return str(error.value)


def test_a_statement_timeout_of_the_role_cuts_no_commit(tmp_path: Path) -> None:
    option = quote(f"-c statement_timeout={STATEMENT_TIMEOUT_MS}ms")
    url = f"{address(tmp_path)}&options={option}"
    with SessionStore.open(url) as store, ThreadPoolExecutor(1) as apart:
        with without_a_standby():
            created = apart.submit(store.create, "alice")
            until(lambda: execute(LONG) == [(True,)])
            assert not created.done()
        assert store.get(created.result().token) is not None


@pytest.mark.parametrize("function", CUTS)
def test_a_wait_for_a_standby_that_is_cut_is_no_answer(tmp_path: Path, function: str) -> None:
    with SessionStore.open(address(tmp_path), timeout=SHORT) as store, ThreadPoolExecutor(1) as on:
        with without_a_standby():
            created = on.submit(store.create, "alice", token=TOKEN)
            until(lambda: cut(function))
            assert "written for good" in refusal(created.result)
            assert store.get(TOKEN) is not None, "it is there, and no standby has it"
        assert store.get(TOKEN) is not None


@pytest.mark.parametrize("function", CUTS)
def test_a_cut_wait_is_answered_once_a_standby_has_the_commit(
    tmp_path: Path, function: str
) -> None:
    with SessionStore.open(address(tmp_path)) as store, ThreadPoolExecutor(1) as apart:
        with without_a_standby():
            created = apart.submit(store.create, "alice", token=TOKEN)
            until(lambda: cut(function))
        assert created.result().token == TOKEN
        assert [one.kind for one in store.history(principal="alice")] == ["session_created"]


def test_an_end_that_no_standby_has_is_not_answered_by_saying_that_it_was_there_before(
    tmp_path: Path,
) -> None:
    with SessionStore.open(address(tmp_path), timeout=SHORT) as store, ThreadPoolExecutor(1) as on:
        store.create("alice", token=TOKEN)
        with without_a_standby():
            ended = on.submit(store.expire, TOKEN)
            until(lambda: cut("pg_terminate_backend"))
            refusal(ended.result)
            assert store.get(TOKEN) is None
            refusal(lambda: store.expire(TOKEN))
            refusal(lambda: store.revoke_all("alice"))
            refusal(lambda: store.revoke_where(principals=["alice"]))
            refusal(lambda: store.log_out_everywhere(TOKEN))
        assert store.expire(TOKEN) is not None
        assert store.revoke_all("alice") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="the server's processes are another user's")
def test_a_proof_on_one_server_is_none_on_another(tmp_path: Path) -> None:
    """The commit was on the primary, and its answer was lost. The standby that is promoted was
    behind, so it is asked again, and has to be told again."""
    way = Way(tmp_path)
    standby = follower()
    hosts = quote(f"{tmp_path},{standby.folder}", safe="")
    url = f"postgresql://postgres@/postgres?host={hosts}&schema={schema(tmp_path)}"
    with SessionStore.open(url, timeout=timedelta(seconds=60)) as store:
        store.create("alice")
        ((written,),) = execute("SELECT pg_current_wal_flush_lsn()::text")
        until(
            lambda: standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{written}'") == [(True,)]
        )
        standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
        standby.execute("SELECT pg_reload_conf()")
        until(lambda: not execute("SELECT 1 FROM pg_stat_replication"))
        way.lose, way.then_refuse = "the answer", True
        with ThreadPoolExecutor(1) as apart:
            created = apart.submit(store.create, "bob", token=TOKEN)
            until(lambda: way.lost == 1)
            bobs = f"SELECT count(*) FROM {schema(tmp_path)}.ledger_rows WHERE owner = 'bob'"
            until(lambda: execute(bobs) == [(1,)])
            assert standby.execute(bobs) == [(0,)]
            with stopped_server():
                assert not created.done()
                standby.execute("SELECT pg_promote()")
                assert created.result().token == TOKEN
        assert standby.execute(bobs) == [(1,)]
        assert len(list(store.history(principal="bob"))) == 1
        assert store.verify().ok
    way.close()
