"""Forking with a ledger open, while threads use it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from sessionledger import AsyncSessionStore, LogUnavailable, SessionStore
from sessionledger.testing.fixtures import PATIENCE
from sessionledger.testing.forked_child import fork, in_fork, reap

READERS = 8
WRITERS = 2
FORKS = pytest.mark.parametrize("forks", [4, pytest.param(40, marks=pytest.mark.slow)])


@pytest.fixture
def store(url: str) -> Iterator[SessionStore]:
    with SessionStore.open(url) as store:
        yield store


def test_parent_and_child_both_go_on(store: SessionStore) -> None:
    token = store.create("alice").token

    def go_on() -> None:
        assert store.get(token) is not None
        tokens = [store.create("child").token for _ in range(20)]
        assert all(store.get(one) for one in tokens)

    pid = fork(go_on)
    tokens = [store.create("parent").token for _ in range(20)]
    assert reap(pid) == 0
    assert all(store.get(one) for one in tokens)
    assert store.count(principal="child") == 20
    assert store.count() == 41
    assert store.verify().ok


def test_a_revocation_in_the_child_is_seen_by_the_parent(store: SessionStore) -> None:
    token = store.create("alice").token
    assert store.get(token) is not None
    in_fork(lambda: store.expire(token))
    assert store.get(token) is None


def test_a_child_of_a_child_works(store: SessionStore) -> None:
    token = store.create("alice").token

    def beget() -> None:
        store.create("child")
        in_fork(lambda: store.create("grandchild"))
        assert store.get(token) is not None
        assert store.count() == 3

    in_fork(beget)
    store.create("parent")
    assert store.count() == 4
    assert store.verify().ok


def test_a_child_that_closes_its_store_takes_nothing_from_the_parent(store: SessionStore) -> None:
    token = store.create("alice").token
    assert store.get(token) is not None
    in_fork(store.close)
    assert store.get(token) is not None
    store.create("bob")
    in_fork(lambda: store.create("carol"))
    assert store.count() == 3
    assert store.verify().ok


def test_a_store_closed_before_the_fork_stays_closed(url: str) -> None:
    store = SessionStore.open(url)
    store.close()
    in_fork(store.close)
    with SessionStore.open(url) as again:
        again.create("alice")


def test_several_children_at_once(store: SessionStore) -> None:
    def write() -> None:
        for _ in range(10):
            store.create("child")

    children = [fork(write) for _ in range(4)]
    write()
    assert [reap(child) for child in children] == [0] * 4
    assert store.count() == 50
    assert store.verify().ok


@contextmanager
def busy(*jobs: Callable[[], object]) -> Iterator[None]:
    """Threads that do the jobs over and over for as long as the block lasts."""
    over = threading.Event()
    errors: list[BaseException] = []

    def repeat(job: Callable[[], object]) -> None:
        try:
            while not over.is_set():
                job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "a thread never ended"
    assert errors == []


@FORKS
def test_a_fork_amid_readers_and_writers_never_deadlocks(store: SessionStore, forks: int) -> None:
    token = store.create("alice").token

    def read() -> None:
        assert store.get(token) is not None

    def read_and_write() -> None:
        assert store.get(token) is not None
        mine = store.create("child").token
        assert store.get(mine) is not None

    with busy(*[read] * READERS, *[lambda: store.create("thread")] * WRITERS):
        for _ in range(forks):
            in_fork(read_and_write)
    assert store.count(principal="child") == forks
    assert store.verify().ok


def test_a_fork_amid_threads_that_list_and_count(store: SessionStore) -> None:
    for _ in range(50):
        store.create("alice")

    def walk() -> None:
        assert len(list(store.sessions(principal="alice", page_size=7))) == 50

    def rebuild() -> None:
        assert store.count(principal="alice") == 50
        store.create("child")

    with busy(walk, walk, lambda: store.stats(), lambda: store.create("thread")):
        for _ in range(5):
            in_fork(rebuild)
    assert store.count(principal="child") == 5


def test_a_fork_amid_threads_that_come_and_go(store: SessionStore) -> None:
    token = store.create("alice").token

    def read_in_a_new_thread() -> None:
        reader = threading.Thread(target=store.get, args=(token,))
        reader.start()
        reader.join()

    with busy(*[read_in_a_new_thread] * 3):
        for _ in range(10):
            in_fork(lambda: store.create("child"))
    assert store.count(principal="child") == 10


def test_an_asynchronous_store_works_in_a_child(url: str) -> None:
    async def use(store: AsyncSessionStore) -> None:
        token = (await store.create("alice")).token
        assert await store.get(token) is not None

    async def main() -> AsyncSessionStore:
        store = AsyncSessionStore.open(url)
        await store.__aenter__()
        await use(store)
        return store

    store = asyncio.run(main())
    for _ in range(3):
        in_fork(lambda: asyncio.run(use(store)))
    asyncio.run(use(store))
    asyncio.run(store.close())
    with SessionStore.open(url) as again:
        assert again.count() == 5
        assert again.verify().ok


def test_an_asynchronous_store_is_closed_in_a_child(url: str) -> None:
    async def main() -> None:
        async with AsyncSessionStore.open(url) as store:
            await store.create("alice")
            in_fork(lambda: close_in_child(store))
            await store.create("bob")
            assert await store.count() == 2

    def close_in_child(store: AsyncSessionStore) -> None:
        # A child of a thread within a loop runs its own loop in a thread of its own.
        thread = threading.Thread(target=lambda: asyncio.run(store.close()))
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()

    asyncio.run(main())


def test_a_ledger_in_memory_is_refused_in_a_child() -> None:
    with SessionStore.open("memory:") as store:
        token = store.create("alice").token

        def try_it() -> None:
            for attempt in (lambda: store.get(token), lambda: store.create("bob"), store.count):
                with suppress(LogUnavailable):
                    attempt()
                    raise AssertionError("a child used its parent's memory")

        in_fork(try_it)
        assert store.get(token) is not None
        store.create("carol")
        assert store.count() == 2


def test_a_child_of_a_child_works_beside_a_closed_store(store: SessionStore, url: str) -> None:
    closed = SessionStore.open(url)
    closed.close()
    in_fork(lambda: in_fork(lambda: store.create("grandchild")))
    assert store.count() == 1
    closed.close()
