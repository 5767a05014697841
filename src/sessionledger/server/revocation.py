"""`/revoke`: RFC 7009. Whoever sends a token is told 200, whether or not it was one."""

from __future__ import annotations

from sessionledger import InvalidSession
from sessionledger.server.asgi import Receive, Scope, Send, respond
from sessionledger.server.clients import NO_STORE, answer_error, authenticate_client, only_post
from sessionledger.server.forms import read_form
from sessionledger.server.problems import invalid
from sessionledger.server.refusals import refusal
from sessionledger.server.service import Service

REASON = "revoked"


class Revoke:
    """The endpoint."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            await self._revoke(scope, receive)
        except Exception as error:  # noqa: BLE001  whatever it is, a client gets an answer
            await answer_error(send, refusal(error))
        else:
            await respond(send, 200, [NO_STORE])

    async def _revoke(self, scope: Scope, receive: Receive) -> None:
        service = self._service
        only_post(scope)
        caller = await authenticate_client(service, scope, "sessions:revoke")
        form = await read_form(scope["headers"], receive, service.settings.max_body_bytes)
        if "token" not in form:
            raise invalid("token", "is required")
        try:
            await service.ledger.sessions.expire(form["token"], reason=REASON, actor=caller.name)
        except InvalidSession:
            # What can't be a token is one more that was never there (section 2.2).
            return
