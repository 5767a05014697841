"""What a caller of `compact` is told, and what the past is after it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from sessionledger import (
    CaughtUp,
    ClockJumped,
    CorruptLog,
    DuplicateSession,
    HistoryCut,
    HistoryEntry,
    InvalidSession,
    IssuedSession,
    LogUnavailable,
    Policy,
    SessionStore,
)
from sessionledger.core.token import FORGOTTEN_HANDLE, TOKEN_PREFIX, issue
from sessionledger.logs.file.recovery import checkpoint
from sessionledger.store.operations import families
from sessionledger.testing import Clock
from tests.logs import bare_sqlite
from tests.logs.file.locations import checkpoint_file, sessions_file
from tests.logs.openers import address

DAY = timedelta(days=1)
TWO_DAYS = timedelta(days=2)
TOPIC = "orchestrator.sessions"
SUPPLIED = "a-token-that-somebody-supplied-01"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "file"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(tmp_path: Path, clock: Clock, kind: str) -> Iterator[SessionStore]:
    with on(address(kind, tmp_path / "ledger"), clock) as store:
        yield store


def on(url: str, clock: Clock) -> SessionStore:
    return SessionStore.open(url, clock=clock, monotonic=lambda: clock.now.timestamp())


def test_a_dry_run_says_what_a_compaction_then_does(store: SessionStore, clock: Clock) -> None:
    kept = store.create("alice", ttl=90 * DAY)
    for token in (None, None, SUPPLIED):
        store.expire(store.create("bob", ttl=90 * DAY, token=token).token)
    clock.advance(3 * DAY)
    store.touch(kept.token)
    head = store.head()
    would = store.compact(retention=TWO_DAYS, dry_run=True)
    assert (would.cut, would.events, would.sealed) == (7, 7, False)
    assert (would.sessions, would.forgotten) == (1, 2)
    assert would.bytes > 0
    assert store.head() == head
    done = store.compact(retention=TWO_DAYS)
    assert (done.cut, done.events, done.sealed) == (7, 7, True)
    assert (done.sessions, done.forgotten) == (1, 2)
    assert store.stats().events == 2
    assert (store.stats().sessions, store.count(state="all")) == (1, 1)


def test_without_old_events_nothing_is_sealed(store: SessionStore) -> None:
    store.create("alice")
    before = store.head()
    assert not store.compact(retention=TWO_DAYS).sealed
    assert store.head() == before


@pytest.mark.parametrize("retention", [DAY, timedelta(0), "90d", None])
def test_a_retention_that_can_not_be_is_refused(store: SessionStore, retention: object) -> None:
    with pytest.raises(InvalidSession, match="retention"):
        store.compact(retention=retention)  # type: ignore[arg-type]


def test_a_shorter_retention_has_to_be_meant(store: SessionStore, clock: Clock) -> None:
    store.create("alice", ttl=90 * DAY)
    clock.advance(10 * DAY)
    assert store.compact(retention=7 * DAY).sealed
    clock.advance(10 * DAY)
    with pytest.raises(InvalidSession, match="7 days"):
        store.compact(retention=6 * DAY)
    assert store.compact(retention=6 * DAY, shorten=True).sealed
    assert store.verify().ok


def test_a_consumer_holds_it_back_until_it_is_given_up(store: SessionStore, clock: Clock) -> None:
    for _ in range(3):
        store.create("alice", ttl=90 * DAY)
    log = store._log
    log.ack(TOPIC, "reader", 2)
    clock.advance(3 * DAY)
    found = store.compact(retention=TWO_DAYS)
    assert (found.cut, found.held_back_by) == (2, "reader")
    with pytest.raises(InvalidSession, match="reader"):
        store.compact(retention=TWO_DAYS, give_up=["reder"])
    assert store.compact(retention=TWO_DAYS, give_up=["reader"], dry_run=True).cut >= 3
    assert log.cursor(TOPIC, "reader") == 2
    assert store.compact(retention=TWO_DAYS, give_up=["reader"]).held_back_by is None
    assert log.cursor(TOPIC, "reader") == 0


def test_a_clock_that_can_not_be_right_removes_nothing(store: SessionStore, clock: Clock) -> None:
    store.create("alice", ttl=90 * DAY)
    with SessionStore(store._log, clock=lambda: clock.now + 30 * DAY, monotonic=lambda: 0) as fast:
        fast.create("bob", ttl=90 * DAY)
    with pytest.raises(ClockJumped):
        store.compact(retention=TWO_DAYS)
    assert len(list(store.events())) == 2


def test_a_break_of_the_chain_stops_it_until_it_is_accepted(
    store: SessionStore, clock: Clock, tmp_path: Path, kind: str
) -> None:
    for _ in range(4):
        store.create("alice", ttl=90 * DAY)
    if kind == "file":
        lines = sessions_file(tmp_path / "ledger").read_bytes().splitlines(keepends=True)
        lines[1] = lines[1].replace(b"session_created", b"session_creates")
        sessions_file(tmp_path / "ledger").write_bytes(b"".join(lines))
    else:
        change = "UPDATE events SET kind = 'other' WHERE event_id = 2"
        bare_sqlite.execute(tmp_path / "ledger", change)
    clock.advance(3 * DAY)
    with pytest.raises(CorruptLog, match="event 2"):
        store.compact(retention=TWO_DAYS)
    with pytest.raises(CorruptLog, match="event 2"):
        store.compact(retention=TWO_DAYS, accept_break=1)
    assert len(list(store.events())) == 4
    assert store.compact(retention=TWO_DAYS, accept_break=2).cut == 4
    assert store.verify().ok


def test_the_past_begins_at_the_cut(store: SessionStore, clock: Clock) -> None:
    old = store.create("alice", ttl=90 * DAY, attributes={"n": 1})
    store.touch(old.token, attributes={"n": 2})
    head, began = str(store.head()), clock.now
    clock.advance(3 * DAY)
    new = store.create("alice", ttl=90 * DAY)
    store.touch(old.token, attributes={"n": 3})
    store.compact(retention=TWO_DAYS)
    (page,) = store.history(handle=old.handle).pages()
    assert (page.cut, [entry.event_id for entry in page.entries]) == (2, [4])
    assert page.entries[0].changes["attributes"] == {"n": 3}
    (page,) = store.history(handle=new.handle).pages()
    assert (page.cut, [entry.event_id for entry in page.entries]) == (0, [3])
    assert [entry.event_id for entry in store.history(principal="alice")] == [3, 4]
    with pytest.raises(HistoryCut) as caught:
        list(store.history(handle=old.handle, after=1))
    assert caught.value.cut == 2
    with pytest.raises(HistoryCut):
        store.as_of(handle=old.handle, at=began - DAY)
    then = store.as_of(handle=old.handle, at=clock.now)
    assert then is not None
    assert then.attributes == {"n": 3}
    assert store.as_of(handle=new.handle, at=began) is None
    with pytest.raises(HistoryCut):
        store.verify(expect=head.replace(":2:", ":1:"))
    assert store.verify(expect=head).ok


def test_a_watch_goes_on_after_the_cut_and_tells_nothing_of_it(
    store: SessionStore, clock: Clock
) -> None:
    issued = store.create("alice", ttl=90 * DAY, attributes={"n": 1})
    clock.advance(3 * DAY)
    cut = store.compact(retention=TWO_DAYS).cut
    store.touch(issued.token, attributes={"n": 2})
    for after in (0, cut - 1):
        if after < cut:
            with pytest.raises(HistoryCut):
                next(store.watch(after=after))
    told = store.watch(after=cut)
    entry = next(told)
    assert not isinstance(entry, CaughtUp)
    assert (entry.handle, entry.changes["attributes"]) == (issued.handle, {"n": 2})
    assert isinstance(next(told), CaughtUp)


def test_a_changed_base_is_found(
    store: SessionStore, clock: Clock, tmp_path: Path, kind: str
) -> None:
    store.create("alice", ttl=90 * DAY)
    clock.advance(3 * DAY)
    store.compact(retention=TWO_DAYS)
    if kind == "file":
        path = checkpoint_file(tmp_path / "ledger", TOPIC)
        known = checkpoint.read(path)
        assert known is not None
        path.write_bytes(checkpoint.Writing().end(known.cut, known.follows, known.replaced))
    else:
        bare_sqlite.execute(tmp_path / "ledger", "DELETE FROM ledger_base")
    with on(address(kind, tmp_path / "ledger"), clock) as fresh:
        found = fresh.verify()
        assert not found.ok
        assert found.broken is not None
        assert "base" in found.broken.problem
        assert "chain_broken" in {one.code for one in fresh.diagnose()}


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_snapshot_reads_the_rest(store: SessionStore, clock: Clock, tmp_path: Path) -> None:
    from sessionledger import open_snapshot

    issued = store.create("alice", ttl=90 * DAY)
    clock.advance(3 * DAY)
    store.compact(retention=TWO_DAYS)
    log = open_snapshot(address("sqlite", tmp_path / "ledger"))
    with SessionStore(log, clock=clock) as shown:
        assert shown.get(issued.token) is not None
        assert shown.verify().ok
        with pytest.raises(LogUnavailable):
            shown.compact(retention=TWO_DAYS)
    log.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite", "file", "postgresql"])
@pytest.mark.parametrize("decided_by", ["end_of", "decide_expire"])
def test_a_late_end_of_what_a_compaction_reduced_is_decided_again(
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    decided_by: str,
) -> None:
    with on(address(kind, tmp_path / "ledger"), clock) as store:
        old = store.create("alice", ttl=90 * DAY)
        successor = store.rotate(old.token, grace=timedelta(0))
        assert successor is not None
        store.expire(successor.token)
        clock.advance(3 * DAY)
        store.create("bob", ttl=90 * DAY)
        decide = vars(families)[decided_by]
        heads: list[int] = []

        def decided_and_compacted(*given: Any) -> Any:
            decision = decide(*given)
            if not heads:
                heads.append(store.compact(retention=TWO_DAYS).cut)
                heads.append(store.head().id)
            return decision

        monkeypatch.setattr(families, decided_by, decided_and_compacted)
        if decided_by == "end_of":
            assert store.authenticate(old.token) is None  # which is reuse
        else:
            assert store.revoke(handle=old.handle, expired_at=clock.now - 4 * DAY) is None
        assert [store.head().id] == heads[1:]
        assert store.find(handle=old.handle) is None
        assert store.diagnose() == []


@pytest.fixture(params=["memory", "sqlite", "file", "postgresql"])
def forgetful(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> Iterator[tuple[SessionStore, IssuedSession]]:
    """A ledger that forgot a session with a generated token, and the session."""
    with on(address(request.param, tmp_path / "ledger"), clock) as store:
        old = store.create("alice", ttl=90 * DAY)
        store.expire(old.token)
        store.create("bob", ttl=90 * DAY)
        clock.advance(3 * DAY)
        assert store.compact(retention=TWO_DAYS).forgotten == 1
        yield store, old


def test_of_what_was_forgotten_nothing_is_known(
    forgetful: tuple[SessionStore, IssuedSession], clock: Clock
) -> None:
    store, old = forgetful
    for _ in range(2):
        assert store.get(old.token) is store.find(handle=old.handle) is None
        assert store.authenticate(old.token) is store.touch(old.token) is None
        assert store.expire(old.token) is None
        assert next(store.history(handle=old.handle).pages()).cut == 0
        assert list(store.history(handle=old.handle)) == []
        assert store.as_of(handle=old.handle, at=clock.now - 3 * DAY) is None
        assert [one.principal for one in store.sessions(state="all")] == ["bob"]
        stats = store.stats()
        assert (stats.sessions, stats.tombstones, store.count(state="all")) == (1, 0, 1)
        assert store.diagnose() == []
        store.rebuild()


@pytest.mark.parametrize("policy", [Policy(), Policy(max_sessions_per_principal=3)])
def test_a_token_that_may_have_been_forgotten_is_never_used_again(
    forgetful: tuple[SessionStore, IssuedSession], clock: Clock, policy: Policy
) -> None:
    store, old = forgetful
    with SessionStore(store._log, clock=clock, policy=policy) as other:
        parent = other.create("carol", ttl=DAY, token=SUPPLIED)
        shaped = TOKEN_PREFIX + "-_" * 21 + "A"
        for token in (old.token, shaped, f" {shaped}\n"):
            head = other.head()
            with pytest.raises(InvalidSession, match="forgot"):
                other.create("mallory", token=token)
            with pytest.raises(InvalidSession, match="forgot"):
                other.create("mallory", token=token, parent=parent.handle)
            assert other.head() == head
        for number, other_shape in enumerate((shaped[:-1], f"{shaped}A", f"{shaped[:-1]}=")):
            assert other.create(f"u{number}", token=other_shape) is not None
        with pytest.raises(DuplicateSession):
            other.create("mallory", token=SUPPLIED)
        assert other.create("dave", token=issue(bytes(32))).generated


def test_the_flag_stays_through_rebuilds_and_later_compactions(
    forgetful: tuple[SessionStore, IssuedSession], clock: Clock
) -> None:
    store, old = forgetful
    for _ in range(3):
        store.rebuild()
        clock.advance(3 * DAY)
        store.create("bob", ttl=90 * DAY)
        assert store.compact(retention=TWO_DAYS).sealed
        with pytest.raises(InvalidSession, match="forgot"):
            store.create("mallory", token=old.token)
        assert list(store.history(handle=FORGOTTEN_HANDLE)) == []
        assert store.diagnose() == []
        watched = store.watch(after=store.verify().cut)
        for entry in takewhile(lambda one: not isinstance(one, CaughtUp), watched):
            assert isinstance(entry, HistoryEntry)
            assert entry.kind == "session_created"


def test_until_something_is_forgotten_any_token_may_be_supplied(
    store: SessionStore, clock: Clock
) -> None:
    shaped = TOKEN_PREFIX + "-_" * 21 + "A"
    assert not store.create("alice", ttl=90 * DAY, token=shaped).generated
    store.expire(shaped)
    clock.advance(3 * DAY)
    assert (store.compact(retention=TWO_DAYS).sessions, store.count()) == (1, 0)
    with pytest.raises(DuplicateSession):
        store.create("mallory", token=shaped)
    assert store.create("bob", token=f"{shaped[:-1]}B") is not None
