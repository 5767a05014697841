"""`request.session`, kept in the ledger: a middleware in the place of Starlette's own.

What changed is saved when the answer starts, or when a WebSocket is accepted, with the cookie. What
a WebSocket changes after that is saved when it ends; then no cookie can be sent any more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from sessionledger.integrations.asgi import (
    App,
    AsgiSessions,
    Message,
    Receive,
    Scope,
    Send,
    request_of,
)
from sessionledger.integrations.own_session.dictionary import SessionDict
from sessionledger.integrations.own_session.session import REMOVED, OwnSession, PrincipalOf
from sessionledger.integrations.own_session.values import JSON
from sessionledger.secrecy import without_locals

_TRY_AGAIN = 1013


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
        self._sessions = sessions
        self._principal = principal
        self._name = session_cookie
        self._ttl = None if max_age is None else timedelta(seconds=max_age)
        lasting = "" if max_age is None else f"; Max-Age={max_age}"
        flags = f"; httponly; samesite={same_site}" + ("; secure" if https_only else "")
        flags += ("" if domain is None else f"; domain={domain}") + "; partitioned" * partitioned
        self._kept = f"; path={path}{lasting}{flags}"
        self._removed = f"null; path={path}; Max-Age=0{flags}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        own = OwnSession(
            lambda: self._sessions.store,
            request_of(scope),
            self._sessions.settings,
            self._sessions.refuse,
            self._name,
            JSON,
            self._principal,
            SessionDict(),
            renews=False,
        )
        refused = False

        @without_locals
        async def sending(message: Message) -> None:
            nonlocal refused
            try:
                if message["type"] in ("http.response.start", "websocket.accept"):
                    await self._save(own, scope["session"], message)
            except HTTPException as refusal:
                refused = True
                await _refuse(refusal, scope, receive, send)
            if not refused:
                await send(message)

        try:
            await own.load()
        except HTTPException as refusal:
            await _refuse(refusal, scope, receive, send)
            return
        scope["session"] = own.data
        try:
            await self._app(scope, receive, sending)
        finally:
            if scope["type"] == "websocket" and own.is_stored:
                await own.save_last(scope["session"], self._ttl)

    async def _save(self, own: OwnSession, data: Any, message: Message) -> None:
        headers = MutableHeaders(scope={"headers": message.get("headers", [])})
        if own.data.accessed:
            headers.add_vary_header("Cookie")
        token = None
        if self._ttl is not None and self._ttl <= timedelta(0):  # it would be over already
            token = REMOVED if own.data.modified else None
        elif own.data.accessed or data is not own.data:
            token = await own.save(data, self._ttl)
        if token is not None:
            value = token + self._kept if token else self._removed
            headers.append("Set-Cookie", f"{self._name}={value}")
        message["headers"] = headers.raw


async def _refuse(refusal: HTTPException, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _TRY_AGAIN, "reason": refusal.detail})
        return
    answer = PlainTextResponse(refusal.detail, refusal.status_code, refusal.headers)
    await answer(scope, receive, send)
