"""A copy has all that the ledger has, and only one of them is in use after a cut-over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from sessionledger import (
    Change,
    CorruptLog,
    DuplicateSession,
    InvalidSession,
    InvalidURL,
    LedgerMoved,
    LogEvent,
    LogUnavailable,
    NoLedger,
    NotALedger,
    SessionStore,
    Unit,
    copy,
    open_log,
    open_snapshot,
)
from sessionledger.logs.compaction.transfer import transfer_of
from sessionledger.logs.sql.compactor import Compactor
from sessionledger.logs.url import staged_at
from sessionledger.store.copies.copy import CONSUMER
from sessionledger.testing import Clock
from tests.logs import bare_sqlite
from tests.store.copies.killing import kills
from tests.store.copies.test_backup import on
from tests.store.facade import PERSISTENT, URLS

DAY = timedelta(days=1)
TOPIC = "orchestrator.sessions"
SUPPLIED = "a-token-that-somebody-supplied-01"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fill(url: str, clock: Clock) -> list[str]:
    """A ledger with a base, a tombstone, what was forgotten, a mark and another topic; the tokens
    that are live, that were supplied and ended, and that were forgotten."""
    with on(url, clock) as store:
        store.create("zoe", ttl=900 * DAY)
        store.revoke_everybody()
        store.sweep()
        live = store.create("alice", ttl=900 * DAY, attributes={"role": "reader"})
        store.expire(store.create("bob", ttl=DAY, token=SUPPLIED).token)
        forgotten = store.create("carol", ttl=DAY)
        store.expire(forgotten.token)
        clock.advance(3 * DAY)
        store.create("dora", ttl=900 * DAY)
        assert store.compact(retention=2 * DAY).sealed
        store.rotate(store.create("emma", ttl=DAY).token)
        last = store.create("fay", ttl=DAY)
    log = open_log(url)
    log.append("orders", [Unit([Change(LogEvent.of("placed", {"order": 1}))])])
    log.ack("orders", "shipping", 1)
    log.close()
    return [live.token, last.token, forgotten.token]


def content(url: str) -> dict[str, object]:
    """All that a ledger holds, but for the rows, and whether its chains hold."""
    log = open_log(url)
    with SessionStore(log) as store:
        held: dict[str, object] = {"ok": store.verify().ok, "found": store.diagnose()}
        for topic in log.topics():
            told = transfer_of(log, topic)
            cursors = {name: at for name, at in told.cursors.items() if name != CONSUMER}
            rows = log.rows(TOPIC) if topic == TOPIC else []
            held[topic] = (told.cut, list(told.base()), list(told.events(0)), cursors, rows)
    log.close()
    return held


@pytest.mark.parametrize("target", PERSISTENT)
@pytest.mark.parametrize("source", PERSISTENT)
def test_a_copy_has_all_that_the_ledger_has(
    source: str, target: str, tmp_path: Path, clock: Clock
) -> None:
    old, new = URLS[source](tmp_path / "old"), URLS[target](tmp_path / "new")
    live, _, forgotten = fill(old, clock)
    told = list[int]()
    copied = copy(old, new, progress=told.append)
    assert content(new) == content(old)
    assert not copied.moved
    assert told[-1] == sum(topic.events for topic in copied.topics)
    with on(new, clock) as store:
        assert store.get(live) is not None
        for token, refused in ((SUPPLIED, DuplicateSession), (forgotten, InvalidSession)):
            with pytest.raises(refused):
                store.create("mallory", token=token)
        store.create("gwen", ttl=DAY)
        clock.advance(3 * DAY)
        store.sweep()
        store.create("hal", ttl=DAY)
        assert store.compact(retention=2 * DAY).sealed
        assert store.verify().ok
    with on(old, clock) as store:
        assert store.get(live) is not None
        assert store.stats().consumers == {}


def test_what_has_a_ledger_or_is_none_is_refused(tmp_path: Path, clock: Clock) -> None:
    old = URLS["sqlite"](tmp_path / "old")
    fill(old, clock)
    for backend in PERSISTENT:
        place = URLS[backend](tmp_path / backend)
        with on(place, clock) as store:
            issued = store.create("alice", ttl=DAY)
        with pytest.raises(LogUnavailable, match="name a"):
            copy(old, place)
        with on(place, clock) as store:
            assert store.get(issued.token) is not None
    with pytest.raises(LogUnavailable, match="exists"):
        copy(old, old)
    with pytest.raises(NoLedger):
        copy(URLS["sqlite"](tmp_path / "missing"), URLS["sqlite"](tmp_path / "new"))
    for pair in (("memory:", old), (old, "memory:")):
        with pytest.raises(InvalidURL):
            copy(*pair)
    assert not (tmp_path / "new").exists()


def stop(_: int) -> None:
    raise KeyboardInterrupt


def begin(old: str, new: str) -> None:
    """Have an unfinished copy."""
    with pytest.raises(KeyboardInterrupt):
        copy(old, new, progress=stop)


@pytest.mark.parametrize("target", PERSISTENT)
def test_nothing_opens_a_copy_that_is_not_whole(target: str, tmp_path: Path, clock: Clock) -> None:
    old, new = URLS["sqlite"](tmp_path / "old"), URLS[target](tmp_path / "new")
    live, _, _ = fill(old, clock)
    begin(old, new)
    staged = {
        "sqlite": f"sqlite:///{tmp_path}/.new.copy",
        "postgresql": f"{new}_copy",
        "file": new,
    }
    with pytest.raises(NotALedger, match="unfinished copy"):
        SessionStore.open(staged[target])
    copy(old, new)
    with on(new, clock) as store:
        assert store.get(live) is not None


@pytest.mark.parametrize("target", PERSISTENT)
def test_an_unfinished_copy_of_another_ledger_is_refused(
    target: str, tmp_path: Path, clock: Clock
) -> None:
    old, other = (URLS["sqlite"](tmp_path / name) for name in ("old", "other"))
    new = URLS[target](tmp_path / "new")
    fill(old, clock)
    with on(other, clock) as store:
        for _ in range(30):
            store.create("mallory", ttl=900 * DAY)
    begin(other, new)
    with pytest.raises(LogUnavailable, match="copy of another ledger"):
        copy(old, new)
    copy(other, new)
    assert content(new) == content(other)


@pytest.mark.parametrize("target", PERSISTENT)
def test_a_copy_goes_on_behind_a_compaction(target: str, tmp_path: Path, clock: Clock) -> None:
    old, new = URLS["sqlite"](tmp_path / "old"), URLS[target](tmp_path / "new")
    fill(old, clock)
    begin(old, new)
    for _ in range(2):
        with on(old, clock) as store:
            clock.advance(3 * DAY)
            store.create("gwen", ttl=900 * DAY)
            assert store.compact(retention=2 * DAY).sealed
        copying = pytest.raises(KeyboardInterrupt)
        with copying:
            copy(old, new, progress=stop)
    copy(old, new)
    assert content(new) == content(old)


@pytest.mark.middle
@pytest.mark.parametrize("cut_over", [False, True])
@pytest.mark.parametrize("target", PERSISTENT)
@pytest.mark.parametrize("source", PERSISTENT)
def test_a_copy_that_is_killed_at_any_step_is_gone_on_with(
    source: str, target: str, cut_over: bool, tmp_path: Path, clock: Clock
) -> None:
    old, new = URLS[source](tmp_path / "old"), URLS[target](tmp_path / "new")
    live, last, _ = fill(old, clock)
    expected = content(old)
    used = list[tuple[bool, bool]]()
    for _ in kills(lambda: _quietly(old, new, cut_over)):
        # A copy is opened for the first time when all else is done.
        used.append((_serves(old, live, clock), _serves(new, live, clock)))
        if used[-1][1]:
            break
    if not _serves(new, live, clock):
        _quietly(old, new, cut_over)
    assert content(new) == expected
    with on(new, clock) as store:
        assert store.get(last) is not None
    assert (True, False) in used
    assert not cut_over or (True, True) not in used
    assert _serves(old, live, clock) is not cut_over


def _quietly(old: str, new: str, cut_over: bool) -> None:
    with suppress(LedgerMoved):  # an earlier one did all
        copy(old, new, cut_over=cut_over)


def _serves(url: str, token: str, clock: Clock) -> bool:
    with suppress(LogUnavailable, NotALedger):
        open_snapshot(url).close()  # makes none where none is
        with on(url, clock) as store:
            return store.get(token) is not None
    return False


@pytest.mark.parametrize("backend", PERSISTENT)
def test_no_call_of_any_process_is_answered_behind_a_cut_over(
    backend: str, tmp_path: Path, clock: Clock
) -> None:
    old, new = URLS[backend](tmp_path / "old"), URLS["sqlite"](tmp_path / "new")
    live, _, _ = fill(old, clock)
    log = open_log(old)
    log.append("other", [Unit([Change(LogEvent.of("x", {}))])])
    with on(old, clock) as store, on(old, clock) as other:
        for one in (store, other):
            session = one.get(live)
        assert session is not None
        # The other process forks here, with its ledger open.
        assert copy(old, new, cut_over=True).moved
        calls: list[Callable[[], object]] = [
            lambda: store.get(live),
            lambda: other.get(live),
            lambda: store.authenticate(live),
            lambda: store.peek(live),
            lambda: store.create("mallory", ttl=DAY),
            lambda: store.touch(live),
            lambda: store.expire(live),
            lambda: store.revoke_all("alice"),
            lambda: store.revoke_everybody(),
            lambda: list(store.sessions()),
            lambda: store.count(),
            lambda: list(store.history(handle=session.handle)),
            lambda: list(store.events()),
            lambda: store.head(),
            lambda: store.verify(),
            lambda: store.stats(),
            lambda: store.sweep(),
            lambda: store.rebuild(),
            lambda: store.compact(retention=2 * DAY),
            lambda: next(store.watch(after=0)),
            lambda: store.backup(tmp_path / "backup"),
            lambda: log.read("other"),
            lambda: log.latest("fresh"),
            lambda: log.topics(),
            lambda: log.ack("orders", "shipping", 9),
            lambda: log.cursor("orders", "shipping"),
            lambda: log.append("new", [Unit([Change(LogEvent.of("x", {}))])]),
            lambda: SessionStore.open(old),
            lambda: copy(old, URLS["sqlite"](tmp_path / "again")),
        ]
        for number, call in enumerate(calls):
            with pytest.raises(LedgerMoved) as told:
                print(number, call())
            assert told.value.to == f"sqlite:///{tmp_path}/new"
            assert "moved to sqlite:" in str(told.value)
    log.close()
    if backend == "file":  # the reference makes the folder of topics where there is none
        with pytest.raises(FileExistsError):
            (tmp_path / "old" / "topics").mkdir(exist_ok=True)
    with on(new, clock) as store:
        assert store.get(live) is not None
        assert store.verify().ok


@pytest.mark.parametrize("backend", PERSISTENT)
def test_a_live_ledger_loses_nothing_that_was_acknowledged_at_a_cut_over(
    backend: str, tmp_path: Path, clock: Clock
) -> None:
    old, new = URLS[backend](tmp_path / "old"), URLS["sqlite"](tmp_path / "new")
    fill(old, clock)
    written, ended, late = list[str](), list[str](), list[bool]()
    is_moved = threading.Event()
    is_busy = threading.Barrier(3)

    def write() -> None:
        with SessionStore.open(old) as store, pytest.raises(LedgerMoved):
            for number in range(1_000_000):
                issued = store.create(f"user {number}", ttl=DAY)
                written.append(issued.token)
                if number % 3 == 0:
                    store.expire(issued.token)
                    ended.append(issued.token)
                if number == 5:
                    is_busy.wait()

    def read() -> None:
        with SessionStore.open(old) as store, pytest.raises(LedgerMoved):
            is_busy.wait()
            while True:
                began_late = is_moved.is_set()
                answered = store.authenticate(written[-1])
                late.append(began_late and answered is not None)

    workers = [threading.Thread(target=work) for work in (write, read)]
    for worker in workers:
        worker.start()
    is_busy.wait()
    assert copy(old, new, cut_over=True).moved
    is_moved.set()
    for worker in workers:
        worker.join()
    assert not any(late)
    with SessionStore.open(new) as store:
        assert store.verify().ok
        assert len(written) > len(ended) > 1
        gone = [token for token in written if store.get(token) is None]
        assert gone == ended


def test_a_compaction_waits_for_whoever_follows(tmp_path: Path, clock: Clock) -> None:
    old, new = URLS["sqlite"](tmp_path / "old"), URLS["file"](tmp_path / "new")
    live, _, _ = fill(old, clock)
    seen = list[int]()

    def written(done: int) -> None:
        seen.append(done)
        with on(old, clock) as store:
            if len(seen) == 3:
                for _ in range(3):
                    store.create("gwen", ttl=900 * DAY)
            if len(seen) == 6:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(old, new, follow=True, progress=written)
    with on(old, clock) as store:
        head = store.head().id
        assert store.stats().consumers == {CONSUMER: 0}
        store.create("hal", ttl=900 * DAY)
        clock.advance(9 * DAY)
        store.create("ida", ttl=900 * DAY)
        assert store.compact(retention=2 * DAY).cut == head
    copy(old, new, cut_over=True)
    with on(new, clock) as store:
        assert store.get(live) is not None
        assert store.verify().cut == head
        assert CONSUMER not in store.stats().consumers


def test_a_row_that_differs_is_named_and_the_ledger_stays_in_use(
    tmp_path: Path, clock: Clock
) -> None:
    old, new = URLS["sqlite"](tmp_path / "old"), URLS["sqlite"](tmp_path / "new")
    live, _, _ = fill(old, clock)
    bare_sqlite.execute(tmp_path / "old", "UPDATE ledger_rows SET live = 1 - live")
    with pytest.raises(CorruptLog, match=r"differs at sha256:v1:.*rebuild"):
        copy(old, new, cut_over=True)
    assert not (tmp_path / "new").exists()
    with on(old, clock) as store:
        store.rebuild()
        assert store.get(live) is not None
    copy(old, new, cut_over=True)


def test_a_ledger_whose_compaction_was_interrupted_is_copied(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It left tombstones in rows, and no seal says so yet."""

    def interrupted(*_: object) -> None:
        raise RuntimeError("before the seal")

    ledger = URLS["sqlite"](tmp_path / "ledger")
    with SessionStore.open(ledger, clock=clock) as store:
        token = store.create("alice", token="a-token-that-was-given-by-somebody").token
        store.expire(token)
        clock.advance(3 * DAY)
        monkeypatch.setattr(Compactor, "_seal", interrupted)
        with pytest.raises(RuntimeError):
            store.compact(retention=2 * DAY)
    copied = URLS["sqlite"](tmp_path / "copied")
    assert copy(ledger, copied).topics[0].ok
    with SessionStore.open(copied, clock=clock) as store, pytest.raises(DuplicateSession):
        store.create("bob", token=token)


