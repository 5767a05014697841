"""Whether the ledger can be written, found out by writing.

A cursor is what is written: it takes the same lock and the same disk as an event, and leaves the
log as long as it was.
"""

from __future__ import annotations

import asyncio
import time

from sessionledger import Log, SessionLedgerError
from sessionledger.server.settings import KEYS_TOPIC

CONSUMER = "readyz"
PATIENCE_SECONDS = 1.0
FRESH_SECONDS = 1.0


class Readiness:
    """What the last probe found; anybody may ask, so not every question is a write."""

    def __init__(self) -> None:
        self._asked = asyncio.Lock()
        self._found = False
        self._at = -FRESH_SECONDS

    async def holds(self, log: Log) -> bool:
        """Whether the log can be written, or could a second ago."""
        async with self._asked:
            if time.monotonic() - self._at > FRESH_SECONDS:
                self._found = await _can_write(log)
                self._at = time.monotonic()
            return self._found


async def _can_write(log: Log) -> bool:
    probe = asyncio.to_thread(log.ack, KEYS_TOPIC, CONSUMER, time.time_ns() // 1_000_000)
    try:
        await asyncio.wait_for(probe, PATIENCE_SECONDS)
    except (SessionLedgerError, TimeoutError):
        return False
    return True
