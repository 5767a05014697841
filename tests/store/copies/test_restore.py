"""A restored ledger knows all that the backup knew, and nobody is logged in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from sessionledger import (
    Change,
    CorruptLog,
    DuplicateSession,
    HistoryCut,
    InvalidSession,
    InvalidURL,
    LedgerRestored,
    LogEvent,
    LogUnavailable,
    NoLedger,
    NotALedger,
    SessionStore,
    Unit,
    VersionConflict,
    copy,
    open_log,
    open_snapshot,
    restore,
)
from sessionledger.store.copies.restore import JUMP
from sessionledger.testing import Clock
from tests.logs import bare_sqlite
from tests.store.copies.killing import kills
from tests.store.copies.test_backup import on
from tests.store.facade import URLS

DAY = timedelta(days=1)
TOPIC = "orchestrator.sessions"
SUPPLIED = "a-token-that-somebody-supplied-01"
TARGETS = [backend for backend in URLS if backend != "memory"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backup(tmp_path: Path, clock: Clock) -> Path:
    """Of a ledger with a live session, one that ended, and one with a token that was supplied."""
    with on(URLS["sqlite"](tmp_path / "old"), clock) as store:
        store.create("alice", ttl=90 * DAY, attributes={"role": "reader"})
        store.expire(store.create("bob", ttl=DAY).token)
        store.expire(store.create("carol", ttl=DAY, token=SUPPLIED).token)
        return store.backup(tmp_path / "backup").path


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", URLS)
def test_nobody_is_logged_in_and_everything_is_told(
    source: str, target: str, tmp_path: Path, clock: Clock
) -> None:
    with on(URLS[source](tmp_path / "old"), clock) as store:
        live = store.create("alice", ttl=90 * DAY, attributes={"role": "reader"}, actor="root")
        over = store.create("bob", ttl=DAY, token=SUPPLIED)
        store.expire(over.token, reason="left")
        rotated = store.rotate(live.token)
        assert rotated is not None
        path = store.backup(tmp_path / "backup").path
        head = store.head().id

    restored = restore(path, URLS[target](tmp_path / "new"), clock=clock)

    (topic,) = restored.topics
    assert (topic.topic, topic.events, topic.ended) == (TOPIC, head, 2)
    assert head + JUMP < topic.restored < 2**53
    with on(URLS[target](tmp_path / "new"), clock) as store:
        assert store.get(live.token) is store.get(rotated.token) is None
        assert [one.principal for one in store.sessions()] == []
        known = {one.handle: one for one in store.sessions(state="all", superseded=True)}
        assert known[rotated.handle].cause == "everybody"
        assert known[live.handle].attributes == {"role": "reader"}
        assert known[over.handle].cause == "signed_out"
        history = list(store.history(handle=rotated.handle))
        assert history[-1].reason == "restored from a backup"
        with pytest.raises(DuplicateSession):
            store.create("mallory", token=SUPPLIED)
        assert store.verify().ok
        assert store.diagnose() == []
        assert store.sweep() == 2
        store.rebuild()
        assert store.get(store.create("dora", ttl=DAY).token) is not None
        assert store.verify().ok


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", URLS)
def test_a_base_is_restored_with_its_tombstones_and_what_was_forgotten(
    source: str, target: str, tmp_path: Path, clock: Clock
) -> None:
    with on(URLS[source](tmp_path / "old"), clock) as store:
        live = store.create("alice", ttl=900 * DAY)
        store.expire(store.create("bob", ttl=DAY, token=SUPPLIED).token)
        forgotten = store.create("carol", ttl=DAY)
        store.expire(forgotten.token)
        clock.advance(3 * DAY)
        store.create("dora", ttl=900 * DAY)
        assert store.compact(retention=2 * DAY).sealed
        path = store.backup(tmp_path / "backup").path
    restore(path, URLS[target](tmp_path / "new"), clock=clock)
    with on(URLS[target](tmp_path / "new"), clock) as store:
        assert store.verify().ok
        assert store.verify().cut > 0
        assert store.diagnose() == []
        for token, refused in ((SUPPLIED, DuplicateSession), (forgotten.token, InvalidSession)):
            with pytest.raises(refused):
                store.create("mallory", token=token)
        assert store.get(live.token) is None
        store.sweep()
        clock.advance(3 * DAY)
        store.create("emma", ttl=DAY)
        assert store.compact(retention=2 * DAY).sealed
        assert store.verify().ok


@pytest.mark.parametrize("id", ["'x'", "x'00ff'", "9223372036854775807"])
@pytest.mark.parametrize("column", ["topic_heads.last_id", "events.event_id", "ledger_topics.cut"])
def test_a_backup_in_which_an_id_is_none_is_damaged(
    column: str, id: str, backup: Path, tmp_path: Path
) -> None:
    table, _, name = column.partition(".")
    bare_sqlite.execute(backup, f"UPDATE OR IGNORE {table} SET {name} = {id}")
    url = URLS["sqlite"](tmp_path / "new")
    with pytest.raises(CorruptLog, match="no valid id"):
        restore(backup, url, accept_breaks=True)
    with SessionStore.open(url) as store:
        assert store.head().id == 0


def test_a_backup_that_the_system_does_not_unpack_is_left(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = URLS["sqlite"](tmp_path / "new")
    with pytest.raises(LogUnavailable, match="can't be unpacked"):
        restore(tmp_path / ("n" * 300), url)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "no folder"))
    with pytest.raises(LogUnavailable, match="can't be unpacked"):
        restore(backup, url)


def test_what_happened_after_the_backup_revives_nobody(tmp_path: Path, clock: Clock) -> None:
    with on(URLS["sqlite"](tmp_path / "old"), clock) as store:
        revoked, rotated = (store.create("alice", ttl=90 * DAY) for _ in range(2))
        path = store.backup(tmp_path / "backup").path
        store.revoke(handle=revoked.handle)
        successor = store.rotate(rotated.token)
        later = store.create("bob", ttl=90 * DAY)
    assert successor is not None
    restore(path, URLS["sqlite"](tmp_path / "new"), clock=clock)
    with on(URLS["sqlite"](tmp_path / "new"), clock) as store:
        for issued in (revoked, rotated, successor, later):
            assert store.get(issued.token) is None
            assert store.authenticate(issued.token) is None
            with pytest.raises((DuplicateSession, InvalidSession)):
                store.create("mallory", token=issued.token)


def forget(store: SessionStore, token: str, clock: Clock) -> None:
    store.expire(token)
    clock.advance(3 * DAY)
    store.create("dora", ttl=900 * DAY)
    assert store.compact(retention=2 * DAY).sealed


SINCE: dict[str, Callable[[SessionStore, str, Clock], object]] = {
    "revocation": lambda store, token, _: store.expire(token, reason="stolen"),
    "erasure": lambda store, *_: store.erase("alice"),
    "rotation": lambda store, token, _: store.rotate(token, grace=timedelta(0)),
    "forgetting": forget,
}


@pytest.mark.parametrize("since", SINCE)
@pytest.mark.parametrize("target", TARGETS)
def test_a_backup_older_than_what_ended_a_session_brings_nothing_back(
    target: str, since: str, tmp_path: Path, clock: Clock
) -> None:
    with on(URLS["sqlite"](tmp_path / "old"), clock) as store:
        store.create("bob", ttl=900 * DAY)
        token = store.create("alice", ttl=90 * DAY).token
        path = store.backup(tmp_path / "backup").path
        SINCE[since](store, token, clock)
        lost, register = store.head().id, store.erasures()
        assert store.get(token) is None
    restore(path, URLS[target](tmp_path / "new"), erased=register, clock=clock)
    with on(URLS[target](tmp_path / "new"), clock) as store:
        for call in (store.get, store.authenticate, store.touch, store.rotate):
            assert call(token) is None
        assert list(store.sessions()) == []
        with pytest.raises((DuplicateSession, InvalidSession)):
            store.create("mallory", token=token)
        told = [event for event in store.events() if b"alice" in event.payload]
        assert (told == []) is (since == "erasure")
        new = store.create("carol", ttl=DAY)
        with pytest.raises(VersionConflict):
            store.patch(new.token, {"a": 1}, if_version=lost)
        for read in (store.events, store.watch):
            with pytest.raises(LedgerRestored):
                next(iter(read(after=lost)))
        assert store.verify().ok
        clock.advance(3 * DAY)
        store.sweep()
        store.create("emma", ttl=DAY)
        clock.advance(3 * DAY)
        assert store.compact(retention=2 * DAY).sealed
        with pytest.raises((LedgerRestored, HistoryCut)):
            next(store.events(after=lost))
        assert store.get(token) is None
        with pytest.raises((DuplicateSession, InvalidSession)):
            store.create("mallory", token=token)


def test_no_old_cursor_and_no_old_version_is_taken_for_a_new_one(
    tmp_path: Path, clock: Clock
) -> None:
    with on(URLS["sqlite"](tmp_path / "old"), clock) as store:
        store.create("alice", ttl=90 * DAY)
        path = store.backup(tmp_path / "backup").path
        kept = store.head().id
        later = [store.create("bob", ttl=90 * DAY) for _ in range(3)]
        lost = store.head().id
    restore(path, URLS["sqlite"](tmp_path / "new"), clock=clock)
    with on(URLS["sqlite"](tmp_path / "new"), clock) as store:
        for read in (store.events, store.watch):
            with pytest.raises(LedgerRestored) as told:
                next(iter(read(after=lost)))
            assert told.value.after == kept
        kinds = [event.kind for event in store.events(after=kept)]
        assert kinds == ["ledger_restored", "everybody_revoked"]
        watched = store.watch(after=kept)
        assert next(watched).kind == "ledger_restored"  # type: ignore[union-attr]
        assert [event.kind for event in store.events()] == ["session_created", *kinds]
        new = store.create("carol", ttl=DAY)
        assert new.version > JUMP
        for old in later:
            with pytest.raises(VersionConflict):
                store.patch(new.token, {"a": 1}, if_version=old.version)


def test_every_topic_is_restored_and_only_sessions_are_ended(tmp_path: Path) -> None:
    log = open_log(URLS["sqlite"](tmp_path / "old"))
    with SessionStore(log, topic="keys") as keys:
        key = keys.create("operator", ttl=DAY)
        log.append("orders", [Unit([Change(LogEvent.of("placed", {"order": 1}))])])
        log.ack("orders", "shipping", 1)
        path = keys.backup(tmp_path / "backup").path
    log.close()
    restore(path, URLS["sqlite"](tmp_path / "new"))
    log = open_log(URLS["sqlite"](tmp_path / "new"))
    assert [event.kind for event in log.read("orders")] == ["placed", "ledger_restored"]
    assert log.cursor("orders", "shipping") == 1
    with SessionStore(log, topic="keys") as keys:
        assert keys.get(key.token) is None
    log.close()


def test_a_ledger_that_was_restored_can_be_backed_up_and_restored_again(
    backup: Path, tmp_path: Path, clock: Clock
) -> None:
    for n in range(3):
        url = URLS["sqlite"](tmp_path / f"new {n}")
        restore(backup, url, clock=clock)
        with on(url, clock) as store:
            store.sweep()
            store.create("dora", ttl=DAY)
            backup = store.backup(tmp_path / f"backup {n}").path
            assert store.verify().ok
            assert store.head().id > (n + 1) * JUMP


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("between", [timedelta(0), timedelta(milliseconds=1), DAY])
def test_the_ids_that_restores_leave_out_are_not_counted_as_events(
    between: timedelta, target: str, backup: Path, tmp_path: Path, clock: Clock
) -> None:
    for n in range(3):
        clock.advance(between)
        url = URLS[target](tmp_path / f"new {n}")
        restore(backup, url, clock=clock)
        with on(url, clock) as store:
            for number in range(6 - n):
                store.create(f"user {number}", ttl=DAY)
            events = [event.id for event in store.events()]
            assert store.stats().events == len(events)
            for place, id in enumerate(events, 1):
                store._log.ack(TOPIC, f"consumer-{place}", id)
            assert store.stats().consumers == {
                f"consumer-{place}": len(events) - place for place in range(1, len(events) + 1)
            }
            backup = store.backup(tmp_path / f"backup {n}").path


def test_a_restore_that_fails_at_the_rows_leaves_no_ledger(
    backup: Path, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise LogUnavailable("the disk is full; nothing was written")

    url = URLS["sqlite"](tmp_path / "new")
    with monkeypatch.context() as patched:
        patched.setattr("sessionledger.store.copies.copy.compare", full)
        with pytest.raises(LogUnavailable, match="disk is full"):
            restore(backup, url, clock=clock)
    assert not (tmp_path / "new").exists()
    clock.advance(DAY)
    restore(backup, url, clock=clock)
    with on(url, clock) as store:
        assert store.verify().ok
        assert list(store.sessions()) == []


def test_a_second_restore_of_a_backup_uses_no_id_of_the_first(
    backup: Path, tmp_path: Path, clock: Clock
) -> None:
    urls = [URLS["sqlite"](tmp_path / f"new {n}") for n in range(2)]
    restore(backup, urls[0], clock=clock)
    with on(urls[0], clock) as store:
        for _ in range(20):
            store.create("dora", ttl=DAY)
        seen = store.head().id
    clock.advance(timedelta(seconds=1))
    restore(backup, urls[1], clock=clock)
    with on(urls[1], clock) as store:
        assert store.create("dora", ttl=DAY).version > seen
        with pytest.raises(LedgerRestored):
            next(store.events(after=seen))


def test_a_second_restore_of_a_restored_ledgers_backup_uses_no_id_of_the_first(
    backup: Path, tmp_path: Path, clock: Clock
) -> None:
    urls = [URLS["sqlite"](tmp_path / f"new {n}") for n in range(3)]
    restore(backup, urls[0], clock=clock)
    with on(urls[0], clock) as store:
        again = store.backup(tmp_path / "again").path
    seen = 0
    for url in urls[1:]:
        clock.advance(timedelta(seconds=1))
        restore(again, url, clock=clock)
        with on(url, clock) as store:
            if seen:
                with pytest.raises(LedgerRestored):
                    next(store.events(after=seen))
            for _ in range(20):
                assert store.create("dora", ttl=DAY).version > seen
            seen = store.head().id


@pytest.mark.parametrize("target", TARGETS)
def test_a_restore_that_is_interrupted_leaves_no_ledger_and_is_gone_on_with(
    target: str, backup: Path, tmp_path: Path
) -> None:
    url = URLS[target](tmp_path / "new")
    with pytest.raises(KeyboardInterrupt):
        restore(backup, url, progress=stop)
    with pytest.raises((NoLedger, NotALedger)):
        open_snapshot(url)
    restore(backup, url)
    with SessionStore.open(url) as store:
        assert store.verify().ok


def stop(_: int) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("target", TARGETS)
def test_an_unfinished_copy_of_another_ledger_is_left(
    target: str, backup: Path, tmp_path: Path
) -> None:
    other, url = URLS["sqlite"](tmp_path / "other"), URLS[target](tmp_path / "new")
    with SessionStore.open(other) as store:
        live = store.create("mallory", ttl=DAY)
    with pytest.raises(KeyboardInterrupt):
        copy(other, url, progress=stop)
    with pytest.raises(LogUnavailable, match="copy of another ledger"):
        restore(backup, url)
    copy(other, url)
    with SessionStore.open(url) as store:
        assert store.get(live.token) is not None


@pytest.mark.parametrize("target", TARGETS)
def test_a_backup_of_an_empty_ledger_loses_nothing_in_silence(
    target: str, tmp_path: Path, clock: Clock
) -> None:
    with on(URLS["sqlite"](tmp_path / "old"), clock) as store:
        path = store.backup(tmp_path / "backup").path
        lost = store.create("alice", ttl=DAY)
    url = URLS[target](tmp_path / "new")
    (topic,) = restore(path, url, clock=clock).topics
    assert (topic.topic, topic.events, topic.ended) == (TOPIC, 0, 0)
    with on(url, clock) as store:
        with pytest.raises(LedgerRestored):
            next(store.events(after=lost.version))
        with pytest.raises(InvalidSession):
            store.create("mallory", token=lost.token)
        assert store.create("bob", ttl=DAY).version > topic.restored
        assert [event.kind for event in store.events()] == ["ledger_restored", "session_created"]
        assert store.verify().ok
        assert store.diagnose() == []
        clock.advance(3 * DAY)
        store.sweep()
        store.create("carol", ttl=DAY)
        clock.advance(3 * DAY)
        assert store.compact(retention=2 * DAY).sealed
        assert store.verify().ok


def test_a_ledger_with_events_is_left_as_it_is(backup: Path, tmp_path: Path) -> None:
    url = URLS["sqlite"](tmp_path / "new")
    with SessionStore.open(url) as store:
        issued = store.create("alice", ttl=DAY)
        head = store.head()
        with pytest.raises(LogUnavailable, match="exists"):
            restore(backup, url)
        assert store.head() == head
        assert store.get(issued.token) is not None


def damage(path: Path) -> None:
    bare_sqlite.execute(path, "UPDATE events SET kind = 'session_touched' WHERE event_id = 3")


def drop(path: Path) -> None:
    bare_sqlite.execute(path, "DELETE FROM events WHERE event_id = 2")


@pytest.mark.parametrize("harm", [damage, drop])
def test_a_damaged_backup_is_refused_unless_its_breaks_are_accepted(
    harm: Callable[[Path], None], backup: Path, tmp_path: Path, clock: Clock
) -> None:
    harm(backup)
    url = URLS["sqlite"](tmp_path / "new")
    with pytest.raises(CorruptLog, match="breaks at event 3"):
        restore(backup, url)
    assert not (tmp_path / "new").exists()
    restore(backup, url, accept_breaks=True, clock=clock)
    with on(url, clock) as store:
        assert list(store.sessions()) == []


def test_what_is_no_backup_is_refused(backup: Path, tmp_path: Path) -> None:
    url = URLS["sqlite"](tmp_path / "new")
    with pytest.raises(NotALedger, match="no backup at"):
        restore(tmp_path / "missing", url)
    with pytest.raises(NotALedger, match="no backup"):
        restore(tmp_path / "old", url)
    (tmp_path / "text").write_text("no database at all\n" * 100)
    with pytest.raises(NotALedger):
        restore(tmp_path / "text", url)
    with pytest.raises(InvalidURL):
        restore(backup, "nowhere")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
@pytest.mark.parametrize("is_compacted", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_a_restore_that_is_killed_at_any_step_is_gone_on_with(
    target: str, is_compacted: bool, tmp_path: Path, clock: Clock
) -> None:
    with on(URLS["sqlite"](tmp_path / "old"), clock) as store:
        live = store.create("alice", ttl=900 * DAY)
        clock.advance(3 * DAY)
        store.create("bob", ttl=900 * DAY)
        store.create("carol", ttl=900 * DAY)
        if is_compacted:
            assert store.compact(retention=2 * DAY).sealed
        path = store.backup(tmp_path / "backup").path
        store.erase("carol")
        register = store.erasures()
    outcomes = list[bool]()

    def place() -> str:
        return URLS[target](tmp_path / f"new {len(outcomes)}")

    for _ in kills(lambda: _restored(path, place(), register)):
        url, is_whole = place(), False
        with suppress(NoLedger, NotALedger):
            open_snapshot(url).close()
            is_whole = True
        if not is_whole:
            restore(path, url, erased=register)
        outcomes.append(is_whole)
        with SessionStore.open(url) as store:
            assert store.get(live.token) is None
            assert store.verify().ok
            assert store.verify().events == _WHOLE
            assert b"carol" not in b"".join(event.payload for event in store.events(after=1))
    assert outcomes.count(False) > 20
    assert outcomes[-1]


_WHOLE = 6
"""Three creations, the two events of a restore, and a list. A seal has the place of the first."""


def _restored(backup: Path, url: str, register: Sequence[str]) -> None:
    restore(backup, url, erased=register)


def test_no_error_names_the_copy_that_a_backup_was_unpacked_to(
    backup: Path, tmp_path: Path
) -> None:
    content = bytearray(backup.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    backup.write_bytes(content)
    with pytest.raises(CorruptLog) as told:
        restore(backup, URLS["sqlite"](tmp_path / "new"))
    assert str(backup) in str(told.value)
    assert "sessionledger-" not in str(told.value)


def test_sessions_stay_live_that_a_newer_backup_has_live(tmp_path: Path, clock: Clock) -> None:
    url = URLS["sqlite"](tmp_path / "new")
    with on(URLS["sqlite"](tmp_path / "old"), clock) as store:
        kept, revoked, rotated, shortened, parent = (
            store.create(name, ttl=90 * DAY) for name in ("alice", "bob", "carol", "dora", "emma")
        )
        child = store.create("agent", parent=parent.token)
        kept_child = store.create("agent", parent=kept.token)
        backup = store.backup(tmp_path / "backup").path
        store.touch(kept.token, attributes={"role": "later"})
        store.revoke(handle=revoked.handle, reason="stolen")
        successor = store.rotate(rotated.token, grace=DAY)
        store.touch(shortened.token, expires_at=clock.now + DAY)
        store.expire(parent.token)
        later = store.create("fay", ttl=90 * DAY)
        newer = store.backup(tmp_path / "newer").path
    assert successor is not None
    (topic,) = restore(backup, url, keep_live=newer, clock=clock).topics
    assert topic.ended == 4
    with on(url, clock) as store:
        assert {one.principal for one in store.sessions()} == {"alice", "agent", "dora"}
        found = store.get(kept.token)
        assert found is not None
        assert found.attributes == {}
        assert store.get(kept_child.token) is not None
        ended = (revoked, rotated, successor, parent, child, later)
        assert [store.get(one.token) for one in ended] == [None] * len(ended)
        history = list(store.history(handle=revoked.handle))
        assert (history[-1].cause, history[-1].reason) == ("revoked", "restored from a backup")
        with pytest.raises((DuplicateSession, InvalidSession)):
            store.create("mallory", token=later.token)
        assert store.verify().ok
        assert store.diagnose() == []
        clock.advance(2 * DAY)
        assert store.get(shortened.token) is None
        store.rebuild()
        assert store.get(kept.token) is not None


def test_a_mark_in_a_newer_backup_ends_everybody(tmp_path: Path, clock: Clock) -> None:
    url = URLS["sqlite"](tmp_path / "new")
    with on(URLS["sqlite"](tmp_path / "old"), clock) as store:
        live = store.create("alice", ttl=90 * DAY)
        backup = store.backup(tmp_path / "backup").path
        store.revoke_everybody()
        newer = store.backup(tmp_path / "newer").path
    restore(backup, url, keep_live=newer, clock=clock)
    with on(url, clock) as store:
        assert store.get(live.token) is None
        assert [one.cause for one in store.sessions(state="all")] == ["everybody"]


def test_a_newer_backup_that_does_not_continue_the_other_is_refused(
    backup: Path, tmp_path: Path, clock: Clock
) -> None:
    url = URLS["sqlite"](tmp_path / "new")
    with on(URLS["sqlite"](tmp_path / "other"), clock) as store:
        for _ in range(9):
            store.create("mallory", ttl=DAY)
        other = store.backup(tmp_path / "of another").path
    with on(URLS["sqlite"](tmp_path / "old"), clock) as store:
        for name in ("dora", "emma"):
            clock.advance(9 * DAY)
            store.create(name, ttl=900 * DAY)
        assert store.compact(retention=2 * DAY).cut == 6
        removed = store.backup(tmp_path / "of what was removed").path
    for newer in (other, removed):
        with pytest.raises(LogUnavailable, match="does not have event 5"):
            restore(backup, url, keep_live=newer, clock=clock)
    with pytest.raises(NotALedger):
        restore(backup, url, keep_live=tmp_path / "old", clock=clock)
    assert not (tmp_path / "new").exists()
