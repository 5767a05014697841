"""What happens to sessions, for the live feed: each event as the words that the page shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any

import msgspec
from litestar import get
from litestar.response import Stream

from sessionledger import HistoryEntry, SessionLedgerError
from sessionledger.console.access import needs
from sessionledger.console.pages import shown_time
from sessionledger.console.views import View, ViewDependency
from sessionledger.integrations.devices.page import as_shown
from sessionledger.timestamps import stamp

HEARTBEAT = timedelta(seconds=5)
MAX_ID_DIGITS = 16

WHAT = {
    "session_created": "began",
    "session_touched": "changed",
    "session_expired": "ended",
    "everybody_revoked": "everybody ended",
    "selection_revoked": "selection ended",
    "ledger_restored": "ledger restored",
}


def row_of(entry: HistoryEntry, view: View) -> dict[str, Any]:
    """An event as the feed shows it."""
    return {
        "id": entry.event_id,
        "at": stamp(entry.occurred_at),
        "time": shown_time(entry.occurred_at, view.zone),
        "what": WHAT.get(entry.kind, as_shown(entry.kind)),
        "cause": as_shown(entry.cause or ""),
        "principal": as_shown(entry.principal or ""),
        "handle": entry.handle or "",
        "actor": as_shown(entry.actor or ""),
        "reason": as_shown(entry.reason or ""),
    }


@get("/feed", opt=needs("events:read"), media_type="text/event-stream")
async def feed(view: ViewDependency) -> Stream:
    """Events from now on, until the log in or the console ends."""
    frames = _frames(view)
    await anext(frames, None)  # it has its place now, or this answers that there is none
    return Stream(frames, media_type="text/event-stream")


async def _frames(view: View) -> AsyncGenerator[bytes, None]:
    """The stream. It does not count as being used: a page that is left open logs out."""
    console = view.console
    console.streams.acquire()
    try:
        items: Any = view.sessions.watch(after=_cursor(view), heartbeat=HEARTBEAT)
        with suppress(SessionLedgerError):
            async with aclosing(_until(items, console.stopping)) as happened:
                told = _frame(await anext(happened, None), view)  # nothing is missed from here on
                yield b""
                yield b"retry: 2000\n\n" + told
                async for item in happened:
                    if await view.keys.find(handle=view.session.handle) is None:
                        return
                    yield _frame(item, view)
    finally:
        console.streams.release()


def _cursor(view: View) -> int | None:
    """The event that the page, or the stream before this one, told last."""
    request = view.request
    told = str(request.headers.get("last-event-id") or request.query_params.get("after") or "")
    return int(told) if told.isdecimal() and len(told) <= MAX_ID_DIGITS else None


def _frame(item: Any, view: View) -> bytes:
    if not isinstance(item, HistoryEntry):
        return b": nothing new\n\n"
    return b"id: %d\ndata: %b\n\n" % (item.event_id, msgspec.json.encode(row_of(item, view)))


async def _until(
    items: AsyncGenerator[Any, None], stopping: asyncio.Event
) -> AsyncGenerator[Any, None]:
    """The items until the event is set."""
    stopped = asyncio.create_task(stopping.wait())
    following: asyncio.Task[Any] | None = None
    try:
        while not stopped.done():
            following = asyncio.create_task(anext(items))
            await asyncio.wait({stopped, following}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                yield following.result()
    finally:
        stopped.cancel()
        if following is not None:
            following.cancel()
            with suppress(BaseException):
                await following
        await items.aclose()


ROUTES = [feed]
