"""What happened, and how much: histories by handle, by principal or of everybody, and counts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from litestar import get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from sessionledger.server.auth.permissions import requires
from sessionledger.server.http.history_schemas import (
    ActivityDocument,
    History,
    activity_document,
    history_document,
)
from sessionledger.server.http.parameters import (
    After,
    Handle,
    Limit,
    NewestFirst,
    OfActor,
    OfCause,
    OfKind,
    OfPrincipal,
    Since,
    Until,
    parse_event_id,
)
from sessionledger.server.http.problems import HTTPProblem
from sessionledger.server.service.service import HandlerRequest, ledger_of


async def _part(
    actor: OfActor = None,
    kind: OfKind = None,
    cause: OfCause = None,
    since: Since = None,
    until: Until = None,
    newest_first: NewestFirst = False,
    after: After = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Which part of a history is asked for, as the store takes it."""
    return {
        "actor": actor,
        "kind": kind,
        "cause": cause,
        "since": since,
        "until": until,
        "newest_first": newest_first,
        "after": parse_event_id("after", after),
        "page_size": limit,
    }


PART = {"part": Provide(_part)}


@get(
    "/v1/history/{handle:str}",
    opt=requires("sessions:read"),
    dependencies=PART,
    summary="What happened to a session",
)
async def read_history(
    request: HandlerRequest, handle: Handle, part: NamedDependency[dict[str, Any]]
) -> History:
    """Its events, oldest first, also of a session that is over.

    `cursor` is the `after` of the next page, null after the last. A filtered page may be empty and
    have one.
    """
    sessions = ledger_of(request).sessions
    page = history_document(await anext(sessions.history(handle=handle, **part).pages()))
    if not page.events and not part["after"]:
        known = await anext(sessions.history(handle=handle, page_size=1).pages())
        if not known.entries:
            raise HTTPProblem(404, "not_found", "nothing is known of that handle")
    return page


@get(
    "/v1/history",
    opt=requires("sessions:read"),
    dependencies=PART,
    summary="What happened to the sessions of a principal, or of everybody",
)
async def read_histories(
    request: HandlerRequest, part: NamedDependency[dict[str, Any]], principal: OfPrincipal = None
) -> History:
    """Their events, oldest first, also of sessions that are over.

    `cursor` is the `after` of the next page, null after the last. A filtered page may be empty and
    have one.
    """
    told = ledger_of(request).sessions.history(principal=principal, **part)
    return history_document(await anext(told.pages()))


@get("/v1/activity", opt=requires("sessions:read"), summary="How much happened")
async def read_activity(
    request: HandlerRequest,
    since: Annotated[datetime, QueryParameter(name="since", description="RFC 3339.")],
    until: Until = None,
    per: Annotated[Literal["hour", "day"], QueryParameter(name="per")] = "hour",
) -> ActivityDocument:
    """How many sessions began and ended, and how often reuse was found, by hours or days of UTC.

    All events since `counted_from` are counted. Of earlier ones the next request counts more.
    """
    sessions = ledger_of(request).sessions
    return activity_document(await sessions.activity(since=since, until=until, per=per))


ROUTES = [read_history, read_histories, read_activity]
