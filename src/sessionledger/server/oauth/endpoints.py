"""`/introspect` (RFC 7662) and `/revoke` (RFC 7009).

Introspection answers `{"active": false}`, and nothing else, for every token that is not live. A
client presented the token to somebody before it comes here: so introspection records that the
session was seen, and that a replaced token was used again.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from sessionledger import InvalidSession, Session
from sessionledger.server.fast_path import EndpointRequest, Projection
from sessionledger.server.http.asgi import NO_STORE, Headers, PlainResponse
from sessionledger.server.http.forms import form_in
from sessionledger.server.http.problems import HTTPProblem, invalid
from sessionledger.server.http.schemas import HandleText
from sessionledger.server.oauth.clients import JSON, authenticate_client, oauth_error
from sessionledger.server.service.limits import RequestCount
from sessionledger.server.service.service import Service
from sessionledger.web.claims import scope_of, text_of

REVOKED = "revoked"


class Delegator(msgspec.Struct, omit_defaults=True):
    """Whose session a child was begun with. Nested as `act` is in RFC 8693, section 4.1."""

    sub: str
    delegated_by: Delegator | None = None


class Introspection(msgspec.Struct, omit_defaults=True, kw_only=True):
    """RFC 7662, section 2.2, as far as it is known. jti: the session's handle.

    delegated_by: above a child. It is not `act`, whose subject would be the one acted for.
    """

    active: bool
    sub: str | None = None
    exp: int | None = None
    iat: int | None = None
    jti: HandleText | None = None
    scope: str | None = None
    client_id: str | None = None
    username: str | None = None
    aud: str | None = None
    delegated_by: Delegator | None = None


def _response(introspection: Introspection) -> PlainResponse:
    return PlainResponse(200, JSON, msgspec.json.encode(introspection))


_INACTIVE = _response(Introspection(active=False))


class OAuthEndpoint:
    """What both endpoints do: they take a form from a client, and their errors are OAuth's."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.max_body_bytes = service.settings.max_body_bytes

    def error_response(self, error: HTTPProblem) -> PlainResponse:
        """An error of OAuth."""
        return oauth_error(error)


class Introspect(OAuthEndpoint):
    """Tells an admin key with the scope `introspect` what is known of a token."""

    is_fast = True

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        audience = service.settings.audience
        self._active = Projection(lambda session: _response(introspection(session, audience)))

    async def respond(self, request: EndpointRequest, count: RequestCount) -> PlainResponse:
        """What is known of the token in the body."""
        form = _form_in(request)
        await authenticate_client(self._service, request, count, form, "introspect")
        token, sessions = _token_in(form), self._service.ledger.sessions
        session = sessions.peek(token) or await request.authenticate(sessions, token)
        return _INACTIVE if session is None else self._active.of(session)


class Revoke(OAuthEndpoint):
    """Ends the session of a token, for an admin key with the scope `sessions:revoke`."""

    is_fast = False

    async def respond(self, request: EndpointRequest, count: RequestCount) -> PlainResponse:
        """200, whether or not there was such a session (section 2.2)."""
        form = _form_in(request)
        caller = await authenticate_client(self._service, request, count, form, "sessions:revoke")
        token, sessions = _token_in(form), self._service.ledger.sessions
        with suppress(InvalidSession):
            await sessions.expire(token, reason=REVOKED, actor=caller.name)
        return PlainResponse(200, Headers(NO_STORE))


def _form_in(request: EndpointRequest) -> dict[str, str]:
    if request.method != "POST":
        raise HTTPProblem(405, "method_not_allowed", "it takes POST", headers={"Allow": "POST"})
    return form_in(request.headers, request.content)


def _token_in(form: dict[str, str]) -> str:
    if "token" not in form:
        raise invalid("token", "is required")
    return form["token"]


def introspection(session: Session, audience: str | None) -> Introspection:
    """What a client is told of a live session."""
    return Introspection(
        active=True,
        sub=session.principal,
        exp=int(session.expires_at.timestamp()),
        iat=int(session.created_at.timestamp()),
        jti=session.handle,
        scope=scope_of(session),
        client_id=text_of(session, "client_id"),
        username=text_of(session, "username"),
        aud=audience,
        delegated_by=_delegators(session),
    )


def _delegators(session: Session) -> Delegator | None:
    """The chain above a child, its parent outermost."""
    above: Delegator | None = None
    for ancestor in reversed(session.ancestors):
        above = Delegator(ancestor.principal, above)
    return above
