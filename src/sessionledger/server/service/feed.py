"""What happens to sessions, read once for all event streams of a worker.

1. A stream has a cursor, and no queue. It takes what follows its cursor from the newest frames.
2. A stream whose cursor lies before these reads the ledger until it has caught up. So a client that
   reads slowly costs no memory, and delays no other.
3. Frames and changes of admin keys wake the streams. Nothing else does, except their heartbeats.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import takewhile

import msgspec

from sessionledger import CaughtUp, HistoryEntry, SessionLedgerError
from sessionledger.server.http.history_schemas import entry_document
from sessionledger.server.service.ledger import Ledger

RECENT_BYTES = 1024 * 1024


_encode = msgspec.json.Encoder().encode


def encode_entry(entry: HistoryEntry) -> bytes:
    """An event as it is sent."""
    document = entry_document(entry)
    kind = document.kind.encode()
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (document.event_id, kind, _encode(document))


class Frame(msgspec.Struct, frozen=True, gc=False):
    """An event as it is sent."""

    event_id: int
    principal: str | None
    concerns_all: bool
    data: bytes


class Feed:
    """The newest frames, while streams are open. cursor: the event up to which it has read."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._streams = 0
        self._starting = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._asleep: set[asyncio.Future[None]] = set()
        # Every event above it that was read is among the frames.
        self._start = 0
        self.cursor = 0

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """The ledger is read in here, by one reader however many have joined."""
        self._streams += 1
        try:
            async with self._starting:
                if not self.is_running:
                    await self._begin()
            yield
        finally:
            self._streams -= 1
            if not self._streams:
                self._end()

    @property
    def is_running(self) -> bool:
        """Whether the ledger is read. It is not once reading it failed: streams end then."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    def after(self, cursor: int) -> list[Frame] | None:
        """The frames above a cursor; None where some are no longer kept."""
        if cursor < self._start:
            return None
        newest_first = takewhile(lambda frame: frame.event_id > cursor, reversed(self._frames))
        return list(newest_first)[::-1]

    async def wait(self, seconds: float) -> None:
        """Wait until a frame or a key changed, or so long."""
        loop = asyncio.get_running_loop()
        awake: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _wake, awake)
        self._asleep.add(awake)
        try:
            await awake
        finally:
            timer.cancel()
            self._asleep.discard(awake)

    def wake(self) -> None:
        """Let all streams look what changed."""
        for awake in self._asleep:
            _wake(awake)

    async def _begin(self) -> None:
        self._end()
        self._start = self.cursor = (await self._ledger.sessions.head()).id
        self._tasks = [
            asyncio.create_task(self._read_sessions()),
            asyncio.create_task(self._read_keys()),
        ]
        for task in self._tasks:
            task.add_done_callback(lambda _: self.wake())

    def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        self._frames.clear()
        self._bytes = 0

    async def _read_sessions(self) -> None:
        try:
            async for item in self._ledger.sessions.watch(after=self.cursor):
                if isinstance(item, CaughtUp):
                    self.cursor = item.cursor
                    self.wake()
                else:
                    self._keep(
                        Frame(
                            item.event_id, item.principal, item.handle is None, encode_entry(item)
                        )
                    )
        except SessionLedgerError:
            return  # the streams end, and their clients come back

    async def _read_keys(self) -> None:
        try:
            async for _ in self._ledger.keys.watch():
                self.wake()
        except SessionLedgerError:
            return

    def _keep(self, frame: Frame) -> None:
        self.cursor = frame.event_id
        self._frames.append(frame)
        self._bytes += len(frame.data)
        while self._bytes > RECENT_BYTES:
            oldest = self._frames.popleft()
            self._bytes -= len(oldest.data)
            self._start = oldest.event_id


def _wake(awake: asyncio.Future[None]) -> None:
    if not awake.done():
        awake.set_result(None)
