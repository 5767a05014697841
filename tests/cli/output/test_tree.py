"""Each child stands below its parent, once, whatever is listed in which order."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from sessionledger import Session, SessionStore
from sessionledger.cli.output.tree import branch, in_tree_order
from sessionledger.core.session import Ancestor
from sessionledger.core.token import Handle

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def one(name: str, *above: str, family: str | None = None, age: int = 0) -> Session:
    ancestors = tuple(Ancestor(Handle(each), each) for each in above)
    begun = NOW - timedelta(seconds=age)
    return Session(
        *(Handle(name), name, begun, begun, NOW, {}),
        family=None if family is None else Handle(family),
        ancestors=ancestors,
    )


TREE = [
    one("a", age=9),
    one("a1", "a", age=8),
    one("a1x", "a1", "a", age=7),
    one("a1y", "a1", "a", age=6),
    one("a2", "a", age=5),
    one("b"),
]
ORDERED = [(0, "a"), (1, "a1"), (2, "a1x"), (2, "a1y"), (1, "a2"), (0, "b")]


def told(listed: list[Session], everybody: list[Session]) -> list[tuple[int, str]]:
    return [(depth, one.handle) for depth, one in in_tree_order(listed, everybody)]


@pytest.mark.parametrize("seed", range(8))
def test_children_follow_their_parent_by_age_in_whatever_order_they_are_listed(seed: int) -> None:
    shuffled = random.Random(seed).sample(TREE, len(TREE))
    tops = [one for one in TREE if not one.ancestors]
    lower = [one for one in shuffled if one.ancestors]
    assert told([*lower, *tops], shuffled) == ORDERED
    assert told([*tops, *lower], shuffled) == ORDERED


def test_what_is_listed_is_shown_with_all_below_it_and_once() -> None:
    by_name = {one.handle: one for one in TREE}
    assert told([by_name[Handle("a1")]], TREE) == [(0, "a1"), (1, "a1x"), (1, "a1y")]
    both = [by_name[Handle("a1y")], by_name[Handle("a1")]]
    assert told(both, TREE) == [(0, "a1"), (1, "a1x"), (1, "a1y")]


def test_a_session_whose_parent_is_not_listed_is_not_hidden() -> None:
    orphans = [one("x1", "x", age=2), one("x2", "x", age=1), one("x1a", "x1", "x")]
    assert told([one("b"), *orphans], orphans) == [(0, "b"), (0, "x1"), (1, "x1a"), (0, "x2")]


def test_a_rotated_parent_has_its_children_once() -> None:
    family = [one("a"), one("a'", family="a"), one("a1", "a")]
    assert told(family, family) == [(0, "a"), (1, "a1"), (0, "a'")]
    assert told(family[1:], family[1:]) == [(0, "a'"), (1, "a1")]


def test_a_cycle_that_a_stranger_wrote_ends() -> None:
    cycle = [one("a", "b"), one("b", "a")]
    assert sorted(name for _, name in told(cycle, cycle)) == ["a", "b"]


def test_a_deep_tree_needs_no_deep_stack() -> None:
    names = [f"n{depth}" for depth in range(3000)]
    deep = [one(names[0]), *(one(lower, upper) for upper, lower in pairwise(names))]
    assert told(deep, deep) == list(enumerate(names))


def test_people_see_branches_and_programs_a_depth() -> None:
    record = {"principal": "p", "handle": "h"}
    assert [branch(record, "principal", depth, True)["principal"] for depth in range(3)] == [
        "p",
        "└ p",
        "  └ p",
    ]
    assert branch(record, "principal", 2, False) == {**record, "depth": 2}


def test_every_session_of_a_store_is_shown_once() -> None:
    with SessionStore.open("memory:") as store:
        tokens = [store.create("top").token for _ in range(20)]
        for number, token in enumerate(tokens):
            child = store.create("child", parent=token)
            store.create("grandchild", parent=child.handle)
            if number % 2:
                store.rotate(token)
        shown = [*in_tree_order(store.sessions(), store.sessions())]
        assert sorted(one.handle for _, one in shown) == sorted(s.handle for s in store.sessions())
        assert [depth for depth, _ in shown] == [0, 1, 2] * 20
        assert all(depth == len(one.ancestors) for depth, one in shown)
