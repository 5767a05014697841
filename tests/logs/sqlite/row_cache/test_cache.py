"""Rows that are answered without asking SQLite, and everything after which they must not be."""

from __future__ import annotations

import asyncio
import builtins
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from sessionledger import AsyncSessionStore, LogUnavailable, Session, SessionStore, StoreClosed
from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.logs.sqlite.row_cache import generations
from sessionledger.testing.clock import Clock
from sessionledger.testing.fixtures import FOLD, TOPIC, add, concurrently, event
from sessionledger.testing.forked_child import in_fork
from tests.logs import bare_sqlite
from tests.logs.children import run

CREATE_ELSEWHERE = """
import sys
from sessionledger import SessionStore
with SessionStore.open(sys.argv[1]) as store:
    for _ in range(int(sys.argv[2])):
        print(store.create("bob").token)
"""
UNTOLD = "UPDATE ledger_topics SET superseded = NULL"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def log(path: Path) -> Iterator[SQLiteLog]:
    log = SQLiteLog(path)
    yield log
    log.close()


@pytest.fixture
def store(log: SQLiteLog) -> SessionStore:
    return SessionStore(log)


@contextmanager
def statements(log: SQLiteLog) -> Iterator[list[str]]:
    """The statements that this thread's reads send to SQLite."""
    seen: list[str] = []

    def see(_cursor: Any, sql: str, _values: Any) -> bool:
        seen.append(sql)
        return True

    reader = log._readers.mine()
    reader.select("SELECT 1", ())
    assert reader._connection is not None
    reader._connection.exec_trace = see
    try:
        yield seen
    finally:
        if reader._connection is not None:
            reader._connection.exec_trace = None


def keep(store: SessionStore, *tokens: str) -> None:
    """Read the sessions until they are kept."""
    for _ in range(4):
        for token in tokens:
            assert store.get(token) is not None


def is_kept(log: SQLiteLog, get: Callable[[], object]) -> bool:
    """Whether a read is answered without a statement; it must find a session."""
    with statements(log) as seen:
        assert get() is not None
    return not seen


def test_a_session_that_nobody_changed_is_answered_without_a_statement(
    log: SQLiteLog, store: SessionStore
) -> None:
    token = store.create("alice", attributes={"n": 1}).token
    keep(store, token)
    assert is_kept(log, lambda: store.get(token))
    assert is_kept(log, lambda: store.authenticate(token))


def test_so_it_is_in_a_loop(log: SQLiteLog) -> None:
    async def read() -> None:
        async with AsyncSessionStore(log) as store:
            token = (await store.create("alice")).token
            for _ in range(4):
                await store.get(token)
            with statements(log) as seen:
                assert await store.get(token) is not None
                assert seen == []

    asyncio.run(read())


def test_a_program_that_reads_once_pays_nothing(log: SQLiteLog, store: SessionStore) -> None:
    token = store.create("alice").token
    assert store.get(token) is not None
    assert log._row_cache._topics == {}


def test_what_others_changed_is_asked_for_and_the_rest_is_not(
    log: SQLiteLog, store: SessionStore, path: Path
) -> None:
    first, second = store.create("alice").token, store.create("alice").token
    keep(store, first, second)
    with SessionStore.open(f"sqlite:///{path}") as other:
        other.patch(first, {"n": 1})
    with statements(log) as seen:
        for _ in range(2):
            assert store.get(second) is not None
            assert len(seen) == 1
        assert "superseded" in seen[0]
        again = store.get(first)
        assert again is not None
        assert again.attributes == {"n": 1}
        assert len(seen) == 2
        assert store.get(first) == again
        assert store.get(second) is not None
        assert len(seen) == 2


