"""The rules of bounded staleness, walked in every order; and that each of them is needed."""

from __future__ import annotations

import pytest

from sessionledger.logs.postgres.staleness.confirmed_rows import Passed
from tests.logs.postgres.staleness.model import (
    BOUND,
    LIVE,
    OTHER,
    Actor,
    Cached,
    K,
    Server,
    Walk,
    World,
    walk,
)

EVENTS = (Passed(1, "a", K), Passed(2, "b", OTHER))
ROW = (1, LIVE, b"")
SERVER = Server(EVENTS, ROW)
KEPT = Cached(((K, ROW),), (), (0, BOUND, 0, BOUND), 2, "b", "0", 1)


def world(*actors: str, cached: Cached = KEPT) -> World:
    """An actor for each list of jobs. The cache has the row, confirmed just now."""
    jobs = tuple(Actor(tuple(job.strip() for job in actor.split(","))) for actor in actors)
    return World((SERVER, SERVER), cached, jobs)


EMPTY = Cached((), (), (0, BOUND, 0, BOUND), 2, "b", "0", 1)

WORLDS = {
    "a revocation": world("look, look", "round", "revoke, tick, stop"),
    "a read amid a revocation": world(
        "read, look", "round, round", "other, revoke, stop", cached=EMPTY
    ),
    "a stop amid a lookup": world("look", "round", "revoke, stop"),
    "more than a page": world("look", "round, round", "other, revoke, stop"),
    "a mark": world("look", "round", "mark, stop"),
    "a rebuild": world("look", "round", "rebuild, stop"),
    "a read amid a rebuild": world("read, look", "round, round", "rebuild, stop", cached=EMPTY),
    "a frozen machine": world("look", "round", "revoke, freeze"),
    "a clock set back": world("look", "round", "revoke, set back"),
    "frozen, and set back": world("look", "round", "revoke, freeze and set back"),
    "an own end": world("own revoke, look", "round"),
    "an own end amid a read": world("own revoke, look", "read", cached=EMPTY),
    "a cut-off primary": world("look", "round", "swap, revoke, stop"),
    "ids that come again": world("look", "round, round", "other, swap, revoke, tail moves, stop"),
    "a pool that stays": world(
        "read, look", "round, round", "swap, unacknowledged, revoke, tail moves, stop", cached=EMPTY
    ),
    "a pool that is ahead": world(
        "read, look",
        "round, round, round",
        "swap, unacknowledged, unacknowledged, revoke, other, tail moves, stop",
        cached=EMPTY,
    ),
}
LARGE = {
    "everything": world(
        "read, look, look", "round, round, round", "other, revoke, tick", "tick, stop", cached=EMPTY
    ),
    "a failover": world(
        "read, look",
        "round, round, round",
        "swap, revoke, other",
        "unacknowledged, tail moves, pool moves, stop",
        cached=EMPTY,
    ),
    "own and others": world("own revoke, look", "read, read", "round, round", "other, stop"),
}

# Each rule left out, and where that shows.
VARIANTS = {
    "passed": "a read amid a revocation",
    "generation": "a read amid a rebuild",
    "marks": "a mark",
    "epoch": "a rebuild",
    "own": "an own end",
    "written": "an own end amid a read",
    "head": "more than a page",
    "t0": "a stop amid a lookup",
    "window last": "a stop amid a lookup",
    "window first": "a stop amid a lookup",
    "clocks last": "a stop amid a lookup",
    "wall": "a frozen machine",
    "boot": "a clock set back",
    "backwards": "frozen, and set back",
    "heartbeat": "a cut-off primary",
    "cursor hash": "ids that come again",
    "row hash": "a pool that stays",
    "ahead": "a pool that is ahead",
}


def check(start: World) -> Walk:
    walked = walk(start)
    assert walked.wrong is None, walked.wrong
    return walked


@pytest.mark.sampled
@pytest.mark.parametrize("name", WORLDS)
def test_no_order_of_steps_answers_an_ended_session_beyond_the_bound(name: str) -> None:
    check(WORLDS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_nor_does_one_in_larger_worlds(name: str) -> None:
    assert check(LARGE[name]).worlds > 10_000


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_rule_is_needed(variant: str) -> None:
    walked = walk(WORLDS[VARIANTS[variant]], frozenset([variant]))
    assert walked.wrong is not None
    assert walked.wrong[-1] == "a stale answer"


def test_the_cache_answers_in_the_model() -> None:
    assert check(world("look", "round")).hits
    assert check(world("read, look", "round", "tick", cached=EMPTY)).hits
