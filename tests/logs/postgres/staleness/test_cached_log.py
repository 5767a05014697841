"""A store that allows stale answers, on a real server."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from sessionledger import AsyncSessionStore, InvalidPolicy, SessionStore, open_log
from sessionledger.core.token import digest
from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.connection import Connection, Lines, Statement
from sessionledger.logs.postgres.staleness import tail as library
from sessionledger.logs.postgres.staleness.cached_log import CachedPostgresLog
from sessionledger.logs.postgres.staleness.confirmed_rows import ConfirmedRows, since_boot
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.fixtures import PATIENCE, until
from sessionledger.testing.forked_child import in_fork
from tests import pgbouncer
from tests.postgres_server import address, execute, schema, setting, use_a_server_apart
from tests.server.served import Served, command

BOUND = timedelta(seconds=60)
SCOPES = ("--scope", "sessions:read")
QUIET = "&options=-c%20client_min_messages%3Derror"
READ_ONLY = "&options=-c%20default_transaction_read_only%3Don"


@pytest.fixture(autouse=True)
def _short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "MOST_REST_SECONDS", 0.03)


def log_of(store: SessionStore | AsyncSessionStore) -> CachedPostgresLog:
    return cast(CachedPostgresLog, store._log)


def is_kept(store: SessionStore | AsyncSessionStore, token: str) -> bool:
    return log_of(store).kept(SESSIONS_TOPIC, digest(token)) is not None


def keep(store: SessionStore, token: str) -> None:
    """Read a session until the store answers it from memory."""
    until(lambda: store.get(token) is not None and is_kept(store, token))


@contextmanager
def both(place: Path) -> Iterator[tuple[SessionStore, SessionStore]]:
    """A store that allows stale answers, and that of others."""
    url = address(place)
    with SessionStore.open(url) as others, SessionStore.open(url, max_staleness=BOUND) as store:
        yield store, others


@pytest.mark.parametrize("url", ["memory:", "sqlite:///{}/s.db", "file://{}/files"])
def test_a_log_that_is_never_stale_takes_any_bound(url: str, tmp_path: Path) -> None:
    with SessionStore.open(url.format(tmp_path), max_staleness=BOUND) as store:
        token = store.create("alice").token
        store.expire(token)
        assert store.get(token) is None


@pytest.mark.parametrize("seconds", [-1, 0, 0.09, 3601])
def test_a_bound_is_a_time_that_a_tail_can_keep(seconds: float, tmp_path: Path) -> None:
    for url in (address(tmp_path), "memory:"):
        with pytest.raises(InvalidPolicy, match=r"max_staleness must be .*leave it out"):
            open_log(url, max_staleness=timedelta(seconds=seconds))


def test_an_end_by_others_is_seen_once_the_tail_has_read_it(tmp_path: Path) -> None:
    with both(tmp_path) as (store, others):
        token = others.create("alice").token
        keep(store, token)
        others.expire(token)
        until(lambda: store.get(token) is None)


@pytest.mark.parametrize(
    "ending", ["revoke_everybody", "expire", "rotate", "revoke_all", "rebuild"]
)
def test_an_own_write_is_seen_at_once(ending: str, tmp_path: Path) -> None:
    with both(tmp_path) as (store, _):
        issued = store.create("alice")
        keep(store, issued.token)
        calls: dict[str, Callable[[], Any]] = {
            "revoke_everybody": store.revoke_everybody,
            "expire": lambda: store.expire(issued.token),
            "rotate": lambda: store.rotate(issued.token, grace=timedelta(0)),
            "revoke_all": lambda: store.revoke_all("alice"),
            "rebuild": store.rebuild,
        }
        calls[ending]()
        assert not is_kept(store, issued.token)
        assert (store.get(issued.token) is None) == (ending != "rebuild")


def test_a_mark_by_others_empties_the_cache(tmp_path: Path) -> None:
    with both(tmp_path) as (store, others):
        token = others.create("alice").token
        keep(store, token)
        others.revoke_everybody()
        until(lambda: not is_kept(store, token))
        assert store.get(token) is None


def test_a_rebuild_by_others_empties_the_cache(tmp_path: Path) -> None:
    with both(tmp_path) as (store, others):
        token = others.create("alice").token
        keep(store, token)
        # The row became wrong, which no event tells, and a rebuild makes it right.
        others.rebuild()
        until(lambda: not is_kept(store, token))


def test_rows_that_an_erasure_replaces_are_told_to_all(tmp_path: Path) -> None:
    epoch = f"SELECT value FROM {schema(tmp_path)}.ledger_meta WHERE name = 'epoch'"
    with both(tmp_path) as (_, others):
        others.create("alice")
        before = execute(epoch)
        others.erase("alice")
        assert execute(epoch) != before


def test_a_session_that_is_not_there_is_asked_for_each_time(tmp_path: Path) -> None:
    with both(tmp_path) as (store, others):
        token = "x" * 40
        assert store.get(token) is None
        others.create("alice", token=token)
        assert store.get(token) is not None


def test_writes_are_decided_on_what_the_primary_says(tmp_path: Path) -> None:
    with both(tmp_path) as (store, others):
        token = others.create("alice", attributes={"role": "a"}).token
        keep(store, token)
        others.patch(token, {"role": "b"})
        patched = store.patch(token, {"role": "a"})
        assert patched is not None
        assert others.get(token).attributes["role"] == "a"  # type: ignore[union-attr]


def test_an_event_loop_answers_in_place(tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncSessionStore.open(address(tmp_path), max_staleness=BOUND) as store:
            token = (await store.create("alice")).token
            assert store.peek(token) is None
            async with asyncio.timeout(PATIENCE):
                while store.peek(token) is None:
                    assert await store.get(token) is not None
                    assert await store.authenticate(token) is not None
            before = log_of(store)._misses
            assert await store.get(token) is not None
            assert log_of(store)._misses == before
            await store.expire(token)
            assert store.peek(token) is None
            assert await store.get(token) is None

    asyncio.run(work())


def test_a_tail_goes_on_after_its_connection_was_cut(tmp_path: Path) -> None:
    url = f"{address(tmp_path)}&application_name=tail_{schema(tmp_path)[-20:]}"
    with (
        SessionStore.open(address(tmp_path)) as others,
        SessionStore.open(url, max_staleness=BOUND) as store,
    ):
        token = others.create("alice").token
        keep(store, token)
        execute(
            f"""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = 'tail_{schema(tmp_path)[-20:]}'"""
        )
        others.expire(token)
        until(lambda: store.get(token) is None)


def test_what_is_kept_is_told_by_stats(tmp_path: Path) -> None:
    with both(tmp_path) as (store, others):
        token = others.create("alice").token
        keep(store, token)
        details: dict[str, Any] = {**store.stats().log.details}
        assert details["max_staleness_ms"] == 60_000
        assert details["cached_rows"] == 1
        assert details["unconfirmed_topics"] == 0
        assert details["cache_misses"] > 0
        figures = {name: value for name, _, _, value in store.stats().figures()}
        assert figures["cache.rows"] == 1
        assert figures["cache.staleness"] <= 60
        assert "cache.rows" not in {name for name, *_ in others.stats().figures()}


def test_nothing_is_left_of_a_store_that_was_closed(tmp_path: Path) -> None:
    with both(tmp_path) as (store, others):
        token = others.create("alice").token
        keep(store, token)
        tail = log_of(store)._tail._thread
        store.close()
        assert tail is not None
        until(lambda: not tail.is_alive())
        assert tail not in threading.enumerate()


def test_a_forked_child_has_a_tail_of_its_own(tmp_path: Path) -> None:
    with both(tmp_path) as (store, others):
        token = others.create("alice").token
        keep(store, token)

        def servers() -> list[int]:
            return [one._raw.info.backend_pid for one in log_of(store)._tail.pool._open]

        before = servers()

        def child() -> None:
            gc.collect()
            assert not is_kept(store, token)
            keep(store, token)

        in_fork(child)
        assert is_kept(store, token)
        others.expire(token)
        until(lambda: store.get(token) is None)
        assert servers() == before


def test_a_server_that_only_follows_another_confirms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "HEARTBEAT", "SELECT true, NULL, NULL")
    with both(tmp_path) as (store, others):
        token = others.create("alice").token
        until(lambda: store.get(token) is not None and bool(log_of(store)._tail.problem))
        assert not is_kept(store, token)
        assert log_of(store)._caches[SESSIONS_TOPIC].age() is None


@pytest.mark.middle
def test_a_commit_that_no_standby_has_confirms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a primary that was cut off. A cancelled wait comes back as a commit, with a warning."""
    use_a_server_apart(monkeypatch)
    url, name = address(tmp_path), f"tail_{schema(tmp_path)[-20:]}"
    bound = timedelta(seconds=1)
    waits = f"""FROM pg_stat_activity
        WHERE application_name = '{name}' AND wait_event = 'SyncRep'"""
    with (
        SessionStore.open(url) as others,
        SessionStore.open(f"{url}&application_name={name}{QUIET}", max_staleness=bound) as store,
    ):
        token = others.create("alice").token
        keep(store, token)
        tail = log_of(store)._tail
        with setting("synchronous_standby_names", "'nobody'"):
            until(lambda: execute(f"SELECT count(*) {waits}")[0][0] == 1)
            until(lambda: log_of(store)._caches[SESSIONS_TOPIC].age() is None)
            assert not is_kept(store, token)
            assert store.get(token) is not None
            execute(f"SELECT pg_cancel_backend(pid) {waits}")
            until(lambda: tail.problem == "DoubtfulCommit")
            assert not is_kept(store, token)
        execute(f"SELECT pg_cancel_backend(pid) {waits}")
        keep(store, token)


