"""A ledger, its endpoints, and a dispatcher that runs in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from sessionledger import AsyncSessionStore, SessionStore, open_log
from sessionledger.testing.fixtures import PATIENCE
from sessionledger.webhooks.delivery import Source
from sessionledger.webhooks.dispatcher import Dispatcher
from sessionledger.webhooks.endpoint_file import EndpointFile
from sessionledger.webhooks.endpoints import DEFAULT_TYPES, Endpoint, new_endpoint
from tests.webhooks.receiving import Receiver

TOPIC = "orchestrator.sessions"
QUICK = (0.001,) * 5
_DELIVERING = """
import sys, asyncio
from sessionledger import AsyncSessionStore, open_log
from sessionledger.webhooks.dispatcher import Dispatcher
from sessionledger.webhooks.delivery import Source
from sessionledger.webhooks.administration import endpoints_of

async def main(url, topic):
    log = open_log(url)
    async with AsyncSessionStore(log) as store:
        await Dispatcher(Source(store, log, topic, endpoints_of(log), (0.001,) * 5)).run()

asyncio.run(main(*sys.argv[1:]))
"""


def delivering_elsewhere(url: str) -> list[str]:
    """The command of a process that delivers to the endpoints of a ledger."""
    return [sys.executable, "-c", _DELIVERING, url, TOPIC]


class Scene:
    """Somebody who makes sessions, and a receiver that is to be told."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.url = f"sqlite:///{folder / 'ledger.db'}"
        self.file = EndpointFile(folder / "ledger.db-webhooks")
        self.receiver = receiver
        self.store: SessionStore

    @contextmanager
    def open(self) -> Iterator[Scene]:
        with SessionStore.open(self.url) as self.store:
            yield self

    def add(self, types: Sequence[str] = DEFAULT_TYPES, principals: Sequence[str] = ()) -> Endpoint:
        endpoint = new_endpoint(self.receiver.url, types, principals, "localhost")
        self.file.add(endpoint)
        return endpoint

    def state(self) -> Endpoint:
        (endpoint,) = self.file.read()
        return endpoint

    def cursor(self, endpoint: Endpoint) -> int:
        return self.store._log.cursor(TOPIC, endpoint.consumer)

    @contextmanager
    def delivering(self, retry_delays: Sequence[float] = QUICK) -> Iterator[None]:
        stop = threading.Event()
        failed: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._deliver(retry_delays, stop))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(PATIENCE)
        assert not thread.is_alive()
        assert not failed, failed

    async def _deliver(self, retry_delays: Sequence[float], stop: threading.Event) -> None:
        # One thread, which waits until the end: deliveries may need none of the loop's own threads.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        log = open_log(self.url)
        try:
            async with AsyncSessionStore(log) as store:
                dispatcher = Dispatcher(Source(store, log, TOPIC, self.file, retry_delays))
                running = asyncio.create_task(dispatcher.run())
                ended = asyncio.create_task(asyncio.to_thread(stop.wait))
                await asyncio.wait((running, ended), return_when=asyncio.FIRST_COMPLETED)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await ended
        finally:
            log.close()
