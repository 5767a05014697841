"""Tables that a stranger rebuilt, shortened, or wrote in two steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionledger import CorruptLog, IssuedSession, SessionStore
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.fixtures import concurrently
from tests.logs import bare_sqlite

# How a stranger's migration rebuilds a table; our triggers go with the old one.
REBUILD_HEADS = """BEGIN IMMEDIATE;
CREATE TABLE heads_anew (topic TEXT PRIMARY KEY, last_id INTEGER NOT NULL);
INSERT INTO heads_anew SELECT * FROM topic_heads;
DROP TABLE topic_heads;
ALTER TABLE heads_anew RENAME TO topic_heads;
COMMIT"""
DROP_TRIGGERS = "DROP TRIGGER ledger_head_moved; DROP TRIGGER ledger_head_begun"

ADD_EVENT = f"""INSERT INTO events (topic, event_id, kind, payload, headers, occurred_at_ms)
    VALUES ('{SESSIONS_TOPIC}', ?, ?, ?, '{{}}', 1)"""
MOVE_HEAD = f"UPDATE topic_heads SET last_id = ? WHERE topic = '{SESSIONS_TOPIC}'"
REPLACE_HEAD = f"INSERT OR REPLACE INTO topic_heads VALUES ('{SESSIONS_TOPIC}', ?)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def store(path: Path) -> Iterator[SessionStore]:
    with open_store(path) as store:
        yield store


def open_store(path: Path) -> SessionStore:
    return SessionStore.open(f"sqlite:///{path}")


def add(path: Path, id: int, kind: str, handle: str) -> None:
    """An event stored under that id, beyond the head until somebody moves it."""
    at = {"expired_at" if kind == "session_expired" else "last_seen_at": "2020-01-01T00:00:00Z"}
    times = ",".join(f'"{name}":"{value}"' for name, value in at.items())
    payload = f'{{"token_handle":"{handle}",{times}}}'.encode()
    bare_sqlite.execute(path, ADD_EVENT, id, kind, payload)


def end(path: Path, id: int, session: IssuedSession, head: str = MOVE_HEAD) -> None:
    """A stranger ends the session."""
    add(path, id, "session_expired", session.handle)
    bare_sqlite.execute(path, head, id)


@pytest.mark.parametrize("change", [REBUILD_HEADS, DROP_TRIGGERS], ids=["rebuilt", "dropped"])
@pytest.mark.parametrize("head", [MOVE_HEAD, REPLACE_HEAD], ids=["update", "replace"])
def test_triggers_that_went_are_back_at_the_next_open(path: Path, change: str, head: str) -> None:
    with open_store(path) as store:
        first, second, third = (store.create("alice") for _ in range(3))
    bare_sqlite.execute(path, change)
    end(path, 4, first, head)
    with open_store(path) as store:
        assert store.get(first.token) is None
        assert store.get(second.token) is not None
        end(path, 5, second, head)
        assert store.get(second.token) is None
        with open_store(path) as another:
            end(path, 6, third, head)
            assert store.get(third.token) is another.get(third.token) is None


@pytest.mark.parametrize("head", [MOVE_HEAD, REPLACE_HEAD], ids=["update", "replace"])
@pytest.mark.parametrize("vacuum", [True, False], ids=["vacuumed", "as-it-was"])
def test_the_next_get_sees_a_head_however_it_moved(
    store: SessionStore, path: Path, head: str, vacuum: bool
) -> None:
    first, second = store.create("alice"), store.create("alice")
    assert store.get(first.token) is not None
    if vacuum:
        bare_sqlite.execute(path, "VACUUM")
    end(path, 3, first, head)
    assert store.get(first.token) is None
    assert store.get(second.token) is not None
    if vacuum:
        bare_sqlite.execute(path, "VACUUM")
    end(path, 4, second, head)
    assert store.get(second.token) is None
    assert store.create("bob").version == 5


@pytest.mark.parametrize(
    "cut",
    ["DELETE FROM topic_heads", MOVE_HEAD.replace("?", "2"), REPLACE_HEAD.replace("?", "2")],
    ids=["deleted", "moved", "replaced"],
)
@pytest.mark.parametrize("anew", [True, False], ids=["opened-anew", "open"])
def test_a_log_cut_short_brings_no_ended_session_back(path: Path, cut: str, anew: bool) -> None:
    with open_store(path) as store:
        ended = store.create("alice")
        store.create("bob")
        assert store.expire(ended.token) is not None
        if not anew:
            shorten(path, cut)
            check_refuses(store, ended)
    if anew:
        shorten(path, cut)
    with open_store(path) as store:
        check_refuses(store, ended)


def shorten(path: Path, cut: str) -> None:
    bare_sqlite.execute(path, "DELETE FROM events WHERE event_id > 2")
    bare_sqlite.execute(path, cut)


def check_refuses(store: SessionStore, ended: IssuedSession) -> None:
    for _ in range(2):
        with pytest.raises(CorruptLog):
            store.count()
        with pytest.raises(CorruptLog):
            list(store.sessions())
        with pytest.raises(CorruptLog):
            list(store.history(handle=ended.handle))
        with pytest.raises(CorruptLog):
            store.rebuild()
        with pytest.raises(CorruptLog):
            store.create("carol")
        assert answer(store, ended) is None


def answer(store: SessionStore, ended: IssuedSession) -> object:
    """What a get tells of the session: nothing, whether or not it is refused."""
    try:
        return store.get(ended.token)
    except CorruptLog:
        return None


@pytest.mark.parametrize("rebuilt", [True, False], ids=["rebuilt", "as-it-was"])
def test_an_event_beyond_the_head_is_folded_once(
    store: SessionStore, path: Path, rebuilt: bool
) -> None:
    session = store.create("alice")
    add(path, 2, "session_touched", session.handle)
    if rebuilt:
        store.rebuild()
    live = store.get(session.token)
    assert live is not None
    assert live.version == 1
    assert ids(store, session) == [1]
    bare_sqlite.execute(path, MOVE_HEAD, 2)
    assert ids(store, session) == [1, 2]
    touched = store.get(session.token)
    assert touched is not None
    assert touched.version == 2
    store.rebuild()
    assert ids(store, session) == [1, 2]
    assert store.touch(session.token) is not None
    assert ids(store, session) == [1, 2, 3]


def test_an_end_beyond_the_head_counts_when_it_is_covered(store: SessionStore, path: Path) -> None:
    session = store.create("alice")
    add(path, 2, "session_expired", session.handle)
    bare_sqlite.execute(path, MOVE_HEAD, 2)
    assert store.get(session.token) is None
    assert ids(store, session) == [1, 2]


def ids(store: SessionStore, session: IssuedSession) -> list[int]:
    """The events of a session's history, which must end."""
    (entries,) = concurrently(lambda: list(store.history(handle=session.handle)))
    return [entry.event_id for entry in entries]
