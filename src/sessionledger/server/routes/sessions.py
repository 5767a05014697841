"""One session: what applications and administrators do with it by its handle."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response, delete, get, patch, post
from litestar.openapi import ResponseSpec
from litestar.params import Body, JSONBody

from sessionledger import IssuedSession, Session
from sessionledger.server.auth.permissions import requires
from sessionledger.server.http.parameters import (
    Handle,
    IdempotencyKey,
    IfMatch,
    Reason,
    etag,
    mismatch,
    versions_in,
)
from sessionledger.server.http.problems import not_found
from sessionledger.server.http.schemas import (
    IssuedDocument,
    NamedSession,
    NewSession,
    NewToken,
    Proof,
    SessionDocument,
    SessionPatch,
    Sighting,
    end,
    issued_document,
    session_document,
    span,
)
from sessionledger.server.service.idempotency import create_once
from sessionledger.server.service.service import (
    HandlerRequest,
    caller_of,
    count_of,
    ledger_of,
    prefix_of,
)

MERGE_PATCH = "application/merge-patch+json"


@post("/v1/sessions", opt=requires("sessions:create"), summary="Begin a session")
async def create_session(
    request: HandlerRequest, data: JSONBody[NewSession], idempotency_key: IdempotencyKey = None
) -> Response[IssuedDocument]:
    """The token stands in this answer only.

    With an `Idempotency-Key` the same request of the same caller, sent again, begins no second
    session: it answers the first one, rotated, since the first token is stored nowhere.
    """
    caller, ledger, beginning = caller_of(request), ledger_of(request), _beginning(request, data)

    async def create(token: str | None) -> IssuedSession:
        return await ledger.sessions.create(
            data.principal, token=token, parent=data.parent, **beginning
        )

    issued = (
        await create(None)
        if idempotency_key is None
        else await create_once(ledger, caller, idempotency_key, data, create)
    )
    return _issued(request, issued)


@post(
    "/v1/sessions/find-or-create",
    opt=requires("sessions:create", "sessions:read"),
    status_code=200,
    responses={201: ResponseSpec(IssuedDocument, description="It was begun.")},
    summary="Find a session by its external id, or begin it",
)
async def find_or_create_session(
    request: HandlerRequest, data: JSONBody[NamedSession]
) -> Response[SessionDocument]:
    """The live session of a principal with an external id; one that is found stays as it is.

    Of many such requests at once, one begins the session. The token stands in its answer only.
    """
    found = await ledger_of(request).sessions.find_or_create(
        data.principal, **_beginning(request, data)
    )
    return _issued(request, found, 201) if isinstance(found, IssuedSession) else _answer(found)


@get("/v1/sessions/{handle:str}", opt=requires("sessions:read"), summary="Read a session")
async def read_session(request: HandlerRequest, handle: Handle) -> Response[SessionDocument]:
    """A live session; 404 for any other, whether it is over or never was."""
    return _answer(await ledger_of(request).sessions.find(handle=handle))


@patch(
    "/v1/sessions/{handle:str}",
    opt=requires("sessions:write"),
    summary="Change a session's attributes",
)
async def patch_session(
    request: HandlerRequest,
    handle: Handle,
    data: Annotated[SessionPatch, Body(media_type=MERGE_PATCH)],
    if_match: IfMatch = None,
    reason: Reason = None,
) -> Response[SessionDocument]:
    """RFC 7396. Patches of different names both take effect; `If-Match` makes it conditional."""
    await _count_write(request, handle)
    version = await _expected(request, handle, versions_in(if_match))
    patched = await ledger_of(request).sessions.patch(
        handle=handle,
        changes=data.attributes,
        if_version=version,
        ttl=span(data.ttl),
        expires_at=end(data.expires_at),
        reason=reason,
        actor=caller_of(request).name,
    )
    return _answer(patched)


@post(
    "/v1/sessions/{handle:str}/touch",
    opt=requires("sessions:write"),
    status_code=200,
    summary="Record that a session was seen",
)
async def touch_session(
    request: HandlerRequest, handle: Handle, data: JSONBody[Sighting]
) -> Response[SessionDocument]:
    """It was seen just now. Its end moves as the body or the policy says."""
    await _count_write(request, handle)
    touched = await ledger_of(request).sessions.touch(
        handle=handle,
        ttl=span(data.ttl),
        expires_at=end(data.expires_at),
        attributes=data.attributes,
        reason=data.reason,
        actor=caller_of(request).name,
        context=data.context,
    )
    return _answer(touched)


@post(
    "/v1/sessions/{handle:str}/reauthenticate",
    opt=requires("sessions:write"),
    status_code=200,
    summary="Record a fresh proof",
)
async def reauthenticate_session(
    request: HandlerRequest, handle: Handle, data: JSONBody[Proof]
) -> Response[SessionDocument]:
    """The bearer of a live session has just proved again who it is; so it was seen as well."""
    await _count_write(request, handle)
    proved = await ledger_of(request).sessions.reauthenticate(
        handle=handle, reason=data.reason, actor=caller_of(request).name, context=data.context
    )
    return _answer(proved)


@post(
    "/v1/sessions/{handle:str}/rotate",
    opt=requires("sessions:rotate"),
    status_code=200,
    summary="Replace a session's token",
)
async def rotate_session(
    request: HandlerRequest, handle: Handle, data: JSONBody[NewToken]
) -> Response[IssuedDocument]:
    """At a log in, for whoever logged in: a token that was there before is no good any more.

    The new token stands in this answer only.
    """
    await _count_write(request, handle)
    issued = await ledger_of(request).sessions.rotate(
        handle=handle,
        principal=data.principal,
        changes=data.changes,
        grace=span(data.grace),
        reason=data.reason,
        actor=caller_of(request).name,
        context=data.context,
    )
    return _issued(request, issued)


@post(
    "/v1/sessions/{handle:str}/change-credentials",
    opt=requires("sessions:rotate", "sessions:revoke"),
    status_code=200,
    summary="Replace a session's token, and end all others of its principal",
)
async def change_credentials(
    request: HandlerRequest, handle: Handle, data: JSONBody[Proof]
) -> Response[IssuedDocument]:
    """After a new password: the bearer just proved who it is.

    The new token stands in this answer only; the old one is no good any more.
    """
    await _count_write(request, handle)
    issued = await ledger_of(request).sessions.change_credentials(
        handle=handle, reason=data.reason, actor=caller_of(request).name, context=data.context
    )
    return _issued(request, issued)


@delete(
    "/v1/sessions/{handle:str}",
    opt=requires("sessions:revoke"),
    status_code=200,
    summary="End a session",
)
async def revoke_session(
    request: HandlerRequest, handle: Handle, reason: Reason = None
) -> Response[SessionDocument]:
    """It ends for good, and with it what it was rotated from or into.

    Ending it again changes nothing, and answers it as it ended. 404 for a handle never seen.
    """
    ended = await ledger_of(request).sessions.revoke(
        handle=handle, reason=reason, actor=caller_of(request).name
    )
    return _answer(ended)


def _beginning(request: HandlerRequest, data: NewSession) -> dict[str, Any]:
    """What a session begins with, as the store takes it. Raises `HTTPProblem`."""
    return {
        "ttl": span(data.ttl),
        "expires_at": end(data.expires_at),
        "idle_timeout": span(data.idle_timeout),
        "absolute_timeout": span(data.absolute_timeout),
        "attributes": data.attributes,
        "external_id": data.external_id,
        "reason": data.reason,
        "actor": caller_of(request).name,
        "context": data.context,
    }


async def _count_write(request: HandlerRequest, handle: str) -> None:
    """Raises `HTTPProblem` where the session, or its principal, was written too often."""
    session = await ledger_of(request).sessions.find(handle=handle)
    if session is None:
        raise not_found()
    count_of(request).take_write(session)


async def _expected(
    request: HandlerRequest, handle: str, versions: frozenset[int] | None
) -> int | None:
    """The version that a patch insists on, of those that `If-Match` names. Raises `HTTPProblem`."""
    if versions is None:
        return None
    if len(versions) == 1:
        return next(iter(versions))
    session = await ledger_of(request).sessions.find(handle=handle)
    if session is None:
        raise not_found()
    if session.version not in versions:
        raise mismatch()
    return session.version


def _issued(
    request: HandlerRequest, issued: IssuedSession | None, status_code: int | None = None
) -> Response[Any]:
    if issued is None:
        raise not_found()
    location = f"{prefix_of(request)}/v1/sessions/{issued.handle}"
    headers = {"Location": location, "ETag": etag(issued.version)}
    return Response(issued_document(issued), headers=headers, status_code=status_code)


def _answer(session: Session | None) -> Response[Any]:
    if session is None:
        raise not_found()
    return Response(session_document(session), headers={"ETag": etag(session.version)})


ROUTES = [
    create_session,
    find_or_create_session,
    read_session,
    patch_session,
    touch_session,
    reauthenticate_session,
    rotate_session,
    change_credentials,
    revoke_session,
]
