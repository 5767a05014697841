"""One worker's service: whether its ledger can be written."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from sessionledger.server import Settings
from sessionledger.server.observe.metrics import RequestMetrics
from sessionledger.server.service.service import Service
from sessionledger.testing.fixtures import PATIENCE


def test_a_probe_needs_no_thread_that_others_occupy() -> None:
    goes_on = threading.Event()
    service = Service(Settings(ledger="memory:"), RequestMetrics(["x"]))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        loop.run_in_executor(None, goes_on.wait, PATIENCE)
        try:
            async with asyncio.timeout(PATIENCE / 2), service.running():
                # The first answers may come before the first probe's.
                while not await service.is_writable():
                    await asyncio.sleep(0)
        finally:
            goes_on.set()

    asyncio.run(main())
