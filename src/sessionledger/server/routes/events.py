"""`/v1/events`: what happens to sessions, as server-sent events.

An event's id is the ledger's: a client that comes back with `Last-Event-ID`, to this process or
to one started since, goes on where it was, and misses and repeats nothing.
"""

from __future__ import annotations

import asyncio
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Annotated, TypeAlias

import msgspec
from litestar import get
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from sessionledger import CaughtUp, HistoryEntry, SessionLedgerError
from sessionledger.server.auth.permissions import needs
from sessionledger.server.http.problems import invalid
from sessionledger.server.http.schemas import Name, entry_document
from sessionledger.server.service.keys import Key, is_good
from sessionledger.server.service.limits import Place
from sessionledger.server.service.service import Call, Service, caller_of, service_of

MEDIA_TYPE = "text/event-stream"
RETRY_MILLISECONDS = 1000
MAX_DIGITS = 18

Happened: TypeAlias = HistoryEntry | CaughtUp
Told: TypeAlias = AsyncIterator[Happened]

EVENT_ID = f"^[0-9]{{1,{MAX_DIGITS}}}$"
After = Annotated[
    str | None,
    QueryParameter(
        name="after",
        required=False,
        pattern=EVENT_ID,
        description="First what followed this event; 0 for all.",
    ),
]
LastEventId = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID",
        required=False,
        pattern=EVENT_ID,
        description="As `after`, from who comes back.",
    ),
]

_encode = msgspec.json.Encoder().encode


@get("/v1/events", opt=needs("events:read"), media_type=MEDIA_TYPE, summary="What happens")
async def stream_events(
    request: Call,
    after: After = None,
    last_event_id: LastEventId = None,
    principal: Annotated[Name | None, QueryParameter(name="principal", required=False)] = None,
) -> Stream:
    """Of a principal or of all sessions, from now on unless told otherwise, without an end.

    It ends after a while, when the service stops, and when the key is no longer good; a client then
    comes back.
    """
    service = service_of(request)
    place = service.streams.place()
    back = _cursor("Last-Event-ID", last_event_id)
    cursor = _cursor("after", after) if back is None else back
    told = service.ledger.sessions.watch(
        after=cursor, principal=principal, heartbeat=service.settings.heartbeat
    )
    # The first that is told shows that the question can be answered at all.
    first = await anext(told)
    return Stream(
        _stream(service, caller_of(request), told, first, place),
        media_type=MEDIA_TYPE,
        headers={"X-Accel-Buffering": "no"},
    )


async def _stream(
    service: Service, key: Key, told: Told, first: Happened, place: Place
) -> AsyncIterator[bytes]:
    with place:
        yield b"retry: %d\n\n" % RETRY_MILLISECONDS
        yield _frame(first)
        async with aclosing(_until_stopped(service, told)) as happening:
            with suppress(SessionLedgerError):
                async for happened in happening:
                    if not await is_good(service.ledger.keys, key):
                        return
                    yield _frame(happened)


async def _until_stopped(service: Service, told: Told) -> AsyncGenerator[Happened, None]:
    """What is told until the service stops, which waits for nothing else, or its time is up."""
    clock = asyncio.get_running_loop().time
    end = clock() + service.settings.stream_lifetime.total_seconds()
    stopping = asyncio.ensure_future(service.stopping.wait())
    coming: asyncio.Future[Happened] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(anext(told))
            left = max(0, end - clock())
            await asyncio.wait({coming, stopping}, timeout=left, return_when=FIRST_COMPLETED)
            if stopping.done() or not coming.done():
                return
            yield await coming
    finally:
        stopping.cancel()
        await _give_up(coming)


async def _give_up(coming: asyncio.Future[Happened] | None) -> None:
    """Wait for nothing more, and leave no task behind."""
    if coming is not None and not coming.done():
        coming.cancel()
        await asyncio.wait({coming})


def _frame(happened: Happened) -> bytes:
    """An event; or the id alone where all is told, from which a client goes on all the same."""
    if isinstance(happened, CaughtUp):
        return b": caught up\nid: %d\n\n" % happened.cursor
    document = entry_document(happened)
    kind = document.kind.encode()
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (document.event_id, kind, _encode(document))


def _cursor(field: str, id: str | None) -> int | None:
    if id is None:
        return None
    if not (id.isascii() and id.isdecimal()) or len(id) > MAX_DIGITS:
        raise invalid(field, "is the id of an event")
    return int(id)


ROUTES = [stream_events]
