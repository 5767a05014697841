"""Children: what a parent allows, what is taken from those below it, and who ends with whom."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sessionledger import Ancestor, InvalidSession, Policy, Session, SessionLimitReached, canonical
from sessionledger.core.children import (
    belongs_to_tree,
    decide_child,
    decide_end_family,
    decide_ends_below,
    decide_mark,
    decide_narrowing,
    decide_room_below,
    tree_of,
)
from sessionledger.core.codec import decode_event, decode_state, encode_event, encode_state
from sessionledger.core.decide import Create, decide_create
from sessionledger.core.events import Touched
from sessionledger.core.families import family_of
from sessionledger.core.fold import evolve
from sessionledger.core.token import Handle, handle_of
from tests.strategies import HANDLE, START, json_values

HOUR = timedelta(hours=1)
POLICY = Policy()
ALICE = Session(HANDLE, "alice", START, START, START + HOUR, {"role": "op", "scope": "a b c"})
TOLD = {"role": "op", "scope": "b a"}

words = st.lists(st.sampled_from("abcd"), max_size=4).map(" ".join)
attributes = st.fixed_dictionaries(
    {}, optional={"scope": words, "x": json_values, "y": st.sampled_from([0, False, 0.0, None])}
)


def name(number: int) -> Handle:
    return handle_of(bytes([number]) * 32)


def child(parent: Session, number: int, **told: Any) -> Session:
    """A child as it is folded."""
    created = decide_create(None, name(number), Create(principal="bot", **told), START, POLICY)
    state = evolve(None, decide_child(created, parent, POLICY))
    assert isinstance(state, Session)
    return state


def allows(parent: Session, below: Session) -> bool:
    """What has to hold of a child, told once more."""
    for key, value in below.attributes.items():
        mine = parent.attributes.get(key)
        if key == "scope" and isinstance(mine, str) and isinstance(value, str):
            if not set(value.split()) <= set(mine.split()):
                return False
        elif key not in parent.attributes or canonical.encode(value) != canonical.encode(mine):
            return False
    return below.expires_at <= parent.expires_at


def test_a_child_is_written_and_read_with_its_ancestors() -> None:
    first = child(ALICE, 1, attributes=TOLD)
    second = child(first, 2, attributes={"scope": "a"})
    assert second.ancestors == (Ancestor(first.handle, "bot"), Ancestor(HANDLE, "alice"))
    assert (second.parent, tree_of(second), tree_of(ALICE)) == (first.handle, HANDLE, HANDLE)
    assert decode_state(encode_state(second)) == second
    assert belongs_to_tree(second)
    assert not belongs_to_tree(ALICE)


def test_what_is_not_told_is_not_written() -> None:
    created = decide_create(None, HANDLE, Create(principal="alice"), START, POLICY)
    assert b"ancestors" not in encode_event(created)[1]
    mark = decide_mark(ALICE)
    kind, payload = encode_event(mark)
    assert decode_event(kind, payload) == mark
    assert list(canonical.decode(payload)) == sorted(canonical.decode(payload))
    assert b"has_children" not in encode_event(replace(mark, has_children=False))[1]
    marked = evolve(ALICE, mark)
    assert marked == replace(ALICE, has_children=True)


@given(attributes, attributes)
def test_a_child_is_begun_within_its_parent_or_not_at_all(
    has: dict[str, Any], asked: dict[str, Any]
) -> None:
    parent = replace(ALICE, attributes=has)
    wished = replace(ALICE, attributes=asked)
    try:
        below = child(parent, 1, attributes=asked, ttl=2 * HOUR)
    except InvalidSession:
        assert not allows(parent, wished)
    else:
        assert allows(parent, below)
        assert below.attributes == asked


@given(attributes, attributes, st.integers(1, 120))
def test_what_is_taken_from_a_parent_is_taken_from_all_below(
    has: dict[str, Any], keeps: dict[str, Any], minutes: int
) -> None:
    parent = replace(ALICE, attributes=has)
    first = child(parent, 1, attributes=has)
    second = child(first, 2, attributes=has)
    end = START + timedelta(minutes=minutes)
    touch = Touched(canonical.encode(keeps), end, START, HANDLE)
    tree = {one.handle: one for one in (second, first, replace(parent, has_children=True))}
    for event in [*decide_narrowing([*tree.values()], [touch]), touch]:
        state = evolve(tree[Handle(event.token_handle)], event)
        assert isinstance(state, Session)
        tree[state.handle] = state
    assert allows(tree[HANDLE], tree[first.handle])
    assert allows(tree[first.handle], tree[second.handle])
    assert not decide_narrowing([*tree.values()], [])


def test_a_value_that_changes_is_taken_and_not_given() -> None:
    below = child(ALICE, 1, attributes={"role": "op"})
    touch = Touched(canonical.encode({"role": "admin"}), None, START, HANDLE)
    (narrowed,) = decide_narrowing([ALICE, below], [touch])
    assert narrowed.attributes == b"{}"
    assert (narrowed.expires_at, narrowed.last_seen_at) == (None, below.last_seen_at)


def test_a_name_that_may_be_a_token_is_not_repeated() -> None:
    for told, shown in (("tenant", True), ("t" * 32, False)):
        with pytest.raises(InvalidSession) as refused:
            child(ALICE, 1, attributes={told: 1})
        assert (told in str(refused.value)) == shown


def test_a_child_does_not_begin_after_its_parent_s_end() -> None:
    with pytest.raises(InvalidSession) as refused:
        child(ALICE, 1, created_at=START + HOUR, ttl=HOUR)
    assert refused.value.field == "created_at"


def test_depth_is_bounded() -> None:
    parent = ALICE
    for number in range(1, POLICY.max_child_depth + 1):
        parent = child(parent, number)
    with pytest.raises(SessionLimitReached):
        child(parent, 9)


def test_all_below_one_login_count_once_a_family() -> None:
    policy = Policy(max_children=3)
    first = child(ALICE, 1)
    rotated = replace(first, handle=name(2), family=first.handle)
    tree = [ALICE, first, rotated, child(first, 3)]
    assert decide_room_below(tree, START, policy) == []
    lapsed = replace(child(ALICE, 4), expires_at=START)
    (end,) = decide_room_below([*tree, lapsed], START, policy)
    assert (end.token_handle, end.cause) == (lapsed.handle, "lapsed")
    with pytest.raises(SessionLimitReached):
        decide_room_below([*tree, child(ALICE, 4)], START, policy)


def ends(tree: Sequence[Session], *ended: Session) -> set[str]:
    """The handles of those that end because others do."""
    handles = {one.handle for one in ended}
    return {end.token_handle for end in decide_ends_below(tree, handles, START)}


def test_whoever_is_below_a_family_without_members_ends() -> None:
    first, sibling = child(ALICE, 1), child(ALICE, 2)
    below = child(first, 3)
    newer = replace(first, handle=name(4), family=first.handle)
    tree = [ALICE, first, sibling, below, newer]
    assert ends(tree) == ends(tree, first) == ends(tree, newer) == ends(tree, below) == set()
    assert ends(tree, first, newer) == {below.handle}
    assert ends(tree, ALICE) == {one.handle for one in tree[1:]}
    told = decide_end_family(tree, first, START, "revoked")
    assert [(end.token_handle, end.cause) for end in told] == [
        (below.handle, "parent_ended"),
        (newer.handle, "revoked"),
    ]


def test_a_cycle_that_a_stranger_wrote_ends_nothing_twice() -> None:
    one = replace(ALICE, handle=name(1), ancestors=(Ancestor(name(2), "b"), Ancestor(name(1), "a")))
    two = replace(ALICE, handle=name(2), ancestors=(Ancestor(name(1), "a"), Ancestor(name(2), "b")))
    assert ends([one, two]) == set()
    assert ends([one, two], one) == {two.handle}
    assert family_of(one) == one.handle
