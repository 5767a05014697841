"""`/v1/session`: what a bearer does with the session of its own token.

It reads, slides, rotates and ends it. It writes nothing of its own choosing: attributes, times and
rights are the application's.
"""

from __future__ import annotations

from litestar import Response, delete, get, post

from sessionledger import Session
from sessionledger.server.auth.credentials import refused
from sessionledger.server.auth.permissions import BEARER, ENDS_OWN, requires
from sessionledger.server.http.parameters import etag
from sessionledger.server.http.schemas import (
    Ended,
    IssuedDocument,
    SessionDocument,
    issued_document,
    session_document,
)
from sessionledger.server.service.service import (
    HandlerRequest,
    bearer_of,
    count_of,
    ledger_of,
    service_of,
)
from sessionledger.web import challenges

LOGGED_OUT = "logged out"
LOGGED_OUT_EVERYWHERE = "logged out everywhere"


@get("/v1/session", opt=requires(BEARER), summary="Read one's own session")
async def read_own(request: HandlerRequest) -> Response[SessionDocument]:
    """Being read counts as being seen, as often as the policy records it."""
    _, session = bearer_of(request)
    return _answer(session)


@post("/v1/session/slide", opt=requires(BEARER), status_code=200, summary="Say that one is there")
async def slide_own(request: HandlerRequest) -> Response[SessionDocument]:
    """The session was seen just now; its end moves as the policy says, never past its deadline."""
    token, session = bearer_of(request)
    count_of(request).take_write(session)
    return _answer(_still(request, await ledger_of(request).sessions.touch(token)))


@post("/v1/session/rotate", opt=requires(BEARER), status_code=200, summary="Replace one's token")
async def rotate_own(request: HandlerRequest) -> IssuedDocument:
    """The new token stands in this answer only; the old one is good for a short grace."""
    token, session = bearer_of(request)
    count_of(request).take_write(session)
    issued = await ledger_of(request).sessions.rotate(token)
    if issued is None:
        raise refused(challenges.refused_token(service_of(request).settings.realm))
    return issued_document(issued)


@delete("/v1/session", opt=ENDS_OWN, summary="Log out")
async def end_own(request: HandlerRequest) -> None:
    """The session ends for good, and with it what it was rotated from or into."""
    token, _ = bearer_of(request)
    await ledger_of(request).sessions.expire(token, reason=LOGGED_OUT)


@post(
    "/v1/session/log-out-everywhere",
    opt=ENDS_OWN,
    status_code=200,
    summary="Log out everywhere",
)
async def end_everywhere(request: HandlerRequest) -> Ended:
    """All sessions of the same principal end for good, this one too. Counts logins."""
    token, _ = bearer_of(request)
    ended = await ledger_of(request).sessions.log_out_everywhere(
        token, reason=LOGGED_OUT_EVERYWHERE
    )
    return Ended(ended)


def _still(request: HandlerRequest, session: Session | None) -> Session:
    """The session, if it did not end meanwhile. Raises `HTTPProblem`."""
    if session is None:
        raise refused(challenges.refused_token(service_of(request).settings.realm))
    return session


def _answer(session: Session) -> Response[SessionDocument]:
    return Response(session_document(session), headers={"ETag": etag(session.version)})


ROUTES = [read_own, slide_own, rotate_own, end_own, end_everywhere]
