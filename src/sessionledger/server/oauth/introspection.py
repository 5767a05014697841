"""`/introspect`: RFC 7662. Whatever is not live is `{"active": false}`, and nothing else.

A token that comes here was presented to somebody: that counts as being seen, and a replaced token
as reused. It is asked for every request of some clients, and so does without the framework.
"""

from __future__ import annotations

import msgspec

from sessionledger import Excerpt, Session
from sessionledger.server.fast_path import Answer, Call
from sessionledger.server.http.forms import token_in
from sessionledger.server.http.problems import Refused
from sessionledger.server.oauth.clients import JSON, authenticate_client, error_answer, only_post
from sessionledger.server.service.service import Service
from sessionledger.web.claims import scope_of, text_of


class Introspection(msgspec.Struct, omit_defaults=True, kw_only=True):
    """RFC 7662, section 2.2, as far as it is known. jti: the session's handle."""

    active: bool
    sub: str | None = None
    exp: int | None = None
    iat: int | None = None
    jti: str | None = None
    scope: str | None = None
    client_id: str | None = None
    username: str | None = None
    aud: str | None = None


def _answer(introspection: Introspection) -> Answer:
    return Answer(200, JSON, msgspec.json.encode(introspection))


_INACTIVE = _answer(Introspection(active=False))


class Introspect:
    """The endpoint."""

    def __init__(self, service: Service) -> None:
        self._service = service
        audience = service.settings.audience
        self._told = Excerpt(lambda session: _answer(introspection(session, audience)))

    async def answer(self, call: Call) -> Answer:
        """What there is to tell of the token in the body, to whom it may be told."""
        service = self._service
        only_post(call)
        await authenticate_client(service, call, "introspect")
        token = token_in(call.headers, await call.body(service.settings.max_body_bytes))
        sessions = service.ledger.sessions
        return await call.authenticate(sessions, token, self._told) or _INACTIVE

    def refuse(self, refused: Refused) -> Answer:
        """An error of OAuth."""
        return error_answer(refused)


def introspection(session: Session, audience: str | None) -> Introspection:
    """What is told of a live session."""
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
    )
