"""`/v1/events`: what happens to sessions, as server-sent events.

The id of an event is the ledger's. A client that comes back with `Last-Event-ID` continues where it
was, at this process or any other, and misses and repeats nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import TypeAlias

from litestar import get
from litestar.response import Stream

from sessionledger import CaughtUp, HistoryEntry, InvalidSession, SessionLedgerError
from sessionledger.server.auth.permissions import requires
from sessionledger.server.http.parameters import After, LastEventId, OfPrincipal, parse_event_id
from sessionledger.server.service.feed import Frame, encode_entry
from sessionledger.server.service.keys import Key
from sessionledger.server.service.service import (
    HandlerRequest,
    Service,
    caller_of,
    cleanup_of,
    service_of,
)

MEDIA_TYPE = "text/event-stream"
RETRY_MILLISECONDS = 1000

WatchItem: TypeAlias = HistoryEntry | CaughtUp
WatchItems: TypeAlias = AsyncIterator[WatchItem]


@get("/v1/events", opt=requires("events:read"), media_type=MEDIA_TYPE, summary="What happens")
async def stream_events(
    request: HandlerRequest,
    after: After = None,
    last_event_id: LastEventId = None,
    principal: OfPrincipal = None,
) -> Stream:
    """Events of a principal or of all sessions, from now on unless told otherwise.

    The stream ends after a while, when the service stops, and when the key is no longer good. A
    client then comes back.
    """
    service = service_of(request)
    service.streams.acquire()
    cleanup = cleanup_of(request)
    cleanup.callback(service.streams.release)
    await cleanup.enter_async_context(service.feed.joined())
    resumed = parse_event_id("Last-Event-ID", last_event_id)
    cursor = parse_event_id("after", after) if resumed is None else resumed
    items = service.ledger.sessions.watch(after=cursor, principal=principal)
    # The first item shows that the request can be answered at all.
    try:
        first = await anext(items)
    except InvalidSession as error:
        field = "Last-Event-ID" if error.field == "after" and resumed is not None else error.field
        raise InvalidSession(field, error.message) from None
    stream = _Stream(service, caller_of(request), principal).frames(first, items)
    cleanup.push_async_callback(stream.aclose)
    return Stream(stream, media_type=MEDIA_TYPE, headers={"X-Accel-Buffering": "no"})


class _Stream:
    """What one client is sent."""

    def __init__(self, service: Service, key: Key, principal: str | None) -> None:
        self._service = service
        self._key = key
        self._principal = principal and principal.strip()
        self._cursor = 0
        self._clock = asyncio.get_running_loop().time
        self._heartbeat = service.settings.heartbeat.total_seconds()
        self._sent_at = self._clock()
        self._end = self._clock() + service.settings.stream_lifetime.total_seconds()

    async def frames(self, first: WatchItem, items: WatchItems) -> AsyncGenerator[bytes, None]:
        """All that is sent, until the stream has to end or the ledger can't be read."""
        yield b"retry: %d\n\n" % RETRY_MILLISECONDS
        with suppress(SessionLedgerError):
            while await self._may_go_on():
                async with aclosing(self._caught_up(first, items)) as missed:
                    async for frame in missed:
                        yield frame
                async with aclosing(self._followed()) as following:
                    async for frame in following:
                        yield frame
                items = self._service.ledger.sessions.watch(
                    after=self._cursor, principal=self._principal
                )
                first = await anext(items)

    async def _caught_up(self, item: WatchItem, items: WatchItems) -> AsyncGenerator[bytes, None]:
        """What the ledger has above the cursor."""
        while isinstance(item, HistoryEntry):
            self._cursor = item.event_id
            yield encode_entry(item)
            item = await anext(items)
            if not await self._may_go_on():
                return
        self._cursor = item.cursor
        yield _caught_up(item.cursor)

    async def _followed(self) -> AsyncGenerator[bytes, None]:
        """What happens, as long as the stream does not fall behind."""
        feed = self._service.feed
        while True:
            due = self._sent_at + self._heartbeat
            if feed.cursor <= self._cursor:
                await feed.wait(max(0, min(due, self._end) - self._clock()))
            frames, cursor = feed.after(self._cursor), feed.cursor
            if frames is None or not await self._may_go_on():
                return
            self._cursor = max(self._cursor, cursor)
            told = [one.data for one in frames if self._wants(one)]
            if told or self._clock() >= due:
                self._sent_at = self._clock()
                yield b"".join([*told, _caught_up(self._cursor)])

    def _wants(self, frame: Frame) -> bool:
        return frame.concerns_all or self._principal in (None, frame.principal)

    async def _may_go_on(self) -> bool:
        """Whether the service runs, it is not over yet, and the key is still good."""
        service = self._service
        return (
            not service.stopping.is_set()
            and service.feed.is_running
            and self._clock() < self._end
            and await service.ledger.keys.find(handle=self._key.handle) is not None
        )


def _caught_up(cursor: int) -> bytes:
    """Only the id up to which all was sent, from which a client can continue too."""
    return b": caught up\nid: %d\n\n" % cursor


ROUTES = [stream_events]
