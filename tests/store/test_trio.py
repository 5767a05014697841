"""Under trio no asyncio loop runs: an asynchronous store says so, and leaves no thread behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from sessionledger import AsyncSessionStore, Log, SessionStore, UnsupportedRuntime, open_log
from tests.logs.children import run
from tests.logs.openers import address

TOKEN = "a token that is long enough, 00001"
PRINCIPAL = "alice"

CALLS: dict[str, Callable[[AsyncSessionStore], Awaitable[Any]]] = {
    "create": lambda store: store.create(PRINCIPAL),
    "find_or_create": lambda store: store.find_or_create(PRINCIPAL, external_id="1"),
    "touch": lambda store: store.touch(TOKEN),
    "patch": lambda store: store.patch(TOKEN, {"a": 1}),
    "rotate": lambda store: store.rotate(TOKEN),
    "expire": lambda store: store.expire(TOKEN),
    "revoke_all": lambda store: store.revoke_all(principal=PRINCIPAL),
    "count": lambda store: store.count(),
    "verify": lambda store: store.verify(),
    "run_sweeper": lambda store: store.run_sweeper(timedelta(seconds=1)),
    "run_maintenance": lambda store: store.run_maintenance(timedelta(seconds=1)),
    "enter": lambda store: store.__aenter__(),
    "close": lambda store: store.close(),
}


@pytest.fixture(params=["memory", "sqlite", "file"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    log = open_log(address(request.param, tmp_path / "ledger"))
    yield log
    log.close()


@pytest.mark.parametrize("call", CALLS)
def test_what_would_wait_is_refused_and_says_what_to_do(log: Log, call: str) -> None:
    SessionStore(log).create(PRINCIPAL, token=TOKEN)
    store, head = AsyncSessionStore(log), log.latest("orchestrator.sessions")
    with pytest.raises(UnsupportedRuntime, match=r"trio\.to_thread\.run_sync\(store\.get, token\)"):
        trio.run(CALLS[call], store)
    assert log.latest("orchestrator.sessions") == head


def test_watching_is_refused_where_it_would_wait(log: Log) -> None:
    async def watch() -> None:
        async for _ in AsyncSessionStore(log).watch():
            raise AssertionError

    with pytest.raises(UnsupportedRuntime):
        trio.run(watch)


def test_what_the_message_advises_works(log: Log) -> None:
    store = SessionStore(log)

    async def in_threads() -> None:
        issued = await trio.to_thread.run_sync(store.create, PRINCIPAL)
        assert await trio.to_thread.run_sync(store.get, issued.token) == store.get(issued.token)

    trio.run(in_threads)


def test_the_process_ends(tmp_path: Path) -> None:
    """Neither a thread nor a warning of something that nobody awaited is left."""
    told = run(
        """
import sys, threading, trio, warnings
from sessionledger import AsyncSessionStore, UnsupportedRuntime, open_log
warnings.simplefilter("error")

async def main():
    for store in AsyncSessionStore.open(sys.argv[1]), AsyncSessionStore(open_log(sys.argv[1])):
        try:
            async with store:
                print("entered")
        except UnsupportedRuntime as error:
            print(error.code)
    print(threading.active_count())

trio.run(main)
""",
        f"sqlite:///{tmp_path / 'ledger'}",
    )
    assert told.split() == ["unsupported_runtime", "unsupported_runtime", "1"]
