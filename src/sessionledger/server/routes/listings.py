"""`/v1/sessions`: many at once, listed by page or ended together; and how many there are."""

from __future__ import annotations

from typing import Annotated

from litestar import delete, get
from litestar.params import QueryParameter
from msgspec import Meta

from sessionledger.server.auth.permissions import needs
from sessionledger.server.http.schemas import (
    HANDLE_PATTERN,
    Ended,
    Name,
    SessionPage,
    StatsDocument,
    session_document,
    stats_document,
)
from sessionledger.server.routes.parameters import Reason
from sessionledger.server.service.service import Call, caller_of, ledger_of

MAX_PAGE = 1000

Principal = Annotated[str, QueryParameter(name="principal", min_length=1, max_length=512)]
ExternalId = Annotated[str, QueryParameter(name="external_id", min_length=1, max_length=512)]
Cursor = Annotated[
    str | None,
    QueryParameter(name="cursor", required=False, description="Where a page said the next begins."),
]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=MAX_PAGE)]
Keep = Annotated[
    list[Annotated[str, Meta(pattern=HANDLE_PATTERN)]] | None,
    QueryParameter(
        name="keep", required=False, min_items=1, max_items=100, description="Handles not to end."
    ),
]


@get("/v1/sessions", opt=needs("sessions:read"), summary="List sessions")
async def list_sessions(
    request: Call,
    principal: Annotated[Name | None, QueryParameter(name="principal", required=False)] = None,
    external_id: Annotated[Name | None, QueryParameter(name="external_id", required=False)] = None,
    live: Annotated[bool, QueryParameter(name="live")] = True,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> SessionPage:
    """Of a principal or with an external id, oldest first; without either everybody's, by handle.

    `live=false` lists those that are over, too.
    """
    listing = ledger_of(request).sessions.sessions(
        principal=principal, external_id=external_id, live=live, after=cursor, page_size=limit
    )
    page = await anext(listing.pages())
    return SessionPage([session_document(one) for one in page.sessions], page.cursor)


@delete(
    "/v1/sessions", opt=needs("sessions:revoke"), status_code=200, summary="End all of a principal"
)
async def revoke_principal(
    request: Call, principal: Principal, keep: Keep = None, reason: Reason = None
) -> Ended:
    """All live sessions of a principal end at once, but for those to keep."""
    return Ended(
        await ledger_of(request).sessions.revoke_all(
            principal, keep=keep or (), reason=reason, actor=caller_of(request).name
        )
    )


@delete(
    "/v1/external-sessions",
    opt=needs("sessions:revoke"),
    status_code=200,
    summary="End all with an external id",
)
async def revoke_external(
    request: Call, external_id: ExternalId, keep: Keep = None, reason: Reason = None
) -> Ended:
    """The same by the application's own name for them: the `sid` of a back-channel logout."""
    return Ended(
        await ledger_of(request).sessions.revoke_all(
            external_id=external_id, keep=keep or (), reason=reason, actor=caller_of(request).name
        )
    )


@get("/v1/stats", opt=needs("sessions:read"), summary="How much there is")
async def read_stats(request: Call) -> StatsDocument:
    """Events and sessions in the ledger."""
    return stats_document(await ledger_of(request).sessions.stats())


ROUTES = [list_sessions, revoke_principal, revoke_external, read_stats]
