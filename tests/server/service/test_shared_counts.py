"""Counts in shared memory: one for all workers, of bounded size, and never stuck."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger.server.observe.metrics import RequestMetrics
from sessionledger.server.service.shared_counts import WAYS, SharedCounts
from sessionledger.testing.fixtures import until

LIMIT, MOST = 100, 1_000_000


class Clock:
    def __init__(self, now: float = 6000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def taken(counts: SharedCounts, subject: str, tries: int = 10 * LIMIT, kind: int = 0) -> int:
    """How many of some requests are let in."""
    return sum(not counts.take(kind, subject, LIMIT).is_refused for _ in range(tries))


def test_a_subject_may_make_as_many_requests_as_allowed() -> None:
    counts = SharedCounts(2, sets=64, monotonic=Clock())
    assert [counts.take(0, "alice", 3)[:2] for _ in range(4)] == [
        (2, 60),
        (1, 60),
        (0, 60),
        (0, pytest.approx(80)),
    ]
    assert taken(counts, "bob") == LIMIT
    assert taken(counts, "alice", kind=1) == LIMIT


@given(
    st.lists(st.tuples(st.floats(0, 90), st.integers(1, 12)), max_size=12),
    st.integers(1, 20),
    st.floats(0, 1000),
)
def test_who_waits_as_told_is_let_in_and_nobody_earlier(
    steps: list[tuple[float, int]], limit: int, begun: float
) -> None:
    clock = Clock(begun)
    counts = SharedCounts(1, sets=1, monotonic=clock)
    for seconds, requests in steps:
        clock.now += seconds
        for _ in range(requests):
            told = counts.take(0, "alice", limit)
    while not counts.take(0, "alice", limit).is_refused:
        pass
    told = counts.take(0, "alice", limit)
    since = clock.now
    clock.now = since + told.seconds * 0.99
    assert counts.take(0, "alice", limit).is_refused
    clock.now = since + told.seconds + 1e-6
    assert not counts.take(0, "alice", limit).is_refused


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 30)), max_size=40))
def test_no_minute_has_more_than_twice_what_is_allowed(steps: list[tuple[float, int]]) -> None:
    clock, times = Clock(), list[float]()
    counts = SharedCounts(1, sets=1, monotonic=clock)
    for seconds, requests in steps:
        clock.now += seconds
        times += [clock.now] * sum(
            not counts.take(0, "alice", 10).is_refused for _ in range(requests)
        )
    for begin in times:
        assert sum(begin <= time < begin + 60 for time in times) <= 20


def test_workers_share_a_count_and_one_that_is_replaced_goes_on() -> None:
    counts = SharedCounts(1, workers=3, sets=64, monotonic=Clock())
    let_in = 0
    for number in range(10 * LIMIT):
        counts.count_as(number % 3)
        let_in += not counts.take(0, "alice", LIMIT).is_refused
    assert let_in == LIMIT
    counts.count_as(1)
    assert taken(counts, "alice") == 0


@pytest.mark.parametrize("subjects", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_any_number_of_subjects_takes_the_same_memory_and_hides_nobody(subjects: int) -> None:
    counts = SharedCounts(1, sets=subjects // 1000, monotonic=Clock())
    size = counts.size
    assert taken(counts, "mallory") == LIMIT
    for number in range(subjects):
        counts.take(0, f"2001:db8:0:{number:x}::/64", 10 * LIMIT)
    assert counts.size == size == subjects // 1000 * WAYS * 16
    # Each set had a hundred times as many subjects as it has entries.
    assert taken(counts, "mallory") == 0


def test_a_new_subject_takes_over_the_smallest_count() -> None:
    counts = SharedCounts(1, sets=1, monotonic=Clock())
    for number in range(WAYS):
        taken(counts, f"{number}", 10 + number)
    assert counts.take(0, "new", LIMIT).left == LIMIT - 11
    assert counts.take(0, "new", LIMIT).left == LIMIT - 12
    assert counts.take(0, "1", LIMIT).left == LIMIT - 12


def test_entries_of_a_past_minute_are_free() -> None:
    clock = Clock()
    counts = SharedCounts(1, sets=1, monotonic=clock)
    for number in range(WAYS):
        taken(counts, f"{number}")
    assert taken(counts, "new") == 0
    clock.now += 120
    assert taken(counts, "new") == LIMIT


def count_on(metrics: RequestMetrics, worker: int, requests: Iterable[int]) -> int:
    """Fork a worker that counts requests of one subject; its pid."""
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            metrics.count_as(worker)
            for _ in requests:
                metrics.subjects.take(0, "alice", MOST)
        os._exit(0)
    return pid


def test_processes_count_together_and_lose_nothing() -> None:
    metrics = RequestMetrics(["/auth"], workers=4)
    metrics.subjects._monotonic = Clock()  # no minute begins meanwhile
    for pid in [count_on(metrics, worker, range(5000)) for worker in (1, 2, 3)]:
        os.waitpid(pid, 0)
    assert metrics.subjects.take(0, "alice", MOST).left == MOST - 15_001


def test_a_worker_that_is_killed_holds_nothing() -> None:
    """All are killed while they count."""
    metrics = RequestMetrics(["/auth"], workers=4)
    counts = metrics.subjects
    children = [count_on(metrics, worker, count()) for worker in (1, 2, 3)]
    try:
        until(lambda: counts.take(0, "alice", MOST).left < MOST - 3000)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    first = counts.take(0, "alice", MOST)
    later = [counts.take(0, "alice", MOST) for _ in range(100)]
    assert not any(one.is_refused for one in (first, *later))
    assert not counts.take(0, "bob", 1).is_refused
