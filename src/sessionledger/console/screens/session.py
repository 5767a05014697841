"""A session: what it is, what happened to it, its end, and its export."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.exceptions import NotFoundException, PermissionDeniedException
from litestar.response import Redirect, Template

from sessionledger import HistoryCut, HistoryEntry, Session, StoredEvent
from sessionledger.console.told import as_text, told_event, told_of
from sessionledger.console.views import View, ViewDependency, needs

PAGE_SIZE = 50
MOST_EXPORTED = 10_000
UNKNOWN = "There is no session with this handle."


@get("/sessions/{handle:str}", opt=needs("sessions:read"))
async def session_page(view: ViewDependency, handle: str, after: int = 0) -> Template:
    """What a session is, and a page of what happened to it, newest first."""
    session = await _found(view, handle)
    listing = view.sessions.history(
        handle=handle, newest_first=True, after=after or None, page_size=PAGE_SIZE
    )
    page = await anext(listing.pages())
    if session is None and not page.entries:
        raise NotFoundException(UNKNOWN)
    return view.page(
        "session.html",
        told=None if session is None else told_of(session),
        attributes=None if session is None else as_text(session.attributes),
        asked=handle,
        events=[told_event(entry) for entry in page.entries],
        cut=page.cut,
        next=f"/sessions/{handle}?after={page.cursor}" if page.cursor else None,
    )


async def _found(view: View, handle: str) -> Session | None:
    """The session of a handle, live or not. None if it is unknown, or all of it was removed."""
    if (live := await view.sessions.find(handle=handle)) is not None:
        return live
    try:
        return await view.sessions.as_of(handle=handle, at=datetime.now(UTC))
    except HistoryCut:
        return None


@post("/sessions/{handle:str}/end", opt=needs("sessions:revoke"))
async def end_session(view: ViewDependency, handle: str) -> Redirect:
    """End the session, with all that it was rotated from or into, and its children."""
    ended = await view.sessions.revoke(handle=handle, **view.said(view.form.get("reason")))
    if ended is None:
        raise NotFoundException(UNKNOWN)
    return view.go(f"/sessions/{handle}", "The session is ended.")


@get("/sessions/{handle:str}/export", opt=needs("events:read"))
async def export_session(view: ViewDependency, handle: str) -> Response[bytes]:
    """The session and its events with their hashes, as a JSON file.

    Each event stands as it is stored, so its record hash can be computed again. The head was the
    ledger's afterwards: `sessionledger verify --expect` shows that all lead up to it.
    """
    if not view.may("sessions:read"):
        raise PermissionDeniedException(f"The key {view.operator.name} has no scope sessions:read.")
    entries: list[HistoryEntry] = []
    async for entry in view.sessions.history(handle=handle):
        entries.append(entry)
        if len(entries) == MOST_EXPORTED:
            break
    session = await _found(view, handle)
    if session is None and not entries:
        raise NotFoundException(UNKNOWN)
    ids = [entry.event_id for entry in entries]
    stored = await asyncio.to_thread(_read, view, ids)
    told = {
        "topic": view.settings.topic,
        "session": session,
        "events": [_exported(event) for event in stored],
        "head": str(await view.sessions.head()),
        "complete": len(entries) < MOST_EXPORTED,
    }
    body = msgspec.json.format(msgspec.json.encode(told), indent=2)
    name = handle.rpartition(":")[2][:12]
    headers = {"Content-Disposition": f'attachment; filename="session-{name}.json"'}
    return Response(body, headers=headers, media_type="application/json")


def _read(view: View, ids: list[int]) -> list[StoredEvent]:
    topic = view.settings.topic
    found = [view.log.read(topic, id - 1, 1) for id in ids]
    return [event for events in found for event in events]


def _exported(event: StoredEvent) -> dict[str, Any]:
    return {
        "event_id": event.id,
        "kind": event.kind,
        "occurred_at_ms": event.occurred_at_ms,
        "headers": dict(event.headers),
        "payload": event.payload.decode(errors="replace"),
    }


ROUTES = [session_page, end_session, export_session]
