"""`/v1/events`: what happens to sessions, as server-sent events.

The id of an event is the ledger's. A client that comes back with `Last-Event-ID` continues where it
was, at this process or any other, and misses and repeats nothing.
"""

from __future__ import annotations

import asyncio
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Annotated, TypeAlias

import msgspec
from litestar import get
from litestar.params import QueryParameter
from litestar.response import Stream

from sessionledger import CaughtUp, HistoryEntry, InvalidSession, SessionLedgerError
from sessionledger.server.auth.permissions import requires
from sessionledger.server.http.parameters import After, LastEventId, parse_event_id
from sessionledger.server.http.schemas import Name, entry_document
from sessionledger.server.service.keys import Key, is_good
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

_encode = msgspec.json.Encoder().encode


@get("/v1/events", opt=requires("events:read"), media_type=MEDIA_TYPE, summary="What happens")
async def stream_events(
    request: HandlerRequest,
    after: After = None,
    last_event_id: LastEventId = None,
    principal: Annotated[Name | None, QueryParameter(name="principal", required=False)] = None,
) -> Stream:
    """Events of a principal or of all sessions, from now on unless told otherwise.

    The stream ends after a while, when the service stops, and when the key is no longer good. A
    client then comes back.
    """
    service = service_of(request)
    service.streams.acquire()
    cleanup = cleanup_of(request)
    cleanup.callback(service.streams.release)
    resumed = parse_event_id("Last-Event-ID", last_event_id)
    cursor = parse_event_id("after", after) if resumed is None else resumed
    items = service.ledger.sessions.watch(
        after=cursor, principal=principal, heartbeat=service.settings.heartbeat
    )
    # The first item shows that the request can be answered at all.
    try:
        first = await anext(items)
    except InvalidSession as error:
        field = "Last-Event-ID" if error.field == "after" and resumed is not None else error.field
        raise InvalidSession(field, error.message) from None
    stream = _stream(service, caller_of(request), items, first)
    cleanup.push_async_callback(stream.aclose)
    return Stream(stream, media_type=MEDIA_TYPE, headers={"X-Accel-Buffering": "no"})


async def _stream(
    service: Service, key: Key, items: WatchItems, first: WatchItem
) -> AsyncGenerator[bytes, None]:
    yield b"retry: %d\n\n" % RETRY_MILLISECONDS
    yield _frame(first)
    async with aclosing(_until_stopped(service, items)) as following:
        with suppress(SessionLedgerError):
            async for item in following:
                if not await is_good(service.ledger.keys, key):
                    return
                yield _frame(item)


async def _until_stopped(service: Service, items: WatchItems) -> AsyncGenerator[WatchItem, None]:
    """The items until the service stops, which waits for nothing else, or until time is up."""
    clock = asyncio.get_running_loop().time
    end = clock() + service.settings.stream_lifetime.total_seconds()
    stopping = asyncio.ensure_future(service.stopping.wait())
    coming: asyncio.Future[WatchItem] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(anext(items))
            left = max(0, end - clock())
            await asyncio.wait({coming, stopping}, timeout=left, return_when=FIRST_COMPLETED)
            if stopping.done() or not coming.done():
                return
            yield await coming
    finally:
        stopping.cancel()
        await _abandon(coming)


async def _abandon(coming: asyncio.Future[WatchItem] | None) -> None:
    """Wait for nothing more, and leave no task behind."""
    if coming is not None and not coming.done():
        coming.cancel()
        await asyncio.wait({coming})


def _frame(item: WatchItem) -> bytes:
    """An event; or only the id up to which all was sent, from which a client can continue too."""
    if isinstance(item, CaughtUp):
        return b": caught up\nid: %d\n\n" % item.cursor
    document = entry_document(item)
    kind = document.kind.encode()
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (document.event_id, kind, _encode(document))


ROUTES = [stream_events]
