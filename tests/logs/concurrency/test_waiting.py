"""Of the threads that wait for a topic one looks for all, and another one when it has left."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from sessionledger.logs.concurrency import waiting
from sessionledger.logs.concurrency.waiting import Waiters
from sessionledger.testing.fixtures import PATIENCE, until

THREADS = 32
POLL = 0.001


class Topic:
    """A topic to which other processes append: nobody is notified."""

    def __init__(self) -> None:
        self.head = 0
        self.looked: Counter[int] = Counter()
        self.waiters = Waiters()

    def latest(self) -> int:
        self.looked[threading.get_ident()] += 1
        return self.head

    def wait(self, after: int, timeout: float | None = None) -> int:
        return self.waiters.wait_above("topic", after, self.latest, timeout, POLL)


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    # Whoever does not look is woken by nothing else.
    monkeypatch.setattr(waiting, "NOTICE_SECONDS", 10 * PATIENCE)
    return Topic()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as threads:
        yield threads


def begun(threads: ThreadPoolExecutor, topic: Topic, *told: float) -> Future[int]:
    """A thread that waits, and has looked once at least."""
    before = len(topic.looked)
    waits = threads.submit(topic.wait, *told)  # type: ignore[arg-type]
    until(lambda: len(topic.looked) > before)
    return waits


def test_one_of_many_threads_looks_for_all(topic: Topic, threads: ThreadPoolExecutor) -> None:
    waits = [begun(threads, topic, 0) for _ in range(THREADS)]
    until(lambda: max(topic.looked.values()) > 100)
    assert sorted(topic.looked.values())[-2] <= 2
    topic.head = 1
    assert [one.result(PATIENCE) for one in waits] == [1] * THREADS


def test_another_one_looks_when_the_one_that_did_has_left(
    topic: Topic, threads: ThreadPoolExecutor
) -> None:
    first = begun(threads, topic, 0, 50 * POLL)
    rest = [begun(threads, topic, 0) for _ in range(3)]
    assert first.result(PATIENCE) == 0
    topic.head = 1
    assert [one.result(PATIENCE) for one in rest] == [1] * 3


def test_whoever_looks_for_a_later_event_wakes_those_that_wait_for_an_earlier_one(
    topic: Topic, threads: ThreadPoolExecutor
) -> None:
    later = begun(threads, topic, 9)
    earlier = begun(threads, topic, 0)
    topic.head = 1
    assert earlier.result(PATIENCE) == 1
    assert not later.done()
    topic.head = 10
    assert later.result(PATIENCE) == 10
