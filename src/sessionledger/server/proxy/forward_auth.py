"""`/auth`: may this request pass? For nginx, Traefik, Caddy, Envoy and whoever asks likewise.

1. The answer is 200, 401 or 403 and never another, whatever the method, the path after `/auth`,
   and whatever goes wrong: proxies take other answers for a fault of ours, or for a pass.
2. It always has all identity headers, empty where there is nothing to say, so that a proxy that
   copies them never lets a client's own through. Values are percent-encoded.
3. What is required beside a live session stands in the query, where the path is `/auth` itself.
   After a longer path the query is the client's own, and is not looked at.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from urllib.parse import parse_qsl, quote

import msgspec

from sessionledger import ReauthenticationRequired, Session
from sessionledger.server.auth.credentials import (
    bearer_token,
    insufficient,
    missing,
    refused_token,
    too_old,
)
from sessionledger.server.fast_path import EndpointRequest, Projection
from sessionledger.server.http.asgi import NO_STORE, Headers, PlainResponse
from sessionledger.server.http.problems import MEDIA_TYPE, HTTPProblem, with_status
from sessionledger.server.service.service import Service
from sessionledger.web.challenges import is_scope
from sessionledger.web.claims import scope_of, text_of
from sessionledger.web.credentials import cookie_token

PATH = "/auth"
IDENTITY = (
    b"x-auth-principal",
    b"x-auth-handle",
    b"x-auth-expires",
    b"x-auth-scope",
    b"x-auth-client-id",
    b"x-auth-username",
)

_ANONYMOUS = [*((name, b"") for name in IDENTITY), NO_STORE]
_PROBLEM = (b"content-type", MEDIA_TYPE.encode())


class Required(msgspec.Struct, frozen=True):
    """What a session needs to have: scopes, and a proof of who bears it that is no older."""

    scopes: frozenset[str] = frozenset()
    max_auth_age: timedelta | None = None


_NOTHING = Required()


class ForwardAuth:
    """The endpoint."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._realm = service.settings.realm
        self._cookie = service.settings.cookie

    async def respond(self, request: EndpointRequest) -> PlainResponse:
        """That a request passes, and as whom."""
        headers, query = request.headers, request.query
        token = bearer_token(headers, self._realm) or cookie_token(headers, self._cookie)
        if token is None:
            raise missing(self._realm)
        required = required_by(query) if query and request.path == PATH else _NOTHING
        sessions, age = self._service.ledger.sessions, required.max_auth_age
        try:
            session = await request.authenticate(sessions, token, age)
        except ReauthenticationRequired:
            assert age is not None
            raise too_old(self._realm, age) from None
        if session is None:
            raise refused_token(self._realm)
        scopes, response = _PASSED.of(session)
        if not required.scopes <= scopes:
            raise insufficient(self._realm, " ".join(sorted(required.scopes)))
        return response

    def error_response(self, error: HTTPProblem) -> PlainResponse:
        """401 where other credentials may help, 403 for all else: our faults let nobody in."""
        status = 401 if error.problem.status in (400, 401) else 403
        problem = with_status(error.problem, status)
        challenge = error.headers.get("WWW-Authenticate")
        headers = [*_ANONYMOUS, _PROBLEM]
        if challenge is not None:
            headers.append((b"www-authenticate", challenge.encode()))
        return PlainResponse(status, Headers(*headers), msgspec.json.encode(problem))


@lru_cache(maxsize=256)
def required_by(query: bytes) -> Required:
    """What a query asks for. Raises `HTTPProblem` for one that can't be read: nothing passes."""
    scopes: set[str] = set()
    age: timedelta | None = None
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name == "scope" and is_scope(value):
            scopes |= set(value.split())
        elif name == "max_auth_age" and value.isdecimal() and 0 < len(value) < 10 and int(value):
            age = timedelta(seconds=int(value))
        else:
            raise HTTPProblem(403, "misconfigured", "what /auth is to require can't be read")
    return Required(frozenset(scopes), age)


def _passed(session: Session) -> tuple[frozenset[str], PlainResponse]:
    """The scopes of a session, and the response that names it."""
    scope = scope_of(session)
    texts = (
        session.principal,
        session.handle,
        str(int(session.expires_at.timestamp())),
        scope,
        text_of(session, "client_id"),
        text_of(session, "username"),
    )
    values = [quote(text or "", safe="").encode("ascii") for text in texts]
    headers = Headers(*zip(IDENTITY, values, strict=True), NO_STORE)
    return frozenset((scope or "").split()), PlainResponse(200, headers)


_PASSED = Projection(_passed)
