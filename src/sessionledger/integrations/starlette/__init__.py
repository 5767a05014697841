"""Starlette: a middleware that every request passes, and an authentication backend.

A handler asks for its request session:

    sessions = Sessions(lambda: AsyncSessionStore.open("sqlite:///sessions.db"))
    app = Starlette(
        routes=routes, lifespan=sessions.lifespan, middleware=[Middleware(sessions.middleware)]
    )


    async def account(request: Request) -> Response:
        session = await sessions.for_request(request).required()
        return PlainTextResponse(session.principal)
"""

from __future__ import annotations

from sessionledger.integrations.starlette.extension import SessionBackend, Sessions, SessionUser
from sessionledger.integrations.starlette.session_middleware import LedgerSessionMiddleware

__all__ = ["LedgerSessionMiddleware", "SessionBackend", "SessionUser", "Sessions"]
