"""The cache's protocol, walked in every order; and that each of its steps is needed."""

from __future__ import annotations

import pytest

from tests.logs.sqlite.row_cache.model import (
    NO_LOG,
    Actor,
    Cached,
    Data,
    Header,
    Shared,
    Walk,
    World,
    copy_of,
    walk,
)

ONE_ROW = Data()
NOTHING_YET = Data(value=0, version=0, head=0, folded=0)


def world(
    *actors: str, data: Data = ONE_ROW, log: bool = True, kept: bool = True, crashes: int = 1
) -> World:
    """One actor for each list of jobs: a thread of the process that reads, or a writing process.

    The cache has a stamp already, and the row if it is `kept`; unless there is no `log` yet.
    """
    header = Header(1, 1, data)
    shared = Shared(data, 1, (data,), header, header)
    row = (data.value, data.version) if kept else None
    cached = Cached(copy_of(header) * 2, data.head, epoch=data.epoch, row=row)
    if not log:
        shared, cached = Shared(data, 0, (), NO_LOG, NO_LOG), Cached()
    jobs = tuple(Actor(tuple(actor.split())) for actor in actors)
    return World(shared, cached, jobs, data.truth, crashes)


WORLDS = {
    "a revocation": world("get get get", "revoke"),
    "two threads": world("get get get", "get", "revoke", kept=False),
    "two writers": world("get get get", "revoke", "revoke"),
    "another session": world("get pass get", "revoke", "other"),
    "one after another": world("get pass pass get", "revoke other"),
    "checkpoints": world("get pass get", "checkpoint revoke", "truncate"),
    "an empty log": world("get get get get", "revoke truncate truncate", log=False),
    "a fork or close": world("get get", "close", "revoke"),
    "a rebuild": world("get pass get", "rewrite", "revoke"),
    "a foreign writer": world("get pass get", "foreign", "other"),
    "foreign, then ours": world("get pass get", "foreign revoke"),
    "an older release": world("get pass get", "other untold", "other"),
    "a creation": world("get get get", "get", "create", data=NOTHING_YET, kept=False),
}

LARGE = {
    "threads that move": world("get get get", "get get", "revoke"),
    "threads and two revocations": world("get get", "get get", "revoke revoke"),
    "a fork amid reads": world("get get", "close get", "revoke revoke"),
    "a log cut amid threads": world("get get", "get", "revoke truncate", "checkpoint"),
    "everything": world("get pass get", "revoke truncate", "foreign", "rewrite"),
}

# Each step of the protocol left out, or done in another order, and where that shows.
VARIANTS = {
    "salts": "an empty log",
    "stamp before": "another session",
    "epoch": "a rebuild",
    "since": "an older release",
    "until": "an older release",
    "gap": "a foreign writer",
    "dropping": "another session",
    "keeping": "two threads",
    "misses": "a creation",
    "release": "a fork or close",
}


def check(start: World) -> Walk:
    walked = walk(start)
    assert walked.wrong is None, walked.wrong
    return walked


@pytest.mark.sampled
@pytest.mark.parametrize("name", WORLDS)
def test_no_order_of_steps_gives_an_old_answer(name: str) -> None:
    assert check(WORLDS[name]).worlds > 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_no_order_of_steps_gives_an_old_answer_in_larger_worlds(name: str) -> None:
    assert check(LARGE[name]).worlds > 50_000


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_step_is_needed(variant: str) -> None:
    walked = walk(WORLDS[VARIANTS[variant]], frozenset([variant]))
    assert walked.wrong is not None
    assert walked.wrong[-1] == "a read answers too little"


def test_the_cache_answers_in_the_model() -> None:
    """Otherwise it would be right for nothing."""
    assert check(world("get get", crashes=0)).hits > 0
