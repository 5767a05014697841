"""`/auth`: may this request pass? For nginx, Caddy, Traefik, Envoy, HAProxy and other proxies.

1. The answer is 200, 401 or 403, whatever the method; 429 after too many requests; or 503 while
   nobody can tell.
2. It always has all identity headers, empty where there is nothing to say. So a proxy that copies
   them never lets a client's own through. Values are percent-encoded.
3. The query of `/auth` and `/auth/` says what is required beside a live session.
   An anonymous session passes only with `anonymous=allowed`.
4. Proxies that append the client's path and query ask below `/auth/any`, which requires a live
   session and no more. Every other path is a mistake of the proxy's configuration: nothing passes.
5. A cookie counts as `web.cross_site` says of the browser's own request.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from urllib.parse import parse_qsl, quote

import msgspec

from sessionledger import ReauthenticationRequired, Session
from sessionledger.server.auth.credentials import bearer_token, refused
from sessionledger.server.fast_path import EndpointRequest, Projection
from sessionledger.server.http.asgi import NO_STORE, Headers, PlainResponse
from sessionledger.server.http.problems import MEDIA_TYPE, HTTPProblem, with_status
from sessionledger.server.service.limits import RequestCount
from sessionledger.server.service.service import Service
from sessionledger.web import challenges
from sessionledger.web.challenges import is_scope
from sessionledger.web.claims import scope_of, text_of
from sessionledger.web.credentials import cookie_token
from sessionledger.web.cross_site import (
    CROSS_SITE,
    handed_over_method,
    handed_over_site,
    may_use_cookie,
)

PATH = "/auth"
BELOW_ANY = f"{PATH}/any/"
IDENTITY = (
    b"x-auth-principal",
    b"x-auth-handle",
    b"x-auth-expires",
    b"x-auth-scope",
    b"x-auth-client-id",
    b"x-auth-username",
    b"x-auth-delegated-by",
)

_ANONYMOUS = [*((name, b"") for name in IDENTITY), NO_STORE]
_PROBLEM = (b"content-type", MEDIA_TYPE.encode())
_SECONDS = re.compile(r"[1-9][0-9]{0,8}")


class Required(msgspec.Struct, frozen=True):
    """What a session needs to have: scopes, and a proof of its bearer that is no older.

    anonymous: an anonymous session will do.
    """

    scopes: frozenset[str] = frozenset()
    max_auth_age: timedelta | None = None
    anonymous: bool = False


_NOTHING = Required()
_MISCONFIGURED = "the proxy asks at no path of /auth, or for nothing that can be required there"
_UNTOLD = (
    "the proxy does not hand over the method of the browser, as X-Original-Method or "
    f"X-Forwarded-Method. Without it, {CROSS_SITE.detail}"
)


class ForwardAuth:
    """The endpoint."""

    is_fast = True
    max_body_bytes = 0

    def __init__(self, service: Service) -> None:
        self._service = service
        self._realm = service.settings.realm
        self._cookie = service.settings.cookie

    async def respond(self, request: EndpointRequest, count: RequestCount) -> PlainResponse:
        """That a request passes, and as whom."""
        required = required_at(request.path, request.query)
        token = bearer_token(request.headers, self._realm) or self._cookie_of(request)
        sessions, age = self._service.ledger.sessions, required.max_auth_age
        try:
            session = sessions.peek(token) if age is None else None
            session = session or await request.authenticate(sessions, token, age)
        except ReauthenticationRequired:
            assert age is not None
            raise refused(challenges.too_old(self._realm, age)) from None
        if session is None:
            raise refused(challenges.refused_token(self._realm))
        if session.is_anonymous and not required.anonymous:
            raise refused(challenges.missing(self._realm))
        count.take_principal(session)
        scopes, response = _PASSED.of(session)
        if not required.scopes <= scopes:
            raise refused(challenges.insufficient(self._realm, " ".join(sorted(required.scopes))))
        return response

    def _cookie_of(self, request: EndpointRequest) -> str:
        """The token of the cookie. Raises `HTTPProblem` without one that counts."""
        headers, settings = request.headers, self._service.settings
        token = cookie_token(headers, self._cookie)
        if token is None:
            raise refused(challenges.missing(self._realm))
        if settings.cross_site_cookies:
            return token
        is_passed_on = request.path.startswith(BELOW_ANY)
        method = handed_over_method(request.method if is_passed_on else None, headers)
        site = handed_over_site(headers, self._cookie)
        if not may_use_cookie(method, site, headers, settings.trusted_origins):
            detail = _UNTOLD if method is None else CROSS_SITE.detail
            raise HTTPProblem(CROSS_SITE.status, CROSS_SITE.code, detail)
        return token

    def error_response(self, error: HTTPProblem) -> PlainResponse:
        """401 where other credentials may help, 429 or 503 where waiting does, 403 for all else."""
        status = _STATUSES.get(error.problem.status, 403)
        problem = with_status(error.problem, status)
        told = ({"Retry-After": "1"} if status == 503 else {}) | error.headers
        headers = [(name.lower().encode(), text.encode()) for name, text in told.items()]
        body = msgspec.json.encode(problem)
        return PlainResponse(status, Headers(*_ANONYMOUS, _PROBLEM, *headers), body)


_STATUSES = {400: 401, 401: 401, 429: 429, 500: 503, 503: 503}


def required_at(path: str, query: bytes) -> Required:
    """What a path and its query ask for. Raises `HTTPProblem` for any other: nothing passes."""
    if path in (PATH, f"{PATH}/"):
        return required_by(query) if query else _NOTHING
    if path.startswith(BELOW_ANY):
        return _NOTHING
    raise HTTPProblem(403, "misconfigured", _MISCONFIGURED)


@lru_cache(maxsize=256)
def required_by(query: bytes) -> Required:
    """What a query asks for. Raises `HTTPProblem` for one that can't be read: nothing passes."""
    scopes: set[str] = set()
    age: timedelta | None = None
    anonymous = False
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name == "scope" and is_scope(value):
            scopes |= set(value.split())
        elif name == "max_auth_age" and age is None and _SECONDS.fullmatch(value):
            age = timedelta(seconds=int(value))
        elif (name, value) == ("anonymous", "allowed"):
            anonymous = True
        else:
            raise HTTPProblem(403, "misconfigured", _MISCONFIGURED)
    if not scopes and age is None and not anonymous:
        raise HTTPProblem(403, "misconfigured", _MISCONFIGURED)
    return Required(frozenset(scopes), age, anonymous)


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
    chain = ",".join(_encoded(ancestor.principal) for ancestor in session.ancestors)
    values = [text.encode("ascii") for text in (*map(_encoded, texts), chain)]
    headers = Headers(*zip(IDENTITY, values, strict=True), NO_STORE)
    return frozenset((scope or "").split()), PlainResponse(200, headers)


def _encoded(text: str | None) -> str:
    return quote(text or "", safe="")


_PASSED = Projection(_passed)
