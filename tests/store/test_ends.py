"""Ends hold whatever happens while they are decided: creations, rotations, lapses, patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from sessionledger import Policy, Row, SessionLimitReached, SessionStore, Unit
from sessionledger.logs.base import ALL_ROWS, Outcome, RowFilter
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.testing.clock import Clock
from tests.store.operations.test_families import OVER, is_over, rotated
from tests.store.test_store import some

SECOND = timedelta(seconds=1)
IDLE = timedelta(minutes=30)
MARGIN = Policy().sweep_margin
DAY = timedelta(days=1)
Told = Callable[[], Any]


class Interrupted(MemoryLog):
    """A log at which something happens between a listing and the append that rests on it."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: Told | None = None
        self.before_append: Told | None = None

    def rows(
        self, topic: str, where: RowFilter = ALL_ROWS, after: Row | None = None, limit: int = 1000
    ) -> list[Row]:
        found = super().rows(topic, where, after, limit)
        happen, self.listed = self.listed, None
        if happen is not None:
            happen()
        return found

    def append(
        self, topic: str, units: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        happen, self.before_append = self.before_append, None
        if happen is not None:
            happen()
        return super().append(topic, units, until)

    def at_every_append(self, happen: Told) -> None:
        """It never stops happening."""

        def again() -> None:
            happen()
            self.before_append = again

        self.before_append = again


@pytest.fixture
def log() -> Interrupted:
    return Interrupted()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(log: Interrupted, clock: Clock) -> SessionStore:
    return SessionStore(log, clock=clock, policy=Policy(idle_timeout=IDLE, absolute_timeout=DAY))


# -- while others are begun


@pytest.mark.parametrize("which", [{"principal": "alice"}, {"external_id": "sid"}], ids=str)
def test_whatever_is_begun_before_the_end_is_ended(
    store: SessionStore, log: Interrupted, which: dict[str, Any]
) -> None:
    tokens = [store.create("alice", external_id="sid").token for _ in range(3)]
    log.before_append = lambda: tokens.append(store.create("alice", external_id="sid").token)
    assert store.revoke_all(**which) == 4
    assert is_over(store, *tokens)


def test_all_end_in_one_unit_though_others_are_begun(store: SessionStore, log: Interrupted) -> None:
    handles = {store.create("alice").handle for _ in range(3)}
    log.at_every_append(lambda: handles.add(store.create("alice").handle))
    store.revoke_all("alice", reason="stolen")
    first = next(entry for entry in store.history(principal="alice") if entry.reason == "stolen")
    unit = log.read("orchestrator.sessions", first.event_id - 1, 4)
    assert [event.headers["sessionledger.unit"] for event in unit] == ["1/4", "2/4", "3/4", "4/4"]
    assert {event.value["token_handle"] for event in unit} == handles


@pytest.mark.parametrize("end", ["expire", "revoke", "reuse", "revoke_all"])
def test_no_rotation_leads_out_of_what_is_ended(
    store: SessionStore, log: Interrupted, clock: Clock, end: str
) -> None:
    """A thief rotates at every turn, for as long as there is anything to rotate."""
    old = store.create("alice")
    newest = rotated(store, old.token).token
    if end == "reuse":
        clock.advance(OVER)
    turns = 0

    def flee() -> None:
        nonlocal newest, turns
        turns += 1
        fled = store.rotate(newest)
        newest = newest if fled is None else fled.token

    log.at_every_append(flee)
    if end == "revoke_all":
        store.revoke_all("alice")
    elif end == "revoke":
        store.revoke(handle=old.handle)
    else:
        (store.authenticate if end == "reuse" else store.expire)(old.token)
    assert turns > 0
    assert store.count(principal="alice") == 0


@pytest.mark.parametrize("end", ["expire", "reuse"])
def test_no_visitors_keep_one_from_signing_out(
    store: SessionStore, log: Interrupted, clock: Clock, end: str
) -> None:
    old = store.create("anonymous")
    new = rotated(store, old.token)
    clock.advance(OVER)
    log.at_every_append(lambda: store.create("anonymous"))
    (store.expire if end == "expire" else store.authenticate)(old.token)
    assert is_over(store, old.token, new.token)
    assert store.count() > 0


# -- while a touch is under way across the lapse


def touched_late(store: SessionStore, log: Interrupted, clock: Clock, token: str, end: Told) -> Any:
    """A touch that is decided before the session's lapse and committed after it, and what ends
    sessions in between."""
    clock.advance(some(store.get(token)).expires_at - clock.now - SECOND / 10)

    def lapse() -> None:
        clock.advance(SECOND / 5)
        end()

    log.before_append = lapse
    return store.touch(token)


@pytest.mark.parametrize("which", [{"principal": "alice"}, {"external_id": "sid"}], ids=str)
def test_nothing_revoked_is_prolonged(
    store: SessionStore, log: Interrupted, clock: Clock, which: dict[str, Any]
) -> None:
    token = store.create("alice", external_id="sid").token
    answers: list[int] = []
    late = touched_late(store, log, clock, token, lambda: answers.append(store.revoke_all(**which)))
    assert late is None
    assert answers == [1]
    assert is_over(store, token)


@pytest.mark.parametrize("end", ["expire", "reuse"])
def test_no_sibling_is_prolonged_past_the_end_of_its_family(
    store: SessionStore, log: Interrupted, clock: Clock, end: str
) -> None:
    old = store.create("alice")
    mine, thiefs = rotated(store, old.token), rotated(store, old.token)
    ends = {
        "expire": lambda: store.expire(mine.token),
        "reuse": lambda: store.authenticate(old.token),
    }
    assert touched_late(store, log, clock, thiefs.token, ends[end]) is None
    assert is_over(store, mine.token, thiefs.token)


@pytest.mark.parametrize("on_limit", ["deny", "evict_oldest"])
def test_no_limit_is_passed_by_what_lapsed(log: Interrupted, clock: Clock, on_limit: Any) -> None:
    policy = Policy(
        max_sessions_per_principal=1, on_limit=on_limit, idle_timeout=IDLE, absolute_timeout=DAY
    )
    store = SessionStore(log, clock=clock, policy=policy)
    first = store.create("alice")
    assert touched_late(store, log, clock, first.token, lambda: store.create("alice")) is None
    assert store.count(principal="alice") == 1
    last = list(store.history(handle=first.handle))[-1]
    assert (last.cause, last.kind) == ("lapsed", "session_expired")
    assert some(store.as_of(handle=first.handle, at=clock.now)).ended_at == first.expires_at


def test_who_was_prolonged_in_time_keeps_its_place(log: Interrupted, clock: Clock) -> None:
    """A session that lapsed makes room as it was read: a touch that is faster counts."""
    policy = Policy(max_sessions_per_principal=1, idle_timeout=IDLE, absolute_timeout=DAY)
    store = SessionStore(log, clock=clock, policy=policy)
    behind = Clock(clock.now + IDLE - SECOND)
    first = store.create("alice")
    clock.advance(IDLE)
    log.before_append = lambda: SessionStore(log, clock=behind, policy=policy).touch(first.token)
    with pytest.raises(SessionLimitReached):
        store.create("alice")
    assert store.get(first.token) is not None


AHEAD = [timedelta(0), IDLE, 3 * DAY]


@pytest.mark.parametrize("ahead", AHEAD, ids=str)
@pytest.mark.parametrize("which", [{"principal": "alice"}, {"external_id": "sid"}], ids=str)
def test_revoking_all_asks_no_clock_what_there_is_to_end(
    store: SessionStore, log: Interrupted, clock: Clock, which: dict[str, Any], ahead: timedelta
) -> None:
    other = SessionStore(log, clock=Clock(clock.now + ahead))
    token = store.create("alice", external_id="sid").token
    assert other.revoke_all(**which) == 1
    assert is_over(store, token)


@pytest.mark.parametrize("ahead", [*AHEAD, -DAY], ids=str)
@pytest.mark.parametrize("by", ["token", "handle"])
def test_ending_a_family_asks_no_clock_who_belongs_to_it(
    store: SessionStore, log: Interrupted, clock: Clock, by: str, ahead: timedelta
) -> None:
    other = SessionStore(log, clock=Clock(clock.now + ahead))
    old = store.create("alice")
    new = rotated(store, old.token)
    if by == "token":
        other.expire(old.token)
    else:
        other.revoke(handle=old.handle)
    assert is_over(store, old.token, new.token)
    assert {session.cause for session in store.sessions(state="all")} == {
        "signed_out" if by == "token" else "revoked"
    }


def test_a_limit_ends_what_it_finds_lapsed_whatever_its_clock(
    log: Interrupted, clock: Clock
) -> None:
    policy = Policy(max_sessions_per_principal=1)
    store = SessionStore(log, clock=clock, policy=policy)
    other = SessionStore(log, clock=Clock(clock.now + 30 * DAY), policy=policy)
    token = store.create("alice").token
    assert other.create("alice")
    assert is_over(store, token)


# -- while attributes are patched


@pytest.mark.parametrize("which", ["old", "middle"])
def test_a_demotion_reaches_who_is_rotated_meanwhile(
    store: SessionStore, log: Interrupted, which: str
) -> None:
    old = store.create("alice", attributes={"role": "admin"})
    middle = rotated(store, old.token)
    if which == "old":
        store.patch(old.token, {"role": None})
        store.patch(middle.token, {"role": "admin"})
    new: list[str] = []
    log.listed = lambda: new.append(rotated(store, middle.token).token)
    store.patch(old.token, {"role": None})
    for token in (old.token, middle.token, *new):
        assert some(store.get(token)).attributes == {}


def test_a_demotion_reaches_what_was_rotated_though_it_has_nothing_to_lose(
    store: SessionStore, log: Interrupted
) -> None:
    """The rotated one stays as it is, and is rotated once more meanwhile."""
    old = store.create("alice")
    middle = rotated(store, old.token)
    store.patch(middle.token, {"role": "admin"})
    new: list[str] = []
    log.listed = lambda: new.append(rotated(store, old.token).token)
    store.patch(old.token, {"role": None})
    assert some(store.get(new[0])).attributes == some(store.get(middle.token)).attributes == {}


def test_a_sibling_is_not_begun_with_what_was_just_taken_away(
    store: SessionStore, log: Interrupted
) -> None:
    old = store.create("alice")
    newest = rotated(store, old.token)
    store.patch(newest.token, {"role": "admin"})
    log.listed = lambda: store.patch(newest.token, {"role": None})
    assert rotated(store, old.token).attributes == {}


def test_no_sibling_is_begun_of_what_was_just_ended(store: SessionStore, log: Interrupted) -> None:
    old = store.create("alice")
    store.rotate(old.token)
    log.listed = lambda: store.revoke_all("alice", keep=[old.handle])
    assert store.rotate(old.token) is None


def test_a_patch_reaches_who_is_prolonged_meanwhile(
    store: SessionStore, log: Interrupted, clock: Clock
) -> None:
    old = store.create("alice", attributes={"role": "admin"})
    clock.advance(SECOND)
    sibling = rotated(store, old.token, grace=IDLE)
    store.rotate(sibling.token, grace=IDLE - 9 * SECOND)
    short = some(store.get(sibling.token))
    clock.advance(short.expires_at - clock.now)
    store.patch(old.token, {"role": None})
    seen = short.expires_at - SECOND
    again = store.touch(sibling.token, last_seen_at=seen)
    assert some(again).attributes == {}
