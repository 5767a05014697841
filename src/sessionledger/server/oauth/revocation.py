"""`/revoke`: RFC 7009. Whoever sends a token is told 200, whether or not it was one."""

from __future__ import annotations

from contextlib import suppress

from sessionledger import InvalidSession
from sessionledger.server.fast_path import Answer, Call
from sessionledger.server.http.forms import token_in
from sessionledger.server.http.problems import Refused
from sessionledger.server.oauth.clients import (
    NO_STORE,
    authenticate_client,
    error_answer,
    only_post,
)
from sessionledger.server.service.service import Service

REASON = "revoked"


class Revoke:
    """The endpoint."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def answer(self, call: Call) -> Answer:
        """End the session of the token in the body, for whom that is allowed."""
        service = self._service
        only_post(call)
        caller = await authenticate_client(service, call, "sessions:revoke")
        token = token_in(call.headers, await call.body(service.settings.max_body_bytes))
        # What can't be a token is one more that was never there (section 2.2).
        with suppress(InvalidSession):
            await service.ledger.sessions.expire(token, reason=REASON, actor=caller.name)
        return Answer(200, NO_STORE)

    def refuse(self, refused: Refused) -> Answer:
        """An error of OAuth."""
        return error_answer(refused)
