"""An ASGI application that is run with its own session: what Starlette and Litestar share.

What changed is saved when the answer starts, or when a WebSocket is accepted, with the cookie. What
a WebSocket changes after that is saved when it ends. Then no cookie can be sent any more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

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
from sessionledger.integrations.own_session.values import JSON, Serializer
from sessionledger.secrecy import without_locals
from sessionledger.web.challenges import Denied

_TRY_AGAIN = 1013  # of RFC 6455, as registered later


class _Refused(Exception):
    """Its one argument is what is denied."""


class AsgiOwnSession(NamedTuple):
    """cookie: its name. ttl: how long a session lives; None as the policy says. renews: whether
    requests put off the end. set_cookie: `Set-Cookie` for a token, or for `REMOVED`."""

    sessions: AsgiSessions
    cookie: str
    ttl: timedelta | None
    renews: bool
    principal_of: PrincipalOf | None
    set_cookie: Callable[[str], str]

    @without_locals
    async def run(
        self,
        app: App,
        scope: Scope,
        receive: Receive,
        send: Send,
        serializer: Serializer = JSON,
        model: Callable[[Any], Any] = dict,
    ) -> None:
        """Run the application. model: the data of what it put in the place of its session."""
        store, settings = lambda: self.sessions.store, self.sessions.settings
        known = store, request_of(scope), settings, _Refused, self.cookie, serializer
        own = OwnSession(*known, self.principal_of, SessionDict(), renews=self.renews)
        refused = False

        def left() -> Any:
            data = scope.get("session")
            if not isinstance(data, dict) and not (data := model(data)):
                own.data.clear()
                return own.data
            return data

        @without_locals
        async def sending(message: Message) -> None:
            nonlocal refused
            try:
                if message["type"] in ("http.response.start", "websocket.accept"):
                    await self._save(own, left(), message)
            except _Refused as refusal:
                refused = True
                await _answer(refusal.args[0], scope, send)
            if not refused:
                await send(message)

        try:
            await own.load()
        except _Refused as refusal:
            await _answer(refusal.args[0], scope, send)
            return
        scope["session"] = own.data
        try:
            await app(scope, receive, sending)
        finally:
            if scope["type"] == "websocket" and own.is_stored:
                await own.save_last(left(), self.ttl)

    async def _save(self, own: OwnSession, data: Any, message: Message) -> None:
        cookie = None
        if self.ttl is not None and self.ttl <= timedelta(0):  # it would be over already
            cookie = REMOVED if own.data.modified else None
        elif own.data.accessed or data is not own.data:
            cookie = await own.save(data, self.ttl, resend=self.renews)
        headers = [(b"vary", b"Cookie")] if own.data.accessed else []
        if cookie is not None:
            headers.append((b"set-cookie", self.set_cookie(cookie).encode("latin-1")))
        message["headers"] = [*message.get("headers", ()), *headers]


async def _answer(denied: Denied, scope: Scope, send: Send) -> None:
    """Answer what is refused, in the place of the application."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _TRY_AGAIN, "reason": denied.detail})
        return
    told = {"content-type": "text/plain; charset=utf-8", **denied.headers}
    headers = [(name.lower().encode(), text.encode("latin-1")) for name, text in told.items()]
    await send({"type": "http.response.start", "status": denied.status, "headers": headers})
    await send({"type": "http.response.body", "body": denied.detail.encode()})