def test_a_row_that_is_not_kept_is_kept_by_the_read_that_refreshes(
    log: SQLiteLog, store: SessionStore, path: Path
) -> None:
    kept, unkept, changed = (store.create("alice").token for _ in range(3))
    keep(store, kept, changed)
    with SessionStore.open(f"sqlite:///{path}") as other:
        other.patch(changed, {"n": 1})
    with statements(log) as seen:
        counts = []
        for _ in range(4):
            assert store.get(unkept) is not None
            counts.append(len(seen))
        assert counts == [1, 2, 2, 2]
        assert store.get(kept) is not None
        assert len(seen) == 2


def test_the_row_that_changed_is_kept_by_its_second_read(
    log: SQLiteLog, store: SessionStore, path: Path
) -> None:
    changed, other = store.create("alice").token, store.create("alice").token
    keep(store, changed, other)
    with SessionStore.open(f"sqlite:///{path}") as elsewhere:
        elsewhere.patch(changed, {"n": 1})
    # Without changes the links have to tell, in a statement of their own.
    bare_sqlite.execute(path, UNTOLD)
    with statements(log) as seen:
        counts = []
        for _ in range(4):
            assert store.get(changed) is not None
            counts.append(len(seen))
        assert counts == [2, 3, 3, 3]
        assert store.get(other) is not None
        assert len(seen) == 3


def test_a_revocation_by_another_process_shows_at_once(store: SessionStore, path: Path) -> None:
    tokens = [store.create("alice").token for _ in range(5)]
    keep(store, *tokens)
    for number, token in enumerate(tokens):
        elsewhere = "import sys\nfrom sessionledger import SessionStore\n"
        elsewhere += "SessionStore.open(sys.argv[1]).revoke(handle=sys.argv[2])"
        session = store.get(token)
        assert session is not None
        run(elsewhere, f"sqlite:///{path}", session.handle)
        assert [store.get(one) is None for one in tokens] == [n <= number for n in range(5)]


def test_the_end_by_the_clock_is_judged_at_each_read(log: SQLiteLog) -> None:
    clock = Clock()
    store = SessionStore(log, clock=clock)
    token = store.create("alice", ttl=timedelta(minutes=5)).token
    keep(store, token)
    assert is_kept(log, lambda: store.get(token))
    clock.advance(timedelta(minutes=5))
    with statements(log) as seen:
        assert store.get(token) is None
        assert seen == []


def test_what_a_caller_does_to_attributes_stays_his(log: SQLiteLog, store: SessionStore) -> None:
    token = store.create("alice", attributes={"roles": ["reader"]}).token
    keep(store, token)
    found = store.get(token)
    assert found is not None
    found.attributes["roles"].append("admin")
    again = store.get(token)
    assert again is not None
    assert again.attributes == {"roles": ["reader"]}


def test_a_session_that_is_created_after_it_was_asked_for_is_found(store: SessionStore) -> None:
    secret = "a token that is long enough to be one"
    keep(store, store.create("alice").token)
    assert store.get(secret) is None
    assert store.get(secret) is None
    store.create("alice", token=secret)
    assert store.get(secret) is not None


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE ledger_rows SET live = 0",
        "DELETE FROM ledger_rows",
        "UPDATE ledger_rows SET expires = 1, version = version - 1",
    ],
)
def test_rows_rewritten_by_hand_are_asked_for(store: SessionStore, path: Path, sql: str) -> None:
    first = store.create("alice").token
    second = store.create("alice").token
    keep(store, first, second)
    bare_sqlite.execute(path, sql)
    # Beside an event that was seen: nothing is told by where the head is.
    run(CREATE_ELSEWHERE, f"sqlite:///{path}", 1)
    assert store.get(first) is store.get(second) is None


def test_a_rebuild_by_another_drops_what_was_kept(
    log: SQLiteLog, store: SessionStore, path: Path
) -> None:
    token, other = store.create("alice").token, store.create("alice").token
    keep(store, token, other)
    with SessionStore.open(f"sqlite:///{path}") as elsewhere:
        elsewhere.rebuild()
        elsewhere.create("bob")
    for _ in range(2):
        assert store.get(other) is not None
    assert not is_kept(log, lambda: store.get(token))
    assert is_kept(log, lambda: store.get(token))