def test_a_confirmation_counts_from_before_the_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, begun = Connection.commit, list[int]()

    def commit(self: Connection, *statements: Statement) -> list[Lines]:
        begun.append(since_boot())
        return asked(self, *statements)

    with both(tmp_path) as (store, others):
        others.create("alice")
        tail, cache = log_of(store)._tail, ConfirmedRows(1)
        tail.caches[SESSIONS_TOPIC] = cache
        monkeypatch.setattr(Connection, "commit", commit)
        assert tail._round()
        assert cache._window[0] <= begun[0] < since_boot()


def test_a_read_only_primary_confirms(tmp_path: Path) -> None:
    with SessionStore.open(address(tmp_path)) as others:
        token = others.create("alice").token
    with SessionStore.open(address(tmp_path) + READ_ONLY, max_staleness=BOUND) as store:
        keep(store, token)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_tail_works_through_a_pooler(mode: str, tmp_path: Path) -> None:
    url = pgbouncer.address(mode, tmp_path)
    with (
        SessionStore.open(address(tmp_path)) as others,
        SessionStore.open(url, max_staleness=BOUND) as store,
    ):
        token = others.create("alice").token
        keep(store, token)
        others.expire(token)
        until(lambda: store.get(token) is None)


def test_a_role_needs_no_more_than_without_it(tmp_path: Path) -> None:
    with SessionStore.open(address(tmp_path)) as others:
        token = others.create("alice").token
        name, where = f"least_{schema(tmp_path)[-20:]}", schema(tmp_path)
        execute(f"CREATE ROLE {name} LOGIN")
        execute(f"GRANT USAGE ON SCHEMA {where} TO {name}")
        execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {where} TO {name}")
        least = address(tmp_path).replace("postgres@", f"{name}@")
        with SessionStore.open(least, max_staleness=BOUND) as store:
            keep(store, token)
            store.rebuild()
            keep(store, token)
            others.expire(token)
            until(lambda: store.get(token) is None)


