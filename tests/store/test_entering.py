"""Entering an asynchronous store: by several at once, and by who gives up meanwhile."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sessionledger import AsyncSessionStore, Log, StoreClosed, open_log
from sessionledger.store.aio import store as module
from sessionledger.testing.fixtures import PATIENCE, concurrently, until


class Opened:
    """The logs that stores open, which take until `go` is set."""

    def __init__(self) -> None:
        self.logs: list[Log] = []
        self.began = threading.Event()
        self.go = threading.Event()

    def open_log(self, url: str, **named: Any) -> Log:
        self.began.set()
        assert self.go.wait(PATIENCE)
        log = open_log(url, **named)
        self.logs.append(log)
        return log

    def are_closed(self) -> bool:
        for log in self.logs:
            with pytest.raises(StoreClosed):
                log.topics()
        return True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    opened = Opened()
    monkeypatch.setattr(module, "open_log", opened.open_log)
    return opened


@pytest.fixture
def store(tmp_path: Path) -> AsyncSessionStore:
    return AsyncSessionStore.open(f"sqlite:///{tmp_path / 'ledger.db'}")


def is_closed(log: Log) -> bool:
    try:
        log.topics()
    except StoreClosed:
        return True
    return False


async def begun(opened: Opened, entering: asyncio.Task[AsyncSessionStore]) -> None:
    assert await asyncio.to_thread(opened.began.wait, PATIENCE)
    assert not entering.done()


def entry(store: AsyncSessionStore) -> asyncio.Task[AsyncSessionStore]:
    return asyncio.ensure_future(store.__aenter__())


def test_of_two_tasks_one_opens_and_the_other_is_refused(
    store: AsyncSessionStore, opened: Opened
) -> None:
    async def main() -> None:
        entering = entry(store)
        await begun(opened, entering)
        with pytest.raises(StoreClosed, match="another task is entering"):
            await store.__aenter__()
        opened.go.set()
        assert await entering is store
        assert await store.__aenter__() is store
        await store.create("alice")
        await store.close()

    asyncio.run(main())
    assert len(opened.logs) == 1
    assert opened.are_closed()


def test_of_several_loops_one_opens(store: AsyncSessionStore, opened: Opened) -> None:
    opened.go.set()
    begin, end = threading.Barrier(4), threading.Barrier(4)

    async def enter() -> bool:
        begin.wait(PATIENCE)
        try:
            await store.__aenter__()
        except StoreClosed:
            return False
        finally:
            end.wait(PATIENCE)
        return True

    assert any(concurrently(*[lambda: asyncio.run(enter())] * 4))
    asyncio.run(store.close())
    assert len(opened.logs) == 1
    assert opened.are_closed()


def test_a_cancelled_entry_closes_what_is_opened_after_it(
    store: AsyncSessionStore, opened: Opened
) -> None:
    async def main() -> None:
        entering = entry(store)
        await begun(opened, entering)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        opened.go.set()

    asyncio.run(main())
    until(lambda: len(opened.logs) == 1 and is_closed(opened.logs[0]))


def test_after_a_cancelled_entry_another_may_enter(
    store: AsyncSessionStore, opened: Opened
) -> None:
    async def main() -> None:
        entering = entry(store)
        await begun(opened, entering)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        opened.go.set()
        async with store:
            await store.create("alice")

    asyncio.run(main())
    until(lambda: len(opened.logs) == 2 and all(map(is_closed, opened.logs)))
    assert opened.are_closed()


def test_a_store_that_is_closed_while_it_opens_stays_closed(
    store: AsyncSessionStore, opened: Opened
) -> None:
    async def main() -> None:
        entering = entry(store)
        await begun(opened, entering)
        await store.close()
        opened.go.set()
        with pytest.raises(StoreClosed, match="closed while"):
            await entering
        with pytest.raises(StoreClosed):
            await store.__aenter__()

    asyncio.run(main())
    assert len(opened.logs) == 1
    assert opened.are_closed()


def test_a_store_opens_and_closes_while_others_occupy_all_threads_of_the_loop(
    store: AsyncSessionStore,
) -> None:
    goes_on = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        occupied = loop.run_in_executor(None, goes_on.wait, PATIENCE)
        try:
            async with asyncio.timeout(PATIENCE / 2), store:
                await store.create("alice")
            assert not occupied.done()
        finally:
            goes_on.set()

    asyncio.run(main())


@pytest.mark.parametrize("name", ["maintain", "run_maintenance", "run_sweeper", "stats"])
def test_a_store_that_nobody_entered_refuses_calls_about_the_ledger(name: str) -> None:
    store = AsyncSessionStore.open("memory:")
    with pytest.raises(StoreClosed, match="not open yet"):
        asyncio.run(getattr(store, name)())


def test_a_close_that_the_end_of_its_loop_cancels_still_closes(opened: Opened) -> None:
    opened.go.set()
    store = AsyncSessionStore.open("memory:")

    async def leave() -> None:
        await store.__aenter__()
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        assert not closing.done()

    asyncio.run(leave())
    (log,) = opened.logs
    until(lambda: is_closed(log))


def test_a_store_that_one_loop_entered_serves_those_after_it(opened: Opened) -> None:
    """Also where the loop that entered it has ended."""
    opened.go.set()
    store = AsyncSessionStore.open("memory:")
    asyncio.run(store.__aenter__())
    issued = asyncio.run(store.create("alice"))
    found = concurrently(*[lambda: asyncio.run(store.get(issued.token))] * 3)
    assert {session.principal for session in found if session} == {"alice"}
    asyncio.run(store.close())
    (log,) = opened.logs
    assert is_closed(log)
