"""The reference beside us on one file: it knows no rows, no chain, and nothing of our tables."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionledger import SessionStore
from sessionledger.core import token as tokens_of
from tests.logs.children import ask, finish, running, start

SECRET = "a token that is long enough to be one: {}"

# Appends the events it is told, a line of JSON each, and answers their ids.
STRANGER = """
import apsw, json, sys

connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(30_000)
connection.pragma("journal_mode", "wal")
for table in (
    "topic_heads (topic TEXT PRIMARY KEY, last_id INTEGER NOT NULL)",
    "events (topic TEXT NOT NULL, event_id INTEGER NOT NULL, kind TEXT NOT NULL,"
    " payload BLOB NOT NULL, headers TEXT NOT NULL, occurred_at_ms INTEGER NOT NULL,"
    " PRIMARY KEY (topic, event_id))",
    "consumers (topic TEXT NOT NULL, consumer_id TEXT NOT NULL, cursor INTEGER NOT NULL,"
    " updated_at_ms INTEGER NOT NULL, PRIMARY KEY (topic, consumer_id))",
):
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
topic = "orchestrator.sessions"
for line in sys.stdin:
    kind, payload = json.loads(line)
    connection.execute("BEGIN IMMEDIATE")
    heads = connection.execute("SELECT last_id FROM topic_heads WHERE topic = ?", (topic,))
    id = (heads.fetchall() or [(0,)])[0][0] + 1
    connection.execute(
        "INSERT INTO events (topic, event_id, kind, payload, headers, occurred_at_ms)"
        " VALUES (?, ?, ?, ?, '{}', 1)",
        (topic, id, kind, json.dumps(payload).encode()),
    )
    connection.execute(
        "INSERT INTO topic_heads (topic, last_id) VALUES (?, ?)"
        " ON CONFLICT (topic) DO UPDATE SET last_id = excluded.last_id",
        (topic, id),
    )
    connection.execute("COMMIT")
    print(id, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def stranger(path: Path) -> Iterator[subprocess.Popen[str]]:
    """The reference, first on the file unless a store is opened before."""
    with running(STRANGER, path) as child:
        yield child


@pytest.fixture
def store(path: Path) -> Iterator[SessionStore]:
    with SessionStore.open(f"sqlite:///{path}") as store:
        yield store


def created(handle: str, principal: str = "alice") -> str:
    record = {
        "token_handle": handle,
        "principal": principal,
        "created_at": "2020-01-01T00:00:00Z",
        "last_seen_at": "2020-01-01T00:00:00Z",
        "expires_at": "2999-01-01T00:00:00Z",
        "attributes": {"role": "operator"},
    }
    return json.dumps(["session_created", {"record": record}])


def expired(handle: str) -> str:
    ended = {"token_handle": handle, "expired_at": "2021-01-01T00:00:00Z"}
    return json.dumps(["session_expired", ended])


def handle_of(token: str) -> str:
    return tokens_of.handle_of(tokens_of.digest(token))


def test_the_next_read_includes_what_a_stranger_appended(
    store: SessionStore, stranger: subprocess.Popen[str]
) -> None:
    assert store.create("bob").handle
    for n in range(20):
        token = SECRET.format(n)
        assert ask(stranger, created(handle_of(token))) == str(2 * n + 2)
        session = store.get(token)
        assert session is not None
        assert session.handle == handle_of(token)
        assert session.attributes == {"role": "operator"}
        assert ask(stranger, expired(session.handle)) == str(2 * n + 3)
        assert store.get(token) is None


def test_so_do_listings_and_counts(store: SessionStore, stranger: subprocess.Popen[str]) -> None:
    handles = [handle_of(SECRET.format(n)) for n in range(6)]
    ours = store.create("alice")
    for n, handle in enumerate(handles, 1):
        ask(stranger, created(handle))
        assert store.count(principal="alice") == n + 1
    listed = [session.handle for session in store.sessions(principal="alice")]
    assert listed == [ours.handle, *handles]
    ask(stranger, expired(handles[0]))
    assert [one.handle for one in store.sessions(principal="alice")][1:] == handles[1:]
    ask(stranger, expired(ours.handle))
    assert store.count() == 5
    assert store.count(state="all") == 7
    ask(stranger, created(handle_of(SECRET.format("last"))))
    assert list(store.history(principal="alice"))[-1].handle == handle_of(SECRET.format("last"))


def test_our_decisions_rest_on_what_a_stranger_appended(
    store: SessionStore, stranger: subprocess.Popen[str]
) -> None:
    token = store.create("alice").token
    ask(stranger, expired(handle_of(token)))
    assert store.touch(token) is None
    theirs = SECRET.format("theirs")
    ask(stranger, created(handle_of(theirs)))
    assert store.expire(theirs) is not None
    assert store.get(theirs) is None


def test_a_ledger_that_the_stranger_began(path: Path, stranger: subprocess.Popen[str]) -> None:
    tokens = [SECRET.format(n) for n in range(5)]
    for token in tokens:
        ask(stranger, created(handle_of(token)))
    ask(stranger, expired(handle_of(tokens[0])))
    with SessionStore.open(f"sqlite:///{path}") as store:
        assert [store.get(token) is not None for token in tokens] == [False] + [True] * 4
        assert store.count() == 4
        ours = store.create("bob").token
        assert ask(stranger, expired(handle_of(tokens[1]))) == "8"
        assert ask(stranger, created(handle_of(SECRET.format("new")))) == "9"
        assert store.get(tokens[1]) is None
        assert store.count() == 5
        assert store.get(ours) is not None
    with SessionStore.open(f"sqlite:///{path}") as store:
        assert len(list(store.sessions())) == 5
        assert store.rebuild() == 9
        assert len(list(store.sessions())) == 5


def test_a_stranger_that_writes_all_the_while(store: SessionStore, path: Path) -> None:
    handles = [handle_of(SECRET.format(n)) for n in range(100)]
    child = start(STRANGER, path)
    assert child.stdin is not None
    child.stdin.write("".join(created(handle) + "\n" for handle in handles))
    child.stdin.close()
    child.stdin = None
    tokens = []
    while child.poll() is None:
        tokens.append(store.create("bob").token)
        assert store.get(tokens[-1]) is not None
    ids = finish(child).split()
    assert len(ids) == len(handles)
    assert store.count() == len(ids) + len(tokens)
    assert {one.handle for one in store.sessions(principal="alice")} == set(handles)
    assert [event.id for event in store.events()] == list(range(1, len(ids) + len(tokens) + 1))