def test_a_chain_that_breaks_is_copied_only_if_that_is_accepted(
    tmp_path: Path, clock: Clock
) -> None:
    old, new = URLS["sqlite"](tmp_path / "old"), URLS["sqlite"](tmp_path / "new")
    fill(old, clock)
    bare_sqlite.execute(tmp_path / "old", "UPDATE events SET kind = 'x' WHERE event_id = 11")
    with pytest.raises(CorruptLog, match="breaks at event 11 of the ledger"):
        copy(old, new)
    with on(old, clock) as store:
        store.rebuild()
    copied = copy(old, new, accept_breaks=True)
    assert copied.topics[0].broken is not None
    assert content(new)[TOPIC] == content(old)[TOPIC]


def test_a_cut_over_that_fails_leaves_the_ledger_in_use(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for backend in PERSISTENT:
        old = URLS[backend](tmp_path / backend)
        live, _, _ = fill(old, clock)

        def fail(*_: object) -> None:
            raise LogUnavailable("the disk is full; nothing was written")

        with monkeypatch.context() as patched:
            patched.setattr("sessionledger.store.copies.copy.walked", fail)
            with pytest.raises(LogUnavailable, match="disk is full"):
                copy(old, URLS["sqlite"](tmp_path / f"new {backend}"), cut_over=True)
        with on(old, clock) as store:
            assert store.get(live) is not None
            store.create("hal", ttl=DAY)
        assert copy(old, URLS["sqlite"](tmp_path / f"new {backend}"), cut_over=True).moved


def test_a_copy_that_got_no_address_gets_it_by_the_same_call(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for backend in PERSISTENT:
        old, new = URLS["sqlite"](tmp_path / f"old {backend}"), URLS[backend](tmp_path / backend)
        live, _, _ = fill(old, clock)

        def fail(_: object) -> None:
            raise LogUnavailable("the disk is full; nothing was written")

        with monkeypatch.context() as patched:
            patched.setattr(type(staged_at(new)), "put", fail)
            with pytest.raises(LogUnavailable, match="Copy again to the same address"):
                copy(old, new, cut_over=True)
        assert not _serves(new, live, clock)
        with pytest.raises(LedgerMoved):
            SessionStore.open(old)
        with pytest.raises(LedgerMoved):
            copy(old, URLS["sqlite"](tmp_path / "elsewhere"), cut_over=True)
        assert copy(old, new, cut_over=True).moved
        assert _serves(new, live, clock)


@pytest.mark.parametrize("target", PERSISTENT)
def test_who_is_erased_while_a_copy_follows_is_erased_from_it(
    target: str, tmp_path: Path, clock: Clock
) -> None:
    old, new = URLS["sqlite"](tmp_path / "old"), URLS[target](tmp_path / "new")
    fill(old, clock)
    begin(old, new)
    with on(old, clock) as store:
        assert store.erase(principal="alice").events
        store.create("hal", ttl=DAY)
    copy(old, new, cut_over=True)
    log = open_log(new)
    with SessionStore(log) as store:
        events = list(store.events(after=store.verify().cut))
        assert "erasure_listed" in [event.kind for event in events]
        assert not [event for event in events if b"alice" in event.payload]
        assert store.verify().ok
        # What was copied before the erasure was in PostgreSQL's pages.
        left = {"erasure_remains"} if target == "postgresql" else set()
        assert {one.code for one in store.diagnose()} == left
    log.close()
