"""Events of a stranger that are no events: whoever is not named in one never notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from sessionledger import SessionStore
from sessionledger.core.token import digest, handle_of
from sessionledger.store.engine import SESSIONS_TOPIC
from tests.logs import bare_sqlite

T = TypeVar("T")

ALICE = "a token of alice, which is long enough"
MALLORY = "a token of mallory, which is long enough"
HANDLE = handle_of(digest(MALLORY))

NOBODY = handle_of(digest("a token of nobody, which is long enough"))

FRAMES = 400
DEPTHS = [100, 120, 127, 500, 700, 900, 100_000]

# What a column is given, as SQL: SQLite keeps the type of the value, whatever the column's is.
HOSTILE = {
    "payload integer": ("payload", "5"),
    "payload real": ("payload", "1.5"),
    "payload text": ("payload", "'{\"record\":'"),
    "payload empty": ("payload", "x''"),
    "payload bad utf-8": ("payload", "CAST(x'22ff22' AS TEXT)"),
    "payload null": ("payload", "'null'"),
    "payload 100,000 deep": ("payload", "replace(hex(zeroblob(100000)), '00', '[')"),
    "headers integer": ("headers", "5"),
    "headers blob of an integer": ("headers", "x'35'"),
    "headers no json": ("headers", "'{'"),
    "headers bad utf-8": ("headers", "x'7b2261223a22ff227d'"),
    "headers bad utf-8 text": ("headers", "CAST(x'7b2261223a22ff227d' AS TEXT)"),
    "headers 100,000 deep": ("headers", "replace(hex(zeroblob(100000)), '00', '[')"),
    "kind bad utf-8": ("kind", "CAST(x'22ff22' AS TEXT)"),
    "kind blob": ("kind", "x'ff'"),
    "kind integer": ("kind", "7"),
    "time text": ("occurred_at_ms", "'soon'"),
    "time real": ("occurred_at_ms", "1e300"),
}

APPEND = f"""BEGIN IMMEDIATE;
INSERT INTO events (topic, event_id, kind, payload, headers, occurred_at_ms)
    SELECT topic, last_id + 1, {{kind}}, {{payload}}, {{headers}}, {{occurred_at_ms}}
    FROM topic_heads WHERE topic = '{SESSIONS_TOPIC}';
UPDATE topic_heads SET last_id = last_id + 1 WHERE topic = '{SESSIONS_TOPIC}';
COMMIT"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def store(path: Path) -> Iterator[SessionStore]:
    """A store with sessions of alice, event 1, and of mallory, event 2."""
    with SessionStore.open(f"sqlite:///{path}") as store:
        store.create("alice", token=ALICE)
        store.create("mallory", token=MALLORY)
        yield store


def created(attributes: str) -> str:
    """SQL for the payload of a creation of a session that nobody has yet."""
    named = f'{{"record":{{"token_handle":"{NOBODY}","principal":"eve",'
    times = ",".join(
        f'"{name}":"2026-01-01T00:00:00Z"' for name in ("created_at", "last_seen_at", "expires_at")
    )
    return f"CAST('{named}{times},\"attributes\":' || {attributes} || '}}}}' AS BLOB)"


def nested(levels: int) -> str:
    """SQL for an object that nests so deep."""
    arrays = [f"replace(hex(zeroblob({levels - 1})), '00', '{c}')" for c in "[]"]
    return "'{\"a\":' || " + " || ".join(arrays) + " || '}'"


def append(path: Path, **columns: str) -> None:
    event = {
        "kind": "'session_touched'",
        "payload": "'{}'",
        "headers": "'{}'",
        "occurred_at_ms": "1",
    }
    bare_sqlite.execute(path, APPEND.format(**(event | columns)))


def check_others(store: SessionStore, hostile: int) -> None:
    """All works for alice and newcomers, and the hostile event is named."""
    assert store.get(ALICE) is not None
    assert store.touch(ALICE) is not None
    issued = store.create("bob")
    assert store.get(issued.token) is not None
    assert "alice" in {session.principal for session in store.sessions()}
    assert store.count(principal="alice") == 1
    assert next(iter(store.history(principal="alice"))).event_id == 1
    assert list(store.history(handle=issued.handle))
    events = list(store.events())
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    broken = store.verify().broken
    assert broken is not None
    assert broken.id == hostile
    assert store.rebuild() == len(events)
    assert store.get(ALICE) is not None
    assert store.count(principal="bob") == len(list(store.history(principal="bob")))


def check_here_and_anew(store: SessionStore, path: Path, hostile: int) -> None:
    check_others(store, hostile)
    with SessionStore.open(f"sqlite:///{path}") as another:
        check_others(another, hostile)


@pytest.mark.parametrize(("column", "value"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_event_that_is_appended(
    store: SessionStore, path: Path, column: str, value: str
) -> None:
    append(path, **{column: value})
    check_here_and_anew(store, path, hostile=3)


@pytest.mark.parametrize(("column", "value"), HOSTILE.values(), ids=HOSTILE)
def test_an_event_that_is_made_hostile(
    store: SessionStore, path: Path, column: str, value: str
) -> None:
    bare_sqlite.execute(path, f"UPDATE events SET {column} = {value} WHERE event_id = 2")
    check_here_and_anew(store, path, hostile=2)


def test_text_instead_of_bytes_is_read_all_the_same(store: SessionStore, path: Path) -> None:
    ended = f'{{"token_handle":"{HANDLE}","expired_at":"2020-01-01T00:00:00Z"}}'
    append(path, kind="CAST('session_expired' AS BLOB)", payload=f"'{ended}'", headers="x'7b7d'")
    assert store.get(MALLORY) is None
    check_here_and_anew(store, path, hostile=3)


@pytest.mark.parametrize("levels", DEPTHS)
def test_a_deep_creation_hurts_nobody_else(store: SessionStore, path: Path, levels: int) -> None:
    append(path, kind="'session_created'", payload=created(nested(levels)))
    check_here_and_anew(store, path, hostile=3)


@pytest.mark.parametrize("levels", DEPTHS)
def test_a_deep_event_means_the_same_wherever_it_is_read(
    store: SessionStore, path: Path, levels: int
) -> None:
    """The interpreter's limit of nesting depends on how deep the caller stands; ours does not."""
    append(path, kind="'session_created'", payload=created(nested(levels)))
    touched = f'{{"token_handle":"{HANDLE}","last_seen_at":"2020-01-01T00:00:00Z","attributes":'
    append(path, payload=f"CAST('{touched}' || {nested(levels)} || '}}' AS BLOB)")

    def outcome() -> list[object]:
        store.rebuild()
        told: list[object] = [store.get(MALLORY), list(store.sessions(state="all"))]
        return [*told, list(store.history(handle=HANDLE)), list(store.history(principal="mallory"))]

    assert below(FRAMES, outcome) == outcome()


def below(frames: int, job: Callable[[], T]) -> T:
    """What the job answers when so many callers stand above it."""
    return job() if not frames else below(frames - 1, job)
