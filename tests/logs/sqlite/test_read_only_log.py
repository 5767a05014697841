"""A ledger that is only shown: what it answers, refuses and notices."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from sessionledger import (
    InvalidURL,
    Log,
    LogEvent,
    LogUnavailable,
    NoLedger,
    NotALedger,
    SessionStore,
    StoreClosed,
    UnsupportedSchema,
    open_snapshot,
)
from sessionledger.core.token import parse_handle
from sessionledger.logs.sqlite import queries
from sessionledger.store.engine import SESSIONS_TOPIC
from tests.logs import bare_sqlite
from tests.logs.children import ask, running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def store(path: Path) -> Iterator[SessionStore]:
    """Ten sessions, two of each principal, some of them patched and ended."""
    with SessionStore.open(f"sqlite:///{path}", durability="normal") as store:
        for n in range(10):
            token = store.create(f"user{n % 5}", external_id=f"sid{n % 2}").token
            store.patch(token, {"n": n})
            if n % 3 == 0:
                store.expire(token)
        yield store


def snapshot(path: Path) -> Log:
    return open_snapshot(f"sqlite:///{path}")


def told(store: SessionStore) -> list[Any]:
    handles = [session.handle for session in store.sessions(state="all")]
    return [
        handles,
        [session.handle for session in store.sessions(principal="user1", page_size=1)],
        [session.handle for session in store.sessions(external_id="sid1")],
        [store.find(handle=handle) for handle in handles],
        [list(store.history(handle=handle)) for handle in handles],
        [store.count(), store.count(principal="user2", state="all")],
        [store.head(), store.verify(), store.stats().sessions],
        list(store.events()),
    ]


@pytest.mark.parametrize("in_use", [True, False])
def test_it_answers_what_the_ledger_does(store: SessionStore, path: Path, in_use: bool) -> None:
    store._log.ack(SESSIONS_TOPIC, "mailer", 7)
    answers = told(store)
    if not in_use:
        store.close()
    with closing(snapshot(path)) as log:
        assert told(SessionStore(log)) == answers
        assert log.topics() == [SESSIONS_TOPIC]
        assert log.cursor(SESSIONS_TOPIC, "mailer") == 7
        assert log.examine(SESSIONS_TOPIC, lambda view: []) == []
        assert log.count("another") == log.latest("another") == 0


def test_it_stays_as_it_was(store: SessionStore, path: Path) -> None:
    with closing(snapshot(path)) as log:
        before = told(SessionStore(log))
        store.revoke_all("user1")
        store.create("user6")
        assert told(SessionStore(log)) == before
    with closing(snapshot(path)) as log:
        assert told(SessionStore(log)) == told(store)


def test_it_refuses_what_would_change_it(store: SessionStore, path: Path) -> None:
    with closing(snapshot(path)) as log:
        shown = SessionStore(log)
        handle = next(iter(shown.sessions())).handle
        for change in (
            lambda: shown.create("eve"),
            lambda: shown.revoke(handle=handle),
            lambda: shown.revoke_all("user1"),
            shown.rebuild,
            lambda: log.ack(SESSIONS_TOPIC, "mailer", 1),
        ):
            with pytest.raises(LogUnavailable, match="shown"):
                change()
        assert log.wait(SESSIONS_TOPIC, 1) == log.latest(SESSIONS_TOPIC)
    assert shown.stats is not None
    with pytest.raises(StoreClosed):
        log.topics()


def test_who_waits_sees_what_comes(store: SessionStore, path: Path) -> None:
    with closing(snapshot(path)) as log:
        head = log.latest(SESSIONS_TOPIC)
        assert log.wait(SESSIONS_TOPIC, head, 0) == head
        store.create("dave")
        assert log.wait(SESSIONS_TOPIC, head) == head + 1
        assert SessionStore(log).count(principal="dave") == 1


def append_an_end(path: Path, handle: str) -> None:
    """As another program does, which knows no rows."""
    ended = {"token_handle": handle, "expired_at": "2026-01-01T00:00:00Z"}
    bare_sqlite.append(path, SESSIONS_TOPIC, [LogEvent.of("session_expired", ended)])


@pytest.mark.parametrize("lacks", ["a fold", "our tables", "our schema"])
def test_a_gap_is_folded_in_memory(store: SessionStore, path: Path, lacks: str) -> None:
    handle = next(iter(store.sessions())).handle
    store.close()
    append_an_end(path, handle)
    shutil.copy(path, path.with_name("copy.db"))
    with SessionStore.open(f"sqlite:///{path.with_name('copy.db')}") as copied:
        expected = told(copied)
    if lacks == "our tables":
        for table in ("ledger_rows", "ledger_links", "ledger_topics", "ledger_meta"):
            bare_sqlite.execute(path, f"DROP TABLE {table}")
    if lacks == "our schema":
        bare_sqlite.execute(path, "UPDATE ledger_meta SET value = 1 WHERE name = 'schema'")
    before = path.read_bytes()
    with closing(snapshot(path)) as log:
        assert told(SessionStore(log)) == expected
        assert SessionStore(log).find(handle=handle) is None
        assert log.state(SESSIONS_TOPIC, parse_handle(handle)) is not None
    assert path.read_bytes() == before


def test_what_is_no_ledger_of_this_version_is_refused(store: SessionStore, path: Path) -> None:
    store.close()
    schema = "UPDATE ledger_meta SET value = ? WHERE name = 'schema'"
    bare_sqlite.execute(path, schema, queries.SCHEMA_VERSION + 1)
    with pytest.raises(UnsupportedSchema):
        snapshot(path)
    bare_sqlite.execute(path, schema, queries.SCHEMA_VERSION - 1)
    with closing(snapshot(path)) as log:
        assert SessionStore(log).count() == 6
    path.with_name("empty").touch()
    for name in ("none", "empty"):
        with pytest.raises(NoLedger, match="no ledger"):
            snapshot(path.with_name(name))
    path.with_name("text").write_text("no database, and longer than the head of one" * 9)
    with pytest.raises(NotALedger):
        snapshot(path.with_name("text"))
    with pytest.raises(InvalidURL):
        open_snapshot("memory:")


# Root may write everything, so this goes on as nobody.
SHOWING = """
import os, sys
from sessionledger import LogUnavailable, SessionStore, open_snapshot
import sessionledger.logs.sqlite.read_only_log
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
log = open_snapshot(sys.argv[1])
for line in sys.stdin:
    print(SessionStore(log).count(), flush=True)
    sys.stdin.readline()
    try:
        log.close()
        print("closed", flush=True)
    except LogUnavailable as error:
        print(error, flush=True)
"""


@pytest.mark.parametrize("write", [False, True])
def test_who_writes_while_it_is_read_without_locks_is_noticed(write: bool) -> None:
    if os.getuid():
        pytest.skip("its owner may not write it either")
    # Not among the other folders of the tests, which nobody may enter at all.
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/ledger.db"
        with SessionStore.open(url) as store:
            store.create("alice")
        for file in Path(folder).iterdir():
            file.chmod(0o644)
        Path(folder).chmod(0o755)
        with running(SHOWING, url) as child:
            assert ask(child, "count") == "1"
            if write:
                # Nothing is left of its log once it is closed.
                with SessionStore.open(url) as store:
                    store.create("bob")
            said = ask(child, "close")
    assert ("was written meanwhile" in said) == write
    assert (said == "closed") != write
