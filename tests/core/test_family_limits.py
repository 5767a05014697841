"""What bounds a family."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from sessionledger import Policy, RotationLimitReached, Session
from sessionledger.core.events import Created, Expired, Touched
from sessionledger.core.families import decide_family, is_superseded, rotations_with
from sessionledger.core.fold import evolve
from sessionledger.core.token import Handle
from sessionledger.testing.clock import NOON

SECOND = timedelta(seconds=1)
NEW = Created(b"{}", NOON, NOON, NOON, "alice", "new")
FEW = Policy(max_family=4, max_rotations_per_minute=3)


def member(name: str, **told: object) -> Session:
    life = {"created_at": NOON, "last_seen_at": NOON, "expires_at": NOON + timedelta(hours=1)}
    return Session(handle=Handle(name), principal="alice", attributes={}, **life | told)  # type: ignore[arg-type]


def rotated(name: str) -> Session:
    return member(name, successors=(Handle("next"),))


def decided(
    family: list[Session], old: Session, now: datetime, policy: Policy
) -> list[Expired | Touched]:
    events = decide_family(family, old, NEW, now, policy)
    assert events is not None
    return events


def test_a_family_can_be_rotated_so_often_within_a_minute() -> None:
    session, now = member("a"), NOON
    for _ in range(3):
        session = member("a", rotations=rotations_with([session], now, FEW))
        now += 10 * SECOND
    with pytest.raises(RotationLimitReached) as refused:
        rotations_with([session], now, FEW)
    assert refused.value.retry_after == 30 * SECOND
    assert len(rotations_with([session], now + 30 * SECOND, FEW)) == 3


def test_the_lines_of_siblings_count_together_and_what_they_share_once() -> None:
    first = rotations_with([], NOON, FEW)
    lines = [member("a", rotations=first), member("b", rotations=first)]
    second = rotations_with(lines, NOON, FEW)
    lines = [member("a", rotations=second), member("b", rotations=first)]
    third = rotations_with(lines, NOON, FEW)
    assert len(third) == len(set(third)) == 3, "also at an instant that stands still"
    with pytest.raises(RotationLimitReached):
        rotations_with([*lines, member("c", rotations=third)], NOON, FEW)


def test_no_clock_ahead_keeps_a_family_from_rotating() -> None:
    ahead: tuple[int, ...] = ()
    for _ in range(3):
        ahead = rotations_with([member("a", rotations=ahead)], NOON + timedelta(hours=2), FEW)
    assert len(rotations_with([member("a", rotations=ahead)], NOON, FEW)) == 1


def test_the_surplus_ends_the_superseded_first() -> None:
    old, leaf = member("old"), member("leaf")
    family = [leaf, rotated("a"), old, rotated("b")]
    ended, marked = decided(family, old, NOON, FEW)
    assert isinstance(ended, Expired)
    assert (ended.token_handle, ended.cause) == ("a", "evicted")
    assert isinstance(marked, Touched)
    assert (marked.token_handle, marked.superseded_by) == ("leaf", "new")


def test_what_was_superseded_ends_once_its_grace_is_long_over() -> None:
    lapsed = {"expires_at": NOON - timedelta(minutes=1), "successors": (Handle("next"),)}
    recent = lapsed | {"expires_at": NOON - timedelta(seconds=59)}
    family = [member("long", **lapsed), member("recent", **recent), member("leaf", expires_at=NOON)]
    (ended, marked) = decided(family, member("old"), NOON, Policy())
    assert isinstance(ended, Expired)
    assert (ended.token_handle, ended.cause) == ("long", "lapsed")
    assert marked.token_handle == "leaf"


def test_with_room_nobody_ends() -> None:
    family = [rotated("a"), rotated("b")]
    assert decided(family, member("old"), NOON, FEW) == []


def test_a_policy_with_less_room_ends_all_that_is_too_much() -> None:
    family = [rotated(name) for name in "abcdef"]
    events = decided(family, member("old"), NOON, FEW)
    assert [event.token_handle for event in events] == ["a", "b", "c", "d"]


def test_of_what_has_to_go_the_lapsed_is_said_to_have_lapsed() -> None:
    family = [member("a", expires_at=NOON), rotated("b"), rotated("c")]
    policy = Policy(max_family=2)
    events = decided(family, member("old"), NOON, policy)
    assert [(e.token_handle, e.cause) for e in events if isinstance(e, Expired)] == [
        *(("b", "evicted"), ("c", "evicted"), ("a", "lapsed"))
    ]


def test_a_sibling_is_superseded_until_it_is_seen_again() -> None:
    (mark,) = decided([member("a")], member("old"), NOON + SECOND, FEW)
    marked = evolve(member("a"), mark)
    assert isinstance(marked, Session)
    assert is_superseded(marked)
    assert marked == replace(member("a"), superseded_by=Handle("new"))
    patched = evolve(marked, Touched(b"{}", None, NOON, "a"))
    assert isinstance(patched, Session)
    assert is_superseded(patched)
    seen = evolve(patched, Touched(None, None, NOON + SECOND, "a"))
    assert isinstance(seen, Session)
    assert not is_superseded(seen)


def test_recorded_reuse_leaves_it_superseded() -> None:
    reused = evolve(rotated("a"), Expired(NOON, "a", "reused"))
    assert isinstance(reused, Session)
    assert reused.successors == ()
    assert is_superseded(reused)


def test_a_family_that_was_rotated_meanwhile_is_decided_on_again() -> None:
    """Also by a rival at the very same instant, whose rotation is another one."""
    first = [member("a", rotations=rotations_with([], NOON, FEW))]
    aware = replace(NEW, rotations=rotations_with(first, NOON, FEW))
    assert decide_family(first, member("old"), aware, NOON, FEW) is not None
    rival = member("b", rotations=aware.rotations)
    assert decide_family([*first, rival], member("old"), aware, NOON, FEW) is None
