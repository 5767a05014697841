"""`request.session`, kept in the ledger: a middleware in the place of Starlette's own."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from sessionledger.integrations.asgi import App, AsgiSessions, Receive, Scope, Send
from sessionledger.integrations.own_session.asgi_session import AsgiOwnSession
from sessionledger.integrations.own_session.session import PrincipalOf
from sessionledger.secrecy import without_locals


class LedgerSessionMiddleware:
    """Keeps `request.session` in the store of `sessions`, whose lifespan the application has.

    principal: who is logged in, by the data, such as `lambda data: data.get("user_id")`. Without it
    `request.session.log_in(principal)` says so. All else is as in Starlette's `SessionMiddleware`.
    """

    def __init__(
        self,
        app: App,
        sessions: AsgiSessions,
        *,
        principal: PrincipalOf | None = None,
        session_cookie: str = "session",
        max_age: int | None = 14 * 24 * 60 * 60,
        path: str = "/",
        same_site: Literal["lax", "strict", "none"] = "lax",
        https_only: bool = False,
        domain: str | None = None,
        partitioned: bool = False,
    ) -> None:
        self._app = app
        flags = f"; httponly; samesite={same_site}" + "; secure" * https_only
        flags += ("" if domain is None else f"; domain={domain}") + "; partitioned" * partitioned

        def set_cookie(token: str) -> str:
            age = max_age if token else 0
            lasting = "" if age is None else f"; Max-Age={age}"
            return f"{session_cookie}={token or 'null'}; path={path}{lasting}{flags}"

        ttl = None if max_age is None else timedelta(seconds=max_age)
        self._own = AsgiOwnSession(sessions, session_cookie, ttl, False, principal, set_cookie)

    @without_locals
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] in ("http", "websocket"):
            await self._own.run(self._app, scope, receive, send)
        else:
            await self._app(scope, receive, send)