@pytest.mark.parametrize(
    "sql",
    ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA wal_checkpoint(RESTART)", "ANALYZE"],
)
def test_what_changes_no_row_drops_none(
    log: SQLiteLog, store: SessionStore, path: Path, sql: str
) -> None:
    token = store.create("alice").token
    keep(store, token)
    bare_sqlite.execute(path, sql)
    assert store.get(token) is not None
    run(CREATE_ELSEWHERE, f"sqlite:///{path}", 1)
    assert store.get(token) is not None
    with statements(log) as seen:
        assert store.get(token) is not None
        assert seen == []
    with SessionStore.open(f"sqlite:///{path}") as other:
        other.expire(token)
    assert store.get(token) is None


@pytest.mark.parametrize(
    "changes",
    [
        UNTOLD,
        "UPDATE ledger_topics SET since = 2, until = 3, superseded = ''",
        "UPDATE ledger_topics SET since = 3, until = 4, superseded = ''",
    ],
    ids=["none", "of the write before", "of the last alone"],
)
def test_changes_that_are_not_all_are_not_relied_on(
    log: SQLiteLog, store: SessionStore, path: Path, changes: str
) -> None:
    first, second = store.create("alice").token, store.create("alice").token
    keep(store, first, second)
    with SessionStore.open(f"sqlite:///{path}") as other:
        other.expire(first)
        other.patch(second, {"n": 1})
    bare_sqlite.execute(path, changes)
    for _ in range(3):
        assert store.get(first) is None
        found = store.get(second)
        assert found is not None
        assert found.attributes == {"n": 1}


def test_more_changes_than_are_told_drop_everything(log: SQLiteLog, path: Path) -> None:
    log.fold_with(TOPIC, FOLD)
    keys = [bytes([n]) for n in range(3)]
    add(log, [event(key) for key in keys])
    for _ in range(3):
        assert all(log.state(TOPIC, key) for key in keys)
    kept = log._row_cache._topics[TOPIC]
    assert len(kept.rows) == 3
    add(log, [event(keys[0]) for _ in range(256 + 1)])
    assert log.state(TOPIC, keys[1]) is not None
    found = [log.state(TOPIC, key) for key in keys]
    assert [row[0] for row in found if row] == [256 + 4, 2, 3]
    assert log.state(TOPIC, keys[0]) == found[0]


@pytest.mark.parametrize(
    "spoilt",
    [
        ["UPDATE ledger_topics SET superseded = 'x,'"],
        [UNTOLD, "UPDATE ledger_links SET previous = 'x'"],
    ],
    ids=["told", "linked"],
)
def test_a_version_that_is_no_number_drops_everything(
    log: SQLiteLog, store: SessionStore, path: Path, spoilt: list[str]
) -> None:
    first, second = store.create("alice").token, store.create("alice").token
    keep(store, first, second)
    store.patch(first, {"n": 1})
    for sql in spoilt:
        bare_sqlite.execute(path, sql)
    for _ in range(2):
        assert store.get(second) is not None
    found = store.get(first)
    assert found is not None
    assert found.attributes == {"n": 1}


def test_there_are_never_more_rows_than_the_bound(
    log: SQLiteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "MAX_ROWS", 10)
    log.fold_with(TOPIC, FOLD)
    keys = [bytes([n]) for n in range(35)]
    add(log, [event(key) for key in keys])
    for _ in range(2):
        assert [row and row[0] for row in (log.state(TOPIC, k) for k in keys)] == [*range(1, 36)]
        kept = log._row_cache._topics[TOPIC]
        assert len(kept.rows) == len(kept._keys) <= 10
        assert len(kept._old) == len(kept._old_keys) <= 10


