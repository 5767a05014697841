"""What a diagnosis finds in the events and rows of a topic, in both colours on every log."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from sessionledger import (
    AsyncSessionStore,
    Change,
    Finding,
    InvalidEvent,
    Log,
    LogEvent,
    LogUnavailable,
    SessionStore,
    StoreClosed,
    StoredEvent,
    Unit,
    diagnose,
)
from sessionledger.findings import MOST_SHOWN
from sessionledger.logs.base import View
from sessionledger.store.audit import diagnosis
from sessionledger.store.engine import SESSIONS_TOPIC
from tests.logs import bare_sqlite
from tests.store.facade import Bench, Kind

SECRET_LOOKING = "harn_sess_" + "x" * 43


def codes(findings: Sequence[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def say(log: Log, kind: str, value: object, at: int | None = None) -> None:
    """Append an event that the store would not."""
    log.append(SESSIONS_TOPIC, [Unit([Change(LogEvent.of(kind, value, occurred_at_ms=at))])])


@pytest.fixture
def log(bench: Bench) -> Log:
    return bench.log()


@pytest.fixture
def store(bench: Bench, log: Log) -> SessionStore:
    return bench.on(log)


def test_a_ledger_that_is_well(store: SessionStore) -> None:
    assert store.diagnose() == []
    issued = [store.create("alice", attributes={"n": n}) for n in range(30)]
    for session in issued[::2]:
        store.touch(session.token, attributes={"seen": True})
    for session in issued[::3]:
        store.expire(session.token)
    told: list[tuple[int, int]] = []
    assert store.diagnose(progress=lambda *done: told.append(done)) == []
    assert told == [(55, 55)]


def test_rows_don_t_depend_on_the_order_in_which_one_said_it(store: SessionStore) -> None:
    """Names come in any order, and are stored in one."""
    random = Random(7)

    def shuffled(*names: str) -> dict[str, str]:
        return dict.fromkeys(random.sample(names, len(names)), "x")

    for _ in range(30):
        context, data = (
            shuffled("device", "address", "Z", "~"),
            shuffled("b", "a", "é", "\U0001f600"),
        )
        issued = store.create("bob", context=context, attributes={"z": data, **data})
        store.touch(issued.token, context=shuffled("b", "a", "c"), attributes=data)
        store.patch(issued.token, {"y": "1", "c": shuffled("q", "p")}, context=context)
        store.rotate(issued.token, context=random.choice([None, context]))
    assert store.diagnose() == []


def test_sessions_that_were_rotated_patched_and_revoked(store: SessionStore) -> None:
    first = store.create("alice", external_id="a login")
    second = store.rotate(first.token)
    assert second is not None
    store.patch(second.token, {"step": 2})
    store.authenticate(second.token)
    assert store.diagnose() == []
    store.revoke_all(principal="alice")
    assert store.diagnose() == []


def test_an_undecodable_event_and_the_session_that_fails_closed(
    store: SessionStore, log: Log
) -> None:
    victim, bystander = store.create("alice"), store.create("bob")
    say(log, "session_touched", {"token_handle": victim.handle, "last_seen_at": "?"}, at=0)
    (finding,) = store.diagnose()
    assert (finding.code, finding.severity) == ("undecodable_event", "warning")
    assert finding.subject == "event 3"
    assert "session_touched" in finding.problem
    assert victim.handle in finding.problem
    assert store.get(victim.token) is None
    assert store.get(bystander.token) is not None


@pytest.mark.parametrize("kind", ["session_created", "session_touched", "session_expired"])
@pytest.mark.parametrize("value", [None, [], {}, {"token_handle": SECRET_LOOKING}])
def test_what_is_no_handle_is_not_repeated(
    store: SessionStore, log: Log, kind: str, value: object
) -> None:
    say(log, kind, value, at=0)
    (finding,) = store.diagnose()
    assert (finding.code, finding.subject) == ("nameless_event", "event 1")
    assert SECRET_LOOKING not in repr(finding)


def test_events_of_unknown_kinds_are_counted(store: SessionStore, log: Log) -> None:
    for _ in range(3):
        say(log, "greeted", {}, at=0)
    (finding,) = store.diagnose()
    assert (finding.code, finding.severity) == ("unknown_kind", "note")
    assert finding.subject == "event 1 and 2 more"


def test_clocks_that_disagree(store: SessionStore, bench: Bench) -> None:
    for minutes in (0, 30, 29, -1, 60):
        bench.clock.advance(timedelta(minutes=minutes))
        store.create("alice")
    bench.clock.advance(timedelta(minutes=-31))
    store.create("alice")
    bench.clock.advance(timedelta(minutes=31))
    (finding,) = store.diagnose()
    assert (finding.code, finding.subject) == ("clocks_disagree", "event 6")
    assert "1860 s" in finding.problem
    bench.clock.advance(timedelta(days=1))
    assert store.diagnose() == []


def test_events_from_the_future(store: SessionStore, bench: Bench) -> None:
    bench.clock.advance(timedelta(hours=1))
    store.create("alice")
    bench.clock.advance(timedelta(hours=-1))
    (finding,) = store.diagnose()
    assert (finding.code, finding.subject) == ("event_from_future", "event 1")
    assert "3600 s" in finding.problem
    bench.clock.advance(timedelta(minutes=59))
    assert store.diagnose() == []


def keeps_rows(log: Log) -> bool:
    """Whether the log keeps rows, and not only makes them when it is asked for some."""
    folded: list[int | None] = []

    def look(view: View) -> list[Finding]:
        folded.append(view.folded)
        return []

    log.examine(SESSIONS_TOPIC, look)
    return folded != [None]


def test_events_without_rows_are_a_note_and_stay_unfolded(bench: Bench, log: Log) -> None:
    expired = {"token_handle": "sha256:v1:" + "0" * 64, "expired_at": "2020-01-01T00:00:00Z"}
    say(log, "session_expired", expired, at=0)
    store = bench.on(log)
    behind = ["rows_behind"] if keeps_rows(log) else []
    for _ in range(2):
        assert codes(store.diagnose()) == behind
    assert store.count(state="all") == 1
    assert store.diagnose() == []


def test_very_many_findings_are_bounded(store: SessionStore, log: Log) -> None:
    handle = store.create("alice").handle
    bad = LogEvent.of("session_expired", {"token_handle": handle}, occurred_at_ms=0)
    log.append(SESSIONS_TOPIC, [Unit([Change(bad)] * 500)])
    found = store.diagnose()
    assert codes(found) == ["undecodable_event"] * (MOST_SHOWN + 1)
    assert found[-1].subject == f"{500 - MOST_SHOWN} more"


def test_a_store_that_is_closed_or_a_topic_that_is_none(bench: Bench, store: SessionStore) -> None:
    store.close()
    with pytest.raises(StoreClosed):
        store.diagnose()
    with pytest.raises(InvalidEvent):
        diagnose("memory:", topic="no/topic")


def test_a_ledger_in_memory_and_one_that_is_not_there(tmp_path: Path) -> None:
    assert diagnose("memory:") == []
    with pytest.raises(LogUnavailable, match="there is no ledger"):
        diagnose(f"sqlite:///{tmp_path}/nowhere")
    assert list(tmp_path.iterdir()) == []


# From here on in a file, which others can change.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture(params=["sync", "async"])
def filed(request: pytest.FixtureRequest, path: Path) -> Iterator[Bench]:
    filed = Bench(Kind(request.param, "sqlite"), path)
    yield filed
    filed.close()


def test_rows_that_differ_from_the_fold(filed: Bench, path: Path) -> None:
    store = filed.open()
    sessions = [store.create("alice") for _ in range(4)]
    store.expire(sessions[0].token)
    keys = [bytes.fromhex(session.handle.rpartition(":")[2]) for session in sessions]
    change = "UPDATE ledger_rows SET {} WHERE key = ?"
    bare_sqlite.execute(path, change.format("live = 1, expires = expires + 1"), keys[0])
    bare_sqlite.execute(path, change.format("owner = 'mallory', version = 9"), keys[1])
    bare_sqlite.execute(path, change.format("state = replace(state, 'ali', 'bob')"), keys[2])
    found = store.diagnose()
    assert codes(found) == ["row_differs"] * 3
    differing = {finding.subject: finding.problem.rpartition(" in ")[2] for finding in found}
    assert differing == {
        sessions[0].handle: "expires, live",
        sessions[1].handle: "version, owner",
        sessions[2].handle: "state",
    }
    assert all("sessionledger rebuild" in finding.remedy for finding in found)
    store.rebuild()
    assert store.diagnose() == []


def test_rows_that_are_missing_and_rows_too_many(filed: Bench, path: Path) -> None:
    store = filed.open()
    first, second = store.create("alice"), store.create("bob")
    key = bytes.fromhex(first.handle.rpartition(":")[2])
    bare_sqlite.execute(path, "DELETE FROM ledger_rows WHERE key = ?", key)
    again = (
        "INSERT INTO ledger_rows (key, topic, version, created, owner, expires, live, state)"
        " SELECT {}, topic, 1, 1, owner, 0, 0, state FROM ledger_rows"
    )
    for strange in ("x'00ff'", "'text'", "7"):
        bare_sqlite.execute(path, again.format(strange) + " LIMIT 1")
    found = store.diagnose()
    assert codes(found) == ["row_missing", "row_surplus", "row_surplus"]
    assert found[0].subject == first.handle
    assert "2 rows" in found[1].problem
    assert found[2].subject == "sha256:v1:00ff"
    store.rebuild()
    assert store.diagnose() == []
    assert store.get(second.token) is not None


@pytest.mark.parametrize("held", [1, 2, 7, 50, 1000])
def test_no_more_rows_are_held_than_may_be(
    filed: Bench, path: Path, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "MOST_ROWS_HELD", held)
    monkeypatch.setattr(diagnosis, "PAGE", 10)
    store = filed.open()
    sessions = sorted((store.create("alice") for _ in range(60)), key=lambda s: s.handle)
    for session in sessions[::7]:
        store.expire(session.token)
    assert store.diagnose() == []
    for at in (0, 30, 59):
        key = bytes.fromhex(sessions[at].handle.rpartition(":")[2])
        bare_sqlite.execute(path, "UPDATE ledger_rows SET owner = 'x' WHERE key = ?", key)
    key = bytes.fromhex(sessions[31].handle.rpartition(":")[2])
    bare_sqlite.execute(path, "DELETE FROM ledger_rows WHERE key = ?", key)
    found = store.diagnose()
    assert codes(found) == ["row_differs"] * 3 + ["row_missing"]
    assert [f.subject for f in found] == [sessions[at].handle for at in (0, 30, 59, 31)]


def test_a_share_lets_go_of_what_is_too_much(filed: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "MOST_ROWS_HELD", 10)
    monkeypatch.setattr(diagnosis, "PAGE", 5)
    most = 0
    fold = diagnosis._Share.fold

    def watched(share: diagnosis._Share, events: Iterable[StoredEvent]) -> None:
        nonlocal most
        fold(share, events)
        most = max(most, len(share.rows))

    monkeypatch.setattr(diagnosis._Share, "fold", watched)
    store = filed.open()
    for _ in range(100):
        store.create("alice")
    assert store.diagnose() == []
    assert most == 10


@pytest.mark.sampled
@pytest.mark.parametrize("held", [110, 150, 250, 1000])
def test_it_is_known_beforehand_about_how_many_events_are_examined(
    filed: Bench, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "MOST_ROWS_HELD", held)
    monkeypatch.setattr(diagnosis, "PAGE", 50)
    store = filed.open()
    for number in range(300):
        # Tokens are given, so that the keys are the same each time.
        token = f"number {number} of as many tokens as there are"
        store.touch(store.create("alice", token=token).token)
    told: list[tuple[int, int]] = []
    assert store.diagnose(progress=lambda *done: told.append(done)) == []
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert all(done <= total for done, total in told)
    # As much as one walk more or less: how many keys a walk is enough for is not known before.
    assert abs(told[0][1] - told[-1][0]) <= 600


def test_one_state_is_looked_at_whatever_happens_meanwhile(
    filed: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "PAGE", 10)
    store = filed.open()
    sessions = [store.create("alice") for _ in range(25)]

    def change(_: int, total: int) -> None:
        with SessionStore.open(filed.url, clock=filed.clock) as another:
            another.expire(sessions.pop().token)
            another.create("bob")

        assert total == 25

    assert store.diagnose(progress=change) == []
    assert len(sessions) == 25 - 3
    assert store.diagnose() == []


def test_an_event_loop_goes_on_meanwhile(path: Path) -> None:
    async def diagnosed() -> list[int]:
        threads: list[int] = []
        async with AsyncSessionStore.open(f"sqlite:///{path}") as store:
            await store.create("alice")
            await store.diagnose(progress=lambda *_: threads.append(threading.get_ident()))
        return threads

    assert threading.get_ident() not in asyncio.run(diagnosed())


def test_a_fork_meanwhile_ends_it(filed: Bench) -> None:
    store = filed.open()
    store.create("alice")

    def fork(*_: int) -> None:
        child = os.fork()
        if not child:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

    with pytest.raises(LogUnavailable, match="forked"):
        store.diagnose(progress=fork)
    assert store.diagnose() == []
    assert store.count() == 1
