"""`/introspect`: RFC 7662. Whatever is not live is `{"active": false}`, and nothing else.

A token that comes here was presented to somebody: that counts as being seen, and a replaced token
as reused. It is asked for every request of some clients, and so does without the framework.
"""

from __future__ import annotations

import msgspec

from sessionledger import Session
from sessionledger.server.asgi import Receive, Scope, Send, respond
from sessionledger.server.claims import scope_of, text_of
from sessionledger.server.clients import (
    JSON,
    NO_STORE,
    answer_error,
    authenticate_client,
    only_post,
)
from sessionledger.server.forms import read_form
from sessionledger.server.problems import invalid
from sessionledger.server.refusals import refusal
from sessionledger.server.service import Service


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


_INACTIVE = msgspec.json.encode(Introspection(active=False))
_encode = msgspec.json.Encoder().encode


class Introspect:
    """The endpoint."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            body = await self._answer(scope, receive)
        except Exception as error:  # noqa: BLE001  whatever it is, a client gets an answer
            await answer_error(send, refusal(error))
        else:
            await respond(send, 200, [JSON, NO_STORE], body)

    async def _answer(self, scope: Scope, receive: Receive) -> bytes:
        service = self._service
        only_post(scope)
        await authenticate_client(service, scope, "introspect")
        settings = service.settings
        form = await read_form(scope["headers"], receive, settings.max_body_bytes)
        if "token" not in form:
            raise invalid("token", "is required")
        session = await service.ledger.sessions.authenticate(form["token"])
        return _INACTIVE if session is None else _encode(introspection(session, settings.audience))


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
