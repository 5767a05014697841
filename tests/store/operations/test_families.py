"""rotate: a new token for a session, and what the old one can still do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionledger import (
    InvalidSession,
    IssuedSession,
    Policy,
    Session,
    SessionLimitReached,
    SessionStore,
)
from sessionledger.core.ends import CLOCK_TOLERANCE
from sessionledger.core.token import digest, handle_of
from sessionledger.testing.clock import NOON, Clock
from sessionledger.testing.fixtures import concurrently
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import Bench
from tests.store.test_store import some

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
GRACE = 30 * SECOND
OVER = GRACE + CLOCK_TOLERANCE
"""After so long no clock that is right takes a grace to be running."""
HANDLE = handle_of(digest(TOKEN))


@pytest.fixture(autouse=True)
def login(store: SessionStore) -> Session:
    return store.create(
        "alice",
        token=TOKEN,
        ttl=HOUR,
        attributes={"cart": [1]},
        external_id="sid",
        context={"device": "phone"},
    )


def rotated(store: SessionStore, token: str = TOKEN, **told: Any) -> IssuedSession:
    """The successor, which there has to be."""
    issued = store.rotate(token, **told)
    assert issued is not None
    return issued


def is_over(store: SessionStore, *tokens: str) -> bool:
    return not any(store.get(token) for token in tokens)


def test_it_answers_a_new_token_for_all_that_was(
    store: SessionStore, clock: Clock, login: Session
) -> None:
    clock.advance(MINUTE)
    issued = rotated(store)
    assert issued.token not in (TOKEN, "")
    assert store.get(issued.token) == issued
    kept = ("principal", "created_at", "expires_at", "deadline", "attributes", "external_id")
    for name in (*kept, "context", "authenticated_at"):
        assert getattr(issued, name) == getattr(login, name)
    assert issued.last_seen_at == clock.now
    assert issued.token not in repr(issued)
    assert issued.family == HANDLE


def test_it_is_one_unit_with_the_restricting_event_first(
    store: SessionStore, login: Session
) -> None:
    issued = rotated(store, reason="login", actor="web")
    restricted, created = list(store.events(after=login.version))
    assert restricted.value["token_handle"] == HANDLE
    assert restricted.value["expires_at"] == "2026-05-02T12:00:30Z"
    assert created.value["record"]["token_handle"] == issued.handle
    for entry in list(store.history(principal="alice"))[1:]:
        assert (entry.reason, entry.actor) == ("login", "web")


def test_the_old_token_authenticates_within_its_grace(store: SessionStore, clock: Clock) -> None:
    rotated(store)
    clock.advance(GRACE - SECOND)
    assert some(store.authenticate(TOKEN)).handle == HANDLE
    assert store.touch(TOKEN, ttl=HOUR) is not None
    clock.advance(SECOND)
    assert store.get(TOKEN) is store.touch(TOKEN) is None


@pytest.mark.parametrize("how", ["policy", "argument"])
def test_without_grace_it_ends_at_once(bench: Bench, how: str) -> None:
    store = bench.open(policy=Policy(rotation_grace=timedelta(0) if how == "policy" else GRACE))
    store.create("bob", token=OTHER)
    issued = rotated(store, OTHER, grace=timedelta(0) if how == "argument" else None)
    assert is_over(store, OTHER)
    assert store.get(issued.token) is not None


def test_nothing_brings_the_old_token_past_its_grace(store: SessionStore, clock: Clock) -> None:
    rotated(store)
    late = {"last_seen_at": NOON + SECOND, "expires_at": NOON + HOUR}
    assert some(store.touch(TOKEN, ttl=HOUR)).expires_at == NOON + GRACE
    assert some(store.touch(TOKEN, **late)).expires_at == NOON + GRACE  # type: ignore[arg-type]
    assert some(store.reauthenticate(TOKEN)).expires_at == NOON + GRACE
    assert some(store.patch(TOKEN, {"a": 1})).expires_at == NOON + GRACE
    clock.advance(GRACE)
    assert some(store.touch(TOKEN, **late)).expires_at == NOON + GRACE  # type: ignore[arg-type]
    assert is_over(store, TOKEN)


def test_no_chain_of_rotations_makes_a_life_longer(bench: Bench, clock: Clock) -> None:
    store = bench.open(policy=Policy(ttl=HOUR, idle_timeout=10 * MINUTE))
    token, deadline = store.create("bob", token=OTHER).token, NOON + HOUR
    while (issued := store.rotate(token)) is not None:
        assert issued.deadline == deadline
        assert issued.expires_at <= min(deadline, clock.now + 10 * MINUTE)
        assert issued.created_at == NOON
        token = issued.token
        clock.advance(9 * MINUTE)
    assert clock.now >= deadline
    assert store.count(principal="bob") == 0


def test_what_is_not_live_is_not_rotated(store: SessionStore, clock: Clock) -> None:
    assert store.rotate(OTHER) is None
    clock.advance(HOUR)
    assert store.rotate(TOKEN) is None
    store.expire(TOKEN)
    assert store.rotate(TOKEN) is None
    assert store.head().id == 2


@pytest.mark.parametrize("wrong", ["short", HANDLE, None])
def test_what_is_no_token_is_refused(store: SessionStore, wrong: Any) -> None:
    with pytest.raises(InvalidSession):
        store.rotate(wrong)


def test_a_session_is_rotated_by_its_handle_too(store: SessionStore, clock: Clock) -> None:
    issued = store.rotate(handle=HANDLE, grace=timedelta(0))
    assert issued is not None
    assert is_over(store, TOKEN)
    assert store.get(issued.token) == issued
    assert store.rotate(handle=HANDLE) is None
    assert store.get(issued.token) is not None, "a handle is no token, and so never a reused one"


def test_rotate_takes_a_token_or_a_handle(store: SessionStore) -> None:
    with pytest.raises(InvalidSession, match="rotate takes one of them"):
        store.rotate()
    with pytest.raises(InvalidSession, match="rotate takes one of them"):
        store.rotate(TOKEN, handle=HANDLE)


def test_patches_through_the_old_token_reach_its_successors(store: SessionStore) -> None:
    first, second = rotated(store), rotated(store)
    store.patch(TOKEN, {"by": "the old one"})
    store.patch(handle=HANDLE, changes={"by handle": 1})
    for token in (TOKEN, first.token, second.token):
        found = some(store.get(token)).attributes
        assert found == {"cart": [1], "by": "the old one", "by handle": 1}
    # What the old one holds already may still be new to a successor.
    store.patch(first.token, {"by": "the new one"})
    store.patch(TOKEN, {"by": "the old one"})
    assert some(store.get(first.token)).attributes["by"] == "the old one"


def test_a_chain_within_the_grace_is_reached_from_its_beginning(store: SessionStore) -> None:
    last = rotated(store, rotated(store, rotated(store).token).token)
    assert last.family == HANDLE
    store.patch(TOKEN, {"late": True})
    assert some(store.get(last.token)).attributes["late"] is True


def test_a_token_has_eight_successors_at_most(store: SessionStore, clock: Clock) -> None:
    issued = [rotated(store) for _ in range(8)]
    assert len({one.handle for one in issued}) == 8
    head = store.head()
    with pytest.raises(SessionLimitReached) as caught:
        store.rotate(TOKEN)
    assert TOKEN not in str(caught.value)
    assert store.head() == head
    assert {one.family for one in issued} == {HANDLE}
    assert all(store.get(one.token) for one in issued)


def test_a_sibling_has_what_was_patched_meanwhile_but_not_what_was_proved(
    store: SessionStore, clock: Clock
) -> None:
    first = rotated(store)
    store.patch(first.token, {"cart": [1, 2]})
    clock.advance(SECOND)
    store.reauthenticate(first.token)
    second = rotated(store)
    assert second.attributes == {"cart": [1, 2]}
    assert second.authenticated_at == NOON


def test_a_sibling_lives_no_longer_than_the_newest(bench: Bench, clock: Clock) -> None:
    store = bench.open(policy=Policy(ttl=HOUR, idle_timeout=10 * MINUTE))
    store.create("bob", token=OTHER)
    clock.advance(9 * MINUTE)
    first, second = rotated(store, OTHER), rotated(store, OTHER)
    assert first.deadline == second.deadline == NOON + HOUR
    assert first.expires_at == second.expires_at


@pytest.mark.parametrize("call", ["authenticate", "rotate"])
def test_reuse_ends_the_family_with_an_event_that_says_why(
    store: SessionStore, clock: Clock, call: str
) -> None:
    first = rotated(store)
    second = rotated(store, first.token)
    bystander = store.create("alice", token=OTHER, ttl=HOUR)
    clock.advance(OVER)
    before = store.head().id
    assert getattr(store, call)(TOKEN) is None
    assert is_over(store, TOKEN, first.token, second.token)
    assert store.get(OTHER) == bystander
    entries = [entry for entry in store.history(principal="alice") if entry.event_id > before]
    assert {entry.cause for entry in entries} == {"reused"}
    # `first` has lapsed by itself, and is ended before anything prolongs it.
    assert [entry.handle for entry in entries] == [first.handle, second.handle, HANDLE]


UNSAYABLE = [
    {"agent": "x" * 5000},
    {"agent": "harn_sess_" + "a" * 43},
    {"path": f"/?token={TOKEN}"},
    {"agent": "\ud800"},
]


@pytest.mark.parametrize("call", ["authenticate", "rotate"])
@pytest.mark.parametrize("context", UNSAYABLE)
def test_no_thief_hides_behind_what_can_t_be_written_down(
    store: SessionStore, clock: Clock, call: str, context: dict[str, str]
) -> None:
    issued = rotated(store)
    clock.advance(OVER)
    assert getattr(store, call)(TOKEN, context=context) is None
    assert is_over(store, issued.token)
    entry = list(store.history(handle=HANDLE))[-1]
    assert (entry.cause, entry.context) == ("reused", {})


def test_reuse_tells_whence_it_came(store: SessionStore, clock: Clock) -> None:
    rotated(store)
    clock.advance(OVER)
    store.authenticate(TOKEN, context={"address": "::1"})
    assert list(store.history(handle=HANDLE))[-1].context == {"address": "::1"}


@pytest.mark.parametrize("call", ["authenticate", "rotate"])
def test_a_second_presentation_appends_nothing_more(
    store: SessionStore, clock: Clock, call: str
) -> None:
    rotated(store)
    clock.advance(OVER)
    assert getattr(store, call)(TOKEN) is None
    head = store.head()
    for _ in range(3):
        assert store.authenticate(TOKEN) is store.rotate(TOKEN) is store.get(TOKEN) is None
    assert store.head() == head


def test_many_who_present_it_at_once_write_it_down_once(bench: Bench, clock: Clock) -> None:
    store = SessionStore(bench.log(), clock=clock)
    store.create("bob", token=OTHER, ttl=HOUR)
    issued = rotated(store, OTHER)
    clock.advance(OVER)
    before = store.head().id
    calls = [lambda: store.authenticate(OTHER), lambda: store.rotate(OTHER)] * 8
    assert concurrently(*calls) == [None] * 16
    assert store.head().id == before + 2
    assert is_over(store, issued.token)


def test_get_and_the_others_never_write_of_reuse(store: SessionStore, clock: Clock) -> None:
    issued = rotated(store)
    clock.advance(OVER)
    head = store.head()
    assert store.get(TOKEN) is store.find(handle=HANDLE) is store.touch(TOKEN) is None
    assert store.patch(TOKEN, {"a": 1}) is store.reauthenticate(TOKEN) is None
    assert store.head() == head
    assert store.get(issued.token) is not None


@pytest.mark.parametrize("call", ["authenticate", "rotate"])
def test_a_clock_that_is_ahead_takes_nobody_for_a_thief(
    bench: Bench, clock: Clock, call: str
) -> None:
    log = bench.log()
    right, ahead = bench.on(log), bench.on(log, clock=Clock(clock.now + 45 * SECOND))
    right.create("bob", token=OTHER, ttl=HOUR)
    issued = rotated(right, OTHER)
    head = right.head()
    assert getattr(ahead, call)(OTHER) is None
    assert right.head() == head
    assert right.get(OTHER) is not None
    assert right.get(issued.token) is not None


def test_reuse_may_only_be_denied(bench: Bench, clock: Clock) -> None:
    store = bench.open(policy=Policy(on_reuse="deny"))
    store.create("bob", token=OTHER)
    issued = rotated(store, OTHER)
    clock.advance(OVER)
    head = store.head()
    assert store.authenticate(OTHER) is store.rotate(OTHER) is None
    assert store.head() == head
    assert store.get(issued.token) is not None


def test_without_grace_presenting_it_at_once_is_reuse(store: SessionStore) -> None:
    issued = rotated(store, grace=timedelta(0))
    assert store.authenticate(TOKEN) is None
    assert is_over(store, issued.token)


def test_a_swept_token_is_still_known_as_reused(store: SessionStore, clock: Clock) -> None:
    issued = rotated(store)
    clock.advance(10 * MINUTE)
    assert store.sweep() == 1
    assert store.get(issued.token) is not None
    assert store.authenticate(TOKEN) is None
    assert is_over(store, issued.token)


def test_a_request_on_its_way_while_somebody_logs_out_is_no_thief(
    store: SessionStore, clock: Clock
) -> None:
    issued = rotated(store)
    clock.advance(SECOND)
    store.expire(issued.token, reason="logout")
    head = store.head()
    assert store.authenticate(TOKEN) is store.rotate(TOKEN) is None
    assert store.head() == head


def test_a_request_on_its_way_does_not_end_what_was_kept(store: SessionStore, clock: Clock) -> None:
    """Change the password: a new token for this device, and all others are logged out."""
    issued = rotated(store, reason="password")
    store.create("alice", token=OTHER, ttl=HOUR)
    assert store.revoke_all("alice", keep=[issued.handle]) == 1
    for _ in range(2):
        clock.advance(10 * MINUTE)
        assert store.authenticate(TOKEN) is store.rotate(TOKEN) is None
        assert store.get(issued.token) is not None


@pytest.mark.parametrize("end", ["expire", "revoke", "the old one"])
def test_a_family_ends_together(store: SessionStore, end: str) -> None:
    first, second = rotated(store), rotated(store)
    if end == "expire":
        store.expire(first.token)
    elif end == "revoke":
        store.revoke(handle=second.handle)
    else:
        store.expire(TOKEN)
    assert is_over(store, TOKEN, first.token, second.token)
    assert store.rotate(TOKEN) is store.rotate(first.token) is None


# Fixation: an attacker made the victim log in on a session whose token the attacker knows.


@pytest.fixture
def fixed(store: SessionStore) -> IssuedSession:
    store.create("anonymous", token=OTHER, ttl=HOUR, attributes={"cart": [1]})
    return rotated(store, OTHER, principal="bob", reason="login")


def test_who_logs_in_gets_a_session_without_a_link(
    store: SessionStore, clock: Clock, fixed: IssuedSession
) -> None:
    assert (fixed.principal, fixed.family, fixed.successors) == ("bob", None, ())
    assert fixed.attributes == {"cart": [1]}
    assert fixed.authenticated_at == clock.now
    old = some(store.get(OTHER))
    assert (old.principal, old.successors) == ("anonymous", ())
    for event in store.events():
        if event.value.get("token_handle") == old.handle:
            assert fixed.handle.encode() not in event.payload


def test_the_old_token_reaches_nothing_of_who_logged_in(
    store: SessionStore, clock: Clock, fixed: IssuedSession
) -> None:
    store.patch(OTHER, {"evil": True})
    again = rotated(store, OTHER)
    assert again.principal == "anonymous"
    assert again.expires_at == NOON + GRACE
    store.patch(again.token, {"evil": True})
    assert some(store.get(fixed.token)).attributes == {"cart": [1]}
    assert some(store.authenticate(OTHER)).principal == "anonymous"
    clock.advance(GRACE)
    assert store.authenticate(OTHER) is store.rotate(OTHER) is store.rotate(again.token) is None
    assert store.expire(OTHER) is not None
    assert store.get(fixed.token) is not None


def test_reuse_of_an_anonymous_token_does_not_end_who_logged_in(
    store: SessionStore, clock: Clock
) -> None:
    store.create("anonymous", token=OTHER, ttl=HOUR)
    visitor = rotated(store, OTHER)
    bob = rotated(store, visitor.token, principal="bob")
    clock.advance(GRACE)
    assert store.authenticate(OTHER) is None
    assert is_over(store, OTHER, visitor.token)
    assert store.get(bob.token) is not None


def test_nobody_is_logged_out_who_only_stayed_who_he_was(store: SessionStore, clock: Clock) -> None:
    """Every page rotates; a browser sends three requests at once with the cookie it has."""
    token = TOKEN
    for _ in range(20):
        answers = [rotated(store, token) for _ in range(3)]
        clock.advance(SECOND)
        token = answers[1].token
        clock.advance(GRACE - SECOND)
    assert some(store.authenticate(token)).principal == "alice"


def test_a_thief_s_sibling_ends_when_the_old_token_is_seen_again(
    store: SessionStore, clock: Clock
) -> None:
    """A stolen token was rotated by both within its grace; then either presents it again."""
    mine, thiefs = rotated(store), rotated(store)
    clock.advance(OVER)
    assert store.authenticate(TOKEN) is None
    assert is_over(store, mine.token, thiefs.token)


def test_the_log_does_not_grow_by_what_a_holder_of_an_old_token_does(
    store: SessionStore, clock: Clock
) -> None:
    rotated(store)
    for _ in range(7):
        rotated(store)
    grown = store.head().id
    for _ in range(100):
        with pytest.raises(SessionLimitReached):
            store.rotate(TOKEN)
        store.authenticate(TOKEN)
        store.patch(TOKEN, {})
    assert store.head().id == grown
    clock.advance(OVER)
    for _ in range(100):
        store.authenticate(TOKEN)
        store.rotate(TOKEN)
    assert store.head().id == grown + 1 + 8


def test_a_large_context_is_carried_and_does_not_keep_anybody_from_logging_in(
    store: SessionStore,
) -> None:
    large = {"device": "x" * 4000}
    store.create("anonymous", token=OTHER, context=large)
    issued = rotated(store, OTHER, principal="bob", reason="r" * 1000)
    assert some(store.get(issued.token)).context == large
    told = rotated(store, issued.token, context={"device": "laptop"})
    assert told.context == {"device": "laptop"}


def test_the_new_token_is_nowhere(store: SessionStore, tmp_path: Path) -> None:
    issued = rotated(store)
    again = rotated(store, issued.token, principal="bob")
    secrets = [issued.token, again.token]
    for event in store.events():
        assert not [s for s in secrets if s.encode() in event.payload or s in str(event.headers)]
    for file in tmp_path.iterdir():
        held = file.read_bytes() if "lock" not in file.name and not file.is_dir() else b""
        assert not [secret for secret in secrets if secret.encode() in held]
