"""Values by keys that the caller chooses, on every log and in both colours."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import timedelta
from functools import partial
from math import inf, nan
from pathlib import Path
from typing import Any, cast

import pytest

from sessionledger import (
    AsyncKeyValueStore,
    InvalidSession,
    KeyValueStore,
    LogEvent,
    Policy,
    SessionStore,
    WriteContention,
    open_log,
)
from sessionledger.testing import Clock
from sessionledger.testing.fixtures import concurrently
from tests import postgres_server
from tests.logs import bare_postgres, bare_sqlite
from tests.logs.openers import address
from tests.store.facade import URLS, Bench, Blocking
from tests.store.operations.test_compaction import on
from tests.store.test_same_names import public, shape

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
BYTES = [b"", b"text", "ä\0\n".encode(), b'{"a": 1}', b"\xff\x00", bytes(range(256))]


def keys_of(store: SessionStore, namespace: str = "default") -> KeyValueStore:
    opened: object = store
    if isinstance(opened, Blocking):
        keys = AsyncKeyValueStore(opened._store, namespace)
        return cast(KeyValueStore, Blocking(cast(Any, keys), opened._runner))
    return KeyValueStore(store, namespace)


@pytest.fixture
def keys(store: SessionStore) -> KeyValueStore:
    return keys_of(store)


def test_a_value_is_what_was_set_last(keys: KeyValueStore) -> None:
    assert keys.get("cart") is None
    for value in BYTES:
        keys.set("cart", value)
        assert keys.get("cart") == value
    assert keys.exists("cart")
    assert not keys.exists("Cart")


def test_a_key_has_one_session_which_a_deletion_ends(
    store: SessionStore, keys: KeyValueStore
) -> None:
    keys.set("cart", b"1")
    keys.set("cart", b"2")
    (session,) = store.sessions()
    keys.delete("cart")
    assert keys.get("cart") is None
    assert (keys.exists("cart"), keys.ttl("cart")) == (False, None)
    keys.set("cart", b"3")
    assert keys.get("cart") == b"3"
    (another,) = store.sessions()
    assert another.handle != session.handle
    before = store.head()
    keys.delete("basket")
    assert store.head() == before, "there was nothing to delete"


@pytest.mark.parametrize(
    ("ttl", "seconds"), [(60, 60.0), (0.5, 0.5), (HOUR, 3600.0), (None, inf), (inf, inf)]
)
def test_a_value_ends_when_it_was_told_to(
    keys: KeyValueStore, clock: Clock, ttl: Any, seconds: float
) -> None:
    keys.set("cart", b"1")
    keys.set("cart", b"1", ttl=ttl)
    assert keys.ttl("cart") == seconds
    clock.advance(timedelta(seconds=min(seconds, 10**9)))
    assert keys.get("cart") == (b"1" if seconds == inf else None)
    keys.set("cart", b"2", ttl=ttl)
    assert (keys.get("cart"), keys.ttl("cart")) == (b"2", seconds)


def test_a_ttl_of_zero_deletes(keys: KeyValueStore) -> None:
    keys.set("cart", b"1")
    keys.set("cart", b"2", ttl=0)
    assert not keys.exists("cart")
    keys.set("cart", b"3", ttl=timedelta(0))
    assert not keys.exists("cart")


def test_to_look_writes_nothing(store: SessionStore, keys: KeyValueStore) -> None:
    keys.set("cart", b"1", ttl=60)
    before = store.head()
    assert (keys.get("cart"), keys.exists("cart"), keys.ttl("cart")) == (b"1", True, 60.0)
    assert store.head() == before


def test_a_renewal_moves_the_end_from_now(
    store: SessionStore, keys: KeyValueStore, clock: Clock
) -> None:
    keys.set("cart", b"1", ttl=100)
    clock.advance(timedelta(seconds=10))
    assert keys.get("cart", renew_for=100) == b"1"
    assert keys.ttl("cart") == 100
    assert keys.get("cart", renew_for=MINUTE) == b"1"
    assert keys.ttl("cart") == 60, "it may come nearer, too"
    assert keys.get("cart", renew_for=inf) == b"1"
    assert keys.ttl("cart") == inf
    before = store.head()
    assert keys.get("cart", renew_for=100) == b"1"
    assert store.head() == before, "a value without an end stays without one"
    keys.set("cart", b"1", ttl=100)
    assert keys.get("cart", renew_for=0) == b"1"
    assert not keys.exists("cart")
    assert keys.get("cart", renew_for=100) is None


@pytest.mark.parametrize(("span", "due"), [(MINUTE, 6), (DAY, 600)])
def test_a_renewal_is_written_when_a_tenth_of_it_has_passed(
    store: SessionStore, keys: KeyValueStore, clock: Clock, span: timedelta, due: int
) -> None:
    keys.set("cart", b"1", ttl=span)
    before = store.head().id
    clock.advance(timedelta(seconds=due - 1))
    keys.get("cart", renew_for=span)
    assert store.head().id == before
    clock.advance(timedelta(seconds=1))
    keys.get("cart", renew_for=span)
    keys.get("cart", renew_for=span)
    assert store.head().id == before + 1
    assert keys.ttl("cart") == span.total_seconds()


def test_a_write_between_a_look_and_its_renewal_says_the_end(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionStore.open("memory:", clock=clock) as store:
        keys = KeyValueStore(store)
        keys.set("cart", b"1", ttl=60)
        clock.advance(MINUTE / 2)
        find = KeyValueStore._find

        async def found_and_then_set(self: KeyValueStore, key: str) -> Any:
            found = await find(self, key)
            monkeypatch.undo()
            keys.set("cart", b"2")
            return found

        monkeypatch.setattr(KeyValueStore, "_find", found_and_then_set)
        assert keys.get("cart", renew_for=60) == b"1"
        assert (keys.get("cart"), keys.ttl("cart")) == (b"2", inf)


def test_any_text_is_a_key_and_no_two_are_one(store: SessionStore, keys: KeyValueStore) -> None:
    texts = ["", " ", "a", "a ", "a" * 10_000, "ä", "a\u0308", "\ud800", "\0", "key:default:x"]
    for number, key in enumerate(texts):
        keys.set(key, str(number).encode())
    assert [keys.get(key) for key in texts] == [str(n).encode() for n in range(len(texts))]
    secret = "a-session-id-of-a-framework"
    keys.set(secret, b"")
    kept = b"".join(event.payload for event in store.events())
    assert secret.encode() not in kept, "a key may be a secret"


@pytest.mark.parametrize(
    ("key", "value", "more", "field"),
    [
        (b"cart", b"", {}, "key"),
        (None, b"", {}, "key"),
        ("cart", "text", {}, "value"),
        ("cart", None, {}, "value"),
        ("cart", b"a harn_sess_" + b"x" * 43, {}, "value"),
        ("cart", b"\xff harn_sess_" + b"x" * 43, {}, "value"),
        ("cart", b"x" * 70_000, {}, "attributes"),
        ("cart", b"", {"ttl": -1}, "ttl"),
        ("cart", b"", {"ttl": nan}, "ttl"),
        ("cart", b"", {"ttl": 1e300}, "ttl"),
        ("cart", b"", {"ttl": timedelta.max}, "ttl"),
        ("cart", b"", {"ttl": "60"}, "ttl"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_changes_nothing(
    store: SessionStore, keys: KeyValueStore, key: Any, value: Any, more: Any, field: str
) -> None:
    for _ in range(2):
        before = store.head()
        with pytest.raises(InvalidSession) as caught:
            keys.set(key, value, **more)
        assert caught.value.field == field
        assert "harn_sess_x" not in str(caught.value)
        assert store.head() == before
        keys.set("cart", b"kept", ttl=60)
        assert keys.get("cart") == b"kept"


@pytest.mark.parametrize("namespace", ["", "a b", "a:b", "/a", "a/", "a//b", "ä", "a\n"])
def test_a_namespace_has_a_plain_name(namespace: str) -> None:
    with SessionStore.open("memory:") as store, pytest.raises(InvalidSession) as caught:
        KeyValueStore(store, namespace)
    assert caught.value.field == "namespace"


def test_namespaces_are_apart_and_end_with_the_one_around_them(store: SessionStore) -> None:
    names = ["site", "site/a", "site/a/b", "site/ab", "sites"]
    spaces = {name: keys_of(store, name) for name in names}

    def left() -> list[str]:
        return [name for name, keys in spaces.items() if keys.get("k") is not None]

    other = store.create("alice", external_id="site")
    for name, keys in spaces.items():
        assert keys.get("k") is None
        keys.set("k", name.encode())
    assert [keys.get("k") for keys in spaces.values()] == [name.encode() for name in names]
    spaces["site/a"].delete_all()
    assert left() == ["site", "site/ab", "sites"]
    spaces["site"].delete_all()
    assert left() == ["sites"]
    assert store.find(handle=other.handle) is not None
    spaces["site"].set("k", b"again")
    assert left() == ["site", "sites"]


def test_limits_of_a_principal_are_no_limits_of_keys(bench: Bench) -> None:
    policy = Policy(max_sessions_per_principal=1, unique_principals=True)
    store = bench.open(policy=policy)
    keys = keys_of(store)
    for key in ("a", "b", "c"):
        keys.set(key, b"1")
        keys.set(key, b"2")
    assert store.count() == 3


def test_the_timeouts_of_the_policy_hold(bench: Bench) -> None:
    keys = keys_of(bench.open(policy=Policy(absolute_timeout=HOUR)))
    keys.set("cart", b"1", ttl=DAY)
    assert keys.ttl("cart") == 3600
    keys.set("cart", b"2")
    assert keys.ttl("cart") == 3600


@pytest.mark.parametrize("backend", ["memory", "sqlite", "file"])
def test_of_many_writes_at_once_one_stays(backend: str, tmp_path: Path) -> None:
    url = URLS[backend](tmp_path / "ledger")
    with ExitStack() as stack:
        first = stack.enter_context(SessionStore.open(url))
        others = 3 if backend == "sqlite" else 0
        stores = [first, *(stack.enter_context(SessionStore.open(url)) for _ in range(others))]
        for number in range(16):
            key = str(number)
            sharing = [KeyValueStore(stores[one % len(stores)]) for one in range(4)]
            values = [str(one).encode() for one in range(4)]
            jobs: list[Callable[[], None]] = [
                partial(keys.set, key, value) for keys, value in zip(sharing, values, strict=True)
            ]
            concurrently(*jobs)
            assert first.count() == number + 1
            assert sharing[0].get(key) in values
            concurrently(*jobs, partial(sharing[0].delete, key), partial(sharing[1].delete, key))
            sharing[0].set(key, b"last")
            assert first.count() == number + 1
            assert {keys.get(key) for keys in sharing} == {b"last"}


def test_a_key_that_others_keep_deleting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with SessionStore.open("memory:") as store:
        keys = KeyValueStore(store)
        keys.set("cart", b"1")

        async def gone(*_: object, **__: object) -> None:
            return None

        monkeypatch.setattr("sessionledger.store.key_value._Calls.patch", gone)
        with pytest.raises(WriteContention):
            keys.set("cart", b"2")


def stored(kind: str, place: Path) -> bytes:
    """All that a ledger holds, once its store is closed."""
    if kind == "postgresql":
        where = (postgres_server.schema(place),)
        tables = bare_postgres.execute(
            place, "SELECT tablename FROM pg_tables WHERE schemaname = %s", *where
        )
        rows = [bare_postgres.execute(place, f"SELECT * FROM {name}") for (name,) in tables]
        assert len(rows) > 3
        cells = [cell for found in rows for row in found for cell in row]
        return b"\n".join(one if isinstance(one, bytes) else str(one).encode() for one in cells)
    if kind == "sqlite":
        bare_sqlite.execute(place, "VACUUM")  # what is left in the file is in a table
    files = [one for one in place.parent.rglob("*") if one.is_file()]
    return b"\n".join(one.read_bytes() for one in files)


@pytest.mark.parametrize(
    "kind", ["sqlite", "file", pytest.param("postgresql", marks=pytest.mark.slow)]
)
def test_after_a_compaction_nothing_of_a_key_is_left(kind: str, tmp_path: Path) -> None:
    place, clock = tmp_path / "ledger", Clock()
    with on(address(kind, place), clock) as store:
        keys = KeyValueStore(store)
        for key, ttl in (("deleted", None), ("again", None), ("lapsed", 60), ("kept", None)):
            keys.set(key, b"a-value-of-" + key.encode(), ttl=ttl)
        principals = {one.attributes["value"][11:]: one.principal for one in store.sessions()}
        keys.delete("deleted")
        keys.delete("again")
        keys.set("again", b"another")
        clock.advance(DAY)
        store.sweep()  # which ends what lapsed; maintenance does it, too
        clock.advance(3 * DAY)
        keys.set("kept", b"a-value-of-kept")
        store.compact(retention=2 * DAY)
        told = store.stats()
        assert (told.live, told.sessions, told.tombstones) == (2, 2, 0)
        assert store.count(state="all") == 2
        assert (keys.get("again"), keys.get("kept")) == (b"another", b"a-value-of-kept")
        assert store.verify().ok
    left = stored(kind, place)
    for key in ("deleted", "lapsed"):
        assert principals[key].encode() not in left
        assert b"a-value-of-" + key.encode() not in left
    assert principals["kept"].encode() in left


def test_values_in_a_topic_of_their_own_are_no_sessions_of_anybody(tmp_path: Path) -> None:
    with closing(open_log("memory:")) as log:
        sessions, kept = SessionStore(log), SessionStore(log, topic="app.values")
        KeyValueStore(kept).set("cart", b"1")
        sessions.create("alice")
        assert (sessions.count(), kept.count()) == (1, 1)
        assert KeyValueStore(sessions).get("cart") is None


def test_a_program_in_another_language_can_read_a_value(store: SessionStore) -> None:
    keys = keys_of(store)
    keys.set("text", "ä".encode())
    keys.set("bytes", b"\xff\x00")
    kept = [cast(LogEvent, one).value["record"]["attributes"] for one in store.events()]
    assert kept == [{"value": "ä"}, {"value": {"base64": "/wA="}}]


def test_both_colours_have_the_same_methods() -> None:
    assert public(KeyValueStore) == public(AsyncKeyValueStore) != set()
    for name in public(KeyValueStore):
        assert shape(KeyValueStore, name) == shape(AsyncKeyValueStore, name)
        assert inspect.iscoroutinefunction(getattr(AsyncKeyValueStore, name))
        assert not inspect.iscoroutinefunction(getattr(KeyValueStore, name))
