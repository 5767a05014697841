"""What is left of a person who was erased, and what others notice of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import apsw
import pytest

from sessionledger import (
    DuplicateSession,
    InvalidSession,
    LogEvent,
    LogUnavailable,
    Policy,
    RowFilter,
    SessionStore,
    StoredEvent,
    restore,
)
from sessionledger.core.annotations import SALT
from sessionledger.logs import chain
from sessionledger.logs.compaction.archive import rewrite_archive
from sessionledger.logs.compaction.seal import KIND as SEALED
from sessionledger.logs.file.compaction.replacing import Replacing
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.file.log import FileLog
from sessionledger.logs.sqlite.log import SQLiteLog
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.store.erasure import rewriting
from sessionledger.testing import Clock
from tests.logs import bare_file
from tests.logs.openers import address

DAY = timedelta(days=1)
TOPIC = "orchestrator.sessions"
PERSONAL = ("alice@example.org", "Wonderland", "10.1.2.3", "crm-4711", "she asked for it")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(
    params=["memory", "sqlite", "file", pytest.param("postgresql", marks=pytest.mark.middle)]
)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(tmp_path: Path, clock: Clock, kind: str) -> Iterator[SessionStore]:
    with on(address(kind, tmp_path / "ledger"), clock) as store:
        yield store


def on(url: str, clock: Clock) -> SessionStore:
    return SessionStore.open(url, clock=clock, monotonic=lambda: clock.now.timestamp())


def live_on(store: SessionStore) -> tuple[str, str]:
    """Sessions of a person, and of somebody else: the tokens of two that are live."""
    who, city, address, external, why = PERSONAL
    first = store.create(
        who,
        ttl=90 * DAY,
        attributes={"city": city},
        context={"ip": address},
        external_id=external,
    )
    assert store.patch(first.token, {"more": city}, reason=why)
    rotated = store.rotate(first.token, context={"ip": address})
    assert rotated is not None
    ended = store.create(who, ttl=90 * DAY, attributes={"city": city})
    store.expire(ended.token, reason=why)
    other = store.create("bob", ttl=90 * DAY, attributes={"city": "elsewhere"})
    return rotated.token, other.token


def content(store: SessionStore) -> str:
    """All that the events of a ledger say."""
    return "".join(f"{event.payload!r} {event.headers}" for event in store.events())


def test_nothing_of_the_person_is_answered_and_others_stay(store: SessionStore) -> None:
    token, other = live_on(store)
    before = store.get(other)
    assert all(text in content(store) for text in PERSONAL)
    erased = store.erase(PERSONAL[0])
    assert len(erased.handles) == 3
    assert not erased.pending
    assert (erased.guessable, erased.mentions) == (0, ())
    assert store.get(token) is None
    assert store.get(other) == before
    assert store.count(principal=PERSONAL[0], state="all") == 0
    assert store.count(state="all") == 1
    assert not any(text in content(store) for text in PERSONAL)
    with pytest.raises(DuplicateSession):
        store.create("mallory", token=token)


def test_the_chain_holds_and_names_what_was_erased(store: SessionStore) -> None:
    live_on(store)
    heads = [store.head()]
    erased = store.erase(PERSONAL[0])
    heads.append(store.head())
    for head in heads:
        found = store.verify(expect=str(head))
        assert found.ok
        assert len(found.erased) == erased.events
    assert not [one for one in store.diagnose() if one.severity == "problem"]
    assert store.stats().erased == heads[1].id
    assert not store.stats().erasure_pending


def test_rows_are_what_the_stubs_fold_to(store: SessionStore) -> None:
    live_on(store)
    store.erase(PERSONAL[0], mentions=True)
    log = store._log
    rows = log.rows(TOPIC)
    store.rebuild()
    assert log.rows(TOPIC) == rows


def test_a_stub_that_no_list_has_breaks_the_chain(store: SessionStore, clock: Clock) -> None:
    live_on(store)
    event = next(store.events())
    stub = chain.stub_of(TOPIC, event, event.kind, b"{}", {}, 0)
    assert isinstance(chain.verify(TOPIC, [stub]), chain.Break)
    stubs = {1: [stub.headers[chain.STUB_HEADER]]}
    assert chain.verify(TOPIC, [stub], stubs=stubs) == chain.head_after(event)


def test_one_of_principal_and_handle_is_named(store: SessionStore) -> None:
    with pytest.raises(InvalidSession, match="takes one"):
        store.erase()
    with pytest.raises(InvalidSession, match="takes one"):
        store.erase("alice", handle="sha256:v1:" + "0" * 64)
    assert not store.stats().events


def test_a_handle_stands_for_its_family_alone(store: SessionStore) -> None:
    first = store.create("alice", ttl=DAY)
    second = store.create("alice", ttl=DAY)
    rotated = store.rotate(first.token)
    assert rotated is not None
    erased = store.erase(handle=rotated.handle)
    assert set(erased.handles) == {first.handle, rotated.handle}
    assert [one.handle for one in store.sessions(principal="alice")] == [second.handle]
    assert store.verify().ok


def test_a_child_is_erased_with_its_parent(store: SessionStore) -> None:
    parent = store.create("alice@example.org", ttl=DAY)
    child = store.create("agent", ttl=DAY, parent=parent.token)
    erased = store.erase("alice@example.org")
    assert set(erased.handles) == {parent.handle, child.handle}
    assert "alice@" not in content(store)
    assert store.get(child.token) is None


def test_what_others_say_is_told_and_is_erased_on_request(store: SessionStore) -> None:
    store.create("alice", ttl=DAY)
    other = store.create("bob", ttl=DAY, context={"via": "a link by alice", "ip": "10.0.0.1"})
    store.patch(other.token, {"n": 1}, actor="alice", reason="malice")
    store.patch(other.token, {"friend": "alice"})
    found = store.erase("alice").mentions
    assert [(one.event_id, one.where) for one in found] == [
        (2, ("sessionledger.context.via",)),
        (3, ("sessionledger.actor",)),
        (4, ("payload",)),
    ]
    again = store.erase("alice", mentions=True)
    assert [one.where for one in again.mentions] == [("payload",)]
    events = [event.headers for event in store.events()]
    assert events[1]["sessionledger.context.via"] == "[erased]"
    assert events[2]["sessionledger.actor"] == "[erased]"
    assert events[2]["sessionledger.reason"] == "malice"
    session = store.get(other.token)
    assert session is not None
    assert session.context == {"via": "[erased]", "ip": "10.0.0.1"}
    assert session.attributes == {"n": 1, "friend": "alice"}
    rows = store._log.rows(TOPIC)
    store.rebuild()
    assert store._log.rows(TOPIC) == rows
    assert store.verify().ok
    assert store.erase("bob").events
    assert store.verify().ok


def test_every_topic_is_erased_with_the_records_of_requests(store: SessionStore) -> None:
    session = store.create("alice", ttl=DAY)
    records = SessionStore(store._log, topic="records", policy=Policy())
    record = records.create("gateway", ttl=DAY, attributes={"handle": session.handle, "n": "x"})
    erased = store.erase("alice")
    assert set(erased.handles) == {session.handle, record.handle}
    assert records.get(record.token) is None
    assert session.handle not in content(records)
    assert records.verify().erased == (1,)


def test_who_guesses_all_but_the_salt_learns_nothing(store: SessionStore) -> None:
    live_on(store)
    events = list(store.events())
    erased = store.erase(PERSONAL[0])
    kept = {event.id: event.headers for event in store.events()}
    stubs = store.verify().erased
    assert len(stubs) == erased.events
    for event in events:
        if event.id in stubs:
            told = {name: text for name, text in event.headers.items() if name != SALT}
            guess = StoredEvent(event.id, event.kind, event.payload, told, event.occurred_at_ms)
            assert SALT in event.headers
            assert SALT not in kept[event.id]
            assert chain.record_hash(TOPIC, event) == kept[event.id][chain.HASH_HEADER]
            assert chain.record_hash(TOPIC, guess) != kept[event.id][chain.HASH_HEADER]


def compacted(store: SessionStore, clock: Clock, **given: Any) -> tuple[str, str]:
    tokens = live_on(store)
    clock.advance(3 * DAY)
    assert store.compact(retention=2 * DAY, **given).sealed
    return tokens


def test_a_base_is_erased_and_its_seal_still_holds(store: SessionStore, clock: Clock) -> None:
    token, other = compacted(store, clock)
    before = store.get(other)
    store.erase(PERSONAL[0])
    assert store.verify().ok
    assert not [one for one in store.diagnose() if one.severity == "problem"]
    rows = store._log.compactable().base(TOPIC, b"", 100)  # type: ignore[union-attr]
    assert not any(text.encode() in row.state for row in rows for text in PERSONAL)
    assert store.get(token) is None
    store.rebuild()
    assert (store.get(token), store.get(other)) == (None, before)
    seal = next(event for event in store.events(after=store.stats().cut) if event.kind == SEALED)
    assert SALT not in seal.headers


def test_what_was_erased_can_be_compacted(store: SessionStore, clock: Clock) -> None:
    _, other = live_on(store)
    store.erase(PERSONAL[0])
    clock.advance(3 * DAY)
    assert store.compact(retention=2 * DAY).sealed
    assert store.verify().ok
    assert store.get(other) is not None
    assert not store.stats().erasure_pending


def test_an_archive_is_erased_too(store: SessionStore, clock: Clock, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    compacted(store, clock, archive=archive)
    store.erase(PERSONAL[0])
    written = b"".join(path.read_bytes() for path in archive.iterdir())
    assert not any(text.encode() in written for text in PERSONAL)
    found = store.verify(archive=archive)
    assert found.ok
    assert found.erased
    clock.advance(3 * DAY)
    store.compact(retention=2 * DAY, archive=archive)
    assert store.verify(archive=archive).ok


def files(place: Path) -> bytes:
    """What all files at a place hold."""
    return b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())


def forms(text: str) -> set[bytes]:
    """A text in every encoding in which it may have been written."""
    return {text.encode(), text.encode("utf-16-le"), text.encode().hex().encode()}


@pytest.mark.sampled
@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_no_file_holds_a_byte_of_the_person(tmp_path: Path, clock: Clock, kind: str) -> None:
    with on(address(kind, tmp_path / "ledger"), clock) as store:
        for _ in range(40):
            live_on(store)
        compacted(store, clock, archive=tmp_path / "archive")
        for _ in range(40):
            live_on(store)
        if kind == "sqlite":
            other = apsw.Connection(str(tmp_path / "ledger"))
            other.execute("ANALYZE")
            other.close()
        assert PERSONAL[0].encode() in files(tmp_path)
        assert store.erase(PERSONAL[0]).pending == ()
        held = files(tmp_path)
        assert not [text for text in PERSONAL for form in forms(text) if form in held]
        assert store.verify(archive=tmp_path / "archive").ok


def test_a_reader_of_the_past_keeps_it_pending(tmp_path: Path, clock: Clock) -> None:
    url = address("sqlite", tmp_path / "ledger")
    with on(url + "?timeout=200ms", clock) as store:
        live_on(store)
        reader = apsw.Connection(str(tmp_path / "ledger"))
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM events").fetchall()
        assert "-wal" in store.erase(PERSONAL[0]).pending[0]
        assert store.stats().erasure_pending
        reader.close()
        store.maintain()
        assert not store.stats().erasure_pending
        assert PERSONAL[0].encode() not in files(tmp_path)


@pytest.mark.sampled
@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_stores_that_are_open_meanwhile_go_on(tmp_path: Path, clock: Clock, kind: str) -> None:
    url = address(kind, tmp_path / "ledger")
    with on(url, clock) as store, on(url, clock) as reader:
        token, other = compacted(store, clock)
        for who in PERSONAL[0], "bob", "nobody":
            assert reader.get(token) is None or who == PERSONAL[0]
            assert reader.get(other) is None or who != "nobody"
            store.erase(who)
            issued = reader.create(who, ttl=DAY)
            assert store.get(issued.token) is not None
        assert (store.get(other), reader.get(other)) == (None, None)
        assert reader.verify().ok
        assert store.head() == reader.head()


class Interrupted(BaseException):
    """The process ends here, so far as it can be played within one."""


def killed_at(step: int) -> Callable[[Any], Any]:
    """Makes a call of the log end the process at its step."""
    steps = iter(range(step))

    def wrap(call: Any) -> Any:
        def called(*given: Any, **named: Any) -> Any:
            if next(steps, None) is None:
                raise Interrupted
            return call(*given, **named)

        return called

    return wrap


CALLS: dict[str, list[tuple[object, str]]] = {
    "sqlite": [(SQLiteLog, "_change"), (SQLiteLog, "append"), (SQLiteLog, "purge")],
    "file": [(FileLog, "append"), (Disk, "publish"), (Path, "replace"), (Path, "unlink")],
}
"""What a killed process may have done last."""


@pytest.mark.sampled
@pytest.mark.parametrize("step", range(16))
def test_a_file_whose_beginning_stays_is_told_from_the_one_that_replaces_it(
    tmp_path: Path, clock: Clock, step: int
) -> None:
    url = address("file", tmp_path / "ledger")
    with on(url, clock) as store:
        tokens = [store.create("bob", ttl=90 * DAY).token for _ in range(20)]
        live_on(store)
        tokens += [store.create("bob", ttl=90 * DAY).token for _ in range(20)]
        rows = store._log.rows(TOPIC, RowFilter(owner="bob"))
    wrap = killed_at(step)
    with (
        on(url, clock) as store,
        patch.object(Path, "replace", wrap(Path.replace)),
        patch.object(Disk, "publish", wrap(Disk.publish)),
        suppress(Interrupted),
    ):
        store.erase(PERSONAL[0])
    with on(url, clock) as store:
        assert store._log.rows(TOPIC, RowFilter(owner="bob")) == rows
        store.maintain()
        assert store.verify().ok
        assert store.get(tokens[-1]) is not None
        assert store.erase(PERSONAL[0]).handles == ()
        assert PERSONAL[0].encode() not in files(tmp_path)


def test_a_program_that_writes_while_a_file_is_replaced_is_noticed(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Replacing.put

    def overtaken(files: Replacing, *given: Any) -> None:
        monkeypatch.undo()
        noted = LogEvent.of("noted", {}, occurred_at_ms=int(1000 * clock.now.timestamp()))
        bare_file.append(tmp_path / "ledger", SESSIONS_TOPIC, [noted])
        real(files, *given)

    with on(address("file", tmp_path / "ledger"), clock) as store:
        store.create("alice")
        monkeypatch.setattr(Replacing, "put", overtaken)
        with pytest.raises(LogUnavailable, match="another program wrote"):
            store.erase("alice")
        store.maintain()
        assert "noted" in [event.kind for event in store.events()]
        assert "alice" not in content(store)


def test_a_reader_that_missed_an_erasure_and_a_compaction_goes_on(
    tmp_path: Path, clock: Clock
) -> None:
    url = address("file", tmp_path / "ledger")
    with on(url, clock) as store, on(url, clock) as reader:
        _, other = live_on(store)
        clock.advance(3 * DAY)
        store.create(PERSONAL[0], ttl=90 * DAY, attributes={"city": PERSONAL[1]})
        last = store.create("bob", ttl=90 * DAY)
        assert reader.get(last.token) is not None
        store.erase(PERSONAL[0])
        assert store.compact(retention=2 * DAY).sealed
        assert [event.id for event in reader.events(after=store.stats().cut)]
        assert list(reader.events(after=store.stats().cut)) == list(
            store.events(after=store.stats().cut)
        )
        assert reader.verify().ok
        assert reader.get(other) is not None


@pytest.mark.sampled
@pytest.mark.parametrize("step", range(16))
@pytest.mark.parametrize("kind", CALLS)
def test_what_was_listed_is_finished_by_maintenance(
    tmp_path: Path, clock: Clock, kind: str, step: int
) -> None:
    place, archive = tmp_path / "ledger", tmp_path / "archive"
    with on(address(kind, place), clock) as store:
        compacted(store, clock, archive=archive)
        _, other = live_on(store)
    wrap, is_killed = killed_at(step), False
    with ExitStack() as killing, on(address(kind, place), clock) as store:
        killing.enter_context(patch.object(rewriting, "rewrite_archive", wrap(rewrite_archive)))
        for whose, name in CALLS[kind]:
            killing.enter_context(patch.object(whose, name, wrap(getattr(whose, name))))
        try:
            store.erase(PERSONAL[0])
        except Interrupted:
            is_killed = True
    with on(address(kind, place), clock) as store:
        found = [one.code for one in store.diagnose() if one.severity != "note"]
        stats = store.stats()
        assert stats.erasure_pending == (is_killed and stats.erased > 0)
        assert found == ["erasure_pending"] * stats.erasure_pending
        assert store.verify(archive=archive).ok
        store.maintain()
        if not stats.erased:
            store.erase(PERSONAL[0])
        assert not store.stats().erasure_pending
        assert store.verify(archive=archive).ok
        assert not [one for one in store.diagnose() if one.severity != "note"]
        assert store.get(other) is not None
        held = files(tmp_path)
        assert not [text for text in PERSONAL if text.encode() in held]


@pytest.mark.sampled
@pytest.mark.parametrize("target", ["sqlite", "file"])
def test_a_restore_of_an_older_backup_brings_nobody_back(
    store: SessionStore, clock: Clock, tmp_path: Path, target: str
) -> None:
    compacted(store, clock)
    live_on(store)
    store.backup(tmp_path / "older")
    store.erase(PERSONAL[0])
    register = store.erasures()
    assert len(register) == 5  # one was ended, and forgotten
    url = address(target, tmp_path / "restored")
    restore(tmp_path / "older", url, erased=register, clock=lambda: clock.now)
    with on(url, clock) as restored:
        assert restored.count(principal=PERSONAL[0], state="all") == 0
        assert not any(text in content_left(restored) for text in PERSONAL)
        assert restored.verify().ok
        assert set(restored.erasures()) >= set(register)
        restored.sweep()
        restored.maintain()
        assert not [one for one in restored.diagnose() if one.severity != "note"]
    with pytest.raises(InvalidSession, match="handle"):
        restore(tmp_path / "older", address(target, tmp_path / "second"), erased=["alice"])


def content_left(store: SessionStore) -> str:
    """All that the events say which no compaction removed."""
    events = store.events(after=store.stats().cut)
    return "".join(f"{event.payload!r} {event.headers}" for event in events)


def test_who_stays_logged_in_in_a_restored_ledger_is_not_who_was_erased(
    tmp_path: Path, clock: Clock
) -> None:
    with on(address("sqlite", tmp_path / "ledger"), clock) as store:
        token, other = live_on(store)
        store.backup(tmp_path / "older")
        store.touch(other)
        store.backup(tmp_path / "newer")
        store.erase(PERSONAL[0])
        register = store.erasures()
    url = address("sqlite", tmp_path / "restored")
    restore(
        tmp_path / "older",
        url,
        keep_live=tmp_path / "newer",
        erased=register,
        clock=lambda: clock.now,
    )
    with on(url, clock) as restored:
        assert (restored.get(token), restored.get(other) is None) == (None, False)
        assert not any(text in content(restored) for text in PERSONAL)
        assert restored.verify().ok


def test_a_session_that_was_forgotten_before_its_person_was_erased_is_not_restored(
    tmp_path: Path, clock: Clock
) -> None:
    with on(address("sqlite", tmp_path / "ledger"), clock) as store:
        first = store.create(PERSONAL[0], ttl=DAY, attributes={"city": PERSONAL[1]})
        parent = store.create("bob", ttl=90 * DAY)
        store.backup(tmp_path / "older")
        store.expire(first.token)
        clock.advance(3 * DAY)
        store.create(PERSONAL[0], ttl=90 * DAY)
        assert store.compact(retention=2 * DAY).forgotten == 1
        assert first.handle not in store.erase(PERSONAL[0]).handles
        register = store.erasures()
    for number, is_erased in enumerate((None, lambda name: name == PERSONAL[0])):
        url = address("sqlite", tmp_path / f"restored {number}")
        restore(tmp_path / "older", url, erased=register, is_erased=is_erased)
        with on(url, clock) as restored:
            named = [text for text in PERSONAL if text in content_left(restored)]
            assert named == ([] if is_erased else list(PERSONAL[:2]))
            assert "bob" in content_left(restored)
            assert restored.find(handle=parent.handle) is None
            assert restored.verify().ok