def test_rows_of_both_generations_are_kept_and_dropped(
    log: SQLiteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "MAX_ROWS", 5)
    monkeypatch.setattr(generations, "ADMIT_EVERY", 1)
    log.fold_with(TOPIC, FOLD)
    keys = [bytes([n]) for n in range(8)]
    add(log, [event(key) for key in keys])
    before = [log.state(TOPIC, key) for key in [*keys[:3], *keys]][3:]
    with statements(log) as seen:
        # The first is old by now, and becomes young again.
        assert [log.state(TOPIC, keys[n]) for n in (7, 0)] == [before[7], before[0]]
        assert seen == []
    add(log, [event(keys[n], n=1) for n in (0, 1, 7)])
    after = [log.state(TOPIC, key) for key in keys]
    assert [row and row[0] for row in after] == [9, 10, 3, 4, 5, 6, 7, 11]


def test_where_not_all_fit_what_is_asked_for_often_is_kept(
    log: SQLiteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "MAX_ROWS", 5)
    log.fold_with(TOPIC, FOLD)
    keys = [bytes([n]) for n in range(20)]
    add(log, [event(key) for key in keys])
    for key in keys:
        log.state(TOPIC, key)
    assert not is_kept(log, lambda: log.state(TOPIC, keys[19]))
    for _ in range(generations.ADMIT_EVERY):
        log.state(TOPIC, keys[19])
    assert is_kept(log, lambda: log.state(TOPIC, keys[19]))


def test_a_ledger_that_nobody_wrote_to_since_it_was_begun_keeps_nothing_until_then(
    log: SQLiteLog, store: SessionStore, tmp_path: Path
) -> None:
    token = store.create("alice").token
    log.close()
    with SessionStore.open(f"sqlite:///{log.path}") as again:
        opened = again._log
        assert isinstance(opened, SQLiteLog)
        for _ in range(3):
            assert again.get(token)
        assert not is_kept(opened, lambda: again.get(token))
        other = again.create("bob").token
        keep(again, token)
        assert is_kept(opened, lambda: again.get(token))
        assert again.get(other)


def test_a_large_state_is_not_kept(log: SQLiteLog, store: SessionStore) -> None:
    token = store.create("alice", attributes={"text": "x" * generations.MAX_STATE_BYTES}).token
    keep(store, token)
    assert not is_kept(log, lambda: store.get(token))


def test_topics_have_rows_of_their_own(log: SQLiteLog) -> None:
    for topic in ("one", "two"):
        log.fold_with(topic, FOLD)
        add(log, [event(b"k", owner=topic)], topic)
        for _ in range(3):
            assert log.state(topic, b"k") is not None
    add(log, [event(b"k", n=1)], "two")
    one, two = log.state("one", b"k"), log.state("two", b"k")
    assert one is not None
    assert two is not None
    assert (one[0], two[0]) == (1, 2)


# -- forks and closes


def test_parent_and_child_see_each_other_revoke(store: SessionStore) -> None:
    first, second = store.create("alice").token, store.create("alice").token
    keep(store, first, second)

    def in_child() -> None:
        keep(store, first, second)
        assert store.expire(first) is not None
        assert store.get(first) is None

    in_fork(in_child)
    assert store.get(first) is None
    keep(store, second)
    store.expire(second)
    in_fork(lambda: _check_none(store, second))


def _check_none(store: SessionStore, token: str) -> None:
    for _ in range(3):
        assert store.get(token) is None


def test_both_keep_rows_after_a_fork(log: SQLiteLog, store: SessionStore) -> None:
    token = store.create("alice").token
    keep(store, token)

    def check() -> None:
        store.create("bob")
        keep(store, token)
        assert is_kept(log, lambda: store.get(token))

    in_fork(check)
    check()


def test_a_header_is_let_go_of_before_its_memory_goes(log: SQLiteLog, store: SessionStore) -> None:
    token = store.create("alice").token
    keep(store, token)
    (kept,) = log._row_cache._topics.values()
    in_fork(lambda: None)
    with pytest.raises(ValueError, match="released"):
        kept.header.tobytes()
    assert (kept.header == kept.stamp) is False