@pytest.mark.middle
def test_the_service_answers_from_memory_and_tells_of_it(tmp_path: Path) -> None:
    url, ended = address(tmp_path), list[str]()
    with SessionStore.open(url) as others:
        key = command(tmp_path, "keys", "create", "root", *SCOPES, "--ledger", url)
        options = ("--ledger", url, "--no-access-log", "--max-staleness", "60s")
        with Served(tmp_path, *options) as served:

            def figure(name: str) -> float:
                told = served.call("GET", "/metrics", key).text.splitlines()
                (line,) = [line for line in told if line.startswith(f"sessionledger_cache_{name} ")]
                return float(line.split()[1])

            def status(token: str) -> int:
                return served.call("GET", "/auth", token).status_code

            def is_late() -> bool:
                """Whether it found a session live that had just ended, as only memory does."""
                token = others.create("alice").token
                assert {status(token) for _ in range(100)} == {200}
                others.expire(token)
                ended.append(token)
                return status(token) == 200

            until(is_late)
            assert figure("rows") > 0
            assert figure("staleness_seconds") <= 60
            until(lambda: {status(token) for token in ended} == {401})


def at_rest(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], Any]]:
    """The tail has ended after a confirmation. The calls are made once a row was read."""
    log, calls = log_of(store), list[Callable[[], Any]]()
    log._tail._is_stopped = True
    log._tail._wakes.put(None)
    assert log._tail._thread is not None
    log._tail._thread.join()
    read = log._select

    def then(sql: str, values: Sequence[Any]) -> Lines:
        found = read(sql, values)
        while sql == queries.STATES_TO_KEEP and calls:
            calls.pop()()
        return found

    monkeypatch.setattr(log, "_select", then)
    return calls


@pytest.mark.parametrize("what", ["nothing", "an own write", "a rebuild"])
def test_a_row_that_was_read_before_a_change_is_not_kept_after_it(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with both(tmp_path) as (store, others):
        token = others.create("alice").token
        keep(store, token)
        calls = at_rest(store, monkeypatch)
        log_of(store)._caches[SESSIONS_TOPIC].wrote([digest(token)], 0)
        if what == "an own write":
            calls.append(lambda: store.expire(token))
        if what == "a rebuild":
            calls.append(store.rebuild)
        assert store.get(token) is not None
        assert is_kept(store, token) == (what == "nothing")
        assert (store.get(token) is None) == (what == "an own write")


def test_a_read_takes_one_trip_whether_or_not_there_is_a_row(tmp_path: Path) -> None:
    with both(tmp_path) as (store, others):
        token = others.create("alice").token
        asked = list[str]()
        read = log_of(store)._read

        def counted(work: Callable[[Connection], Any]) -> Any:
            asked.append("")
            return read(work)

        log_of(store)._read = counted  # type: ignore[method-assign]
        assert store.get(token) is not None
        assert store.get("x" * 40) is None
        assert len(asked) == 2
