"""Many sessions at once, listed by page or ended together."""

from __future__ import annotations

from typing import Annotated, Any, cast

import msgspec
from litestar import delete, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from sessionledger.server.auth.permissions import requires
from sessionledger.server.http.history_schemas import EntryDocument, entry_document
from sessionledger.server.http.parameters import (
    HANDLE_PATTERN,
    BegunAfter,
    BegunBefore,
    Cursor,
    ExternalId,
    Limit,
    NewestFirst,
    OfAddress,
    OfExternalId,
    OfPrincipal,
    OfState,
    Principal,
    Reason,
)
from sessionledger.server.http.schemas import (
    CountsDocument,
    Criteria,
    Ended,
    ErasureDocument,
    SessionPage,
    ToErase,
    erasure_document,
    session_document,
)
from sessionledger.server.service.service import HandlerRequest, caller_of, ledger_of

Keep = Annotated[
    list[Annotated[str, Meta(pattern=HANDLE_PATTERN)]] | None,
    QueryParameter(
        name="keep",
        required=False,
        min_items=1,
        max_items=100,
        description="Handles of sessions to keep.",
    ),
]


@get("/v1/sessions", opt=requires("sessions:read"), summary="List sessions")
async def list_sessions(
    request: HandlerRequest,
    principal: OfPrincipal = None,
    external_id: OfExternalId = None,
    listed: OfState = "live",
    address: OfAddress = None,
    begun_after: BegunAfter = None,
    begun_before: BegunBefore = None,
    newest_first: NewestFirst = False,
    superseded: Annotated[bool, QueryParameter(name="superseded")] = False,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> SessionPage:
    """Those of a principal or with an external id, oldest first; without either all, by handle.

    `newest_first=true` turns the order round, also of all. `superseded=true` lists those too that
    a rotation replaced. No index answers `address` and `begun_before`: a page may be short or
    empty, and have a cursor.
    """
    listing = ledger_of(request).sessions.sessions(
        principal=principal,
        external_id=external_id,
        state=cast(Any, listed),
        address=address,
        begun_after=begun_after,
        begun_before=begun_before,
        newest_first=newest_first,
        superseded=superseded,
        after=cursor,
        page_size=limit,
    )
    page = await anext(listing.pages())
    return SessionPage([session_document(one) for one in page.sessions], page.cursor)


@get("/v1/counts", opt=requires("sessions:read"), summary="How many sessions there are")
async def read_counts(request: HandlerRequest) -> CountsDocument:
    """Live, lapsed and ended ones, one for each login, counted at most once a minute.

    `as_of` says when.
    """
    counts = await ledger_of(request).sessions.counts()
    return CountsDocument(counts.live, counts.lapsed, counts.ended, counts.as_of)


@delete(
    "/v1/sessions",
    opt=requires("sessions:revoke"),
    status_code=200,
    summary="End those of a principal",
)
async def revoke_principal(
    request: HandlerRequest, principal: Principal, keep: Keep = None, reason: Reason = None
) -> Ended:
    """All live sessions of a principal end at once, except those to keep."""
    return Ended(
        await ledger_of(request).sessions.revoke_all(
            principal, keep=keep or (), reason=reason, actor=caller_of(request).name
        )
    )


@delete(
    "/v1/external-sessions",
    opt=requires("sessions:revoke"),
    status_code=200,
    summary="End those with an external id",
)
async def revoke_external(
    request: HandlerRequest, external_id: ExternalId, keep: Keep = None, reason: Reason = None
) -> Ended:
    """All live sessions with an external id end at once: the `sid` of a back-channel logout."""
    return Ended(
        await ledger_of(request).sessions.revoke_all(
            external_id=external_id, keep=keep or (), reason=reason, actor=caller_of(request).name
        )
    )


@delete(
    "/v1/all-sessions",
    opt=requires("sessions:revoke_everybody"),
    status_code=200,
    summary="End everybody's",
)
async def revoke_everybody(request: HandlerRequest, reason: Reason = None) -> EntryDocument:
    """Every session ends at once, of every principal. The answer is the event that ended them."""
    return entry_document(
        await ledger_of(request).sessions.revoke_everybody(
            reason=reason, actor=caller_of(request).name
        )
    )


@post(
    "/v1/revocations",
    opt=requires("sessions:revoke_everybody"),
    status_code=200,
    summary="End those that meet some criteria",
)
async def revoke_where(request: HandlerRequest, data: JSONBody[Criteria]) -> Ended:
    """All sessions that meet the criteria end, of any principal. `dry_run` counts them only."""
    told = msgspec.structs.asdict(data) | {"actor": caller_of(request).name}
    return Ended(await ledger_of(request).sessions.revoke_where(**told))


@post(
    "/v1/erasures",
    opt=requires("sessions:erase"),
    status_code=200,
    summary="Erase a person",
)
async def erase(request: HandlerRequest, data: JSONBody[ToErase]) -> ErasureDocument:
    """All sessions of a principal end, and nothing tells whose they were afterwards.

    The whole ledger is searched, so it takes long. It goes on if the request ends earlier.
    """
    told = msgspec.structs.asdict(data)
    return erasure_document(await ledger_of(request).sessions.erase(**told))


ROUTES = [
    list_sessions,
    read_counts,
    revoke_principal,
    revoke_external,
    revoke_everybody,
    revoke_where,
    erase,
]