def test_a_closed_log_answers_nothing(log: SQLiteLog, store: SessionStore) -> None:
    token = store.create("alice").token
    keep(store, token)
    log.close()
    with pytest.raises(StoreClosed):
        store.get(token)


def test_threads_that_read_while_the_log_forks_and_closes(path: Path) -> None:
    log = SQLiteLog(path)
    store = SessionStore(log)
    token = store.create("alice").token
    keep(store, token)

    def read() -> int:
        count = 0
        try:
            while True:
                assert store.get(token) is not None
                count += 1
        except StoreClosed:
            return count

    def fork_and_close() -> int:
        for _ in range(5):
            in_fork(lambda: keep(store, token))
        log.close()
        return 1

    assert all(concurrently(read, read, fork_and_close))


# -- where there is no trusting the header


@pytest.mark.parametrize("machine", ["aarch64", "riscv64"])
def test_on_other_processors_every_read_asks(
    path: Path, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=machine))
    check_asks(path)


def test_without_ctypes_every_read_asks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "ctypes":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    check_asks(path)


def test_without_a_connection_to_spare_every_read_asks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object) -> None:
        raise apsw.CantOpenError

    monkeypatch.setattr("sessionledger.logs.sqlite.row_cache.wal_header._header_of", refuse)
    check_asks(path)


def check_asks(path: Path) -> None:
    log = SQLiteLog(path)
    store = SessionStore(log)
    token = store.create("alice").token
    keep(store, token)
    assert not is_kept(log, lambda: store.get(token))
    store.expire(token)
    assert store.get(token) is None
    log.close()


def test_a_log_that_was_not_begun_names_nothing(path: Path) -> None:
    """Closed by the last, opened, and not written since: the salts are 0."""
    with SessionStore.open(f"sqlite:///{path}") as store:
        token = store.create("alice").token
    log = SQLiteLog(path)
    store = SessionStore(log)
    keep(store, token)
    assert not is_kept(log, lambda: store.get(token))
    store.create("bob")
    keep(store, token)
    assert is_kept(log, lambda: store.get(token))
    log.close()


def test_a_file_in_the_place_of_another_ends_the_keeping(
    log: SQLiteLog, store: SessionStore, path: Path, tmp_path: Path
) -> None:
    token = store.create("alice").token
    keep(store, token)
    bare_sqlite.execute(path, f"VACUUM INTO '{tmp_path / 'copy'}'")
    os.replace(tmp_path / "copy", path)
    for name in ("ledger-wal", "ledger-shm"):
        (tmp_path / name).unlink()
    with SessionStore.open(f"sqlite:///{path}") as other:
        other.expire(token)
    # Before long that is noticed, and a thread that has no connection yet opens the new file.
    while log._row_cache._header.header() is not None:
        store.get(token)
    assert concurrently(lambda: store.get(token)) == [None]


def test_a_read_in_a_signal_handler_waits_for_nobody(store: SessionStore) -> None:
    token = store.create("alice").token
    keep(store, token)
    answers: list[Session | None] = []
    ended = False

    def read(*_: object) -> None:
        # Refused in the middle of a statement of its own thread.
        with suppress(LogUnavailable):
            answers.append(store.get(token))
        # Only now, so that a slow machine does not interrupt each handler with the next; and never
        # once the old handler is about to come back, which ends the process.
        if not ended:
            signal.setitimer(signal.ITIMER_REAL, 0.0001)

    old = signal.signal(signal.SIGALRM, read)
    signal.setitimer(signal.ITIMER_REAL, 0.0001)
    try:
        number = 0
        while len(answers) < 300:
            number += 1
            store.patch(token, {"n": number})
            found = store.get(token)
            assert found is not None
            assert found.attributes["n"] == number
    finally:
        ended = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert None not in answers
